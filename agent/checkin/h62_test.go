package checkin

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/platform/text"
)

// shownShard finds a part of a secret in a text, as long as a part may not be.
func shownShard(shown string, secrets ...string) string {
	for _, secret := range secrets {
		for at := 0; at+text.SecretShard <= len(secret); at++ {
			if part := secret[at : at+text.SecretShard]; strings.Contains(shown, part) {
				return part
			}
		}
	}
	return ""
}

// longSecret is longer than any text of ours is before it is cut.
var longSecret = "canary" + strings.Repeat("0123456789abcdefghijklmnopqrstuvwxyz", 7)[:protocol.MaxName-6]

// Whatever sends a secret back, in whichever field, with whatever before it, so
// that it ends at any place of a text that is cut: no part of it is in the log, the
// status, an event, an error or the detail that a person reads.
func TestH62_NoSinkShowsAPartOfASecret(t *testing.T) {
	t.Parallel()
	skipLarge(t)
	type answer struct {
		name string
		give func(w http.ResponseWriter, pad, token string)
	}
	problemWith := func(set func(*protocol.Problem, string)) func(http.ResponseWriter, string, string) {
		return func(w http.ResponseWriter, pad, token string) {
			made := protocol.NewProblem(protocol.ProblemDeviceRevoked, "")
			set(&made, pad+token+" "+pad+longSecret)
			made.Write(w)
		}
	}
	answers := []answer{
		{"the detail of a problem", problemWith(func(p *protocol.Problem, text string) { p.Detail = text })},
		{"the title of a problem", problemWith(func(p *protocol.Problem, text string) { p.Title = text })},
		{"a time", func(w http.ResponseWriter, pad, token string) {
			plainAnswer(200, "application/json", fmt.Sprintf(`{"inventory":"ok","server_time":%q}`, pad+token+longSecret))(w)
		}},
		{"the group", func(w http.ResponseWriter, _, token string) {
			answerJSON(w, 200, protocol.CheckinReply{Inventory: "ok", Group: protocol.Group{ID: token}})
		}},
		{"a part of the token as the group", func(w http.ResponseWriter, _, token string) {
			answerJSON(w, 200, protocol.CheckinReply{Inventory: "ok", Group: protocol.Group{ID: "g-" + token[3:20]}})
		}},
		{"the name of the group", func(w http.ResponseWriter, pad, token string) {
			answerJSON(w, 200, protocol.CheckinReply{Inventory: "ok", Group: protocol.Group{ID: "staff", Name: pad + token}})
		}},
		{"the word for the inventory", func(w http.ResponseWriter, pad, token string) {
			answerJSON(w, 200, protocol.CheckinReply{Inventory: pad + token + longSecret})
		}},
		{"a page", func(w http.ResponseWriter, pad, token string) {
			plainAnswer(403, "text/html "+token, pad+token+longSecret)(w)
		}},
	}
	for _, test := range answers {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newContentBench(t)
			b.options.Secret, b.portal.secret = longSecret, longSecret
			b.options.Proxy = &url.URL{Scheme: "http", Host: "proxy", User: url.UserPassword("user", "canary-of-the-proxy")}
			b.configure()
			b.do("agent_start")
			token := b.client.currentIdentity().token
			for length := 150; length < 205; length++ { // what a problem's words are cut at is in there
				b.portal.on(checkin, func(w http.ResponseWriter) { test.give(w, strings.Repeat("p", length), token) })
				outcome, err := b.try("daily")
				state, _ := json.Marshal(b.client.State())
				events, _ := json.Marshal(outcome.Events)
				for sink, text := range map[string]string{
					"log": b.log.String(), "status": string(state), "events": string(events), "error": fmt.Sprint(err), "detail": outcome.Detail,
				} {
					if part := shownShard(text, token, longSecret, "canary-of-the-proxy"); part != "" {
						t.Fatalf("after %d bytes the %s shows %s: %.500s", length, sink, part, text)
					}
				}
				b.log.Reset()
			}
		})
	}
}

// What is longer than people read is cut last: the cut leaves no beginning of a
// secret.
func TestH62_RedactedThenCut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	token := b.client.currentIdentity().token
	for length := protocol.MaxText - len(token); length <= protocol.MaxText; length++ {
		shown := b.client.explainError(errors.New(strings.Repeat("p", length) + token + strings.Repeat("p", 100)))
		if rest := strings.TrimLeft(shown, "p"); !strings.HasPrefix(text.HiddenSecret+strings.Repeat("p", 100), rest) || len(shown) != protocol.MaxText {
			t.Fatalf("%d bytes end with %q", len(shown), rest)
		}
	}
}

