package checkin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"
	"prlagent/agent/enforce"

	"prlagent/agent/protocol"
	"prlagent/store"
)

const (
	staffHead = "GET /v1/content/heads/staff.dsse.json"
	checkin   = "POST /v1/checkin"
)

// settled is a bench whose Mac holds head 5 with policy revision 3 of staff.
func settled(t *testing.T) *bench {
	t.Helper()
	b := newContentBench(t)
	b.publish("staff", 5, 3)
	if outcome := b.do("agent_start"); !outcome.ContentChanged || outcome.Code != "" {
		t.Fatalf("outcome %+v", outcome)
	}
	b.wantPolicy(protocol.PolicyFetched, "", 5, 3)
	b.portal.sent()
	return b
}

// keeps asserts that the policy of settled is still in force, also after a restart.
func (b *bench) keeps(code protocol.Code) {
	b.t.Helper()
	b.wantPolicy(protocol.PolicyFetched, code, 5, 3)
	b.crash()
	b.wantPolicy(protocol.PolicyFetched, code, 5, 3)
	content := b.client.Content()
	if !content.InForce() || content.Pointer.Revision != 3 || !bytes.Equal(content.Document, policyDocument("p-staff", 3)) {
		b.t.Errorf("content %+v", content)
	}
}

// hint makes the portal say that there is something newer.
func (b *bench) hint(version uint64) {
	b.portal.set(func(f *fakePortal) { f.reply.Policy = &protocol.Hint{HeadVersion: version} })
}

// refuses is a check-in whose content is refused; the check-in itself is fine.
func (b *bench) refuses(code protocol.Code) {
	b.t.Helper()
	outcome := b.do("daily")
	if outcome.Code != code || outcome.ContentChanged {
		b.t.Errorf("outcome %q %q changed %t, want %s", outcome.Code, outcome.Detail, outcome.ContentChanged, code)
	}
	noticed := slices.ContainsFunc(outcome.Events, func(e protocol.Event) bool { return e.Code == code })
	if !noticed {
		b.t.Errorf("no event %s in %+v", code, outcome.Events)
	}
	if again := b.do("daily"); len(again.Events) != 0 {
		b.t.Errorf("the same event twice: %+v", again.Events)
	}
	b.keeps(code)
}

func TestPOL_18_AVerifiedPolicyIsStored(t *testing.T) {
	t.Parallel()
	b := newContentBench(t)
	b.wantPolicy(protocol.PolicyNone, "", 0, 0)
	b.publish("staff", 5, 3)
	b.do("agent_start")
	sent := b.portal.sent()
	if len(sent) != 4 || sent[2].what != staffHead || !strings.HasPrefix(sent[3].what, "GET /v1/content/policies/") {
		t.Fatalf("requests %+v", sent)
	}
	b.line.down = true
	b.keeps("")
	b.line.down = false
	b.do("daily")
	b.portal.wantSent(checkin)
}

func TestANewHeadOfTheSamePolicyFetchesTheHeadOnly(t *testing.T) {
	t.Parallel()
	b := settled(t)
	b.publish("staff", 6, 3)
	if outcome := b.do("daily"); outcome.ContentChanged {
		t.Error("the same policy is called changed")
	}
	sent := b.portal.wantSent(checkin, staffHead)
	if sent[1].header.Get("If-None-Match") == "" {
		t.Error("the head was asked for without a validator")
	}
	b.wantPolicy(protocol.PolicyFetched, "", 6, 3)
}

func TestANewPolicyTakesThePlaceOfTheOld(t *testing.T) {
	t.Parallel()
	b := settled(t)
	b.publish("staff", 6, 4)
	if outcome := b.do("daily"); !outcome.ContentChanged {
		t.Error("not called changed")
	}
	b.wantPolicy(protocol.PolicyFetched, "", 6, 4)
}

