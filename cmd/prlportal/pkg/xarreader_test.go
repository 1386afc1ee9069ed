package pkg

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
)

// readXar is a reader of its own: it knows the format, and nothing of the writer. It
// gives the files by their path, and refuses what is not as it says.
func readXar(archive []byte) (map[string][]byte, error) {
	var header struct {
		Magic            [4]byte
		Size, Version    uint16
		Packed, Unpacked uint64
		Algorithm        uint32
	}
	if err := binary.Read(bytes.NewReader(archive), binary.BigEndian, &header); err != nil {
		return nil, err
	}
	if string(header.Magic[:]) != "xar!" || header.Size != 28 || header.Version != 1 || header.Algorithm != 1 {
		return nil, fmt.Errorf("header %+v", header)
	}
	rest := archive[header.Size:]
	if uint64(len(rest)) < header.Packed {
		return nil, io.ErrUnexpectedEOF
	}
	packed, heap := rest[:header.Packed], rest[header.Packed:]
	unpacked, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	table, err := io.ReadAll(unpacked)
	if err != nil {
		return nil, err
	}
	if uint64(len(table)) != header.Unpacked {
		return nil, fmt.Errorf("the table of contents has %d bytes, not %d", len(table), header.Unpacked)
	}
	root, err := readTree(table)
	if err != nil {
		return nil, err
	}
	toc := root.child("toc")
	if err := checkTableSum(toc.child("checksum"), packed, heap); err != nil {
		return nil, err
	}
	files, seen := map[string][]byte{}, map[string]bool{}
	return files, collectXar(toc, "", heap, files, seen)
}

func checkTableSum(said *xmlNode, packed, heap []byte) error {
	if said.attributes["style"] != "sha1" || said.text("offset") != "0" || said.text("size") != "20" {
		return fmt.Errorf("checksum of the table of contents: %+v", said)
	}
	if sum := sha1.Sum(packed); len(heap) < len(sum) || !bytes.Equal(sum[:], heap[:len(sum)]) {
		return fmt.Errorf("the checksum of the table of contents is wrong")
	}
	return nil
}

// collectXar walks the files of a folder.
func collectXar(folder *xmlNode, above string, heap []byte, files map[string][]byte, seen map[string]bool) error {
	for _, file := range folder.children {
		if file.name != "file" {
			continue
		}
		name, id := path.Join(above, file.text("name")), file.attributes["id"]
		if seen[id] || file.text("name") == "" || strings.Contains(file.text("name"), "/") {
			return fmt.Errorf("%q has the number %s", name, id)
		}
		seen[id] = true
		switch file.text("type") {
		case "directory":
			if err := collectXar(file, name, heap, files, seen); err != nil {
				return err
			}
		case "file":
			data, err := readXarFile(file.child("data"), heap)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			files[name] = data
		default:
			return fmt.Errorf("%s is a %q", name, file.text("type"))
		}
	}
	return nil
}

func readXarFile(data *xmlNode, heap []byte) ([]byte, error) {
	offset, err1 := strconv.Atoi(data.text("offset"))
	length, err2 := strconv.Atoi(data.text("length"))
	if err1 != nil || err2 != nil || offset < 20 || length < 0 || offset+length > len(heap) || data.text("size") != data.text("length") {
		return nil, fmt.Errorf("place %q of %q", data.text("offset"), data.text("length"))
	}
	if style := data.child("encoding").attributes["style"]; style != "application/octet-stream" {
		return nil, fmt.Errorf("encoding %q", style)
	}
	content := heap[offset : offset+length]
	sum := sha1.Sum(content)
	for _, name := range []string{"extracted-checksum", "archived-checksum"} {
		if said := data.child(name); said.attributes["style"] != "sha1" || said.content != hex.EncodeToString(sum[:]) {
			return nil, fmt.Errorf("the %s is wrong", name)
		}
	}
	return content, nil
}

// xmlNode is an element, read without the writer's types.
type xmlNode struct {
	name       string
	attributes map[string]string
	content    string
	children   []*xmlNode
}

func (n *xmlNode) child(name string) *xmlNode {
	for _, one := range n.children {
		if one.name == name {
			return one
		}
	}
	return &xmlNode{}
}

func (n *xmlNode) text(name string) string { return n.child(name).content }

func readTree(document []byte) (*xmlNode, error) {
	tokens, open := xml.NewDecoder(bytes.NewReader(document)), []*xmlNode{{}}
	for {
		token, err := tokens.Token()
		if err == io.EOF {
			if len(open) != 1 || len(open[0].children) != 1 {
				return nil, fmt.Errorf("%d elements at the top", len(open[0].children))
			}
			return open[0].children[0], nil
		}
		if err != nil {
			return nil, err
		}
		last := open[len(open)-1]
		switch token := token.(type) {
		case xml.StartElement:
			node := &xmlNode{name: token.Name.Local, attributes: map[string]string{}}
			for _, attribute := range token.Attr {
				node.attributes[attribute.Name.Local] = attribute.Value
			}
			last.children, open = append(last.children, node), append(open, node)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			last.content = strings.TrimSpace(last.content + string(token))
		}
	}
}
