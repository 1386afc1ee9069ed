package pkg

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io/fs"
	"time"
)

// A xar archive has a header, a compressed table of contents in XML, and the heap: the
// checksum of the table and then the files, as they are. The checksum is SHA-1, because
// other readers refuse a table with SHA-256 (facts/acting.md 4); it is against accidents,
// and what keeps others from changing a package is its signature.
const (
	xarMagic      = "xar!"
	xarHeaderSize = 28
	xarVersion    = 1
	xarSHA1       = 1
)

// The table of contents as encoding/xml writes it.
type (
	xarDocument struct {
		XMLName xml.Name `xml:"xar"`
		Table   xarTable `xml:"toc"`
	}
	xarTable struct {
		Created  string      `xml:"creation-time"`
		Checksum xarChecksum `xml:"checksum"`
		Files    []*xarFile  `xml:"file"`
	}
	xarChecksum struct {
		Style  string `xml:"style,attr"`
		Offset int    `xml:"offset"`
		Size   int    `xml:"size"`
	}
	xarFile struct {
		ID    int        `xml:"id,attr"`
		Data  *xarData   `xml:"data"`
		Mode  string     `xml:"mode"`
		Type  string     `xml:"type"`
		Name  string     `xml:"name"`
		Files []*xarFile `xml:"file"`
	}
	xarData struct {
		Length    int         `xml:"length"` // in the heap
		Encoding  xarEncoding `xml:"encoding"`
		Offset    int         `xml:"offset"`
		Size      int         `xml:"size"` // unpacked
		Extracted xarSum      `xml:"extracted-checksum"`
		Archived  xarSum      `xml:"archived-checksum"`
	}
	xarEncoding struct {
		Style string `xml:"style,attr"`
	}
	xarSum struct {
		Style string `xml:"style,attr"`
		Sum   string `xml:",chardata"`
	}
)

// xarMember is a file of an archive, or a folder with files.
type xarMember struct {
	name    string
	data    []byte
	members []xarMember // of a folder
}

// encodeXar gives an archive of members.
func encodeXar(members []xarMember, created time.Time) ([]byte, error) {
	w := xarWriter{heap: make([]byte, sha1.Size)}
	document := xarDocument{Table: xarTable{
		Created:  created.UTC().Format("2006-01-02T15:04:05"),
		Checksum: xarChecksum{Style: "sha1", Size: sha1.Size},
		Files:    w.addAll(members),
	}}
	table, err := encodeXML(document)
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	writer := zlib.NewWriter(&packed)
	if _, err := writer.Write(table); err != nil {
		return nil, fmt.Errorf("compress table of contents: %w", err)
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("compress table of contents: %w", err)
	}
	sum := sha1.Sum(packed.Bytes())
	copy(w.heap, sum[:])
	archive := []byte(xarMagic)
	archive = binary.BigEndian.AppendUint16(archive, xarHeaderSize)
	archive = binary.BigEndian.AppendUint16(archive, xarVersion)
	archive = binary.BigEndian.AppendUint64(archive, uint64(packed.Len()))
	archive = binary.BigEndian.AppendUint64(archive, uint64(len(table)))
	archive = binary.BigEndian.AppendUint32(archive, xarSHA1)
	return append(append(archive, packed.Bytes()...), w.heap...), nil
}

// xarWriter collects the heap and numbers the files.
type xarWriter struct {
	heap []byte
	last int
}

func (w *xarWriter) addAll(members []xarMember) []*xarFile {
	var files []*xarFile
	for _, member := range members {
		w.last++
		file := &xarFile{ID: w.last, Mode: octal(0o644), Type: "file", Name: member.name}
		if member.members != nil {
			file.Mode, file.Type = octal(0o755), "directory"
			file.Files = w.addAll(member.members)
		} else {
			file.Data = w.addData(member.data)
		}
		files = append(files, file)
	}
	return files
}

func (w *xarWriter) addData(data []byte) *xarData {
	sum := sha1.Sum(data)
	known := xarSum{Style: "sha1", Sum: hex.EncodeToString(sum[:])}
	placed := &xarData{Length: len(data), Size: len(data), Offset: len(w.heap), Encoding: xarEncoding{"application/octet-stream"}, Extracted: known, Archived: known}
	w.heap = append(w.heap, data...)
	return placed
}

func octal(mode fs.FileMode) string { return fmt.Sprintf("0%o", mode.Perm()) }

// encodeXML gives a document with the line that says what it is.
func encodeXML(document any) ([]byte, error) {
	body, err := xml.MarshalIndent(document, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode XML: %w", err)
	}
	return append(append([]byte(xml.Header), body...), '\n'), nil
}