func TestAnUnchangedHeadIsNotTransferred(t *testing.T) {
	t.Parallel()
	b := settled(t)
	b.hint(9) // wrong: the content has not changed
	if outcome := b.do("daily"); outcome.Code != "" || outcome.ContentChanged {
		t.Errorf("outcome %+v", outcome)
	}
	b.portal.wantSent(checkin, staffHead)
	b.keeps("")
}

func TestProtocol1_AHeadWithAFlippedByteIsRefused(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*protocol.Envelope){
		"in the payload": func(e *protocol.Envelope) { e.Payload = flip(e.Payload) },
		"in the signature": func(e *protocol.Envelope) {
			e.Signatures[0].Sig = flip(e.Signatures[0].Sig)
		},
		"without a signature": func(e *protocol.Envelope) { e.Signatures = nil },
	}
	for name, damage := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := settled(t)
			b.publish("staff", 6, 4)
			b.portal.set(func(f *fakePortal) {
				var envelope protocol.Envelope
				if err := json.Unmarshal(f.content["heads/staff.dsse.json"], &envelope); err != nil {
					t.Error(err)
				}
				damage(&envelope)
				f.content["heads/staff.dsse.json"], _ = envelope.JSON()
			})
			b.refuses(protocol.CodeHeadSignature)
		})
	}
}

func flip(text string) string {
	changed := []byte(text)
	at := len(changed) / 2
	if changed[at] == 'A' {
		changed[at] = 'B'
	} else {
		changed[at] = 'A'
	}
	return string(changed)
}

func TestHeadsOfBadShapeAreRefused(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		body func(b *bench) []byte
		code protocol.Code
	}{
		{"not JSON", func(*bench) []byte { return []byte("<html>a captive network") }, protocol.CodeHeadInvalid},
		{"too large", func(*bench) []byte { return bytes.Repeat([]byte(" "), protocol.MaxHead+1) }, protocol.CodePortalReplyTooLarge},
		{"a command", func(b *bench) []byte {
			body, _ := protocol.Sign(protocol.PayloadCommand, []byte(`{}`), b.signer).JSON()
			return body
		}, protocol.CodeHeadInvalid},
		{"incomplete", func(b *bench) []byte {
			body, _ := protocol.Sign(protocol.PayloadHead, []byte(`{"site_id":"example"}`), b.signer).JSON()
			return body
		}, protocol.CodeHeadInvalid},
		{"by another key", func(b *bench) []byte {
			_, stranger := keyPair(b.t)
			payload, _ := json.Marshal(b.head("staff", 6, nil))
			body, _ := protocol.Sign(protocol.PayloadHead, payload, stranger).JSON()
			return body
		}, protocol.CodeHeadSignature},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := settled(t)
			body := test.body(b)
			b.portal.set(func(f *fakePortal) { f.content["heads/staff.dsse.json"] = body })
			b.hint(6)
			b.refuses(test.code)
		})
	}
}

func TestProtocol2_AHeadOfAnotherGroupIsRefused(t *testing.T) {
	t.Parallel()
	b := settled(t)
	b.serveHead("staff", b.head("interns", 6, nil), b.signer)
	b.hint(6)
	b.refuses(protocol.CodeHeadWrongGroup)
}

func TestAHeadOfAnotherSiteIsRefused(t *testing.T) {
	t.Parallel()
	b := settled(t)
	head := b.head("staff", 6, nil)
	head.SiteID = "elsewhere"
	b.publishHead(head)
	b.refuses(protocol.CodeHeadWrongSite)
}

func TestASiteIsLeftByReplacingAllKeys(t *testing.T) {
	t.Parallel()
	b := settled(t)
	old := b.options.PolicyKeys
	public, private := keyPair(t)
	b.signer = private
	head := b.head("staff", 1, nil)
	head.SiteID = "elsewhere"
	b.publishHead(head)
	b.options.PolicyKeys = append(old, protocol.TrustedKey{ID: protocol.KeyID(public), Key: public})
	b.configure()
	b.refuses(protocol.CodeHeadWrongSite) // an old key is still trusted
	b.options.PolicyKeys = b.options.PolicyKeys[1:]
	b.configure()
	if outcome := b.do("profile_changed"); outcome.Code != "" || !outcome.ContentChanged {
		t.Errorf("outcome %+v", outcome)
	}
}

