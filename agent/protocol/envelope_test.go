package protocol

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"pgregory.net/rapid"
)

// keyFrom makes the same key for the same number.
func keyFrom(number byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{number}, ed25519.SeedSize))
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func trust(keys ...ed25519.PrivateKey) []TrustedKey {
	var trusted []TrustedKey
	for _, key := range keys {
		trusted = append(trusted, TrustedKey{ID: KeyID(publicOf(key)), Key: publicOf(key)})
	}
	return trusted
}

// oracle is an Ed25519 key for the reference implementation of DSSE.
type oracle struct{ key ed25519.PrivateKey }

func (o oracle) Sign(_ context.Context, data []byte) ([]byte, error) {
	return ed25519.Sign(o.key, data), nil
}

func (o oracle) Verify(_ context.Context, data, signature []byte) error {
	if !ed25519.Verify(publicOf(o.key), data, signature) {
		return errors.New("no")
	}
	return nil
}
func (o oracle) KeyID() (string, error)   { return KeyID(publicOf(o.key)), nil }
func (o oracle) Public() crypto.PublicKey { return publicOf(o.key) }

// What we sign the reference implementation accepts, and the other way round.
func TestEnvelopeAgainstTheReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		payload := rapid.SliceOf(rapid.Byte()).Draw(t, "payload")
		payloadType := rapid.StringMatching(`[ -~]{1,40}`).Draw(t, "type")
		one, two := keyFrom(1), keyFrom(2)

		var theirs dsse.Envelope
		ours, err := Sign(payloadType, payload, one, two).JSON()
		if err == nil {
			err = json.Unmarshal(ours, &theirs)
		}
		if err != nil {
			t.Fatal(err)
		}
		verifier, err := dsse.NewMultiEnvelopeVerifier(2, oracle{one}, oracle{two})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verifier.Verify(context.Background(), &theirs); err != nil {
			t.Fatalf("the reference refuses ours: %v", err)
		}

		signer, err := dsse.NewEnvelopeSigner(oracle{one}, oracle{two})
		if err != nil {
			t.Fatal(err)
		}
		made, err := signer.SignPayload(context.Background(), payloadType, payload)
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(made)
		if err != nil {
			t.Fatal(err)
		}
		envelope, err := ParseEnvelope(data, MaxRequest)
		if err != nil {
			t.Fatal(err)
		}
		got, err := envelope.Verify(payloadType, trust(one, two), 2)
		if err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("we refuse the reference's: %v", err)
		}
	})
}

func TestPreAuthenticationEncoding(t *testing.T) {
	t.Parallel()
	// The test vector of the DSSE specification.
	got := preAuthenticationEncoding("http://example.com/HelloWorld", []byte("hello world"))
	if want := "DSSEv1 29 http://example.com/HelloWorld 11 hello world"; string(got) != want {
		t.Errorf("got %q", got)
	}
}

