package text

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"strconv"
	"strings"
)

// HiddenSecret is what everybody sees of a secret.
const HiddenSecret = "[secret]"

// SecretShard is how many bytes of a secret are not shown in a row. A part of one
// is hidden as well: what quotes a stranger may have cut it, at either end.
const SecretShard = 8

// Redactor hides secrets in texts, as they are and as others write them down
// (Spellings). It does not tell capital letters from small ones.
type Redactor struct {
	shards map[string]bool // all parts of that length of the secrets, in small letters
	short  []string        // secrets that are shorter
}

// NewRedactor makes a Redactor for some secrets; empty ones are none.
func NewRedactor(secrets ...string) Redactor {
	r := Redactor{shards: make(map[string]bool)}
	for _, secret := range secrets {
		if secret != "" && len(secret) < SecretShard {
			r.short = append(r.short, lowerCase(secret))
		}
		for _, spelling := range Spellings(secret) {
			spelling = lowerCase(spelling)
			for at := 0; at+SecretShard <= len(spelling); at++ {
				r.shards[spelling[at:at+SecretShard]] = true
			}
		}
	}
	return r
}

// Spellings are the forms in which a program that means no harm repeats what it
// was sent: in a URL, quoted, in a page, as bytes, or with the body of a request,
// which has the enrollment secret in base64, or the header of a proxy. A portal
// that means harm knows more, and has told what it knows to whom it likes.
func Spellings(secret string) []string {
	inJSON, _ := json.Marshal(secret) // a string can always be encoded
	asBytes := hex.EncodeToString([]byte(secret))
	var inURL strings.Builder
	for at := 0; at < len(asBytes); at += 2 {
		inURL.WriteString("%" + asBytes[at:at+2])
	}
	forms := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), inURL.String(), asBytes, html.EscapeString(secret)}
	for _, quoted := range []string{string(inJSON), strconv.Quote(secret), strconv.QuoteToASCII(secret)} {
		forms = append(forms, quoted[1:len(quoted)-1])
	}
	for before := range 3 {
		for _, text := range []string{secret, string(inJSON[1 : len(inJSON)-1])} {
			forms = append(forms, inBase64(text, before, base64.RawStdEncoding), inBase64(text, before, base64.RawURLEncoding))
		}
	}
	return forms
}

// inBase64 is what stands for a secret, and for nothing else, where so many bytes
// are before it, counted by threes.
func inBase64(secret string, before int, encoding *base64.Encoding) string {
	encoded := encoding.EncodeToString([]byte("\x00\x00"[:before] + secret))
	first, last := (before*8+5)/6, (before+len(secret))*8/6
	return encoded[min(first, last):last]
}

// lowerCase keeps every byte in its place.
func lowerCase(text string) string {
	lower := []byte(text)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return string(lower)
}

// Redact is the text without the secrets and parts of them. Redact first, then
// cut: what is cut first cannot be recognized (H62).
func (r Redactor) Redact(text string) string {
	lower := lowerCase(text)
	var safe strings.Builder
	shown := 0 // up to here the text is in safe, or hidden
	for at := 0; at < len(text); at++ {
		length := r.lengthAt(lower[at:])
		if length == 0 {
			continue
		}
		if at >= shown {
			safe.WriteString(text[shown:at] + HiddenSecret)
		}
		shown = max(shown, at+length)
	}
	return safe.String() + text[shown:]
}

// lengthAt is how many bytes at the beginning of a text are a secret, or the part
// of one.
func (r Redactor) lengthAt(lower string) int {
	if len(lower) >= SecretShard && r.shards[lower[:SecretShard]] {
		return SecretShard
	}
	for _, secret := range r.short {
		if strings.HasPrefix(lower, secret) {
			return len(secret)
		}
	}
	return 0
}

// IsIn reports whether the text holds a secret or a part of one.
func (r Redactor) IsIn(text string) bool { return r.Redact(text) != text }