// Whoever stole the policy key signs a head of the highest number. Once the
// profile has another key in its place, the heads of that key count from their
// beginning; as long as the stolen one is trusted, its mark does too.
func TestAStolenKeyDoesNotKeepItsSuccessorOut(t *testing.T) {
	t.Parallel()
	b := settled(t)
	b.publishHead(b.head("staff", protocol.MaxVersion, nil))
	if outcome := b.do("daily"); outcome.Code != "" {
		t.Fatalf("outcome %+v", outcome)
	}
	public, private := keyPair(t)
	b.signer = private
	b.options.PolicyKeys = append(b.options.PolicyKeys, protocol.TrustedKey{ID: protocol.KeyID(public), Key: public})
	b.configure()
	b.publish("staff", 6, 4)
	if outcome := b.do("profile_changed"); outcome.Code != protocol.CodeRollbackDetected {
		t.Errorf("outcome %+v", outcome)
	}
	b.options.PolicyKeys = b.options.PolicyKeys[1:]
	b.configure()
	b.do("profile_changed")
	b.wantPolicy(protocol.PolicyFetched, "", 6, 4)
	b.publish("staff", 5, 3)
	if outcome := b.do("daily"); outcome.Code != protocol.CodeRollbackDetected {
		t.Errorf("outcome %+v", outcome)
	}
}

func TestProtocol3_ALowerHeadIsRefusedAndReported(t *testing.T) {
	t.Parallel()
	b := settled(t)
	b.publish("staff", 4, 2)
	b.refuses(protocol.CodeRollbackDetected)
	b.report.Policy = enforce.Report(b.client.Content(), enforce.Gates{})
	b.portal.sent()
	b.do("daily")
	request := b.portal.sent()[0].checkin(t)
	if request.Policy == nil || request.Policy.Code != protocol.CodeRollbackDetected || request.Policy.Revision != 3 {
		t.Errorf("reported %+v", request.Policy)
	}
	b.publish("staff", 5, 3) // the portal serves the right one again
	b.do("daily")
	b.keeps("")
}

func TestASeenHeadCountsEvenIfItsPolicyNeverCame(t *testing.T) {
	t.Parallel()
	b := settled(t)
	b.publish("staff", 7, 4)
	b.portal.set(func(f *fakePortal) {
		for name := range f.content {
			if strings.HasPrefix(name, "policies/") {
				delete(f.content, name)
			}
		}
	})
	b.refuses(protocol.CodePortalOutage)
	b.publish("staff", 6, 5)
	b.refuses(protocol.CodeRollbackDetected)
	b.publish("staff", 7, 4)
	b.do("daily")
	b.wantPolicy(protocol.PolicyFetched, "", 7, 4)
}

func TestTheSameVersionWithOtherContentIsRefused(t *testing.T) {
	t.Parallel()
	b := settled(t)
	b.publish("staff", 5, 4)
	b.refuses(protocol.CodeHeadInvalid)
}

func TestProtocol4_AnExpiredHeadKeepsThePolicy(t *testing.T) {
	t.Parallel()
	b := settled(t)
	b.now = b.now.Add(31 * 24 * time.Hour)
	b.wantPolicy(protocol.PolicyStale, protocol.CodeContentStale, 5, 3)
	b.do("daily")
	b.crash()
	b.wantPolicy(protocol.PolicyStale, protocol.CodeContentStale, 5, 3)
	if !b.client.Content().InForce() {
		t.Error("the policy is not in force")
	}
	released := b.head("staff", 6, nil)
	released.ExpiresAt = b.now // an expired release is none
	b.publishHead(released)
	if outcome := b.do("daily"); outcome.Code != protocol.CodeContentStale || outcome.ContentChanged {
		t.Errorf("outcome %+v", outcome)
	}
	b.wantPolicy(protocol.PolicyStale, protocol.CodeContentStale, 5, 3)
	b.publish("staff", 7, 3)
	b.do("daily")
	b.wantPolicy(protocol.PolicyFetched, "", 7, 3)
}

