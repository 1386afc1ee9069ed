package platform

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"strings"
)

// scutilDictionary is a dictionary or an array as scutil prints it; an array's
// keys are its indexes.
type scutilDictionary struct {
	values map[string]string
	nested map[string]scutilDictionary
}

func newDictionary() scutilDictionary {
	return scutilDictionary{values: make(map[string]string), nested: make(map[string]scutilDictionary)}
}

// nestedIn gives the dictionaries in the array under key, in its order.
func (d scutilDictionary) nestedIn(key string) []scutilDictionary {
	array := d.nested[key].nested
	keys := slices.Collect(maps.Keys(array))
	sort.SliceStable(keys, func(i, j int) bool { // they are numbers
		return cmp.Or(cmp.Compare(len(keys[i]), len(keys[j])), cmp.Compare(keys[i], keys[j])) < 0
	})
	var list []scutilDictionary
	for _, key := range keys {
		list = append(list, array[key])
	}
	return list
}

// maxDictionaryDepth is far beyond what scutil prints about users.
const maxDictionaryDepth = 16

// parseDictionary reads the text of scutil's `show`, lines of `key : value` with
// `key : <dictionary> {` around deeper ones. The format is for people and not
// promised, so what does not fit is skipped: a prompt, "No such key", a line cut
// short. Of equal keys the first wins, so that a line break in a later value (a
// long user name) can not replace a uid that was read already.
func parseDictionary(text string) scutilDictionary {
	top := newDictionary()
	open := []scutilDictionary{top}
	ignored := 0 // open braces inside what is skipped
	for line := range strings.Lines(text) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "> ")
		key, value, found := strings.Cut(line, " : ")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		inner := open[len(open)-1]
		switch {
		case line == "}" && ignored > 0:
			ignored--
		case line == "}" && len(open) > 1:
			open = open[:len(open)-1]
		case !found || !opensNested(value):
			if _, seen := inner.values[key]; found && !seen && ignored == 0 {
				inner.values[key] = value
			}
		case ignored > 0 || inner.hasNested(key) || len(open) > maxDictionaryDepth:
			ignored++
		default:
			inner.nested[key] = newDictionary()
			open = append(open, inner.nested[key])
		}
	}
	return top
}

func (d scutilDictionary) hasNested(key string) bool {
	_, found := d.nested[key]
	return found
}

func opensNested(value string) bool {
	return value == "<dictionary> {" || value == "<array> {"
}
