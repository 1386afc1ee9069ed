package cmd_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// expectCanary looks for a secret in every file of the script, and into those in zip
// files, in every form: it is in its own file and in the others that are named, and
// nowhere else. FILE#NAME is a value of a JSON file; of a private key in PEM the secret is
// its private part.
func expectCanary(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: canary FILE[#NAME] [FILE…]")
	}
	own, name, isJSON := strings.Cut(args[0], "#")
	content := []byte(ts.ReadFile(own))
	var forms [][]byte
	if block, _ := pem.Decode(content); block != nil {
		forms = formsOf(privatePart(ts, block.Bytes))
	} else if isJSON {
		var values map[string]any
		ts.Check(json.Unmarshal(content, &values))
		text, _ := values[name].(string)
		forms = formsOf([]byte(text))
		if decoded, err := base64.StdEncoding.DecodeString(text); err == nil { // the bytes that the text stands for
			forms = append(forms, formsOf(decoded)...)
		}
	} else {
		first, _, _ := strings.Cut(string(content), "\n")
		forms = formsOf([]byte(strings.TrimSpace(first)))
	}
	if len(forms) == 0 {
		ts.Fatalf("%s is too short for a secret: that proves nothing", args[0])
	}
	wanted := []string{ts.MkAbs(own)}
	for _, other := range args[1:] {
		wanted = append(wanted, ts.MkAbs(other))
	}
	if got, wanted := filesWith(ts, func(content []byte) bool { return holdsForm(content, forms) }), sorted(wanted); !slices.Equal(got, wanted) {
		ts.Fatalf("the secret of %s is in\n%s\nnot in\n%s", args[0], strings.Join(got, "\n"), strings.Join(wanted, "\n"))
	}
}

// expectDigest compares the SHA-256 of a file.
func expectDigest(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: digest FILE SHA256")
	}
	sum := sha256.Sum256([]byte(ts.ReadFile(args[0])))
	if got := hex.EncodeToString(sum[:]); got != args[1] {
		ts.Fatalf("the digest of %s is %s, not %s", args[0], got, args[1])
	}
}

// privatePart is what nobody else has of a private key, in PKCS #8: its public part
// follows from it, and is in many places.
func privatePart(ts *testscript.TestScript, encoded []byte) []byte {
	key, err := x509.ParsePKCS8PrivateKey(encoded)
	ts.Check(err)
	switch key := key.(type) {
	case ed25519.PrivateKey:
		return key.Seed()
	case *ecdsa.PrivateKey:
		number, err := key.Bytes()
		ts.Check(err)
		return number
	}
	ts.Fatalf("a key of an unknown kind")
	return nil
}

// formsOf are the bytes that files hold which hold a secret: as it is, in hex, and in
// base64, wherever in a longer text it begins; none of one that is too short.
func formsOf(secret []byte) [][]byte {
	const least = 12
	if len(secret) < least {
		return nil
	}
	lower := hex.EncodeToString(secret)
	forms := [][]byte{secret, []byte(lower), []byte(strings.ToUpper(lower))}
	for before := range 3 {
		text := base64.StdEncoding.EncodeToString(append(make([]byte, before), secret...))
		first, end := (before*8+5)/6, (before+len(secret))*8/6 // only characters that are all of the secret
		standard := text[first:end]
		forms = append(forms, []byte(standard), []byte(strings.NewReplacer("+", "-", "/", "_").Replace(standard)))
	}
	return forms
}

// holdsForm reports whether a content has one of the forms.
func holdsForm(content []byte, forms [][]byte) bool {
	content = append(content, bytes.ReplaceAll(content, []byte("\n"), nil)...) // PEM breaks its lines
	return slices.ContainsFunc(forms, func(form []byte) bool { return bytes.Contains(content, form) })
}

// The canaries are found in whatever form.
func TestPROTOCOL20_CanariesAreFound(t *testing.T) {
	t.Parallel()
	secret := []byte("a secret \x00\xff\xfe that nobody may see??>>")
	for name, content := range map[string]string{
		"as it is":     "x" + string(secret) + "y",
		"hex":          hex.EncodeToString(secret),
		"base64":       base64.StdEncoding.EncodeToString(secret),
		"base64 of 1":  base64.StdEncoding.EncodeToString([]byte("1" + string(secret) + "23")),
		"base64 of 2":  base64.StdEncoding.EncodeToString([]byte("12" + string(secret) + "345")),
		"base64 of 3":  base64.RawURLEncoding.EncodeToString([]byte("123" + string(secret) + "3")),
		"base64 of 10": base64.URLEncoding.EncodeToString([]byte(strings.Repeat("1", 10) + string(secret))),
	} {
		if !holdsForm([]byte(content), formsOf(secret)) {
			t.Errorf("%s: not found in %q", name, content)
		}
	}
	if holdsForm([]byte(base64.StdEncoding.EncodeToString([]byte("a secret of another kind, as long as it is"))), formsOf(secret)) {
		t.Error("found where it is not")
	}
}
