package plist

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	documentStart = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
`
	documentEnd = "</plist>\n"
)

// writer writes a tree as the library would, which a test compares. The library's
// own encoder reflects on any value and knows four formats: it would be 70 kB of
// each program, for the few types of a tree and the one format written here.
type writer struct{ text bytes.Buffer }

// writeXML gives the document of a tree that checkEncodable has passed.
func writeXML(tree any) ([]byte, error) {
	var w writer
	w.text.WriteString(documentStart)
	if err := w.value(tree, 1); err != nil {
		return nil, err
	}
	w.text.WriteString(documentEnd)
	return w.text.Bytes(), nil
}

// value writes a value that stands in so many dictionaries and arrays.
func (w *writer) value(tree any, depth int) error {
	switch value := tree.(type) {
	case string:
		return w.element(depth, "string", value)
	case uint64:
		return w.element(depth, "integer", strconv.FormatUint(value, 10))
	case int64:
		return w.element(depth, "integer", strconv.FormatInt(value, 10))
	case float64:
		return w.element(depth, "real", strconv.FormatFloat(value, 'g', -1, 64))
	case bool:
		return w.element(depth, strconv.FormatBool(value), "")
	case []byte:
		return w.element(depth, "data", base64.StdEncoding.EncodeToString(value))
	case time.Time:
		return w.element(depth, "date", value.UTC().Format(time.RFC3339))
	case []any:
		return w.array(value, depth)
	case map[string]any:
		return w.dictionary(value, depth)
	}
	return fail(CodeUnsupported, "a value of unknown type")
}

func (w *writer) array(array []any, depth int) error {
	w.line(depth, "<array>")
	for _, element := range array {
		if err := w.value(element, depth+1); err != nil {
			return err
		}
	}
	w.line(depth, "</array>")
	return nil
}

func (w *writer) dictionary(dictionary map[string]any, depth int) error {
	w.line(depth, "<dict>")
	for _, key := range slices.Sorted(maps.Keys(dictionary)) {
		if err := w.element(depth+1, "key", key); err != nil {
			return err
		}
		if err := w.value(dictionary[key], depth+1); err != nil {
			return err
		}
	}
	w.line(depth, "</dict>")
	return nil
}

// element writes one element without others in it.
func (w *writer) element(depth int, name, content string) error {
	if content == "" {
		w.line(depth, "<"+name+"/>")
		return nil
	}
	w.text.WriteString(strings.Repeat("\t", depth) + "<" + name + ">")
	if err := xml.EscapeText(&w.text, []byte(content)); err != nil {
		return &Error{Code: CodeUnsupported, Err: err}
	}
	w.text.WriteString("</" + name + ">\n")
	return nil
}

func (w *writer) line(depth int, tag string) {
	w.text.WriteString(strings.Repeat("\t", depth) + tag + "\n")
}
