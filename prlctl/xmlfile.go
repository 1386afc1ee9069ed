package prlctl

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
)

// Caps of a bundle's XML files, which are under the control of a user (H11).
// A real config.pvs has some 100 KB and nests 10 deep.
const (
	MaxFile      = 4 << 20 // bytes of one file
	maxFileDepth = 64
	maxFileValue = 4 << 10 // bytes of one value that is kept
	maxFileName  = 128     // bytes of an element's name; real ones stay below 50
)

// Codes of the errors of ReadConfigPVS and ReadVMInfo.
const (
	CodeFileInvalid      = "file_invalid"   // no XML, another kind of file, or a value beyond its cap
	CodeFileTooLarge     = "file_too_large" // more than MaxFile
	CodeFileTooDeep      = "file_too_deep"
	CodeDuplicateElement = "duplicate_element" // a value we read is there twice: two readings
)

// elementFilter says what to do with the text of the element at a path of names from
// the root down; keep is nil if it is of no interest. Elements with one key are
// one value.
type elementFilter func(path []string) (key string, keep func(text string))

// openElement is an element whose end was not read yet.
type openElement struct {
	keep func(string) // nil: not of interest
	text []byte
}

// xmlReader walks an XML file once.
type xmlReader struct {
	want elementFilter
	path []string
	open []openElement
	seen map[string]bool // keys of what was kept
}

// readXML hands the wanted texts of an XML file over, blanks around them cut
// off. Attributes, comments, unknown elements and document types are passed
// over; no entity but XML's own five is known, so nothing expands. Errors are
// *Error and hold nothing of the file.
func readXML(data []byte, want elementFilter) error {
	if len(data) > MaxFile {
		return &Error{Code: CodeFileTooLarge}
	}
	reader := xmlReader{want: want, seen: make(map[string]bool)}
	decoder := xml.NewDecoder(bytes.NewReader(data))
	elements := 0
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) && elements > 0 {
			return nil
		}
		if err != nil {
			return &Error{Code: CodeFileInvalid}
		}
		if _, isStart := token.(xml.StartElement); isStart {
			elements++
		}
		if code := reader.onToken(token); code != "" {
			return &Error{Code: code}
		}
	}
}

// onToken handles one token and returns the code of what is wrong with it.
func (r *xmlReader) onToken(token xml.Token) (code string) {
	switch token := token.(type) {
	case xml.StartElement:
		return r.onStart(token.Name.Local)
	case xml.CharData:
		return r.onText(token)
	case xml.EndElement:
		r.onEnd()
	}
	return ""
}

func (r *xmlReader) onStart(name string) (code string) {
	switch {
	case len(r.path) == maxFileDepth:
		return CodeFileTooDeep
	case len(name) > maxFileName: // paths are made of it for each element below
		return CodeFileInvalid
	}
	r.path = append(r.path, name)
	key, keep := r.want(r.path)
	r.open = append(r.open, openElement{keep: keep})
	if keep == nil {
		return ""
	}
	if r.seen[key] {
		return CodeDuplicateElement
	}
	r.seen[key] = true
	return ""
}

func (r *xmlReader) onText(text []byte) (code string) {
	if len(r.open) == 0 {
		return ""
	}
	element := &r.open[len(r.open)-1]
	if element.keep == nil {
		return ""
	}
	if len(element.text)+len(text) > maxFileValue {
		return CodeFileInvalid
	}
	element.text = append(element.text, text...)
	return ""
}

func (r *xmlReader) onEnd() {
	element := r.open[len(r.open)-1]
	r.path = r.path[:len(r.path)-1]
	r.open = r.open[:len(r.open)-1]
	if element.keep != nil {
		element.keep(string(bytes.TrimSpace(element.text)))
	}
}
