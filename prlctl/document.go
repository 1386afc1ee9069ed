package prlctl

import (
	"bytes"
	"errors"
	"slices"
)

// Limits of JSON, far beyond any real answer, so that a small output cannot
// take much memory.
const (
	maxDepth   = 64      // levels; real answers stay below 6
	maxValues  = 1 << 16 // values of one virtual machine; real ones have 200
	maxObjects = 10_000  // virtual machines of one listing
)

// What can be wrong with JSON as a whole.
var (
	errSyntax = errors.New("broken JSON")
	errDepth  = errors.New("JSON nested too deep")
	errSize   = errors.New("JSON of too many values")
)

type kind uint8

const (
	kindNull kind = iota
	kindSwitch
	kindNumber
	kindText
	kindArray
	kindObject
)

// span is a part of document.text.
type span struct{ start, end int }

// node is one value of a document.
type node struct {
	kind     kind
	repeated bool // an object that has a key twice
	key      span // inside the quotes; empty unless a member of an object
	value    span
	first    int // children in document.children: an object's by key, an array's in order
	count    int
}

// document reads JSON values one after the other from source, in one pass:
// it rewrites each into its canonical text (no blanks, no needless escapes, no
// raw control bytes), notes its tree, sorts the keys and finds repeated ones.
// Its slices are reused from value to value.
type document struct {
	source []byte
	at     int // next byte of source

	text     []byte // canonical text of the current value
	nodes    []node
	children []int
	open     []int  // children of the containers that are not closed yet
	scratch  []byte // normalized configuration, see hash.go
	path     []int  // members from the root to where the hash is at
	repeated bool   // some object of the current value has a key twice

	dropped  bool // raw control bytes were dropped from a string
	replaced bool // bytes that are no UTF-8 were replaced
}

// read reads the next value and makes it the current one. An error is
// errSyntax, errDepth or errSize.
func (d *document) read() (element, error) {
	d.text, d.nodes, d.children, d.open = d.text[:0], d.nodes[:0], d.children[:0], d.open[:0]
	d.repeated = false
	root, err := d.value(1)
	return element{d, root}, err
}

// next skips blanks, which here are all bytes up to 0x20, and returns the next
// byte without taking it; 0 at the end.
func (d *document) next() byte {
	for d.at < len(d.source) && d.source[d.at] <= ' ' {
		d.at++
	}
	if d.at == len(d.source) {
		return 0
	}
	return d.source[d.at]
}

// value reads one value at the given depth and returns its node.
func (d *document) value(depth int) (int, error) {
	if depth > maxDepth {
		return 0, errDepth
	}
	index := len(d.nodes)
	if index == maxValues {
		return 0, errSize
	}
	d.nodes = append(d.nodes, node{})
	start := len(d.text)
	kind, err := d.contents(index, depth)
	if err != nil {
		return 0, err
	}
	d.nodes[index].kind = kind
	d.nodes[index].value = span{start, len(d.text)}
	return index, nil
}

// contents reads what the next byte announces.
func (d *document) contents(index, depth int) (kind, error) {
	switch d.next() {
	case '{':
		return kindObject, d.object(index, depth)
	case '[':
		return kindArray, d.array(index, depth)
	case '"':
		return kindText, d.quoted()
	case 't':
		return kindSwitch, d.literal("true")
	case 'f':
		return kindSwitch, d.literal("false")
	case 'n':
		return kindNull, d.literal("null")
	}
	return kindNumber, d.number()
}

func (d *document) object(index, depth int) error {
	mark := len(d.open)
	more, err := d.begin('{', '}')
	for ; more && err == nil; more, err = d.separator('}') {
		err = d.member(depth)
		if err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	d.sortKeys(index, d.open[mark:])
	d.close(index, mark)
	return nil
}

// member reads one key with its value.
func (d *document) member(depth int) error {
	if d.next() != '"' {
		return errSyntax
	}
	start := len(d.text)
	if err := d.quoted(); err != nil {
		return err
	}
	key := span{start + 1, len(d.text) - 1}
	if d.next() != ':' {
		return errSyntax
	}
	d.take()
	child, err := d.value(depth + 1)
	if err != nil {
		return err
	}
	d.nodes[child].key = key
	d.open = append(d.open, child)
	return nil
}

func (d *document) array(index, depth int) error {
	mark := len(d.open)
	more, err := d.begin('[', ']')
	for ; more && err == nil; more, err = d.separator(']') {
		child, err := d.value(depth + 1)
		if err != nil {
			return err
		}
		d.open = append(d.open, child)
	}
	if err != nil {
		return err
	}
	d.close(index, mark)
	return nil
}

// begin takes the opening bracket; more is false for an empty container.
func (d *document) begin(opening, closing byte) (more bool, err error) {
	if d.next() != opening {
		return false, errSyntax
	}
	d.take()
	if d.next() != closing {
		return true, nil
	}
	d.take()
	return false, nil
}

// separator takes the comma or the closing bracket behind a child.
func (d *document) separator(closing byte) (more bool, err error) {
	switch d.next() {
	case ',':
		d.take()
		return true, nil
	case closing:
		d.take()
		return false, nil
	}
	return false, errSyntax
}

// take copies one byte of structure.
func (d *document) take() {
	d.text = append(d.text, d.source[d.at])
	d.at++
}

// close moves a container's children from the stack to their final place.
func (d *document) close(index, mark int) {
	d.nodes[index].first = len(d.children)
	d.nodes[index].count = len(d.open) - mark
	d.children = append(d.children, d.open[mark:]...)
	d.open = d.open[:mark]
}

// sortKeys orders an object's members by key and notes repeated keys.
func (d *document) sortKeys(index int, members []int) {
	slices.SortFunc(members, func(a, b int) int { return bytes.Compare(d.key(a), d.key(b)) })
	for i := 1; i < len(members); i++ {
		if bytes.Equal(d.key(members[i-1]), d.key(members[i])) {
			d.nodes[index].repeated = true
			d.repeated = true
		}
	}
}

func (d *document) key(index int) []byte {
	return d.text[d.nodes[index].key.start:d.nodes[index].key.end]
}

func (d *document) literal(word string) error {
	if !bytes.HasPrefix(d.source[d.at:], []byte(word)) {
		return errSyntax
	}
	d.text = append(d.text, word...)
	d.at += len(word)
	return nil
}

// number copies a number of JSON's grammar as it is written.
func (d *document) number() error {
	start := d.at
	if d.peek() == '-' {
		d.at++
	}
	leading := d.at
	if d.digits() == 0 || (d.source[leading] == '0' && d.at-leading > 1) {
		return errSyntax
	}
	if d.peek() == '.' {
		d.at++
		if d.digits() == 0 {
			return errSyntax
		}
	}
	if c := d.peek(); c == 'e' || c == 'E' {
		d.at++
		if c := d.peek(); c == '+' || c == '-' {
			d.at++
		}
		if d.digits() == 0 {
			return errSyntax
		}
	}
	d.text = append(d.text, d.source[start:d.at]...)
	return nil
}

// peek returns the byte at hand, blanks included; 0 at the end.
func (d *document) peek() byte {
	if d.at < len(d.source) {
		return d.source[d.at]
	}
	return 0
}

// digits skips decimal digits and returns how many there were.
func (d *document) digits() int {
	start := d.at
	for c := d.peek(); c >= '0' && c <= '9'; c = d.peek() {
		d.at++
	}
	return d.at - start
}
