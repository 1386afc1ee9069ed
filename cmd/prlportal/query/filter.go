package query

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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
// Text compares without regard to case. A value names what it says and no
// more: the time 2026-11-01 is that whole day, and a version's build counts
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
func parseFilter(columns []Column, text string, now time.Time) (condition, error) {
	text = strings.TrimSpace(text)
	end := strings.IndexFunc(text, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') })
	if end < 0 {
		end = len(text)
	}
	found, err := FindColumn(columns, text[:end])
	if err != nil {
		return condition{}, err
	}
	read := condition{column: found}
	rest, known := read.readOperator(strings.TrimSpace(text[end:]))
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

func operatorsOf(of protocol.Kind) []string {
	var words []string
	for _, known := range operators {
		if slices.Contains(known.kinds, of) {
			words = append(words, known.word)
		}
	}
	return words
}

// readOperator takes the operator off the text.
func (c *condition) readOperator(text string) (rest string, known bool) {
	for _, candidate := range operators {
		if len(text) < len(candidate.word) || !strings.EqualFold(text[:len(candidate.word)], candidate.word) {
			continue
		}
		rest := text[len(candidate.word):]
		isWord := !strings.ContainsAny(candidate.word, operatorSigns)
		if isWord && rest != "" && rest[0] != ' ' && rest[0] != '"' {
			continue // the beginning of another word
		}
		c.operator = candidate
		return strings.TrimSpace(rest), true
	}
	return "", false
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
	if !strings.HasPrefix(given, `"`) {
		value = given
		if list {
			value, rest, _ = strings.Cut(given, ",")
		}
		if value = strings.TrimSpace(value); value == "" {
			return "", "", errors.New("expected a value between the commas")
		}
		if strings.ContainsRune(operatorSigns, rune(value[0])) {
			return "", "", fmt.Errorf("expected a value, not %q; put it in double quotes if it is one", text.Display(value))
		}
		return value, strings.TrimSpace(rest), nil
	}
	value, rest, err = unquote(given[1:])
	if err != nil || rest == "" {
		return value, "", err
	}
	rest, more := strings.CutPrefix(rest, ",")
	if !list || !more {
		return "", "", errQuote
	}
	return value, strings.TrimSpace(rest), nil
}

// unquote reads up to the closing quote.
func unquote(text string) (value, rest string, err error) {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			if out.Len() == 0 {
				return "", "", errors.New("expected something between the quotes")
			}
			return out.String(), strings.TrimSpace(text[i+1:]), nil
		case text[i] == '\\' && i+1 < len(text) && strings.ContainsRune(`"\`, rune(text[i+1])):
			i++
		}
		out.WriteByte(text[i])
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
		return strings.Contains(strings.ToLower(value.text), strings.ToLower(c.values[0].text))
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
