package sim

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"prlagent/platform/plist"
	"prlagent/platform/text"
)

// unexpectedArgument is a value that defaults does not take.
type unexpectedArgument string

func (a unexpectedArgument) Error() string {
	return "Unexpected argument " + string(a) + "; leaving defaults unchanged."
}

// typedDefaults read the value behind a type switch of defaults(1).
var typedDefaults = map[string]func(text string) (any, error){
	"-string":  func(text string) (any, error) { return text, nil },
	"-int":     leadingInteger,
	"-integer": leadingInteger,
	"-float":   leadingReal,
	"-bool":    boolWord,
	"-boolean": boolWord,
	"-date":    dateWord,
	"-data":    func(text string) (any, error) { return hex.DecodeString(text) },
}

// leadingDigits are the number that a text begins with.
var leadingDigits = text.Pattern(`^[+-]?\d*`)

// leadingInteger reads the number that a text begins with: what begins with none is
// 0 (inferred).
func leadingInteger(text string) (any, error) {
	digits := strings.TrimPrefix(leadingDigits().FindString(strings.TrimSpace(text)), "+")
	if number, err := strconv.ParseUint(digits, 10, 64); err == nil {
		return number, nil
	}
	if number, err := strconv.ParseInt(digits, 10, 64); err == nil && number < 0 {
		return number, nil
	}
	return uint64(0), nil
}

func leadingReal(text string) (any, error) {
	number, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0.0, nil
	}
	return number, nil
}

// boolWord reads one of the four words that defaults(1) names.
func boolWord(text string) (any, error) {
	switch strings.ToUpper(text) {
	case "TRUE", "YES":
		return true, nil
	case "FALSE", "NO":
		return false, nil
	}
	return nil, unexpectedArgument(text)
}

func dateWord(text string) (any, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05 -0700", time.DateOnly} {
		if date, err := time.Parse(layout, text); err == nil {
			return date.UTC(), nil
		}
	}
	return nil, unexpectedArgument(text)
}

// parseDefaultsValue reads `-TYPE VALUE` or a value alone, which is a property
// list if it looks like one, and else a string (defaults(1)).
func parseDefaultsValue(words []string) (any, error) {
	switch {
	case len(words) == 1 && !strings.HasPrefix(words[0], "-"):
		return parsePropertyList(words[0])
	case len(words) == 2 && typedDefaults[words[0]] != nil:
		value, err := typedDefaults[words[0]](words[1])
		if err != nil {
			return nil, unexpectedArgument(words[1])
		}
		return value, nil
	}
	return nil, unexpectedArgument(words[len(words)-1])
}

// parsePropertyList reads a fragment of an XML property list. Of the old style only
// a string in quotes is understood; a dictionary or array of it is refused, which the
// real tool takes.
func parsePropertyList(text string) (any, error) {
	refusal := toolErrorf("Could not parse: %s.  Try single-quoting it.", text)
	trimmed := strings.TrimSpace(text)
	switch {
	case strings.HasPrefix(trimmed, "<"):
		if !strings.HasPrefix(trimmed, "<?xml") && !strings.HasPrefix(trimmed, "<plist") {
			trimmed = `<plist version="1.0">` + trimmed + "</plist>"
		}
		value, err := plist.Decode([]byte(trimmed))
		if err != nil {
			return nil, refusal
		}
		return value, nil
	case strings.HasPrefix(trimmed, "{"), strings.HasPrefix(trimmed, "("):
		return nil, refusal
	case strings.HasPrefix(trimmed, `"`):
		value, err := strconv.Unquote(trimmed)
		if err != nil {
			return nil, refusal
		}
		return value, nil
	}
	return text, nil
}

// defaultsType is the word of `defaults read-type`.
func defaultsType(value any) string {
	switch value.(type) {
	case string:
		return "string"
	case []byte:
		return "data"
	case int64, uint64:
		return "integer"
	case float64:
		return "float"
	case bool:
		return "boolean"
	case time.Time:
		return "date"
	case []any:
		return "array"
	}
	return "dictionary"
}

// plainWord needs no quotes in the old style.
var plainWord = text.Pattern(`^[A-Za-z0-9_./$:]+$`)

// oldStyle is how `defaults read` prints a value: a boolean as 1 or 0, so that what
// it prints does not tell the types apart.
func oldStyle(value any, depth int) string {
	indent := strings.Repeat("    ", depth+1)
	switch value := value.(type) {
	case string:
		if plainWord().MatchString(value) {
			return value
		}
		return strconv.QuoteToASCII(value)
	case bool:
		return map[bool]string{false: "0", true: "1"}[value]
	case []byte:
		return fmt.Sprintf("{length = %d, bytes = 0x%x}", len(value), value)
	case float64:
		return oldStyle(strconv.FormatFloat(value, 'g', -1, 64), depth)
	case time.Time:
		return strconv.Quote(value.UTC().Format("2006-01-02 15:04:05 -0700"))
	case []any:
		var lines []string
		for _, element := range value {
			lines = append(lines, indent+oldStyle(element, depth+1))
		}
		return "(\n" + strings.Join(lines, ",\n") + "\n" + strings.Repeat("    ", depth) + ")"
	case map[string]any:
		var lines strings.Builder
		for _, key := range slices.Sorted(maps.Keys(value)) {
			fmt.Fprintf(&lines, "%s%s = %s;\n", indent, oldStyle(key, 0), oldStyle(value[key], depth+1))
		}
		return "{\n" + lines.String() + strings.Repeat("    ", depth) + "}"
	}
	return oldStyle(fmt.Sprint(value), depth)
}
