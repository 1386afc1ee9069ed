package prlctl

import (
	"strconv"
	"strings"
)

// Fields of a bundle's files that are not kept as they are written.
type (
	fileUUID string // lower case without braces; empty for none, one of zeros, and something else
	fileDate string // empty for one that was never set

	// numberField is a number of the file in our words.
	numberField struct {
		word  *string
		words numberWords
	}
)

// fillField reads the text of an element into a field: a *string takes it as it
// is, an *int is 0 where it is no number.
func fillField(field any, text string) {
	switch field := field.(type) {
	case *string:
		*field = text
	case *int:
		*field = readNumber(text)
	case *Switch:
		*field = ParseSwitch(text)
	case *fileUUID:
		*field = fileUUID(readUUID(text))
	case *fileDate:
		*field = fileDate(readDate(text))
	case numberField:
		*field.word = field.words.of(text)
	}
}

// readDate reads a date of the file. The tools write a date that was never set as
// one of long ago (facts/captures.md 4.4).
func readDate(text string) string {
	for _, null := range []string{"1752-01-01", "1751-12-31"} {
		if strings.HasPrefix(text, null) {
			return ""
		}
	}
	return text
}

func readUUID(text string) string {
	id, err := ParseID(text)
	if err != nil || strings.Trim(id, "0-") == "" {
		return ""
	}
	return id
}

func readNumber(text string) int {
	number, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0
	}
	return int(number)
}
