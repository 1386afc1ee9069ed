package portal

import (
	"fmt"
	"strings"
	"unicode"
)

// display makes a string from a user or a guest safe to print (H15): control,
// bidi and other invisible characters become \u{…}; everything else stays.
func display(text string) string {
	if !strings.ContainsFunc(text, invisible) && strings.ToValidUTF8(text, "") == text {
		return text
	}
	var out strings.Builder
	for _, r := range strings.ToValidUTF8(text, "\uFFFD") {
		if invisible(r) {
			fmt.Fprintf(&out, `\u{%x}`, r)
			continue
		}
		out.WriteRune(r)
	}
	return out.String()
}

// invisible characters change how the text around them is read: controls (Cc),
// formats such as bidi marks and zero-width joiners (Cf), separators other
// than the space, and everything without a meaning of its own.
func invisible(r rune) bool {
	return r != ' ' && !unicode.IsGraphic(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}
