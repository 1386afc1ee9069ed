package launchd

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// readPlist is the second parser: it shares no code with platform/plist or the
// library behind it and follows the document type definition to the letter. It
// knows the types that a job definition uses and gives map[string]any, []any,
// string, int and bool.
func readPlist(text string) (any, error) {
	r := reader{xml.NewDecoder(strings.NewReader(text))}
	root, err := r.open()
	if err != nil {
		return nil, err
	}
	if root != "plist" {
		return nil, fmt.Errorf("root is <%s>", root)
	}
	name, err := r.open()
	if err != nil {
		return nil, err
	}
	value, err := r.value(name)
	if err != nil {
		return nil, err
	}
	if name, err := r.open(); err != nil || name != "" {
		return nil, fmt.Errorf("<%s> after the value: %w", name, err)
	}
	if name, err := r.open(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("<%s> after the root: %w", name, err)
	}
	return value, nil
}

type reader struct{ tokens *xml.Decoder }

// open gives the name of the next opening tag, or "" for a closing one.
func (r reader) open() (string, error) {
	for {
		token, err := r.tokens.Token()
		if err != nil {
			return "", err
		}
		switch token := token.(type) {
		case xml.StartElement:
			return token.Name.Local, nil
		case xml.EndElement:
			return "", nil
		case xml.CharData:
			if strings.TrimSpace(string(token)) != "" {
				return "", fmt.Errorf("text %q between elements", token)
			}
		}
	}
}

// text gives the text up to the closing tag, which must be all there is.
func (r reader) text() (string, error) {
	var text strings.Builder
	for {
		token, err := r.tokens.Token()
		if err != nil {
			return "", err
		}
		switch token := token.(type) {
		case xml.CharData:
			text.Write(token)
		case xml.EndElement:
			return text.String(), nil
		default:
			return "", fmt.Errorf("%T inside of text", token)
		}
	}
}

func (r reader) value(name string) (any, error) {
	switch name {
	case "dict":
		return r.dictionary()
	case "array":
		return r.array()
	}
	text, err := r.text()
	if err != nil {
		return nil, err
	}
	switch {
	case name == "string":
		return text, nil
	case name == "integer":
		return strconv.Atoi(text)
	case (name == "true" || name == "false") && text == "":
		return name == "true", nil
	}
	return nil, fmt.Errorf("<%s> with %q is no value", name, text)
}

func (r reader) array() (any, error) {
	var array []any
	for {
		name, err := r.open()
		if err != nil {
			return nil, err
		}
		if name == "" {
			return array, nil
		}
		value, err := r.value(name)
		if err != nil {
			return nil, err
		}
		array = append(array, value)
	}
}

// dictionary insists on a key before each value and a value after each key.
func (r reader) dictionary() (any, error) {
	dictionary := map[string]any{}
	for {
		name, err := r.open()
		if err != nil {
			return nil, err
		}
		if name == "" {
			return dictionary, nil
		}
		if name != "key" {
			return nil, fmt.Errorf("<%s> where a key should be", name)
		}
		key, err := r.text()
		if err != nil {
			return nil, err
		}
		if _, twice := dictionary[key]; twice {
			return nil, fmt.Errorf("key %q twice", key)
		}
		if name, err = r.open(); err != nil {
			return nil, err
		}
		if name == "" || name == "key" {
			return nil, fmt.Errorf("key %q without a value", key)
		}
		if dictionary[key], err = r.value(name); err != nil {
			return nil, fmt.Errorf("key %q: %w", key, err)
		}
	}
}
