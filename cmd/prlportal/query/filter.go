package query

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"prlagent/agent/protocol"
	"prlagent/platform/text"
)

// The grammar of one filter, in the command line and in a URL alike:
//
//	COLUMN = VALUE          COLUMN in VALUE, VALUE …     COLUMN empty
//	COLUMN != VALUE         COLUMN contains VALUE        COLUMN not empty
//	COLUMN < VALUE          and <=, >, >=, before, after
//
// Spaces around a sign are free. A value ends with the filter; one with a comma
// in a list, with spaces at its ends or with a sign at its beginning is written
// in double quotes, in which \" and \\ are a quote and a backslash.
//
// Text compares without regard to case, to composed and decomposed forms of a
// character, to typographic quotes and dashes, and to braces around an id. A value
// names what it says and no more: the time 2026-11-01 is that whole day, and a version's build counts
// only where it is given. An empty cell is not equal to anything, and neither
// before nor after anything.

// operator is one row of the grammar.
type operator struct {
	word  string
	kinds []protocol.Kind // that it applies to
	count int             // values it takes: 0, 1, or many
	holds func(order int) bool
}

const manyValues = -1

var (
	everyKind    = []protocol.Kind{protocol.KindText, protocol.KindVersion, protocol.KindTime, protocol.KindNumber, protocol.KindBool}
	orderedKinds = []protocol.Kind{protocol.KindVersion, protocol.KindTime, protocol.KindNumber}
)

func isBefore(order int) bool { return order < 0 }

func isEqual(order int) bool { return order == 0 }

func isAfter(order int) bool { return order > 0 }

// Words of operators that look at more than the order.
const (
	wordNot      = "!="
	wordContains = "contains"
	wordEmpty    = "empty"
	wordNotEmpty = "not empty"
)

// operators are tried in this order: longer signs before their beginnings.
var operators = []operator{
	{wordNot, everyKind, 1, func(order int) bool { return order != 0 }},
	{"<=", orderedKinds, 1, func(order int) bool { return order <= 0 }},
	{">=", orderedKinds, 1, func(order int) bool { return order >= 0 }},
	{"=", everyKind, 1, isEqual},
	{"<", orderedKinds, 1, isBefore},
	{">", orderedKinds, 1, isAfter},
	{wordContains, []protocol.Kind{protocol.KindText, protocol.KindVersion}, 1, nil},
	{"in", []protocol.Kind{protocol.KindText, protocol.KindVersion, protocol.KindNumber}, manyValues, isEqual},
	{"before", []protocol.Kind{protocol.KindTime}, 1, isBefore},
	{"after", []protocol.Kind{protocol.KindTime}, 1, isAfter},
	{wordNotEmpty, everyKind, 0, nil},
	{wordEmpty, everyKind, 0, nil},
}

// operatorSigns are what operators without letters are made of.
const operatorSigns = "=!<>"

// condition is one filter, read.
type condition struct {
	column   Column
	operator operator
	values   []operand
}

// parseFilter reads one filter. Its errors name the column, the operator and
// what is expected.
func parseFilter(columns []Column, typed string, now time.Time) (condition, error) {
	filter := unquoteFilter(text.TrimTyped(typed))
	end := strings.IndexFunc(filter, func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune(operatorSigns+typographicSigns, r)
	})
	if end < 0 {
		end = len(filter)
	}
	found, err := FindColumn(columns, filter[:end])
	if err != nil {
		return condition{}, err
	}
	read := condition{column: found}
	rest, known := read.readOperator(text.TrimTyped(filter[end:]))
	if !known || !slices.Contains(read.operator.kinds, found.Kind) {
		what := "an operator is missing after"
		if known {
			what = fmt.Sprintf("%s is no operator of", read.operator.word)
		}
		return condition{}, fmt.Errorf("%s %s, which is a %s; operators are %s", what, found.ID, found.Kind, strings.Join(operatorsOf(found.Kind), ", "))
	}
	if err := read.readValues(rest, now); err != nil {
		return condition{}, fmt.Errorf("%s %s: %w", found.ID, read.operator.word, err)
	}
	return read, nil
}

// unquoteFilter takes quotes off that stand around the filter as a whole, as a
// shell leaves them where they are not its own: no filter begins with one.
func unquoteFilter(filter string) string {
	first, size := utf8.DecodeRuneInString(filter)
	last, lastSize := utf8.DecodeLastRuneInString(filter)
	if isDoubleQuote(first) && isDoubleQuote(last) && len(filter) > size+lastSize {
		return text.TrimTyped(filter[size : len(filter)-lastSize])
	}
	return filter
}

func isDoubleQuote(character rune) bool { return text.Straighten(string(character)) == `"` }

func operatorsOf(of protocol.Kind) []string {
	var words []string
	for _, known := range operators {
		if slices.Contains(known.kinds, of) {
			words = append(words, known.word)
		}
	}
	return words
}

// typographicSigns stand for the signs that are typed in two characters.
const typographicSigns = "≠≤≥"

var signsAsTyped = strings.NewReplacer("≠", wordNot, "≤", "<=", "≥", ">=")

