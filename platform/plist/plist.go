// Package plist reads and writes Apple property lists behind guards.
//
// The reading itself is howett.net/plist's. That library takes an empty file
// for an empty dictionary, wraps integers silently, and can be made to overflow
// the stack or to fill the memory by a file of 150 bytes (facts/macos.md 6.2). So
// nothing reaches it here that was not looked at first. What is written leaves
// only after the library has read it back and it was compared (facts/macos.md
// 6.3). No other package imports the library.
//
// Property lists from outside belong to users and are never quoted: errors of
// the decoding functions name lines, offsets and types, never content. Errors of
// EncodeXML name keys.
package plist

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	library "howett.net/plist"
)

// Limits of one property list, alike for reading and for writing.
const (
	// MaxSize is the largest property list in bytes.
	MaxSize = 4 << 20
	// maxDepth is how many dictionaries and arrays may be nested.
	maxDepth = 64
	// maxNodes is how many values and keys a property list may have, each
	// reference to a shared value of the binary format counted anew.
	maxNodes = 200_000
	// maxContainers is how many of the nodes may be dictionaries and arrays;
	// the library reserves one kilobyte for every dictionary in XML.
	maxContainers = 32_768
	// maxExpanded is how many bytes all strings and data may have together,
	// each reference to a shared value of the binary format counted anew.
	maxExpanded = 4 * MaxSize
)

// Stable codes of Error.
const (
	CodeEmpty       = "plist_empty"             // no bytes at all: a truncated file, not an empty dictionary
	CodeTooLarge    = "plist_too_large"         // over MaxSize, maxNodes, maxContainers or maxExpanded
	CodeTooDeep     = "plist_too_deep"          // over maxDepth, or a value that contains itself
	CodeInvalid     = "plist_invalid"           // not a property list in XML or in the binary format
	CodeWrongType   = "plist_wrong_type"        // valid, but the root is not what was asked for
	CodeUnsupported = "plist_unsupported_value" // a value that a property list cannot hold unchanged
	CodeRoundTrip   = "plist_round_trip"        // what was written does not read back as what was meant
)

// Error is the type of every error of this package.
type Error struct {
	Code string // one of the Code constants
	Err  error  // what is wrong and where
}

// Error gives the code and the explanation.
func (e *Error) Error() string { return e.Code + ": " + e.Err.Error() }

// ErrorCode gives the code.
func (e *Error) ErrorCode() string { return e.Code }

// Unwrap gives the explanation alone.
func (e *Error) Unwrap() error { return e.Err }

func fail(code, format string, arguments ...any) *Error {
	return &Error{Code: code, Err: fmt.Errorf(format, arguments...)}
}

// within says where in the tree an error of this package happened.
func within(place string, err error) error {
	var inner *Error
	if errors.As(err, &inner) {
		return &Error{Code: inner.Code, Err: fmt.Errorf("%s: %w", place, inner.Err)}
	}
	return err
}

// Decode reads a property list in XML or in the binary format.
//
// The tree is fresh, shares no memory with data, and consists of
// map[string]any, []any, string, bool, uint64 (integers from zero up), int64
// (integers below zero), float64, time.Time (UTC) and []byte. The dictionary
// with the single key CF$UID, and the binary format's UID, both are
// dictionaries with that key here. On error the tree is nil.
func Decode(data []byte) (any, error) {
	scan, data, err := recognize(data)
	if err != nil {
		return nil, err
	}
	if err := scan.check(data); err != nil {
		return nil, err
	}
	raw, err := libraryDecode(data, scan.format)
	if err != nil {
		return nil, err
	}
	return copyValue(raw)
}

// DecodeDict is Decode for a property list whose root must be a dictionary.
func DecodeDict(data []byte) (map[string]any, error) {
	tree, err := Decode(data)
	if err != nil {
		return nil, err
	}
	dictionary, ok := tree.(map[string]any)
	if !ok {
		return nil, fail(CodeWrongType, "the root is %s, not a dictionary", kindWord(tree))
	}
	return dictionary, nil
}

