package tree

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"prlagent/agent/protocol"
)

// place is where something stands in a file; both count from 1.
type place struct{ line, column int }

// kind is what a value is.
type kind int

const (
	kindScalar kind = iota
	kindList
	kindObject
)

// value is one value of a file of YAML, with its place. Only what JSON has as
// well is one.
type value struct {
	at      place
	kind    kind
	scalar  any // string, bool, json.Number, or nil for null
	items   []value
	members []member // in the order of the file, each name once
}

type member struct {
	name  string
	at    place // of the name
	value value
}

// member is the value of a name.
func (v value) member(name string) (value, bool) {
	for _, m := range v.members {
		if m.name == name {
			return m.value, true
		}
	}
	return value{}, false
}

// text is a value that is a text, and "" for any other.
func (v value) text() string {
	text, _ := v.scalar.(string)
	return text
}

// appendJSON appends the value as JSON in one form: names in their order, no
// blanks. What stands in another order in the file is the same policy.
func (v value) appendJSON(to []byte) []byte {
	switch v.kind {
	case kindList:
		to = append(to, '[')
		for i, item := range v.items {
			if i > 0 {
				to = append(to, ',')
			}
			to = item.appendJSON(to)
		}
		return append(to, ']')
	case kindObject:
		to = append(to, '{')
		for i, m := range slices.SortedFunc(slices.Values(v.members), func(a, b member) int { return strings.Compare(a.name, b.name) }) {
			if i > 0 {
				to = append(to, ',')
			}
			to = append(appendScalar(to, m.name), ':')
			to = m.value.appendJSON(to)
		}
		return append(to, '}')
	}
	return appendScalar(to, v.scalar)
}

// appendScalar appends a text, a truth, a number or null. None of them fails.
func appendScalar(to []byte, scalar any) []byte {
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(scalar)
	return append(to, bytes.TrimSuffix(encoded.Bytes(), []byte("\n"))...)
}

// with is the object with a member in the place of one of that name.
func (v value) with(name string, scalar any) value {
	return v.withValue(name, value{at: v.at, scalar: scalar})
}

func (v value) withValue(name string, given value) value {
	members := slices.DeleteFunc(slices.Clone(v.members), func(m member) bool { return m.name == name })
	v.members = append(members, member{name: name, at: given.at, value: given})
	return v
}

// withoutNulls is the value without the members that are null; each is told to
// found with its path.
func (v value) withoutNulls(path string, found func(path string, at place)) value {
	var kept []member
	for _, m := range v.members {
		at := below(path, m.name)
		if m.value.kind == kindScalar && m.value.scalar == nil {
			found(at, m.value.at)
			continue
		}
		m.value = m.value.withoutNulls(at, found)
		kept = append(kept, m)
	}
	v.members = kept
	return v
}

// memberEnabled turns a block of a policy's file on or off (CFP-05).
const memberEnabled = "enabled"

// withBlocks is the value without its blocks that are turned off, and without the
// members that say so. Each block that is off is told to disabled with its path, which
// says whether it stays.
func (v value) withBlocks(path string, disabled func(path string, at place) (stays bool)) value {
	var kept []member
	for _, m := range v.members {
		at := below(path, m.name)
		flag, _ := m.value.member(memberEnabled)
		if isOn, isFlag := flag.scalar.(bool); isFlag {
			if !isOn && !disabled(at, m.at) {
				continue
			}
			m.value.members = slices.DeleteFunc(slices.Clone(m.value.members), func(m member) bool { return m.name == memberEnabled })
		}
		m.value = m.value.withBlocks(at, disabled)
		kept = append(kept, m)
	}
	v.members = kept
	return v
}

// source is where a value of a document was read.
type source struct {
	file string
	at   place
}

// sources are the places of a document's values by their paths, which are those of
// policy.Error.
type sources map[string]source

// add adds a value that a file has, and all below it.
func (s sources) add(file, path string, v value) {
	s[path] = source{file, v.at}
	for i, item := range v.items {
		s.add(file, fmt.Sprintf("%s[%d]", path, i), item)
	}
	for _, m := range v.members {
		s.add(file, below(path, m.name), m.value)
	}
}

// find is the place of the path, or of what is nearest above it.
func (s sources) find(path string) source {
	for path != "" {
		if found, known := s[path]; known {
			return found
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return s[""]
}

// below is the path of a member, as policy.Error has it.
func below(path, name string) string {
	const longest = 80
	name = protocol.CutText(name, longest)
	if path == "" {
		return name
	}
	return path + "." + name
}

// nearest is the name that was likely meant: one that differs in at most two
// letters; empty if there is none.
func nearest(typed string, names []string) string {
	const mostOff = 2
	best, off := "", mostOff+1
	for _, name := range names {
		if d := distance(typed, name, mostOff); d < off {
			best, off = name, d
		}
	}
	return best
}

// distance is how many letters have to be changed, added or removed; more than
// most where it is more.
func distance(a, b string, most int) int {
	if len(a)-len(b) > most || len(b)-len(a) > most {
		return most + 1
	}
	row := slices.Collect(rangeTo(len(b)))
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// rangeTo are the numbers from 0 to n.
func rangeTo(n int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for i := 0; i <= n && yield(i); i++ {
		}
	}
}

// sortedNames are the names of a table, in their order.
func sortedNames[V any](table map[string]V) []string { return slices.Sorted(maps.Keys(table)) }
