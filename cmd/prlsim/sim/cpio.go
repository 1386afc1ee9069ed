package sim

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// packedFile is a file or folder of a package.
type packedFile struct {
	path         string // "." is where it is installed
	mode         uint32 // as stat(2) has it, with the type
	owner, group uint32
	data         []byte
}

const (
	typeMask   = 0o170000
	typeFolder = 0o040000
	typeFile   = 0o100000
)

func (f packedFile) isFolder() bool { return f.mode&typeMask == typeFolder }

func (f packedFile) permissions() fs.FileMode { return fs.FileMode(f.mode & 0o777) }

// readCpio reads a compressed cpio archive in the odc format (facts/macos.md 13.1):
// magic, and in octal device, inode, mode, owner, group, links, device, time, size of
// the name with its zero, and size of the data; then name and data.
func readCpio(packed []byte) ([]packedFile, error) {
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	archive, err := readLimited(reader)
	if err != nil {
		return nil, err
	}
	var files []packedFile
	for {
		file, rest, err := nextOfCpio(archive)
		if err != nil {
			return nil, err
		}
		if file.path == "TRAILER!!!" {
			return files, nil
		}
		if file.path, err = cleanPath(file.path); err != nil {
			return nil, err
		}
		if kind := file.mode & typeMask; kind != typeFolder && kind != typeFile {
			return nil, fmt.Errorf("%s has the mode %o, which is not simulated", file.path, file.mode)
		}
		files, archive = append(files, file), rest
	}
}

func nextOfCpio(archive []byte) (file packedFile, rest []byte, err error) {
	const headerSize = 76
	if len(archive) < headerSize || string(archive[:6]) != "070707" {
		return file, nil, errors.New("the archive has no header where one belongs")
	}
	field := func(from, to int) int {
		value, problem := strconv.ParseInt(string(archive[from:to]), 8, 64)
		if problem != nil || value < 0 {
			err = errors.New("a header of the archive has something else than numbers")
		}
		return int(value)
	}
	file.mode, file.owner, file.group = uint32(field(18, 24)), uint32(field(24, 30)), uint32(field(30, 36))
	nameSize, size := field(59, 65), field(65, 76)
	if err != nil {
		return file, nil, err
	}
	name, err := part(archive, headerSize, nameSize)
	if err != nil || nameSize < 2 || bytes.IndexByte(name, 0) != nameSize-1 {
		return file, nil, errors.New("a name of the archive does not end")
	}
	if file.data, err = part(archive, headerSize+nameSize, size); err != nil {
		return file, nil, err
	}
	file.path = string(name[:nameSize-1])
	return file, archive[headerSize+nameSize+size:], nil
}

// cleanPath is a path of an archive or a bill of materials, which leads nowhere else.
func cleanPath(name string) (string, error) {
	cleaned := path.Clean(name)
	if !fs.ValidPath(cleaned) || strings.ContainsAny(cleaned, "\\\n") {
		return "", fmt.Errorf("%q leads out of the package", name)
	}
	return cleaned, nil
}
