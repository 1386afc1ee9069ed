package prlctl

import (
	"bytes"
	"errors"
	"sort"
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

type valueKind uint8

const (
	kindNull valueKind = iota
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
	kind     valueKind
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
	sorting  []int  // members of one object, see sortKeys
	repeated bool   // some object of the current value has a key twice

	dropped  bool // raw control bytes were dropped from a string
	replaced bool // bytes that are no UTF-8 were replaced
}

// readValue reads the next value and makes it the current one. An error is
// errSyntax, errDepth or errSize.
func (d *document) readValue() (element, error) {
	d.text, d.nodes, d.children, d.open = d.text[:0], d.nodes[:0], d.children[:0], d.open[:0]
	d.repeated = false
	root, err := d.appendValue(1)
	return element{d, root}, err
}

// peekToken skips blanks, which here are all bytes up to 0x20, and returns the next
// byte without taking it; 0 at the end.
func (d *document) peekToken() byte {
	for d.at < len(d.source) && d.source[d.at] <= ' ' {
		d.at++
	}
	if d.at == len(d.source) {
		return 0
	}
	return d.source[d.at]
}

// appendValue reads one value at the given depth and returns its node.
func (d *document) appendValue(depth int) (int, error) {
	if depth > maxDepth {
		return 0, errDepth
	}
	index := len(d.nodes)
	if index == maxValues {
		return 0, errSize
	}
	d.nodes = append(d.nodes, node{})
	start := len(d.text)
	kind, err := d.appendContents(index, depth)
	if err != nil {
		return 0, err
	}
	d.nodes[index].kind = kind
	d.nodes[index].value = span{start, len(d.text)}
	return index, nil
}

// appendContents reads what the next byte announces.
func (d *document) appendContents(index, depth int) (valueKind, error) {
	switch d.peekToken() {
	case '{':
		return kindObject, d.appendObject(index, depth)
	case '[':
		return kindArray, d.appendArray(index, depth)
	case '"':
		return kindText, d.appendString()
	case 't':
		return kindSwitch, d.appendLiteral("true")
	case 'f':
		return kindSwitch, d.appendLiteral("false")
	case 'n':
		return kindNull, d.appendLiteral("null")
	}
	return kindNumber, d.appendNumber()
}

func (d *document) appendObject(index, depth int) error {
	mark := len(d.open)
	more, err := d.openContainer('{', '}')
	for ; more && err == nil; more, err = d.nextItem('}') {
		err = d.appendMember(depth)
		if err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	d.sortKeys(index, d.open[mark:])
	d.closeContainer(index, mark)
	return nil
}

// appendMember reads one key with its value.
func (d *document) appendMember(depth int) error {
	if d.peekToken() != '"' {
		return errSyntax
	}
	start := len(d.text)
	if err := d.appendString(); err != nil {
		return err
	}
	key := span{start + 1, len(d.text) - 1}
	if d.peekToken() != ':' {
		return errSyntax
	}
	d.copyByte()
	child, err := d.appendValue(depth + 1)
	if err != nil {
		return err
	}
	d.nodes[child].key = key
	d.open = append(d.open, child)
	return nil
}

func (d *document) appendArray(index, depth int) error {
	mark := len(d.open)
	more, err := d.openContainer('[', ']')
	for ; more && err == nil; more, err = d.nextItem(']') {
		child, err := d.appendValue(depth + 1)
		if err != nil {
			return err
		}
		d.open = append(d.open, child)
	}
	if err != nil {
		return err
	}
	d.closeContainer(index, mark)
	return nil
}

// openContainer takes the opening bracket; more is false for an empty container.
func (d *document) openContainer(opening, closing byte) (more bool, err error) {
	if d.peekToken() != opening {
		return false, errSyntax
	}
	d.copyByte()
	if d.peekToken() != closing {
		return true, nil
	}
	d.copyByte()
	return false, nil
}

// nextItem takes the comma or the closing bracket behind a child.
func (d *document) nextItem(closing byte) (more bool, err error) {
	switch d.peekToken() {
	case ',':
		d.copyByte()
		return true, nil
	case closing:
		d.copyByte()
		return false, nil
	}
	return false, errSyntax
}

// copyByte copies one byte of structure.
func (d *document) copyByte() {
	d.text = append(d.text, d.source[d.at])
	d.at++
}

// closeContainer moves a container's children from the stack to their final place.
func (d *document) closeContainer(index, mark int) {
	d.nodes[index].first = len(d.children)
	d.nodes[index].count = len(d.open) - mark
	d.children = append(d.children, d.open[mark:]...)
	d.open = d.open[:mark]
}

// sortKeys orders an object's members by key and notes repeated keys.
func (d *document) sortKeys(index int, members []int) {
	d.sorting = members
	sort.Sort((*byMemberKey)(d))
	for i := 1; i < len(members); i++ {
		if bytes.Equal(d.key(members[i-1]), d.key(members[i])) {
			d.nodes[index].repeated = true
			d.repeated = true
		}
	}
}

// byMemberKey sorts the members of a document that are being sorted: it is the
// document itself, so that nothing is allocated for each object.
type byMemberKey document

func (m *byMemberKey) Len() int { return len(m.sorting) }

func (m *byMemberKey) Less(i, j int) bool {
	d := (*document)(m)
	return bytes.Compare(d.key(m.sorting[i]), d.key(m.sorting[j])) < 0
}

func (m *byMemberKey) Swap(i, j int) { m.sorting[i], m.sorting[j] = m.sorting[j], m.sorting[i] }

func (d *document) key(index int) []byte {
	return d.text[d.nodes[index].key.start:d.nodes[index].key.end]
}

func (d *document) appendLiteral(word string) error {
	if !bytes.HasPrefix(d.source[d.at:], []byte(word)) {
		return errSyntax
	}
	d.text = append(d.text, word...)
	d.at += len(word)
	return nil
}

// appendNumber copies a number of JSON's grammar as it is written.
func (d *document) appendNumber() error {
	start := d.at
	if d.peekByte() == '-' {
		d.at++
	}
	leading := d.at
	if d.skipDigits() == 0 || (d.source[leading] == '0' && d.at-leading > 1) {
		return errSyntax
	}
	if d.peekByte() == '.' {
		d.at++
		if d.skipDigits() == 0 {
			return errSyntax
		}
	}
	if c := d.peekByte(); c == 'e' || c == 'E' {
		d.at++
		if c := d.peekByte(); c == '+' || c == '-' {
			d.at++
		}
		if d.skipDigits() == 0 {
			return errSyntax
		}
	}
	d.text = append(d.text, d.source[start:d.at]...)
	return nil
}

// peekByte returns the byte at hand, blanks included; 0 at the end.
func (d *document) peekByte() byte {
	if d.at < len(d.source) {
		return d.source[d.at]
	}
	return 0
}

// skipDigits skips decimal digits and returns how many there were.
func (d *document) skipDigits() int {
	start := d.at
	for c := d.peekByte(); c >= '0' && c <= '9'; c = d.peekByte() {
		d.at++
	}
	return d.at - start
}
