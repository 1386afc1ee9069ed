package protocol

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// Payload types of the envelopes; the type is part of what is signed, so a
// signed head can never pass for a command.
const (
	PayloadHead    = "application/vnd.prlagent.head.v1+json"
	PayloadCommand = "application/vnd.prlagent.command.v1+json"
	PayloadHolds   = "application/vnd.prlagent.holds.v1+json"
	PayloadEnroll  = "application/vnd.prlagent.enroll.v1+json"
	PayloadReceipt = "application/vnd.prlagent.receipt.v1+json"
)

// Errors of envelope verification.
var (
	ErrEnvelopeInvalid = errors.New("envelope is malformed")
	ErrPayloadType     = errors.New("envelope holds another kind of payload")
	ErrSignature       = errors.New("envelope is not signed by enough trusted keys")
)

// Envelope is a DSSE v1 envelope (secure-systems-lab/dsse, envelope.md): a
// payload of exact bytes, and signatures over its type and those bytes.
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     string      `json:"payload"` // standard base64
	Signatures  []Signature `json:"signatures"`
}

// maxSignatureText is how many bytes a key's id has at most, and a signature as text.
const maxSignatureText = 256

// Signature is one Ed25519 signature of an envelope's pre-authentication encoding.
type Signature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"` // standard base64
}

// TrustedKey is a public key that the Mac's configuration lists.
type TrustedKey struct {
	ID  string
	Key ed25519.PublicKey
}

// KeyID is the first 16 hex digits of the key's SHA-256 (DESIGN 4.1).
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:])[:16]
}

// Sign wraps payload into an envelope signed by each of the keys.
func Sign(payloadType string, payload []byte, keys ...ed25519.PrivateKey) Envelope {
	envelope := Envelope{PayloadType: payloadType, Payload: base64.StdEncoding.EncodeToString(payload)}
	message := preAuthenticationEncoding(payloadType, payload)
	for _, key := range keys {
		envelope.Signatures = append(envelope.Signatures, Signature{
			KeyID: KeyID(key.Public().(ed25519.PublicKey)),
			Sig:   base64.StdEncoding.EncodeToString(ed25519.Sign(key, message)),
		})
	}
	return envelope
}

// ParseEnvelope decodes an envelope of at most limit bytes without judging it.
func ParseEnvelope(data []byte, limit int) (Envelope, error) {
	var envelope Envelope
	if err := Decode(data, limit, &envelope); err != nil {
		return Envelope{}, fmt.Errorf("%w: %w", ErrEnvelopeInvalid, err)
	}
	return envelope, nil
}

// Verify returns the payload's exact bytes if at least threshold distinct
// trusted keys signed it under the wanted type. Signatures by unknown keys are
// ignored. Parse the returned bytes, and only those.
func (e Envelope) Verify(payloadType string, trusted []TrustedKey, threshold int) ([]byte, error) {
	if e.PayloadType != payloadType {
		return nil, fmt.Errorf("%w: %.80q", ErrPayloadType, e.PayloadType)
	}
	if e.hasTooMuch() {
		return nil, fmt.Errorf("%w: too many or too long signatures", ErrEnvelopeInvalid)
	}
	payload, err := e.Unverified()
	if err != nil {
		return nil, err
	}
	message := preAuthenticationEncoding(payloadType, payload)
	signers := make(map[string]struct{})
	for _, signature := range e.Signatures {
		if key, ok := verifiedBy(signature, message, trusted); ok {
			signers[string(key)] = struct{}{}
		}
	}
	if threshold < 1 || len(signers) < threshold {
		return nil, fmt.Errorf("%w: %d of %d", ErrSignature, len(signers), max(threshold, 1))
	}
	return payload, nil
}

// hasTooMuch reports whether there is more to the signatures than anybody needs: each one
// by a key that is trusted costs a verification, whoever made it.
func (e Envelope) hasTooMuch() bool {
	if len(e.Signatures) > MaxSignatures {
		return true
	}
	for _, s := range e.Signatures {
		if len(s.KeyID) > maxSignatureText || len(s.Sig) > maxSignatureText {
			return true
		}
	}
	return false
}

// Unverified is what the envelope says it has. It is for who serves or compares
// content; who obeys it takes what Verify returns.
func (e Envelope) Unverified() ([]byte, error) {
	payload, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil {
		return nil, fmt.Errorf("%w: payload is not base64", ErrEnvelopeInvalid)
	}
	return payload, nil
}

// verifiedBy finds the trusted key that made the signature. The key id only
// narrows the search; what counts is the key itself.
func verifiedBy(signature Signature, message []byte, trusted []TrustedKey) (ed25519.PublicKey, bool) {
	raw, err := base64.StdEncoding.DecodeString(signature.Sig)
	if err != nil {
		return nil, false
	}
	for _, candidate := range trusted {
		if candidate.ID != signature.KeyID || len(candidate.Key) != ed25519.PublicKeySize {
			continue
		}
		if ed25519.Verify(candidate.Key, message, raw) {
			return candidate.Key, true
		}
	}
	return nil, false
}

// preAuthenticationEncoding is PAE of DSSE v1 (protocol.md there).
func preAuthenticationEncoding(payloadType string, payload []byte) []byte {
	out := make([]byte, 0, len(payload)+len(payloadType)+32)
	out = append(out, "DSSEv1 "...)
	out = strconv.AppendInt(out, int64(len(payloadType)), 10)
	out = append(out, ' ')
	out = append(out, payloadType...)
	out = append(out, ' ')
	out = strconv.AppendInt(out, int64(len(payload)), 10)
	out = append(out, ' ')
	return append(out, payload...)
}

// JSON renders the envelope for the wire.
func (e Envelope) JSON() ([]byte, error) { return json.Marshal(e) }
