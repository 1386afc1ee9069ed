package profile

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/smallstep/pkcs7"

	"prlagent/platform/plist"
)

// Sign wraps an encoded profile in a signature (CMS, SHA-256) that has the
// certificates in it: the signer's first, then those above it, in PEM. The key is
// PEM too, RSA or ECDSA. When it was signed is part of the signature, so that no two
// signatures are alike.
func Sign(encoded, certificates, key []byte) ([]byte, error) {
	chain, err := parseChain(certificates)
	if err != nil {
		return nil, err
	}
	private, err := parseKey(key)
	if err != nil {
		return nil, err
	}
	if public, ok := private.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(chain[0].PublicKey) {
		return nil, errors.New("the key is not that of the first certificate")
	}
	if now := time.Now(); now.Before(chain[0].NotBefore) || now.After(chain[0].NotAfter) {
		return nil, fmt.Errorf("the first certificate is valid from %s to %s, and not now: no Mac would take its signature",
			chain[0].NotBefore.UTC().Format(time.DateOnly), chain[0].NotAfter.UTC().Format(time.DateOnly))
	}
	signed, err := pkcs7.NewSignedData(encoded)
	if err != nil {
		return nil, fmt.Errorf("sign profile: %w", err)
	}
	signed.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if err := signed.AddSigner(chain[0], private, pkcs7.SignerInfoConfig{}); err != nil {
		return nil, fmt.Errorf("sign profile: %w", err)
	}
	for _, above := range chain[1:] {
		signed.AddCertificate(above)
	}
	wrapped, err := signed.Finish()
	if err != nil {
		return nil, fmt.Errorf("sign profile: %w", err)
	}
	return wrapped, nil
}

func parseChain(data []byte) (chain []*x509.Certificate, err error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		parsed, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		chain = append(chain, parsed)
	}
	if len(chain) == 0 {
		return nil, errors.New("read certificate: there is none in PEM")
	}
	return chain, nil
}

// errKey is the error of every key that cannot be used; nothing of it is shown.
var errKey = errors.New("read key: there is no RSA or ECDSA key in PEM without a password")

func parseKey(data []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			continue // parameters, certificates
		}
		private, ok := key.(crypto.Signer)
		if err != nil || !ok {
			return nil, errKey
		}
		return private, nil
	}
	return nil, errKey
}

// open gives the property list of a profile, and who signed it: nil for nobody. Whom
// to believe is for the Mac to say; here the signature only has to be whole.
func open(data []byte) (encoded []byte, signer *x509.Certificate, err error) {
	if !isDER(data) {
		return data, nil, nil
	}
	if err := checkBER(data); err != nil {
		return nil, nil, fmt.Errorf("read signature: %w", err)
	}
	signed, err := pkcs7.Parse(data)
	if err != nil {
		return nil, nil, fmt.Errorf("read signature: %w", err)
	}
	signer = signed.GetOnlySigner()
	if signer == nil {
		return nil, nil, errors.New("check signature: there is no signer, or more than one")
	}
	if key, isRSA := signer.PublicKey.(*rsa.PublicKey); isRSA && key.N.BitLen() > maxKeyBits {
		return nil, nil, fmt.Errorf("check signature: the signer's key has more than %d bits", maxKeyBits)
	}
	if err := signed.Verify(); err != nil {
		return nil, nil, fmt.Errorf("check signature: %w", err)
	}
	return signed.Content, signer, nil
}

// CanRead reports whether data is a profile, or the bare preferences of one: a property
// list with a dictionary, signed or not.
func CanRead(data []byte) bool {
	encoded, _, err := open(data)
	if err != nil {
		return false
	}
	_, err = plist.DecodeDict(encoded)
	return err == nil
}

// isDER reports whether data begins as a signed profile does, and no property list.
func isDER(data []byte) bool { return bytes.HasPrefix(data, []byte{0x30}) }
