package protocol

import (
	"encoding/json"
	"testing"
)

// FuzzDecode: whatever Decode takes, any other decoder takes too, and
// encoding/json alone says the same of it.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `[1,"a",{"b":[true,null]}]`, `{"a":1,"a":2}`, `{"a":1,"A":2}`, `{} {}`, nested(16), nested(17), "\xff", `"\ud800"`, `1e999`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var value any
		if err := Decode(data, MaxHead, &value); err != nil {
			return
		}
		if !json.Valid(data) || len(data) > MaxHead {
			t.Fatalf("took %q", data)
		}
		again, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		var back any
		if err := Decode(again, 8*MaxHead, &back); err != nil {
			t.Fatalf("its own output %q: %v", again, err)
		}
	})
}

// FuzzParseEnvelope: nothing that is not signed verifies.
func FuzzParseEnvelope(f *testing.F) {
	signed, err := Sign(PayloadHead, []byte(`{"site_id":"example"}`), keyFrom(1)).JSON()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add([]byte(`{"payloadType":"application/vnd.prlagent.head.v1+json","payload":"","signatures":[{"keyid":"","sig":""}]}`))
	f.Add([]byte(`{"signatures":null}`))
	f.Add([]byte(`[]`))
	trusted := trust(keyFrom(1), keyFrom(2))
	f.Fuzz(func(t *testing.T, data []byte) {
		envelope, err := ParseEnvelope(data, MaxHead)
		if err != nil {
			return
		}
		payload, err := envelope.Verify(PayloadHead, trusted, 1)
		if err == nil && string(payload) != `{"site_id":"example"}` {
			t.Fatalf("verified %q", payload)
		}
		if _, err := envelope.Verify(PayloadHead, trusted, 2); err == nil {
			t.Fatal("verified by two")
		}
	})
}

// FuzzParseHead: a head that is taken is whole.
func FuzzParseHead(f *testing.F) {
	whole, err := json.Marshal(sampleHead())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(`{"site_id":"a","group_id":"b","head_version":1,"policy":null,"issued_at":"2026-11-23T12:00:00Z","expires_at":"2026-12-23T12:00:00Z"}`))
	f.Add([]byte(`{"site_id":"a","group_id":"b","head_version":1,"expires_at":"2026-12-23T12:00:00Z"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		head, err := ParseHead(data)
		if err != nil {
			return
		}
		if head.SiteID == "" || head.GroupID == "" || head.HeadVersion == 0 || head.ExpiresAt.IsZero() {
			t.Fatalf("%+v", head)
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(data, &fields); err != nil {
			t.Fatal(err)
		}
		if head.Policy == nil {
			for key, value := range fields {
				if FoldCase(key) == FoldCase("policy") && string(value) == "null" {
					return
				}
			}
			t.Fatalf("%q releases without saying so", data)
		}
		if head.Policy.Size <= 0 || head.Policy.Size > MaxPolicy || len(head.Policy.SHA256) != 64 {
			t.Fatalf("%+v", head.Policy)
		}
	})
}

// FuzzParseProblem: what counts as ours is in the table, with its status.
func FuzzParseProblem(f *testing.F) {
	for _, kind := range Problems {
		name := kind.Name
		body, err := json.Marshal(NewProblem(name, "detail"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(NewProblem(name, "").Status, ProblemContentType, body)
	}
	f.Add(403, "text/html", []byte("<html>"))
	f.Add(410, ProblemContentType+"; charset=", []byte(`{"type":"urn:prlagent:problem:"}`))
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		problem, ours := ParseProblem(status, contentType, body)
		if !ours {
			return
		}
		if kind := KindOfProblem(problem.Name()); kind == nil || kind.Status != status || CodeOf(problem) == "" {
			t.Fatalf("%+v for status %d", problem, status)
		}
	})
}
