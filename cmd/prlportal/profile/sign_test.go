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
)

// signer is a certificate and its key, in PEM.
type signer struct{ certificate, key []byte }

func newSigner(t *testing.T, key crypto.Signer) signer {
	t.Helper()
	template := x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "Example Org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})}
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
