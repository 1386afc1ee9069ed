package pkg

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// listed is what a reader finds of one file or folder.
type listed struct {
	path         string
	mode         uint64 // with the type, as stat(2) has it
	owner, group uint64
	modified     uint64
	size         uint64
	data         []byte
}

// String is the line of a golden list.
func (l listed) String() string {
	return fmt.Sprintf("%06o %d:%d %s", l.mode, l.owner, l.group, l.path)
}

// readOdc reads a compressed cpio archive in the odc format, and refuses anything that
// is not as the format says, up to the byte behind the trailer.
func readOdc(packed []byte) (found []listed, err error) {
	unpacked, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	archive, err := io.ReadAll(unpacked)
	if err != nil {
		return nil, err
	}
	inodes := map[uint64]bool{}
	for {
		const headerSize = 76
		if len(archive) < headerSize || string(archive[:6]) != "070707" {
			return nil, errors.New("no header")
		}
		var fields []uint64
		at := 6
		for _, width := range []int{6, 6, 6, 6, 6, 6, 6, 11, 6, 11} {
			value, err := strconv.ParseUint(string(archive[at:at+width]), 8, 64)
			if err != nil {
				return nil, err
			}
			fields, at = append(fields, value), at+width
		}
		inode, links, nameSize, size := fields[1], fields[5], fields[8], fields[9]
		if uint64(len(archive)) < headerSize+nameSize+size || nameSize < 2 {
			return nil, errors.New("the archive ends within a file")
		}
		name := string(archive[headerSize : headerSize+nameSize])
		if strings.IndexByte(name, 0) != int(nameSize)-1 {
			return nil, fmt.Errorf("name %q", name)
		}
		name = name[:nameSize-1]
		data := archive[headerSize+nameSize : headerSize+nameSize+size]
		archive = archive[headerSize+nameSize+size:]
		if name == "TRAILER!!!" {
			if len(archive) != 0 {
				return nil, fmt.Errorf("%d bytes behind the trailer", len(archive))
			}
			return found, nil
		}
		if inodes[inode] || links != 1 {
			return nil, fmt.Errorf("%s has the inode %d and %d links", name, inode, links)
		}
		inodes[inode] = true
		found = append(found, listed{name, fields[2], fields[3], fields[4], fields[7], size, data})
	}
}
