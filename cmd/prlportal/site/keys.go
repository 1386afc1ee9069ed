package site

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"slices"
	"time"

	"prlagent/platform/safefile"
)

// CertificateLifetime is the longest that Apple's own verifier accepts of a
// certificate outside the public web.
const CertificateLifetime = 825 * 24 * time.Hour

const (
	pemPrivateKey  = "PRIVATE KEY" // PKCS #8
	pemCertificate = "CERTIFICATE"
)

var errNotAKey = errors.New("is not an Ed25519 private key in PEM")

// newSigningKey makes an Ed25519 private key in PEM.
func newSigningKey() (ed25519.PrivateKey, []byte, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	encoded, err := encodeKey(key)
	return key, encoded, err
}

func encodeKey(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPrivateKey, Bytes: der}), nil
}

// MaxKeyFile is the largest file that is taken for a key, in bytes.
const MaxKeyFile = 16 << 10

// LoadSigningKey reads one of the operator's keys; errors never show content.
func LoadSigningKey(path string) (ed25519.PrivateKey, error) {
	data, err := safefile.ReadFile(path, maxSiteFile)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	key, found := signingKeyIn(data)
	if !found {
		return nil, fmt.Errorf("%s %w", filepath.Base(path), errNotAKey)
	}
	return key, nil
}

// HasSigningKey reports whether data has a key that LoadSigningKey reads.
func HasSigningKey(data []byte) bool {
	_, found := signingKeyIn(data)
	return found
}

// signingKeyIn is the first Ed25519 private key in PEM, whatever stands before it.
func signingKeyIn(data []byte) (ed25519.PrivateKey, bool) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != pemPrivateKey {
			continue
		}
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if key, isEd25519 := parsed.(ed25519.PrivateKey); err == nil && isEd25519 {
			return key, true
		}
	}
	return nil, false
}

// newCertificate makes a self-signed ECDSA certificate for hosts and for those of
// loopback, and its key, both in PEM.
func newCertificate(organization string, hosts []string, now time.Time) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make TLS key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, fmt.Errorf("make serial number: %w", err)
	}
	template := x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{organization}, CommonName: certificateName},
		NotBefore:             now.Add(-time.Hour), // a Mac's clock may be slow
		NotAfter:              now.Add(CertificateLifetime - time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, host := range append(slices.Clone(hosts), loopbackHosts...) {
		if slices.Contains(HostsOf(&template), host) {
			continue
		}
		if address := net.ParseIP(host); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, private.Public(), private)
	if err != nil {
		return nil, nil, fmt.Errorf("make certificate: %w", err)
	}
	key, err = encodeKey(private)
	return encodeCertificate(der), key, err
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})
}

// LoadCertificates reads every certificate of a PEM file, as DER.
func LoadCertificates(path string) ([][]byte, error) {
	data, err := safefile.ReadFile(path, maxSiteFile)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	certificates := certificatesIn(data)
	if len(certificates) == 0 {
		return nil, fmt.Errorf("%s has no certificate", filepath.Base(path))
	}
	return certificates, nil
}

// certificatesIn are the certificates in PEM, as DER.
func certificatesIn(data []byte) (certificates [][]byte) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == pemCertificate {
			certificates = append(certificates, block.Bytes)
		}
	}
	return certificates
}

// ReadSecret reads a file of one secret.
func ReadSecret(path string) (string, error) {
	data, err := safefile.ReadFile(path, maxSiteFile)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	return string(bytes.TrimSpace(data)), nil
}
