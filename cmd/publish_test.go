package cmd_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"flag"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"prlagent/agent/protocol"
)

// publication is what `publish` is asked for.
type publication struct {
	group, inside, key string
	mode, candidate    string
	percent            int
	version            uint64
	expires            time.Duration
	flip, withhold     bool
}

// publish signs a head with the operator's key and puts it, and the policy, if
// there is one, into the portal's content folder. Without a policy the head
// says, signed, that the group has none.
func publish(ts *testscript.TestScript, neg bool, args []string) {
	var wanted publication
	flags := flag.NewFlagSet("publish", flag.ContinueOnError)
	flags.SetOutput(ts.Stderr())
	flags.StringVar(&wanted.group, "group", "default", "whose head it is")
	flags.StringVar(&wanted.inside, "inside", "", "group that the head itself names (default: the same)")
	flags.StringVar(&wanted.key, "key", "policy", "policy or command: which of the operator's keys signs")
	flags.StringVar(&wanted.mode, "mode", "", "monitor or enforce")
	flags.StringVar(&wanted.candidate, "candidate", "", "file of a policy for some of the Macs")
	flags.IntVar(&wanted.percent, "percent", 100, "how many of them")
	flags.Uint64Var(&wanted.version, "version", 2, "head_version")
	flags.DurationVar(&wanted.expires, "expires", 720*time.Hour, "from now")
	flags.BoolVar(&wanted.flip, "flip", false, "flip one bit of the signed payload")
	flags.BoolVar(&wanted.withhold, "withhold", false, "do not publish the policy itself")
	ts.Check(flags.Parse(args))
	if neg || flags.NArg() > 1 {
		ts.Fatalf("usage: publish [FLAGS…] [POLICY]")
	}
	if wanted.inside == "" {
		wanted.inside = wanted.group
	}
	var document []byte
	if flags.NArg() == 1 {
		document = []byte(ts.ReadFile(flags.Arg(0)))
	}
	wanted.write(ts, document)
}

func (p publication) write(ts *testscript.TestScript, document []byte) {
	site := struct {
		SiteID string `json:"site_id"`
	}{}
	content := filepath.Join(ts.Getenv("PORTAL"), "portal", "content")
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(filepath.Join(ts.Getenv("PORTAL"), "operator", "site.json"))), &site))
	now := time.Now().UTC().Truncate(time.Second)
	head := protocol.Head{
		SiteID: site.SiteID, GroupID: p.inside, HeadVersion: p.version, Mode: p.mode,
		IssuedAt: earlier(now, now.Add(p.expires)), ExpiresAt: now.Add(p.expires),
	}
	put := func(document []byte) *protocol.PolicyPointer {
		pointer := pointerTo(ts, document)
		if !p.withhold {
			ts.Check(os.WriteFile(filepath.Join(content, "policies", pointer.SHA256+".json"), document, 0o600))
		}
		return pointer
	}
	if document != nil {
		head.Policy = put(document)
	}
	if p.candidate != "" {
		pointer := put([]byte(ts.ReadFile(p.candidate)))
		head.Candidate = &protocol.Candidate{PolicyID: pointer.PolicyID, Revision: pointer.Revision, SHA256: pointer.SHA256, Size: pointer.Size, Percent: p.percent}
	}
	payload, err := json.Marshal(head)
	ts.Check(err)
	envelope := protocol.Sign(protocol.PayloadHead, payload, operatorKey(ts, p.key))
	if p.flip {
		year := bytes.LastIndex(payload, []byte(`"20`)) + len(`"202`)
		payload[year] ^= 1 // another year of expiry: still a head, no longer signed
		flipped := protocol.Sign(protocol.PayloadHead, payload)
		envelope.Payload = flipped.Payload
	}
	data, err := envelope.JSON()
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(content, "heads", p.group+".dsse.json"), data, 0o600))
}

// earlier is the earlier time: a head that has expired was issued before that.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func pointerTo(ts *testscript.TestScript, document []byte) *protocol.PolicyPointer {
	var named struct {
		PolicyID string `json:"policy_id"`
		Revision uint64 `json:"revision"`
	}
	ts.Check(json.Unmarshal(document, &named))
	sum := sha256.Sum256(document)
	return &protocol.PolicyPointer{
		PolicyID: named.PolicyID, Revision: named.Revision, SHA256: hex.EncodeToString(sum[:]), Size: len(document),
	}
}

func operatorKey(ts *testscript.TestScript, name string) ed25519.PrivateKey {
	block, _ := pem.Decode([]byte(ts.ReadFile(filepath.Join(ts.Getenv("PORTAL"), "operator", name+".key"))))
	if block == nil {
		ts.Fatalf("%s.key is no PEM file", name)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	ts.Check(err)
	return key.(ed25519.PrivateKey)
}
