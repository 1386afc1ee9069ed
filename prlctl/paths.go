package prlctl

import (
	"encoding/json"
	"strings"
	"unsafe"
)

// Paths are places in the description of a virtual machine that are read
// together, in one pass over its text. A path is the keys from the outside in
// with slashes between, for example "Startup and Shutdown/Autostart"; a key with
// a slash of its own cannot be named.
type Paths struct {
	root  pathKeys
	count int
}

// pathKeys are the wanted keys of one object.
type pathKeys map[string]*pathKey

type pathKey struct {
	index int      // of the path that ends here; absent if none does
	below pathKeys // of those that go on
}

// NewPaths makes Paths that Read gives the values of in this order.
func NewPaths(paths ...string) *Paths {
	p := &Paths{root: make(pathKeys), count: len(paths)}
	for i, path := range paths {
		keys, steps := p.root, strings.Split(path, "/")
		for n, step := range steps {
			key := keys[step]
			if key == nil {
				key = &pathKey{index: absent, below: make(pathKeys)}
				keys[step] = key
			}
			if n == len(steps)-1 {
				key.index = i
			}
			keys = key.below
		}
	}
	return p
}

// Read gives the value at each path: the text of a string, a number or a truth
// value as it is written. It is empty where the description has none, or an
// object or a list. The result uses the room of into.
func (p *Paths) Read(vm *VM, into []string) []string {
	into = into[:0]
	for range p.count {
		into = append(into, "")
	}
	text := unsafe.String(unsafe.SliceData(vm.Raw), len(vm.Raw)) // nobody changes what was read, and a copy is some kilobytes
	if strings.HasPrefix(text, "{") {
		p.readObject(text, 1, p.root, into)
	}
	return into
}

// readObject reads the members of an object from the first one on and returns
// where it ends. The text is canonical: it has no blanks between its tokens. In
// any other text nothing is found.
func (p *Paths) readObject(text string, at int, keys pathKeys, into []string) int {
	for at < len(text) && text[at] == '"' {
		end := skipText(text, at)
		if end >= len(text) || text[end] != ':' {
			return len(text)
		}
		key := keys[text[at+1:end-1]]
		at = p.readMember(text, end+1, key, into)
		if at >= len(text) || text[at] != ',' {
			return at + 1
		}
		at++
	}
	return at + 1
}

// readMember reads the value that begins here, if it is wanted, and returns
// where it ends.
func (p *Paths) readMember(text string, at int, key *pathKey, into []string) int {
	if key != nil && at < len(text) && text[at] == '{' {
		return p.readObject(text, at+1, key.below, into)
	}
	end := skipValue(text, at)
	if key != nil && key.index != absent && end <= len(text) {
		into[key.index] = scalarText(text[at:end])
	}
	return end
}

// skipText returns the index behind the string that begins here.
func skipText(text string, at int) int {
	for at++; at < len(text); at++ {
		switch text[at] {
		case '\\':
			at++
		case '"':
			return at + 1
		}
	}
	return len(text)
}

// skipValue returns the index behind the value that begins here.
func skipValue(text string, at int) int {
	for depth := 0; at < len(text); {
		switch text[at] {
		case '"':
			at = skipText(text, at)
		case '{', '[':
			depth++
			at++
			continue
		case '}', ']':
			depth--
			at++
		default: // a number, a truth value, or what stands between values
			at++
			if depth > 0 || at < len(text) && strings.IndexByte(",}]", text[at]) < 0 {
				continue
			}
		}
		if depth <= 0 {
			return at
		}
	}
	return len(text)
}

// scalarText is the text of a string, or what is neither object nor list.
func scalarText(value string) string {
	switch {
	case value == "" || value == "null" || value[0] == '{' || value[0] == '[':
		return ""
	case value[0] != '"':
		return value
	case strings.IndexByte(value, '\\') < 0:
		return value[1:max(1, len(value)-1)]
	}
	var text string
	if json.Unmarshal([]byte(value), &text) != nil {
		return ""
	}
	return text
}
