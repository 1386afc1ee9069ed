package plist

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// checkEncodable refuses what a tree may hold but a property list cannot keep
// unchanged.
func checkEncodable(tree any) error {
	switch value := tree.(type) {
	case string:
		return checkText(value)
	case float64:
		if math.IsNaN(value) || math.IsInf(value, 0) {
			return fail(CodeUnsupported, "a real that is no number or infinite")
		}
	case time.Time:
		if value.Unix() <= zeroTime || value.Unix() >= endOfCalendar {
			return fail(CodeUnsupported, "the zero time or a date out of range")
		}
	case []any:
		for i, element := range value {
			if err := checkEncodable(element); err != nil {
				return within(fmt.Sprintf("[%d]", i), err)
			}
		}
	case map[string]any:
		return checkDictionary(value)
	}
	return nil
}

func checkDictionary(dictionary map[string]any) error {
	if _, reserved := dictionary[uidKey]; reserved && len(dictionary) == 1 {
		return fail(CodeUnsupported, "a dictionary that reads back as a UID")
	}
	for key, value := range dictionary {
		if err := checkText(key); err != nil {
			return within(fmt.Sprintf("key %q", key), err)
		}
		if err := checkEncodable(value); err != nil {
			return within(fmt.Sprintf("%q", key), err)
		}
	}
	return nil
}

// checkText refuses the characters that XML 1.0 has no spelling for.
func checkText(text string) error {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, notInXML) {
		return nil
	}
	return fail(CodeUnsupported, "text with control characters or invalid UTF-8")
}

func notInXML(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
}
