package profile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
)

// signer is a certificate and its key, in PEM.
type signer struct{ certificate, key []byte }

func newSigner(t *testing.T, key crypto.Signer) signer {
	t.Helper()
	return newSignerUntil(t, key, key.Public(), time.Now().Add(time.Hour))
}

// newSignerUntil has key sign a certificate of another key.
func newSignerUntil(t *testing.T, key crypto.Signer, public crypto.PublicKey, end time.Time) signer {
	t.Helper()
	template := x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "Example Org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: end, KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})}
}

// signedAs is signed by a key under a certificate of another one.
func signedAs(t *testing.T, by signer, key crypto.Signer) []byte {
	t.Helper()
	chain, err := parseChain(by.certificate)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := pkcs7.NewSignedData([]byte("x"))
	if err == nil {
		err = signed.AddSigner(chain[0], key, pkcs7.SignerInfoConfig{})
	}
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := signed.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return wrapped
}

func newECSigner(t *testing.T) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return newSigner(t, key)
}

// CFP-18: what was signed can be read again, with who signed it; what was changed
// since is not believed.
func TestCFP_18_SignedProfiles(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	content := encoded(t, must(t)(Licensing(licenseKey)))
	for name, by := range map[string]signer{"RSA": newSigner(t, rsaKey), "ECDSA": newECSigner(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			signed, err := Sign(content, append(by.certificate, newECSigner(t).certificate...), by.key)
			if err != nil {
				t.Fatal(err)
			}
			got, who, err := open(signed)
			if err != nil || !bytes.Equal(got, content) || who == nil || who.Subject.CommonName != "Example Org" {
				t.Errorf("%v, by %v", err, who)
			}
			readByOpenSSL(t, signed, content)
			changed := bytes.Replace(signed, []byte("LLLLLL"), []byte("MMMMMM"), 1)
			if _, _, err := open(changed); err == nil || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("changed: %v", err)
			}
			for length := range 64 {
				if _, _, err := open(signed[:length+1]); err == nil {
					t.Errorf("cut to %d bytes it is whole", length+1)
				}
			}
		})
	}
}

// readByOpenSSL has a second reader check the signature, where there is one.
func readByOpenSSL(t *testing.T, signed, content []byte) {
	t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Log("no openssl: the signature is not checked by a second reader")
		return
	}
	file := filepath.Join(t.TempDir(), "x.mobileconfig")
	if err := os.WriteFile(file, signed, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := exec.Command(openssl, "cms", "-verify", "-noverify", "-inform", "DER", "-binary", "-in", file).Output()
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("openssl: %v\n%s", err, got)
	}
}

// What cannot sign says so, and shows nothing of a key.
func TestKeysThatCannotSign(t *testing.T) {
	t.Parallel()
	_, edKey, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	good, other, ed := newECSigner(t), newECSigner(t), newSigner(t, edKey)
	for name, c := range map[string]signer{
		"another key":          {good.certificate, other.key},
		"no certificate":       {nil, good.key},
		"no key":               {good.certificate, []byte("CANARY")},
		"a broken key":         {good.certificate, []byte("-----BEGIN PRIVATE KEY-----\nQ0FOQVJZ\n-----END PRIVATE KEY-----\n")},
		"a broken certificate": {[]byte("-----BEGIN CERTIFICATE-----\nQ0FOQVJZ\n-----END CERTIFICATE-----\n"), good.key},
		"Ed25519":              ed,
		"with a password":      {good.certificate, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nQ0FOQVJZ\n-----END ENCRYPTED PRIVATE KEY-----\n")},
	} {
		if _, err := Sign([]byte("x"), c.certificate, c.key); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// CFP-18: a certificate that is over signs nothing: lint, and a Mac, would take the
// signature for broken.
func TestCFP_18_ACertificateThatIsOver(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	over := newSignerUntil(t, key, key.Public(), time.Now().Add(-time.Minute))
	if _, err := Sign([]byte("x"), over.certificate, over.key); err == nil || !strings.Contains(err.Error(), "not now") {
		t.Errorf("%v", err)
	}
}

// CFP-18: what is no signature is refused before the library spends a time on it that
// has no end: nested too deeply, of any length, with an endless number of parts, or
// checked by a key of a hundred thousand bits.
func TestCFP_18_SignaturesThatAreBombs(t *testing.T) {
	t.Parallel()
	const levels = 100_000
	definite := []byte{}
	for i := range 64 {
		definite = append([]byte{0x30, byte(2 * i)}, definite...)
	}
	for name, data := range map[string][]byte{
		"indefinite, open":          bytes.Repeat([]byte{0x30, 0x80}, levels),
		"indefinite, closed":        append(bytes.Repeat([]byte{0x30, 0x80}, levels), make([]byte, 2*levels)...),
		"indefinite, and nothing":   bytes.Repeat([]byte{0x30, 0x80, 0, 0}, levels),
		"indefinite, and parts":     append([]byte{0x30, 0x80}, bytes.Repeat([]byte{0x05, 0x00}, levels)...),
		"definite":                  definite,
		"a length without an end":   {0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"cut in the middle":         {0x30, 0x10, 0x04, 0x0e},
		"longer than the file":      {0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00},
		"a tag without an end":      append([]byte{0x30, 0x80}, bytes.Repeat([]byte{0xff}, levels)...),
		"longer than what it is in": {0x30, 0x04, 0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01},
	} {
		if err := checkBER(data); err == nil {
			t.Errorf("%s: it is taken", name)
		}
		if _, _, err := open(data); err == nil {
			t.Errorf("%s: it is a profile", name)
		}
	}
	good, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	modulus := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 100_000), big.NewInt(1))
	by := newSignerUntil(t, good, &rsa.PublicKey{N: modulus, E: 1<<31 - 1}, time.Now().Add(time.Hour))
	if _, _, err := open(signedAs(t, by, good)); err == nil || !strings.Contains(err.Error(), "bits") {
		t.Errorf("a key of 100000 bits: %v", err)
	}
}

// CFP-18: what streams write, with indefinite lengths, is a signature as well.
func TestCFP_18_SignaturesOfIndefiniteLength(t *testing.T) {
	t.Parallel()
	by := newECSigner(t)
	content := encoded(t, must(t)(Licensing("")))
	signed, err := Sign(content, by.certificate, by.key)
	if err != nil {
		t.Fatal(err)
	}
	outer := 4 // a tag, and a length in three bytes
	if signed[1] != 0x82 {
		t.Fatalf("its length begins with %x", signed[1])
	}
	streamed := append(append([]byte{0x30, 0x80}, signed[outer:]...), 0, 0)
	if got, who, err := open(streamed); err != nil || who == nil || !bytes.Equal(got, content) {
		t.Errorf("%v", err)
	}
}

func FuzzLint(f *testing.F) {
	made, err := Licensing(licenseKey)
	if err != nil {
		f.Fatal(err)
	}
	data, err := made.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("\x30\x80\x06\x09"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if found := Lint([]File{{"x", data}}); len(found) == 0 {
			t.Error("nothing is said, not even whether it is signed")
		}
	})
}
