package sim

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"
)

// A flat package is a xar archive (facts/macos.md 13.1): a header, a compressed table
// of contents in XML, and the heap, in which the table's checksum and the files lie.
// This reader shares nothing with what writes packages.

// maxUnpacked is the most that one part of a package may have.
const maxUnpacked = 256 << 20 // bytes

// xarDigests are the checksums that are read: signing may write the longer one
// (facts/acting.md 4).
var xarDigests = map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New}

type xarTable struct {
	Checksum xarDigest  `xml:"toc>checksum"`
	Entries  []xarEntry `xml:"toc>file"`
}

type xarDigest struct {
	Style  string `xml:"style,attr"`
	Offset int    `xml:"offset"`
	Size   int    `xml:"size"`
	Sum    string `xml:",chardata"`
}

type xarEntry struct {
	Name    string     `xml:"name"`
	Type    string     `xml:"type"`
	Data    *xarData   `xml:"data"`
	Entries []xarEntry `xml:"file"`
}

type xarData struct {
	Offset    int       `xml:"offset"`
	Length    int       `xml:"length"`
	Size      int       `xml:"size"`
	Extracted xarDigest `xml:"extracted-checksum"`
	Archived  xarDigest `xml:"archived-checksum"`
	Encoding  struct {
		Style string `xml:"style,attr"`
	} `xml:"encoding"`
}

// readXar gives the files of an archive by their path. Every checksum is looked at.
func readXar(archive []byte) (map[string][]byte, error) {
	const headerSize = 28
	if len(archive) < headerSize || string(archive[:4]) != "xar!" {
		return nil, errors.New("it is no xar archive")
	}
	size := int(binary.BigEndian.Uint16(archive[4:]))
	packed := binary.BigEndian.Uint64(archive[8:])
	if size < headerSize || size > len(archive) || packed > uint64(len(archive)-size) {
		return nil, errors.New("the archive is cut off")
	}
	compressed, heap := archive[size:size+int(packed)], archive[size+int(packed):]
	text, err := inflate(compressed)
	if err != nil || uint64(len(text)) != binary.BigEndian.Uint64(archive[16:]) {
		return nil, fmt.Errorf("the table of contents cannot be read: %w", err)
	}
	var table xarTable
	if err := xml.Unmarshal(text, &table); err != nil {
		return nil, fmt.Errorf("the table of contents cannot be read: %w", err)
	}
	sum, err := part(heap, table.Checksum.Offset, table.Checksum.Size)
	if err != nil || !table.Checksum.matches(compressed, hex.EncodeToString(sum)) {
		return nil, errors.New("the checksum of the table of contents is wrong")
	}
	files := map[string][]byte{}
	return files, collectXar(table.Entries, "", heap, files)
}

// matches reports whether the data has the sum, which is in hex.
func (d xarDigest) matches(data []byte, sum string) bool {
	begin := xarDigests[d.Style]
	if begin == nil {
		return false
	}
	digest := begin()
	digest.Write(data)
	return strings.EqualFold(hex.EncodeToString(digest.Sum(nil)), strings.TrimSpace(sum))
}

func collectXar(entries []xarEntry, above string, heap []byte, files map[string][]byte) error {
	for _, entry := range entries {
		name := path.Join(above, entry.Name)
		_, twice := files[name]
		switch {
		case twice || entry.Name == "" || strings.Contains(entry.Name, "/") || entry.Name == "..":
			return fmt.Errorf("%q is no name in an archive, or there twice", name)
		case entry.Type == "directory":
			if err := collectXar(entry.Entries, name, heap, files); err != nil {
				return err
			}
		case entry.Type == "file" && entry.Data != nil:
			data, err := entry.Data.read(heap)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			files[name] = data
		default:
			return fmt.Errorf("%s is a %q", name, entry.Type)
		}
	}
	return nil
}

func (d *xarData) read(heap []byte) ([]byte, error) {
	data, err := part(heap, d.Offset, d.Length)
	if err != nil {
		return nil, err
	}
	if !d.Archived.matches(data, d.Archived.Sum) {
		return nil, errors.New("the checksum is wrong")
	}
	switch d.Encoding.Style {
	case "application/octet-stream":
	case "application/x-gzip":
		if data, err = inflate(data); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("encoding %q", d.Encoding.Style)
	}
	if len(data) != d.Size || !d.Extracted.matches(data, d.Extracted.Sum) {
		return nil, errors.New("size or checksum is wrong")
	}
	return data, nil
}

// part is what lies at a place, which may be none.
func part(data []byte, offset, length int) ([]byte, error) {
	if offset < 0 || length < 0 || offset > len(data) || length > len(data)-offset {
		return nil, errors.New("it is cut off")
	}
	return data[offset : offset+length], nil
}

func inflate(data []byte) ([]byte, error) {
	reader, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	return readLimited(reader)
}

func readLimited(reader io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(reader, maxUnpacked+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("unpack: %w", err)
	case len(data) > maxUnpacked:
		return nil, errors.New("it unpacks to more than anybody has")
	}
	return data, nil
}
