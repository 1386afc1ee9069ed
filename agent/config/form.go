package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"prlagent/agent/protocol"
	"prlagent/platform/plist"
	"prlagent/platform/text"
)

// Types of property lists, as manifests of preferences name them.
const (
	kindString     = "string"
	kindBoolean    = "boolean"
	kindInteger    = "integer"
	kindArray      = "array"
	kindDictionary = "dictionary"
	kindData       = "data"
)

// valueForm is the type of a value, and what tools that write profiles can check of
// it. Whether a value can be used, only parse says.
type valueForm struct {
	kind    string
	choices []string     // of a string: the only ones
	pattern string       // of a string: a regular expression
	example string       // of a string
	bounds  *intRange    // of an integer
	each    *valueForm   // of an array: its elements; of a dictionary: its values, under any of the names
	names   *valueForm   // of a dictionary with each: its names
	members []formMember // of a dictionary: its names and their values
}

type formMember struct {
	name string
	form valueForm
}

func urlForm(pattern, example string) valueForm {
	return valueForm{kind: kindString, pattern: pattern, example: example}
}

func choiceForm(words ...string) valueForm { return valueForm{kind: kindString, choices: words} }

func commandForm() *valueForm {
	form := choiceForm(protocol.CommandNames(func(*protocol.CommandType) bool { return true })...)
	return &form
}

func trustedKeysForm() valueForm {
	return valueForm{kind: kindArray, each: &valueForm{kind: kindDictionary, members: []formMember{
		{"KeyID", valueForm{kind: kindString, pattern: "^[0-9a-f]{16}$", example: "34750f98bd59fcfc"}},
		{"PublicKey", valueForm{kind: kindData}},
	}}}
}

func numbersForm(ranges ...*intRange) valueForm {
	form := valueForm{kind: kindDictionary}
	for _, one := range ranges {
		form.members = append(form.members, formMember{one.name, valueForm{kind: kindInteger, bounds: one}})
	}
	return form
}

// errNotTyped is the error of a value that cannot be given as one word.
var errNotTyped = errors.New("it is no single value: give it as a file with a property list")

// fromText reads a value as people type it: several are separated by commas, the
// numbers of a dictionary are NAME=NUMBER.
func (f *valueForm) fromText(typed string) (any, error) {
	typed = text.TrimTyped(typed)
	switch f.kind {
	case kindString:
		return typed, nil
	case kindBoolean:
		return booleanOf(typed)
	case kindInteger:
		number, err := strconv.ParseUint(typed, 10, 32)
		if err != nil {
			return nil, errors.New("expected a whole number")
		}
		return number, nil
	case kindData:
		data, err := base64.StdEncoding.DecodeString(typed)
		if err != nil {
			return nil, errors.New("expected base64")
		}
		return data, nil
	case kindArray:
		return f.listFromText(typed)
	}
	return f.numbersFromText(typed)
}

func booleanOf(typed string) (any, error) {
	switch strings.ToLower(typed) {
	case "true", "yes":
		return true, nil
	case "false", "no":
		return false, nil
	}
	return nil, errors.New("expected true or false")
}

func (f *valueForm) listFromText(typed string) (any, error) {
	if f.each.kind != kindString {
		return nil, errNotTyped
	}
	list := []any{}
	for one := range strings.SplitSeq(typed, ",") {
		if one = text.TrimTyped(one); one == "" {
			continue
		}
		word, err := wordOf(one, f.each.choices)
		if err != nil {
			return nil, err
		}
		list = append(list, word)
	}
	return list, nil
}

// wordOf is a typed word as one of the known ones is written. The agent passes over
// what it does not know, which a later version may; a person who types it has slipped.
func wordOf(typed string, known []string) (string, error) {
	if known == nil {
		return typed, nil
	}
	for _, one := range known {
		if strings.EqualFold(typed, one) {
			return one, nil
		}
	}
	if near := nearestName(typed, known, misspelled); near != "" {
		return "", fmt.Errorf("there is no %q; it is called %s", shorten(typed, maxNameShown), near)
	}
	return "", fmt.Errorf("there is no %q, expected of %s", shorten(typed, maxNameShown), strings.Join(known, ", "))
}

// numberNames are the only names of a dictionary of numbers; nil: there are others.
func (f *valueForm) numberNames() (names []string) {
	if f.names != nil {
		return f.names.choices
	}
	for i := range f.members {
		member := &f.members[i]
		names = append(names, member.name)
	}
	return names
}

// numbersFromText reads a dictionary whose values are whole numbers.
func (f *valueForm) numbersFromText(typed string) (any, error) {
	if f.each == nil && len(f.members) == 0 {
		return nil, errNotTyped
	}
	numbers := make(map[string]any)
	for one := range strings.SplitSeq(typed, ",") {
		name, value, _ := strings.Cut(one, "=")
		number, err := strconv.ParseUint(text.TrimTyped(value), 10, 32)
		if err != nil {
			return nil, errors.New("expected NAME=NUMBER,…")
		}
		word, err := wordOf(text.TrimTyped(name), f.numberNames())
		if err != nil {
			return nil, err
		}
		if _, twice := numbers[word]; twice {
			return nil, fmt.Errorf("%s is given twice", word)
		}
		numbers[word] = number
	}
	return numbers, nil
}

// rowOf finds a key by its name.
func rowOf(name string) (*keyRow, error) {
	for i := range keyTable {
		key := &keyTable[i]
		if key.name == name && name != timingKey {
			return key, nil
		}
	}
	if near := nearestName(name, keyNames(), misspelled); near != "" && near != timingKey {
		return nil, fmt.Errorf("there is no key %q; it is called %s", shorten(name, maxNameShown), near)
	}
	return nil, fmt.Errorf("there is no key %q", shorten(name, maxNameShown))
}

// TypedValue is the value of a key as a person types it, for a property list. What
// may hold a secret is refused: the arguments of a program are no place for one.
func TypedValue(name, typed string) (any, error) {
	key, err := rowOf(name)
	if err != nil {
		return nil, err
	}
	value, err := key.form.fromText(typed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c := defaultConfig()
	key.parse(c, value) // Check says what is wrong
	if len(c.Secrets()) > 0 {
		return nil, fmt.Errorf("%s: a secret is not given as an argument, which every user of this machine can read: give it as a file", name)
	}
	return value, nil
}

// FileValue is the value of a key from a file: the text of a string, a property list
// of everything else.
func FileValue(name string, content []byte) (any, error) {
	key, err := rowOf(name)
	if err != nil {
		return nil, err
	}
	if key.form.kind == kindString {
		return text.TrimTyped(string(content)), nil
	}
	value, err := plist.Decode(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return value, nil
}

// Check says what the agent would not take of a profile's settings, as it says of a
// profile on a Mac. The values are as a property list has them.
func Check(values map[string]any) []Problem {
	settings := make(map[string]any, len(values))
	for name, value := range values {
		if !isMetadata(name) && name != timingKey {
			settings[name] = value
		}
	}
	checked := configFiles{managed: configFile{values: settings}, local: configFile{missing: true}}.buildConfig(Paths{})
	return slices.Concat(nameProblems(settings, SourceManaged.fileName()), checked.Problems)
}
