package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"prlagent/agent/protocol"
)

// Bounds of what is said about names that are not read: a file can have any
// number of them.
const (
	maxNamesShown  = 10
	maxNameShown   = 64 // bytes
	maxNestedDepth = 8  // an MCX profile has its settings five levels deep
)

// nameProblems are warnings about what a file says under names that are not
// read: ours misspelled, ours inside a dictionary, and none of ours at all.
// Other names are ignored without a word, because a profile may be newer than
// the agent.
func nameProblems(values map[string]any, file string) []Problem {
	var found []Problem
	ours := false
	unknown := make([]string, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch {
		case isKey(name):
			ours = true
		case !isMetadata(name):
			unknown = append(unknown, name)
		}
	}
	for _, name := range unknown {
		if near := nearestName(name, keyNames(), misspelled); near != "" && len(found) < maxNamesShown {
			found = append(found, Problem{Key: shorten(name, maxNameShown), Code: protocol.CodeConfigUnknownKey,
				Text: fmt.Sprintf("in the %s: not read, the key is called %s", file, near)})
		}
	}
	nested := nestedProblems(values, file)
	if !ours && len(found)+len(nested) == 0 {
		return []Problem{{Key: file, Code: protocol.CodeConfigNoKeys, Text: "found " + listNames(unknown)}}
	}
	return append(found, nested...)
}

// listNames names what stands in a file that has no key of ours, each with the
// key that it may be meant for.
func listNames(names []string) string {
	if len(names) == 0 {
		return "nothing in it"
	}
	shown := make([]string, 0, maxNamesShown)
	for _, name := range names[:min(len(names), maxNamesShown)] {
		one := shorten(name, maxNameShown)
		if near := nearestName(name, keyNames(), resembles); near != "" {
			one += fmt.Sprintf(" (%s?)", near)
		}
		shown = append(shown, one)
	}
	if more := len(names) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("%d more", more))
	}
	return "only " + strings.Join(shown, ", ")
}

// nestedProblems names the places inside a file where keys of ours stand and are
// not read, as where the whole payload was put into the file.
func nestedProblems(values map[string]any, file string) []Problem {
	var found []Problem
	var walk func(path string, value any, depth int)
	walk = func(path string, value any, depth int) {
		if depth > maxNestedDepth || len(found) == maxNamesShown {
			return
		}
		switch value := value.(type) {
		case []any:
			for i, element := range value {
				walk(fmt.Sprintf("%s[%d]", path, i+1), element, depth+1)
			}
		case map[string]any:
			var ours []string
			for _, name := range slices.Sorted(maps.Keys(value)) {
				near := nearestName(name, keyNames(), sameLetters)
				if _, read := values[near]; near != "" && !read {
					ours = append(ours, near)
				} else if near == "" {
					walk(path+"."+shorten(name, maxNameShown), value[name], depth+1)
				}
			}
			if len(ours) > 0 {
				found = append(found, Problem{Key: path, Code: protocol.CodeConfigNestedKey,
					Text: fmt.Sprintf("in the %s: %s must stand at the top level", file, strings.Join(ours, ", "))})
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !isKey(name) {
			walk(shorten(name, maxNameShown), values[name], 1)
		}
	}
	return found
}

func isKey(name string) bool { return slices.Contains(keyNames(), name) }

func keyNames() []string {
	names := make([]string, len(keyTable))
	for i := range keyTable {
		key := &keyTable[i]
		names[i] = key.name
	}
	return names
}

// unknownNames are the entries of a dictionary of ours that nobody reads.
func unknownNames(entry map[string]any, known ...string) (problems []error) {
	for _, name := range slices.Sorted(maps.Keys(entry)) {
		near := nearestName(name, known, misspelled)
		if !slices.Contains(known, name) && near != "" && len(problems) < maxNamesShown {
			problems = append(problems, fmt.Errorf("%s: not read, it is called %s", shorten(name, maxNameShown), near))
		}
	}
	return problems
}

// nearestName is the first of the known names that a name is close to; empty if
// it is close to none, or is one of them.
func nearestName(name string, known []string, isClose func(name, known string) bool) string {
	for _, one := range known {
		if isClose(letters(name), letters(one)) {
			return one
		}
	}
	return ""
}

func sameLetters(name, known string) bool { return name == known }

// misspelled reports whether a name has no more than a few letters that differ:
// every fourth.
func misspelled(name, known string) bool {
	few := len(known) / 4
	return name != "" && max(len(name), len(known))-min(len(name), len(known)) <= few && editDistance(name, known) <= few
}

// misspelledByOne reports whether one letter differs.
func misspelledByOne(name, known string) bool {
	return misspelled(name, known) && editDistance(name, known) <= 1
}

// resembles also takes a name that begins as the other one.
func resembles(name, known string) bool {
	short := min(len(name), len(known))
	return misspelled(name, known) || short >= 4 && name[:short] == known[:short]
}

// letters are a name's letters and digits, in lower case.
func letters(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, shorten(name, maxNameShown))
}

// editDistance is how many letters must be put in, left out, or replaced to make
// one word of the other (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// shorten cuts a text that is to be shown; what acts on a terminal is made
// visible where it is shown.
func shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
