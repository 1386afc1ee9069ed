package collate

import (
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

func TestFoldIsOneForWhatPeopleTakeForOne(t *testing.T) {
	t.Parallel()
	for name, same := range map[string][]string{
		"letter case":                        {"Windows 11", "WINDOWS 11", "windows 11"},
		"composed and decomposed":            {"Caf\u00e9", "Cafe\u0301", "CAF\u00c9", "CAFE\u0301"},
		"two marks in either order":          {"\u1ed9", "o\u0323\u0302", "o\u0302\u0323"},
		"Hangul":                             {"\ud55c\uae00", "\u1112\u1161\u11ab\u1100\u1173\u11af"},
		"Greek sigmas":                       {"ΟΔΟΣ", "οδος", "οδοσ"},
		"Kelvin and Angstrom signs":          {"\u212a\u212b", "k\u00e5", "ka\u030a"},
		"a letter with one form in one case": {"\u01f0", "j\u030c", "J\u030c"},
		"a dotted capital I":                 {"\u0130", "I\u0307"},
		"Cyrillic short i, in macOS' form":   {"Й", "И\u0306", "й", "и\u0306"},
	} {
		for _, other := range same[1:] {
			if Fold(other) != Fold(same[0]) {
				t.Errorf("%s: %+q is %+q, and %+q is %+q", name, same[0], Fold(same[0]), other, Fold(other))
			}
		}
	}
	for _, other := range [][2]string{{"Cafe", "Caf\u00e9"}, {"a-b", "a–b"}, {"a b", "a\u00a0b"}, {"ı", "i"}, {"a", "а"}} {
		if Fold(other[0]) == Fold(other[1]) {
			t.Errorf("%+q and %+q are one", other[0], other[1])
		}
	}
}

func TestFoldOfAnyText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 20, -1).Draw(t, "text") // more marks than 30 on a letter are cut by Unicode's stream-safe form
		folded := Fold(text)
		for name, form := range map[string]string{"NFC": norm.NFC.String(text), "NFD": norm.NFD.String(text), "itself folded": folded} {
			if Fold(form) != folded {
				t.Fatalf("%+q is %+q, %s of it %+q", text, folded, name, Fold(form))
			}
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		left, right := rapid.Rune().Draw(t, "left"), rapid.Rune().Draw(t, "right")
		if strings.EqualFold(string(left), string(right)) && Fold(string(left)) != Fold(string(right)) {
			t.Fatalf("%+q and %+q differ", left, right)
		}
	})
}
