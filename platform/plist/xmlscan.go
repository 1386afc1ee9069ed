package plist

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// scanXML checks that data is one strictly formed XML property list within the
// limits. It is stricter than the library, which passes over stray text,
// unknown attributes, a missing root element and anything after it.
func scanXML(data []byte) error {
	s := &xmlScanner{decoder: xml.NewDecoder(bytes.NewReader(data))}
	if err := s.prolog(); err != nil {
		return err
	}
	if err := s.root(); err != nil {
		return err
	}
	return s.epilog()
}

type xmlScanner struct {
	decoder *xml.Decoder
	budget  budget
}

// holdsValue reports whether a text is a value of an element that holds one. The
// library has the last word; this gives its refusals a line.
func holdsValue(element, text string) bool {
	var err error
	switch element {
	case "true", "false":
		return text == ""
	case "integer":
		return isInteger(text)
	case "real":
		_, err = strconv.ParseFloat(text, 64)
	case "date":
		_, err = time.Parse(time.RFC3339, text)
	case "data":
		return isBase64(text)
	}
	return err == nil
}

func isInteger(text string) bool {
	digits, negative := strings.CutPrefix(text, "-")
	base := 10
	if hexadecimal, ok := strings.CutPrefix(strings.ToLower(digits), "0x"); ok {
		digits, base = hexadecimal, 16
	}
	magnitude, err := strconv.ParseUint(digits, base, 64)
	return err == nil && (!negative || magnitude <= 1<<63)
}

func isBase64(text string) bool {
	packed := strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "").Replace(text)
	_, err := base64.StdEncoding.DecodeString(packed)
	return err == nil
}

func (s *xmlScanner) invalid(problem string) error {
	line, _ := s.decoder.InputPos()
	return fail(CodeInvalid, "line %d: %s", line, problem)
}

// token reads one token; io.EOF is the only error that is not of this package.
func (s *xmlScanner) token() (xml.Token, error) {
	token, err := s.decoder.Token()
	switch {
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	case err != nil:
		return nil, s.invalid("not well-formed XML in UTF-8")
	}
	return token, nil
}

// prolog reads up to and including the <plist> tag.
func (s *xmlScanner) prolog() error {
	for {
		token, err := s.token()
		if err != nil {
			return s.invalid("no <plist> element")
		}
		switch token := token.(type) {
		case xml.StartElement:
			if token.Name.Local != "plist" || token.Name.Space != "" {
				return s.invalid("the root element is not <plist>")
			}
			for _, attribute := range token.Attr {
				if attribute.Name.Local != "version" {
					return s.invalid("unknown attribute of <plist>")
				}
			}
			return nil
		case xml.ProcInst:
			if token.Target != "xml" {
				return s.invalid("processing instruction")
			}
		case xml.Directive:
			// An internal subset could define entities; property lists have none.
			if !bytes.HasPrefix(token, []byte("DOCTYPE plist")) || bytes.ContainsRune(token, '[') {
				return s.invalid("not the document type of a property list")
			}
		default:
			if err := s.insignificant(token); err != nil {
				return err
			}
		}
	}
}

// root reads the one value inside <plist> and the closing tag.
func (s *xmlScanner) root() error {
	start, err := s.next()
	if err != nil {
		return err
	}
	if start == nil {
		return s.invalid("<plist> without a value")
	}
	if err := s.value(*start, 1); err != nil {
		return err
	}
	second, err := s.next()
	if err != nil {
		return err
	}
	if second != nil {
		return s.invalid("<plist> with more than one value")
	}
	return nil
}

// epilog accepts nothing but white space and comments up to the end.
func (s *xmlScanner) epilog() error {
	for {
		token, err := s.token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.insignificant(token); err != nil {
			return err
		}
	}
}

// next gives the next opening tag, or nil for the closing tag of the element
// around; the decoder has checked that the tags match.
func (s *xmlScanner) next() (*xml.StartElement, error) {
	for {
		token, err := s.token()
		if err != nil {
			return nil, s.early(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			return &token, nil
		case xml.EndElement:
			return nil, nil
		}
		if err := s.insignificant(token); err != nil {
			return nil, err
		}
	}
}

func (s *xmlScanner) early(err error) error {
	if errors.Is(err, io.EOF) {
		return s.invalid("ends too early")
	}
	return err
}

func (s *xmlScanner) insignificant(token xml.Token) error {
	switch token := token.(type) {
	case xml.Comment:
		return nil
	case xml.CharData:
		if len(bytes.TrimLeft(token, " \t\r\n")) == 0 {
			return nil
		}
		return s.invalid("text outside of a value")
	}
	return s.invalid("stray markup")
}

// value checks the element that start opened, up to its closing tag.
func (s *xmlScanner) value(start xml.StartElement, depth int) error {
	if err := s.budget.node(); err != nil {
		return err
	}
	if start.Name.Space != "" || len(start.Attr) != 0 {
		return s.invalid("namespace or attribute on a value")
	}
	switch start.Name.Local {
	case "dict":
		return s.dictionary(depth)
	case "array":
		return s.array(depth)
	case "string", "true", "false", "integer", "real", "date", "data":
	default:
		return s.invalid("unknown element")
	}
	text, err := s.text()
	if err != nil {
		return err
	}
	if !holdsValue(start.Name.Local, text) {
		return s.invalid("<" + start.Name.Local + "> does not hold such a value")
	}
	return nil
}

func (s *xmlScanner) array(depth int) error {
	if err := s.budget.container(depth); err != nil {
		return err
	}
	for {
		start, err := s.next()
		if err != nil || start == nil {
			return err
		}
		if err := s.value(*start, depth+1); err != nil {
			return err
		}
	}
}

func (s *xmlScanner) dictionary(depth int) error {
	if err := s.budget.container(depth); err != nil {
		return err
	}
	keys := map[string]struct{}{}
	for {
		start, err := s.next()
		if err != nil || start == nil {
			return err
		}
		if err := s.key(*start, keys); err != nil {
			return err
		}
		start, err = s.next()
		if err != nil {
			return err
		}
		if start == nil || start.Name.Local == "key" {
			return s.invalid("<key> without a value")
		}
		if err := s.value(*start, depth+1); err != nil {
			return err
		}
	}
}

// key reads a key and adds it to those of its dictionary.
func (s *xmlScanner) key(start xml.StartElement, keys map[string]struct{}) error {
	if err := s.budget.node(); err != nil {
		return err
	}
	if start.Name.Local != "key" || start.Name.Space != "" || len(start.Attr) != 0 {
		return s.invalid("value without a <key>")
	}
	text, err := s.text()
	if err != nil {
		return err
	}
	if _, twice := keys[text]; twice {
		return s.invalid("the same <key> twice in one dictionary")
	}
	keys[text] = struct{}{}
	return nil
}

// text reads the text of a scalar up to its closing tag.
func (s *xmlScanner) text() (string, error) {
	var text strings.Builder
	for {
		token, err := s.token()
		if err != nil {
			return "", s.early(err)
		}
		switch token := token.(type) {
		case xml.CharData:
			text.Write(token)
		case xml.Comment:
		case xml.EndElement:
			return text.String(), nil
		default:
			return "", s.invalid("markup inside of a value")
		}
	}
}