func TestProtocol5_AMissingHeadKeepsEverything(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		answer scripted
		code   protocol.Code
	}{
		{"404 of a web server", plainAnswer(404, "text/html", "nothing"), protocol.CodeHeadMissing},
		{"404 of ours", problem(protocol.ProblemNotFound), protocol.CodeHeadMissing},
		{"403", plainAnswer(403, "text/html", "no"), protocol.CodePortalOutage},
		{"our retired", problem(protocol.ProblemDeviceRetired), protocol.CodeDeviceRetired},
		{"500", plainAnswer(500, "text/html", "no"), protocol.CodePortalOutage},
		{"a redirect", plainAnswer(302, "text/html", "no"), protocol.CodePortalRedirect},
		{"a captive network's page", plainAnswer(200, "text/html", "<html>"), protocol.CodePortalWebPage},
		{"an empty answer", plainAnswer(200, "application/json", ""), protocol.CodeHeadInvalid},
		{"null", plainAnswer(200, "application/json", "null"), protocol.CodeHeadInvalid},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := settled(t)
			b.hint(6)
			for range 4 { // two check-ins, and a retry of each
				b.portal.on(staffHead, test.answer)
			}
			b.refuses(test.code)
			if got := b.client.State().Enrollment; got != EnrollmentDone {
				t.Errorf("content changed the enrollment to %s", got)
			}
		})
	}
}

func TestPoliciesThatDoNotFitTheirHead(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name     string
		document string
		pin      func(*protocol.PolicyPointer)
		code     protocol.Code
	}{
		{"other bytes", string(policyDocument("p-staff", 4)), func(p *protocol.PolicyPointer) { p.SHA256 = strings.Repeat("0", 64) }, protocol.CodePolicyHash},
		{"another size", string(policyDocument("p-staff", 4)), func(p *protocol.PolicyPointer) { p.Size++ }, protocol.CodePolicyHash},
		{"longer than said", string(policyDocument("p-staff", 4)), func(p *protocol.PolicyPointer) { p.Size-- }, protocol.CodePolicyHash},
		{"not a policy", `{"schema":1}`, func(*protocol.PolicyPointer) {}, protocol.CodePolicyInvalid},
		{"null in it", `{"schema":1,"policy_id":"p-staff","revision":4,"name":"n","vm_settings":null}`, func(*protocol.PolicyPointer) {}, protocol.CodePolicyInvalid},
		{"another policy", string(policyDocument("other", 4)), func(*protocol.PolicyPointer) {}, protocol.CodePolicyInvalid},
		{"another revision", string(policyDocument("p-staff", 5)), func(*protocol.PolicyPointer) {}, protocol.CodePolicyInvalid},
		{"an unknown feature", `{"schema":1,"policy_id":"p-staff","revision":4,"name":"n","requires":["teleport"]}`, func(*protocol.PolicyPointer) {}, protocol.CodeUnsupportedFeature},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := settled(t)
			pointer := protocol.PointTo("p-staff", 4, []byte(test.document))
			test.pin(&pointer)
			b.publishHead(b.head("staff", 6, &pointer))
			b.portal.set(func(f *fakePortal) { f.content["policies/"+pointer.SHA256+".json"] = []byte(test.document) })
			b.refuses(test.code)
		})
	}
}

func TestASignedReleaseIsStoredAndTheDocumentKept(t *testing.T) {
	t.Parallel()
	b := settled(t)
	b.publishHead(b.head("staff", 6, nil))
	if outcome := b.do("daily"); !outcome.ContentChanged || outcome.Code != "" {
		t.Errorf("outcome %+v", outcome)
	}
	b.crash()
	b.wantPolicy(protocol.PolicyNone, "", 6, 0)
	content := b.client.Content()
	if content.InForce() || content.Pointer.Revision != 3 || !bytes.Equal(content.Document, policyDocument("p-staff", 3)) {
		t.Errorf("content %+v", content)
	}
	b.portal.sent()
	b.do("daily")
	b.portal.wantSent(checkin)
}