// A head's envelope is a stranger's word until it is verified; so is a policy's
// place.
func TestH62_ContentThatRepeatsTheToken(t *testing.T) {
	t.Parallel()
	b := settled(t)
	token := b.client.currentIdentity().token
	for length := 30; length < 85; length++ { // so is what is quoted of a type
		b.hint(uint64(100 + length))
		b.portal.on(staffHead, plainAnswer(200, "application/json", fmt.Sprintf(`{"payloadType":%q,"payload":"","signatures":[]}`, strings.Repeat("p", length)+token)))
		outcome, _ := b.try("daily")
		events, _ := json.Marshal(outcome.Events)
		if part := shownShard(outcome.Detail+b.log.String()+string(events), token); part != "" || outcome.Code != protocol.CodeHeadInvalid {
			t.Fatalf("%q shows %s: %s", outcome.Code, part, outcome.Detail)
		}
	}
}

// The device's id is shown to everybody, so it must not be the token.
func TestH62_TheTokenAsTheDeviceID(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	token := "canary-" + strings.Repeat("0123456789", 4)
	b.portal.on("POST /v1/enroll", func(w http.ResponseWriter) {
		answerJSON(w, http.StatusCreated, protocol.EnrollReply{State: protocol.EnrollApproved, DeviceID: "d-" + token[5:30], Token: token})
	})
	b.fails(protocol.CodePortalReplyInvalid)
	if state := b.client.State(); state.DeviceID != "" || state.Enrollment != EnrollmentNone {
		t.Errorf("state %+v", state)
	}
}

// Programs that mean no harm repeat what they were sent in other spellings; of
// those no part is shown either, whatever stands around it.
func TestH62_NoSpellingOfASecretIsShown(t *testing.T) {
	t.Parallel()
	const secret = `pA5s w0rd/of+"the"<proxy>&é%=?`
	b := newBench(t)
	b.do("agent_start")
	b.options.Secret = secret
	b.options.Proxy = &url.URL{Scheme: "http", Host: "proxy", User: url.UserPassword("user", secret)}
	b.configure()
	e := exchange{client: b.client}
	enrollment, err := e.enrollmentRequest(b.client.currentIdentity())
	if err != nil {
		t.Fatal(err)
	}
	token := b.client.currentIdentity().token
	texts := map[string]string{
		"the body of an enrollment": string(enrollment),
		"upper case":                strings.ToUpper(token),
		"lower case":                strings.ToLower(secret),
		"a query":                   url.Values{"secret": {secret}}.Encode(),
		"a path":                    (&url.URL{Path: "/" + secret}).EscapedPath(),
		"a page":                    html.EscapeString(secret),
		"quoted":                    fmt.Sprintf("%q %+q", secret, secret),
		"bytes":                     fmt.Sprintf("%x %X", secret, token),
		"every byte escaped":        "%" + strings.TrimSuffix(strings.ReplaceAll(fmt.Sprintf("% X", token), " ", "%"), "%"),
		"a proxy's header":          "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+secret)),
		"a dump of our headers":     base64.URLEncoding.EncodeToString([]byte("Authorization: Bearer " + token + "\r\n")),
	}
	for before := range 6 {
		texts[fmt.Sprint("base64 after ", before)] = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", before) + token + "xxxx"))
	}
	for name, said := range texts {
		shown := b.client.explainError(errors.New(said))
		if !strings.Contains(shown, text.HiddenSecret) {
			t.Errorf("%s: nothing of %q is hidden", name, said)
		}
		var forms []string
		for _, form := range append(text.Spellings(token), text.Spellings(secret)...) {
			forms = append(forms, lowerCase(form))
		}
		for _, rest := range strings.Split(lowerCase(shown), lowerCase(text.HiddenSecret)) {
			if part := shownShard(rest, forms...); part != "" {
				t.Errorf("%s shows %q: %s", name, part, shown)
			}
		}
		for _, rest := range strings.Split(shown, text.HiddenSecret) { // nor is there what can be decoded
			for _, word := range strings.FieldsFunc(rest, func(c rune) bool { return strings.ContainsRune("\" {}:,=", c) }) {
				for at := range min(4, len(word)) {
					decoded, _ := base64.RawStdEncoding.DecodeString(word[at:])
					if part := shownShard(string(decoded), token, secret); part != "" {
						t.Errorf("%s shows %q in %s", name, part, word)
					}
				}
			}
		}
	}
}

// lowerCase keeps every byte in its place.
func lowerCase(said string) string {
	lower := []byte(said)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return string(lower)
}
