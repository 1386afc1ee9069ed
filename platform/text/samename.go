package text

import (
	"slices"
	"sort"
	"strings"
	"unicode"
)

// SameName reports whether a volume of a Mac that ignores letter case would take
// two names, or two paths, for one: composed and decomposed forms are equal, and
// letter case counts for nothing (Unicode's canonical caseless match, D145, by the
// simple case foldings).
func SameName(left, right string) bool {
	switch {
	case left == right:
		return true
	case IsASCII(left) && IsASCII(right):
		return strings.EqualFold(left, right)
	}
	return slices.Equal(foldedName(left), foldedName(right))
}

// foldedName is the name in lower case and decomposed (NFD of UAX #15). x/text
// would do it with tables that are 90 kB of a program; they are what a test compares
// this with.
func foldedName(name string) []rune {
	folded := make([]rune, 0, len(name))
	for _, character := range name {
		folded = appendDecomposed(folded, character)
	}
	orderMarks(folded)
	for i, character := range folded {
		folded[i] = FoldLetter(character)
	}
	return folded
}

// FoldLetter is the same for all characters that strings.EqualFold calls equal. The
// iota that is a mark becomes the letter: the letter must not become a mark of what
// stands before it.
func FoldLetter(character rune) rune {
	const iotaMark, iotaLetter = '\u0345', 'ι'
	first := character
	for next := unicode.SimpleFold(character); next != character; next = unicode.SimpleFold(next) {
		first = min(first, next)
	}
	if first == iotaMark {
		return iotaLetter
	}
	return unicode.ToLower(first)
}

// Hangul syllables are made of their letters by a rule (Unicode 3.12).
const (
	hangulFirst  = 0xac00
	hangulLast   = 0xd7a3
	leadFirst    = 0x1100
	vowelFirst   = 0x1161
	tailFirst    = 0x11a7 // stands for no tail
	hangulVowels = 21
	hangulTails  = 28
)

// A packed decomposition has a character in its lower bits, and above them which
// one of decomposedMarks follows: the first stands for none.
const (
	runeBits = 21
	noMark   = 0
)

func appendDecomposed(to []rune, character rune) []rune {
	if character >= hangulFirst && character <= hangulLast {
		syllable := character - hangulFirst
		vowel, tail := syllable/hangulTails%hangulVowels, syllable%hangulTails
		to = append(to, leadFirst+syllable/(hangulVowels*hangulTails), vowelFirst+vowel)
		if tail != 0 {
			to = append(to, tailFirst+tail)
		}
		return to
	}
	base, mark, is := decomposition(character)
	if !is {
		return append(to, character)
	}
	to = appendDecomposed(to, base)
	if mark != noMark {
		to = append(to, decomposedMarks[mark])
	}
	return to
}

// decomposition is what a character can be written as: another one, which may be
// decomposed further, and perhaps a mark behind it.
func decomposition(character rune) (base rune, mark uint32, is bool) {
	if character < decomposedRuns[0].first {
		return 0, 0, false
	}
	run := decomposedRuns[sort.Search(len(decomposedRuns), func(i int) bool { return decomposedRuns[i].first > character })-1]
	at := int(character - run.first)
	if at >= int(run.count) {
		return 0, 0, false
	}
	packed := decompositions[int(run.from)+at]
	return rune(packed & (1<<runeBits - 1)), packed >> runeBits, true
}

// orderMarks brings marks on one character into their canonical order: those that
// do not touch each other may have been typed in any.
func orderMarks(text []rune) {
	begin := -1 // of a row of marks
	for i, character := range text {
		switch isMark := markClass(character) != 0; {
		case isMark && begin < 0:
			begin = i
		case !isMark && begin >= 0:
			sortMarks(text[begin:i])
			begin = -1
		}
	}
	if begin >= 0 {
		sortMarks(text[begin:])
	}
}

func sortMarks(marks []rune) {
	sort.SliceStable(marks, func(i, j int) bool { return markClass(marks[i]) < markClass(marks[j]) })
}

// markClass is the character's canonical combining class, 0 for one that is no
// mark or has its place.
func markClass(character rune) uint8 {
	if character < markRuns[0].first {
		return 0
	}
	run := markRuns[sort.Search(len(markRuns), func(i int) bool { return markRuns[i].first > character })-1]
	if character-run.first >= rune(run.count) {
		return 0
	}
	return run.class
}