func TestAGroupThatNeverHadAPolicyChangesNothing(t *testing.T) {
	t.Parallel()
	b := newContentBench(t)
	b.publishHead(b.head("staff", 1, nil))
	if outcome := b.do("agent_start"); outcome.ContentChanged || outcome.Code != "" {
		t.Errorf("outcome %+v", outcome)
	}
	b.wantPolicy(protocol.PolicyNone, "", 1, 0)
	if content := b.client.Content(); content.InForce() || content.Document != nil {
		t.Error("there is content")
	}
}

func TestNothingGoodWasEverFound(t *testing.T) {
	t.Parallel()
	b := newContentBench(t)
	_, stranger := keyPair(t)
	b.serveHead("staff", b.head("staff", 1, nil), stranger)
	b.hint(1)
	b.do("agent_start")
	b.wantPolicy(protocol.PolicyFailed, protocol.CodeHeadSignature, 0, 0)
	if b.client.Content().InForce() {
		t.Error("there is content")
	}
}

func TestWithoutPolicyKeysNothingIsFetched(t *testing.T) {
	t.Parallel()
	b := newContentBench(t)
	b.options.PolicyKeys = nil
	b.configure()
	b.publish("staff", 1, 1)
	b.do("agent_start")
	b.portal.wantSent("POST /v1/enroll", checkin)
	b.wantPolicy(protocol.PolicyNone, protocol.CodeNoPolicyKeys, 0, 0)
}

func TestWithoutAHintTheHeadIsAskedForOnce(t *testing.T) {
	t.Parallel()
	b := newContentBench(t)
	b.do("agent_start")
	b.do("daily")
	b.portal.wantSent("POST /v1/enroll", checkin, staffHead, checkin)
}

func TestH08_AnUnsignedAnswerDoesNotMoveTheMac(t *testing.T) {
	t.Parallel()
	b := settled(t)
	b.publish("interns", 1, 1)
	b.portal.set(func(f *fakePortal) { f.reply.Group = protocol.Group{ID: "interns", Source: protocol.GroupFromPrimary} })
	outcome := b.do("daily")
	if outcome.Code != protocol.CodeGroupChangeRefused || len(outcome.Events) != 1 || outcome.Events[0].Data["group"] != "interns" {
		t.Errorf("outcome %q %+v", outcome.Code, outcome.Events)
	}
	if again := b.do("daily"); len(again.Events) != 0 {
		t.Error("the same event twice")
	}
	if got := b.client.State().Group; got.ID != "staff" {
		t.Errorf("group %+v", got)
	}
	for _, request := range b.portal.sent() {
		if strings.Contains(request.what, "interns") {
			t.Errorf("asked for %s", request.what)
		}
	}
	b.keeps("")
}

func TestH08_BeforeAPolicyIsStoredTheAnswerDecides(t *testing.T) {
	t.Parallel()
	b := newContentBench(t)
	b.do("agent_start")
	b.portal.set(func(f *fakePortal) { f.reply.Group = protocol.Group{ID: "interns", Source: protocol.GroupFromSecret} })
	if outcome := b.do("daily"); outcome.Code == protocol.CodeGroupChangeRefused {
		t.Error("refused with no policy in force")
	}
	if got := b.client.State().Group; got != (protocol.Group{ID: "interns", Source: protocol.GroupFromSecret}) {
		t.Errorf("group %+v", got)
	}
}

