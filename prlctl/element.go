package prlctl

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// element is one value of a document, or no value. Its readers are lenient:
// what is absent, null or of another type reads as nothing.
type element struct {
	doc   *document
	index int
}

// absent is the index of no value.
const absent = -1

func (e element) node() node {
	if e.index == absent {
		return node{}
	}
	return e.doc.nodes[e.index]
}

func (e element) exists() bool { return e.node().kind != kindNull }

// fields returns an object's members, ordered by key.
func (e element) fields() []int {
	if e.node().kind != kindObject {
		return nil
	}
	return e.children()
}

// items returns an array's items in order.
func (e element) items() []int {
	if e.node().kind != kindArray {
		return nil
	}
	return e.children()
}

func (e element) children() []int {
	n := e.node()
	return e.doc.children[n.first : n.first+n.count]
}

// at returns the value of a path of keys. Keys are compared byte by byte,
// trailing blanks included; none of ours needs an escape.
func (e element) at(path ...string) element {
	for _, key := range path {
		e = e.field(key)
	}
	return e
}

func (e element) field(key string) element {
	for _, member := range e.fields() {
		if string(e.doc.key(member)) == key {
			return element{e.doc, member}
		}
	}
	return element{e.doc, absent}
}

// hasOnce reports whether an object has the key exactly once.
func (e element) hasOnce(key string) bool {
	count := 0
	for _, member := range e.fields() {
		if string(e.doc.key(member)) == key {
			count++
		}
	}
	return count == 1
}

// raw returns the canonical text.
func (e element) raw() []byte {
	n := e.node()
	return e.doc.text[n.value.start:n.value.end]
}

// text returns a string's value.
func (e element) text() string {
	if e.node().kind != kindText {
		return ""
	}
	quoted := e.raw()
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var text string
	if json.Unmarshal(quoted, &text) != nil {
		return ""
	}
	return text
}

// textOrLiteral returns a string's value or a number or boolean as it is written: the
// tools mix types (facts/prlctl.md 2.1).
func (e element) textOrLiteral() string {
	switch e.node().kind {
	case kindNumber, kindSwitch:
		return string(e.raw())
	}
	return e.text()
}

// integer returns a number, also one written as a string; 0 if it is neither.
func (e element) integer() int64 {
	number, err := strconv.ParseInt(strings.TrimSpace(e.textOrLiteral()), 10, 64)
	if err != nil {
		return 0
	}
	return number
}

func (e element) switchValue() Switch { return ParseSwitch(e.textOrLiteral()) }

// isNotText reports whether a value is there and is no string.
func (e element) isNotText() bool { return e.exists() && e.node().kind != kindText }