// EncodeXML writes v as an XML property list: indented with tabs, keys sorted,
// closed by a newline; equal values give equal bytes.
//
// v is a tree as Decode gives it or is made of Go's basic types, maps with
// string keys, slices, and structs whose fields may carry
// `plist:"Name,omitempty"` tags. Dates are cut to whole seconds. Nil slices and
// maps are empty ones. Refused as CodeUnsupported are nil pointers and
// interfaces anywhere, NaN and the infinities, the zero time, text that XML
// cannot carry (control characters, invalid UTF-8) and dictionaries with the
// single key CF$UID. The output is decoded and compared before it is returned.
func EncodeXML(v any) ([]byte, error) {
	draft, err := DraftXML(v)
	if err != nil {
		return nil, err
	}
	if err := draft.Check(); err != nil {
		return nil, err
	}
	return draft.Data, nil
}

// Draft is a property list without the proof that it reads back, which is most of the
// work: to compare with a file that has been written.
type Draft struct {
	Data []byte
	tree any // what it was made from
}

// DraftXML is what EncodeXML gives, but for that proof.
func DraftXML(v any) (Draft, error) {
	tree, err := build(v)
	if err != nil {
		return Draft{}, err
	}
	if err := checkEncodable(tree); err != nil {
		return Draft{}, err
	}
	data, err := writeXML(tree)
	return Draft{data, tree}, err
}

// Check is the proof: an error if it does not read back as what it was made from.
func (d Draft) Check() error { return checkWritten(d.Data, d.tree) }

// EncodeFragment writes a string, a boolean or an integer as the one element that
// stands for it in an XML property list, as in <integer>2</integer>: how
// `defaults write` is told the type of a value (facts/macos.md 5.2). What is refused
// is as in EncodeXML.
func EncodeFragment(v any) (string, error) {
	data, err := EncodeXML(v)
	if err != nil {
		return "", err
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(string(data), documentStart), documentEnd)
	fragment := strings.TrimSpace(inner)
	if strings.Contains(fragment, "\n") {
		return "", fail(CodeUnsupported, "not one element")
	}
	return fragment, nil
}

// checkWritten refuses a property list that does not read back as the tree.
func checkWritten(data []byte, tree any) error {
	written, err := Decode(data)
	if err != nil {
		return within("read back", err)
	}
	if !Equal(tree, written) {
		return fail(CodeRoundTrip, "the written property list differs from the value")
	}
	return nil
}

// scan is the guard that a format's bytes must pass before the library sees them.
type scan struct {
	format int
	check  func(data []byte) error
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// recognize tells the format by the first bytes and takes a byte order mark off.
func recognize(data []byte) (scan, []byte, error) {
	switch {
	case len(data) == 0:
		return scan{}, nil, fail(CodeEmpty, "no bytes")
	case len(data) > MaxSize:
		return scan{}, nil, fail(CodeTooLarge, "%d bytes, more than %d", len(data), MaxSize)
	case bytes.HasPrefix(data, []byte("bplist")):
		return scan{library.BinaryFormat, scanBinary}, data, nil
	}
	data = bytes.TrimPrefix(data, byteOrderMark)
	if text := bytes.TrimLeft(data, " \t\r\n"); len(text) == 0 || text[0] != '<' {
		return scan{}, nil, fail(CodeInvalid, "neither XML nor the binary format")
	}
	return scan{library.XMLFormat, scanXML}, data, nil
}

// libraryDecode gives no detail of the library's errors, because they quote
// content.
func libraryDecode(data []byte, format int) (value any, err error) {
	defer recoverAs(CodeInvalid, &err)
	found, libraryErr := library.Unmarshal(data, &value)
	if libraryErr != nil || found != format || value == nil {
		return nil, fail(CodeInvalid, "a value does not parse")
	}
	return value, nil
}

// recoverAs turns a panic of the library, or of a method of the coded value,
// into an error without its text.
func recoverAs(code string, err *error) {
	if recover() != nil {
		*err = fail(code, "a value made its coding panic")
	}
}