func TestH08_AManagedGroupMovesTheMacOnceItsHeadVerifies(t *testing.T) {
	t.Parallel()
	b := settled(t)
	b.options.Group = "finance"
	b.configure()
	outcome := b.do("profile_changed") // no head of finance yet
	if outcome.ContentChanged {
		t.Error("changed without a head")
	}
	b.wantPolicy(protocol.PolicyFetched, protocol.CodeHeadMissing, 5, 3)
	b.publish("finance", 1, 1)
	if outcome := b.do("daily"); !outcome.ContentChanged || outcome.Code != "" {
		t.Errorf("outcome %+v", outcome)
	}
	if got := enforce.Report(b.client.Content(), enforce.Gates{}); got.PolicyID != "p-finance" || got.HeadVersion != 1 {
		t.Errorf("policy %+v", got)
	}
	if got := b.client.State().Group; got.ID != "finance" || got.Source != protocol.GroupFromProfile {
		t.Errorf("group %+v", got)
	}
}

// The code stands beside the words already, and a portal's words are not
// without end.
func TestDetailsAreShortAndWithoutTheCode(t *testing.T) {
	t.Parallel()
	b := newContentBench(t)
	b.portal.set(func(f *fakePortal) { f.reply.Policy = &protocol.Hint{HeadVersion: 1} })
	outcome := b.do("agent_start")
	if outcome.Code != protocol.CodeHeadMissing || outcome.Detail != "there is no head for this group" {
		t.Errorf("%q %q", outcome.Code, outcome.Detail)
	}
	b.portal.on(checkin, func(w http.ResponseWriter) {
		long := protocol.NewProblem(protocol.ProblemDeviceRevoked, "")
		long.Title = strings.Repeat("é", 30_000)
		long.Write(w)
	})
	if outcome := b.fails(protocol.CodeDeviceRevoked); len(outcome.Detail) > protocol.MaxText || !utf8.ValidString(outcome.Detail) {
		t.Errorf("%d bytes", len(outcome.Detail))
	}
}

func TestGroupNamesStayBelowTheContentFolder(t *testing.T) {
	t.Parallel()
	b := newContentBench(t)
	b.portal.set(func(f *fakePortal) { f.reply.Group.ID = "../../v1/enroll?x=" })
	b.fails(protocol.CodePortalReplyInvalid)
	b.portal.wantSent("POST /v1/enroll", checkin)
	if group := b.client.State().Group; group != (protocol.Group{}) {
		t.Errorf("group %+v", group)
	}
}

func TestTheTokenStaysAtItsOrigin(t *testing.T) {
	t.Parallel()
	for address, wants := range map[string]bool{
		"https://portal.example/v1/content":      true,
		"https://portal.example:443/elsewhere":   true,
		"https://cdn.example/v1/content":         false,
		"https://portal.example:8443/v1/content": false,
		"https://portal.example.evil/v1/content": false,
	} {
		b := newContentBench(t)
		b.options.ContentURL = parseURL(t, address)
		b.configure()
		b.do("agent_start")
		sent := b.portal.sent()
		if got := sent[len(sent)-1].header.Get("Authorization") != ""; got != wants || sent[len(sent)-1].what[:3] != http.MethodGet {
			t.Errorf("%s gets the token: %t", address, got)
		}
	}
}

// A policy that the store cannot take is no refusal of content: the exchange ends
// with the store's own code, and the last good policy stays.
func TestAFullStoreEndsTheExchange(t *testing.T) {
	t.Parallel()
	b := settled(t)
	b.stop()
	opened, _, err := store.Open(t.Context(), filepath.Join(b.dir, "state"), store.Options{MaxSize: 128 << 10, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	b.use(opened)
	document := fmt.Appendf(nil, `{"schema":1,"policy_id":"p-staff","revision":4,"name":%q,"groups":["staff"]}`, strings.Repeat("n", 200<<10))
	pointer := protocol.PointTo("p-staff", 4, document)
	b.publishHead(b.head("staff", 6, &pointer))
	b.portal.set(func(f *fakePortal) { f.content["policies/"+pointer.SHA256+".json"] = document })
	b.fails(protocol.CodeStoreFull)
	b.wantPolicy(protocol.PolicyFetched, "", 5, 3)
}
