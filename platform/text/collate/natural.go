package collate

import (
	"cmp"
	"strings"
)

// CompareNatural orders texts as people expect: without regard to letter case
// and composition (Fold), and numbers in them as numbers, so that "VM 9" comes
// before "VM 10". Texts that differ in nothing else are ordered by their bytes.
func CompareNatural(a, b string) int {
	return cmp.Or(compareParts(Fold(a), Fold(b)), strings.Compare(a, b))
}

func compareParts(a, b string) int {
	for a != "" && b != "" {
		var partA, partB string
		partA, a = cutPart(a)
		partB, b = cutPart(b)
		order := strings.Compare(partA, partB)
		if isDigit(partA[0]) && isDigit(partB[0]) {
			order = compareNumbers(partA, partB)
		}
		if order != 0 {
			return order
		}
	}
	return cmp.Compare(len(a), len(b))
}

// cutPart cuts the digits, or else the other characters, off the beginning.
func cutPart(text string) (part, rest string) {
	end := 1
	for end < len(text) && isDigit(text[end]) == isDigit(text[0]) {
		end++
	}
	return text[:end], text[end:]
}

// compareNumbers compares digits of any length. Zeros in front count last.
func compareNumbers(a, b string) int {
	shortA, shortB := strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(shortA), len(shortB)), strings.Compare(shortA, shortB), cmp.Compare(len(a), len(b)))
}

func isDigit(character byte) bool { return '0' <= character && character <= '9' }
