package prlctl

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// volatilePaths are the parts of a VM's object that do not count as its
// configuration: they change without anyone changing a setting, or differ
// between two ways of asking. A key that ends in * stands for every key that
// starts so.
//
// A network adapter's state does count: a policy sets it (facts/prlctl.md 6,
// Disconnect), and only a person or we change it.
var volatilePaths = [][]string{
	{"State"},                       // every start and stop
	{"Uptime"},                      // counts while running
	{"GuestTools"},                  // reported by the guest; changes as the VM starts and stops
	{"Home"},                        // the bulk list leaves it empty (facts/prlctl.md 2.1)
	{"Home path"},                   // as Home; a moved bundle shows in its disks' images
	{"Network", "ipAddresses"},      // leases of the running guest
	{"Hardware", "cdrom*", "state"}, // the guest and the installer of its tools eject
}

// ConfigHash returns the first 32 hexadecimal digits of a SHA-256 over the
// normalized configuration: the order of keys, blanks and escapes do not
// matter, volatilePaths and objects with nothing else in them do not count.
// Two hashes compare only within one version of the product, which adds and
// drops keys. It is empty for a VM that was not read from a tool.
func (v *VM) ConfigHash() string { return v.configHash }

func configHash(root element) string {
	doc := root.doc
	doc.scratch, doc.path = doc.scratch[:0], doc.path[:0]
	appendNormal(root)
	sum := sha256.Sum256(doc.scratch)
	return hex.EncodeToString(sum[:16])
}

// appendNormal writes a value to the document's scratch, an object's members
// in the order of their keys. Scalars are written as they are: canonical text
// of equal values is equal.
func appendNormal(value element) {
	doc := value.doc
	switch value.node().kind {
	case kindObject:
		appendMembers(value)
	case kindArray:
		doc.scratch = append(doc.scratch, '[')
		for _, item := range value.items() {
			appendNormal(element{doc, item})
			doc.scratch = append(doc.scratch, ',')
		}
		doc.scratch = append(doc.scratch, ']')
	default:
		doc.scratch = append(doc.scratch, value.raw()...)
	}
}

// appendMembers writes an object, or nothing if no member counts.
func appendMembers(object element) {
	doc := object.doc
	start := len(doc.scratch)
	doc.scratch = append(doc.scratch, '{')
	counted := false
	for _, member := range object.fields() {
		doc.path = append(doc.path, member)
		if !doc.onVolatilePath() && appendMember(element{doc, member}) {
			counted = true
		}
		doc.path = doc.path[:len(doc.path)-1]
	}
	if !counted {
		doc.scratch = doc.scratch[:start]
		return
	}
	doc.scratch = append(doc.scratch, '}')
}

// appendMember writes a key with its value, or nothing if the value is
// nothing; it says which.
func appendMember(member element) bool {
	doc := member.doc
	start := len(doc.scratch)
	doc.scratch = append(doc.scratch, '"')
	doc.scratch = append(doc.scratch, doc.key(member.index)...)
	doc.scratch = append(doc.scratch, '"', ':')
	written := len(doc.scratch)
	appendNormal(member)
	if len(doc.scratch) == written {
		doc.scratch = doc.scratch[:start]
		return false
	}
	doc.scratch = append(doc.scratch, ',')
	return true
}

// onVolatilePath reports whether the member that path leads to does not count.
func (d *document) onVolatilePath() bool {
	for _, pattern := range volatilePaths {
		if len(pattern) == len(d.path) && d.leadsTo(pattern) {
			return true
		}
	}
	return false
}

func (d *document) leadsTo(pattern []string) bool {
	for i, member := range d.path {
		key := d.key(member)
		prefix, open := strings.CutSuffix(pattern[i], "*")
		if open && len(key) >= len(prefix) {
			key = key[:len(prefix)]
		}
		if string(key) != prefix {
			return false
		}
	}
	return true
}