// readOperator takes the operator off what is left of a filter.
func (c *condition) readOperator(filter string) (rest string, known bool) {
	if sign, size := utf8.DecodeRuneInString(filter); strings.ContainsRune(typographicSigns, sign) {
		filter = signsAsTyped.Replace(filter[:size]) + filter[size:]
	}
	for _, candidate := range operators {
		rest, found := strings.CutPrefix(filter, candidate.word)
		if !strings.ContainsAny(candidate.word, operatorSigns) {
			rest, found = cutWords(filter, strings.Fields(candidate.word))
		}
		if found {
			c.operator = candidate
			return text.TrimTyped(rest), true
		}
	}
	return "", false
}

// cutWords takes words off the beginning, in any letter case and with any blanks
// between. Each must be a whole word.
func cutWords(filter string, words []string) (rest string, found bool) {
	for _, word := range words {
		filter = text.TrimTyped(filter)
		if len(filter) < len(word) || !strings.EqualFold(filter[:len(word)], word) {
			return "", false
		}
		filter = filter[len(word):]
		if next, size := utf8.DecodeRuneInString(filter); size > 0 && !unicode.IsSpace(next) && !isDoubleQuote(next) {
			return "", false // the beginning of another word
		}
	}
	return filter, true
}

// maxListed is how many values one "in" takes.
const maxListed = 500

func (c *condition) readValues(given string, now time.Time) error {
	texts, err := splitValues(given, c.operator.count == manyValues)
	switch {
	case err != nil:
		return err
	case c.operator.count == 0 && len(texts) > 0:
		return fmt.Errorf("expected nothing after it, not %q", text.Display(given))
	case c.operator.count != 0 && len(texts) == 0:
		return fmt.Errorf("expected a value; for cells without one write '%s %s'", c.column.ID, wordEmpty)
	case len(texts) > maxListed:
		return fmt.Errorf("expected at most %d values", maxListed)
	}
	reads := c.column.Kind
	if c.operator.word == wordContains {
		reads = protocol.KindText
	}
	for _, value := range texts {
		read, err := readOperand(reads, value, now)
		if err != nil {
			return fmt.Errorf("%w, not %q", err, text.Display(value))
		}
		c.values = append(c.values, read)
	}
	return nil
}

var errQuote = errors.New(`expected a value in double quotes to end with one, and a comma or nothing after it`)

// splitValues gives the one value of the text, or those of a list.
func splitValues(text string, list bool) ([]string, error) {
	var values []string
	for text != "" {
		value, rest, err := nextValue(text, list)
		if err != nil {
			return nil, err
		}
		values, text = append(values, value), rest
	}
	return values, nil
}

func nextValue(given string, list bool) (value, rest string, err error) {
	opening, size := utf8.DecodeRuneInString(given)
	if !isDoubleQuote(opening) {
		return nextBareValue(given, list)
	}
	closes := isDoubleQuote
	if opening == '"' {
		closes = func(r rune) bool { return r == '"' } // typographic ones are part of the value
	}
	value, rest, err = unquote(given[size:], closes)
	if err != nil || rest == "" {
		return value, "", err
	}
	rest, more := strings.CutPrefix(rest, ",")
	if !list || !more {
		return "", "", errQuote
	}
	return value, text.TrimTyped(rest), nil
}

// nextBareValue gives a value that is in no quotes.
func nextBareValue(given string, list bool) (value, rest string, err error) {
	value = given
	if list {
		value, rest, _ = strings.Cut(given, ",")
	}
	value = text.TrimTyped(value)
	straight := text.Straighten(value)
	switch {
	case value == "":
		return "", "", errors.New("expected a value between the commas")
	case strings.ContainsRune(operatorSigns, rune(value[0])),
		len(straight) > 1 && strings.HasPrefix(straight, "'") && strings.HasSuffix(straight, "'"):
		return "", "", fmt.Errorf("expected a value, not %q; put it in double quotes if it is one", text.Display(value))
	}
	return value, text.TrimTyped(rest), nil
}

// unquote reads up to the closing quote.
func unquote(given string, closes func(rune) bool) (value, rest string, err error) {
	var out strings.Builder
	for i := 0; i < len(given); {
		character, size := utf8.DecodeRuneInString(given[i:])
		switch {
		case closes(character):
			if out.Len() == 0 {
				return "", "", errors.New("expected something between the quotes")
			}
			return out.String(), text.TrimTyped(given[i+size:]), nil
		case character == '\\' && i+1 < len(given) && strings.ContainsRune(`"\`, rune(given[i+1])):
			i++
		}
		out.WriteString(given[i : i+size])
		i += size
	}
	return "", "", errQuote
}

// matches reports whether the cell is one that the filter asks for.
func (c condition) matches(value Cell) bool {
	switch c.operator.word {
	case wordEmpty:
		return value.isEmpty()
	case wordNotEmpty:
		return !value.isEmpty()
	case wordContains:
		return strings.Contains(comparisonKey(value.text), c.values[0].text)
	}
	if value.isEmpty() {
		return c.operator.word == wordNot
	}
	for _, wanted := range c.values {
		order, ordered := wanted.order(c.column.Kind, value)
		if !ordered {
			if c.operator.word == wordNot {
				return true
			}
			continue
		}
		if c.operator.holds(order) {
			return true
		}
	}
	return false
}