func TestEnvelopeVerify(t *testing.T) {
	t.Parallel()
	one, two, stranger := keyFrom(1), keyFrom(2), keyFrom(3)
	sign := func(keys ...ed25519.PrivateKey) Envelope { return Sign(PayloadCommand, []byte("delete"), keys...) }
	with := func(e Envelope, change func(*Envelope)) Envelope {
		e.Signatures = slices.Clone(e.Signatures)
		change(&e)
		return e
	}
	short := trust(one)
	short[0].Key = short[0].Key[:31]
	cases := map[string]struct {
		envelope  Envelope
		trusted   []TrustedKey
		threshold int
		want      error
	}{
		"signed":                      {sign(one), trust(one, two), 1, nil},
		"by both":                     {sign(one, two), trust(one, two), 2, nil},
		"by a stranger beside":        {sign(stranger, one), trust(one), 1, nil},
		"by a stranger":               {sign(stranger), trust(one), 1, ErrSignature},
		"by nobody":                   {sign(), trust(one), 1, ErrSignature},
		"nobody is trusted":           {sign(one), nil, 1, ErrSignature},
		"the same key twice":          {sign(one, one), trust(one, two), 2, ErrSignature},
		"one key listed twice":        {sign(one, one), append(trust(one), trust(one)...), 2, ErrSignature},
		"one of two":                  {sign(one, stranger), trust(one, two), 2, ErrSignature},
		"a threshold of nothing":      {sign(), trust(one), 0, ErrSignature},
		"a threshold below nothing":   {sign(one), trust(one), -1, ErrSignature},
		"a trusted key of 31 bytes":   {sign(one), short, 1, ErrSignature},
		"a wrong key id":              {with(sign(one), func(e *Envelope) { e.Signatures[0].KeyID = KeyID(publicOf(two)) }), trust(one, two), 1, ErrSignature},
		"another type inside":         {with(sign(one), func(e *Envelope) { e.PayloadType = PayloadHead }), trust(one), 1, ErrPayloadType},
		"signed as a head":            {with(Sign(PayloadHead, []byte("delete"), one), func(e *Envelope) { e.PayloadType = PayloadCommand }), trust(one), 1, ErrSignature},
		"payload is not base64":       {with(sign(one), func(e *Envelope) { e.Payload = "%" }), trust(one), 1, ErrEnvelopeInvalid},
		"signature is not base64":     {with(sign(one), func(e *Envelope) { e.Signatures[0].Sig = "%" }), trust(one), 1, ErrSignature},
		"signature of another length": {with(sign(one), func(e *Envelope) { e.Signatures[0].Sig = "AAAA" }), trust(one), 1, ErrSignature},
		"an empty payload":            {Sign(PayloadCommand, nil, one), trust(one), 1, nil},
		"nothing at all":              {Envelope{}, trust(one), 1, ErrPayloadType},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			payload, err := c.envelope.Verify(PayloadCommand, c.trusted, c.threshold)
			if !errors.Is(err, c.want) || (err != nil) != (payload == nil) {
				t.Errorf("got %q and %v, want %v", payload, err, c.want)
			}
		})
	}
}

// No bit of the payload or of the only signature can be another one
// (protocol.md 2.14, test 1).
func TestEnvelopeWithOneFlippedBit(t *testing.T) {
	t.Parallel()
	key := keyFrom(1)
	payload, err := json.Marshal(sampleHead())
	if err != nil {
		t.Fatal(err)
	}
	good := Sign(PayloadHead, payload, key)
	flip := func(data []byte, bit int) string {
		data = bytes.Clone(data)
		data[bit/8] ^= 1 << (bit % 8)
		return base64.StdEncoding.EncodeToString(data)
	}
	for bit := range len(payload) * 8 {
		bad := good
		bad.Payload = flip(payload, bit)
		if _, err := bad.Verify(PayloadHead, trust(key), 1); !errors.Is(err, ErrSignature) {
			t.Fatalf("bit %d of the payload: %v", bit, err)
		}
	}
	signature, _ := base64.StdEncoding.DecodeString(good.Signatures[0].Sig)
	for bit := range len(signature) * 8 {
		bad := good
		bad.Signatures = []Signature{{KeyID: good.Signatures[0].KeyID, Sig: flip(signature, bit)}}
		if _, err := bad.Verify(PayloadHead, trust(key), 1); !errors.Is(err, ErrSignature) {
			t.Fatalf("bit %d of the signature: %v", bit, err)
		}
	}
}

func TestKeyID(t *testing.T) {
	t.Parallel()
	// sha256 of 32 zero bytes begins so.
	if got := KeyID(make(ed25519.PublicKey, 32)); got != "66687aadf862bd77" {
		t.Errorf("got %s", got)
	}
}

func TestParseEnvelopeRefuses(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"no JSON":        "-----BEGIN",
		"two of them":    `{"payloadType":"a"}{"payloadType":"b"}`,
		"a key twice":    `{"payload":"YQ==","payload":"Yg=="}`,
		"in two cases":   `{"payload":"YQ==","Payload":"Yg=="}`,
		"another type":   `{"payload":1}`,
		"too large":      `{"payload":"` + string(bytes.Repeat([]byte("a"), 200)) + `"}`,
		"a list":         `[]`,
		"nothing":        ``,
		"cut off":        `{"payload":"YQ==","signatures":[`,
		"a signed mouth": `{"signatures":[{"keyid":"a","sig":"b","sig":"c"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if envelope, err := ParseEnvelope([]byte(data), 200); !errors.Is(err, ErrEnvelopeInvalid) {
				t.Errorf("got %+v, %v", envelope, err)
			}
		})
	}
}
