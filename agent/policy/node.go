package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"prlagent/agent/protocol"
)

// node is one value of a document with the path that leads to it.
type node struct {
	path   string
	name   string // of a member of an object
	scalar any    // string, bool or json.Number; nil for an object or a list
	inside []*node
	isList bool
}

// maxErrors caps what is reported of one document.
const maxErrors = 64

// readTree reads the text of a document. It refuses what two readers could
// understand differently, with the path of the place: null, a key twice, also in
// another case, more than protocol.MaxDepth levels, a second value.
func readTree(data []byte) (*node, *Error) {
	if len(data) > protocol.MaxPolicy {
		return nil, invalid("", protocol.CodePolicyTooLarge, "it has %d bytes, at most %d are read", len(data), protocol.MaxPolicy)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	root, err := readNode(decoder, "", 0)
	if err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, invalid("", protocol.CodePolicySyntax, "it is followed by something else")
	}
	return root, nil
}

func readNode(decoder *json.Decoder, path string, depth int) (*node, *Error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, invalid(path, protocol.CodePolicySyntax, "%.80s", err)
	}
	delim, isDelim := token.(json.Delim)
	switch {
	case token == nil:
		return nil, invalid(path, protocol.CodePolicyNull, "null; leave the member out instead")
	case !isDelim:
		return &node{path: path, scalar: token}, nil
	case depth >= protocol.MaxDepth:
		return nil, invalid(path, protocol.CodePolicyTooDeep, "more than %d levels", protocol.MaxDepth)
	}
	read, seen := &node{path: path, isList: delim == '['}, make(map[string]bool)
	for decoder.More() {
		if problem := read.readNext(decoder, depth, seen); problem != nil {
			return nil, problem
		}
	}
	if _, err := decoder.Token(); err != nil {
		return nil, invalid(path, protocol.CodePolicySyntax, "%.80s", err)
	}
	return read, nil
}

// readNext reads the next item of a list or the next member of an object, whose
// names so far were seen.
func (n *node) readNext(decoder *json.Decoder, depth int, seen map[string]bool) *Error {
	if n.isList {
		item, problem := readNode(decoder, fmt.Sprintf("%s[%d]", n.path, len(n.inside)), depth+1)
		n.inside = append(n.inside, item)
		return problem
	}
	token, err := decoder.Token()
	if err != nil {
		return invalid(n.path, protocol.CodePolicySyntax, "%.80s", err)
	}
	name, _ := token.(string)
	path := below(n.path, name)
	if folded := protocol.FoldCase(name); seen[folded] {
		return invalid(path, protocol.CodePolicyDuplicateKey, "it stands there twice")
	} else {
		seen[folded] = true
	}
	value, problem := readNode(decoder, path, depth+1)
	if problem != nil {
		return problem
	}
	value.name = name
	n.inside = append(n.inside, value)
	return nil
}

// below is the path of a member. A name is the document's word, and cut.
func below(path, name string) string {
	name = protocol.CutText(name, 80)
	if path == "" {
		return name
	}
	return path + "." + name
}

func (n *node) isObject() bool { return n.scalar == nil && !n.isList }

// has reports whether an object has the member.
func (n *node) has(name string) bool {
	for _, m := range n.inside {
		if n.isObject() && m.name == name {
			return true
		}
	}
	return false
}

// kind is what the value is, for people.
func (n *node) kind() string {
	switch n.scalar.(type) {
	case string:
		return "a text"
	case bool:
		return "true or false"
	case json.Number:
		return "a number"
	}
	if n.isList {
		return "a list"
	}
	return "an object"
}
