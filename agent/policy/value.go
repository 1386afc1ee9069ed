package policy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Value is a setting's value in one spelling: true, false, a word, a whole
// number in decimal digits, or a text.
type Value string

// Values of settings that are switches.
const (
	True  Value = "true"
	False Value = "false"
)

// Kind is what type the values of a setting have.
type Kind string

// Kinds of values.
const (
	KindSwitch Kind = "switch" // true or false
	KindChoice Kind = "choice" // one of some words
	KindNumber Kind = "number" // a whole number
	KindText   Kind = "text"   // see Values.Pattern
	// KindAddress is one of some words, or an address that begins with https://.
	KindAddress Kind = "address"
)

// Values are the values that a setting takes.
type Values struct {
	Kind Kind
	// Only are the values of a choice, and of a switch that does not take both;
	// each with what it means.
	Only []Meaning
	// Min and Max bound a number; Max also the characters of a text or an address.
	Min, Max int
	Plain    bool // an address may begin with http:// as well
}

// Meaning is one value and what it means, for people.
type Meaning struct {
	Value Value
	Doc   string
}

// TextPattern is what a text of a setting looks like: printable ASCII, which no
// tool takes for an option.
const TextPattern = `^[A-Za-z0-9][A-Za-z0-9 ._:/#+-]*$`

const textCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ._:/#+-"

// List are the values in words, for a message.
func (v *Values) List() string {
	switch v.Kind {
	case KindNumber:
		return fmt.Sprintf("a whole number from %d to %d", v.Min, v.Max)
	case KindText:
		return fmt.Sprintf("a text of 1 to %d characters that matches %s", v.Max, TextPattern)
	}
	words := make([]string, 0, len(v.Only)+1)
	for _, value := range v.all() {
		words = append(words, cmp.Or(string(value), `""`))
	}
	switch {
	case v.Kind == KindAddress && v.Plain:
		words = append(words, "an address that begins with https:// or http://")
	case v.Kind == KindAddress:
		words = append(words, "an address that begins with https://")
	}
	return strings.Join(words, ", ")
}

// all are the values of a switch or a choice.
func (v *Values) all() []Value {
	if len(v.Only) == 0 && v.Kind == KindSwitch {
		return []Value{True, False}
	}
	list := make([]Value, len(v.Only))
	for i := range v.Only {
		list[i] = v.Only[i].Value
	}
	return list
}

// isAmong reports whether the value is one of these.
func isAmong(values []Value, value Value) bool {
	for _, one := range values {
		if one == value {
			return true
		}
	}
	return false
}

// Parse reads a value as it is typed on a command line.
func (v *Values) Parse(text string) (Value, error) {
	if v.has(text) {
		return Value(text), nil
	}
	return "", fmt.Errorf("%.80q is not among the values: %s", text, v.List())
}

// has reports whether the text is one of the values.
func (v *Values) has(text string) bool {
	switch v.Kind {
	case KindNumber:
		number, err := strconv.Atoi(text)
		return err == nil && strconv.Itoa(number) == text && number >= v.Min && number <= v.Max
	case KindText:
		return text != "" && len(text) <= v.Max && text[0] != ' ' && strings.Trim(text, textCharacters) == "" &&
			strings.IndexByte("._:/#+-", text[0]) < 0
	}
	return isAmong(v.all(), Value(text)) || v.Kind == KindAddress && v.isAddress(text)
}

// maxAddress is how long an address may be, in bytes.
const maxAddress = 1024

// isAddress reports whether the text is an address of printable ASCII, without a
// password in it.
func (v *Values) isAddress(text string) bool {
	isOther := func(r rune) bool { return r <= ' ' || r > '~' }
	if len(text) > v.Max || strings.ContainsFunc(text, isOther) {
		return false
	}
	parsed, err := url.Parse(strings.ReplaceAll(text, majorTemplate, "1"))
	return err == nil && parsed.Host != "" && parsed.User == nil && (parsed.Scheme == "https" || v.Plain && parsed.Scheme == "http")
}

// fits reports whether a scalar of a document has the type of the values, and
// gives its spelling.
func (v *Values) fits(scalar any) (string, bool) {
	switch scalar := scalar.(type) {
	case bool:
		return strconv.FormatBool(scalar), v.Kind == KindSwitch
	case string:
		return scalar, v.Kind == KindChoice || v.Kind == KindText || v.Kind == KindAddress
	case json.Number:
		return scalar.String(), v.Kind == KindNumber
	}
	return "", false
}
