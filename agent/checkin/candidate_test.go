package checkin

import (
	"testing"

	"prlagent/agent/protocol"
)

// candidate puts a revision onto the portal, and gives it to a percentage of the
// Macs of staff.
func (b *bench) candidate(revision uint64, percent int) *protocol.Candidate {
	b.t.Helper()
	p := *b.pointer(revision)
	b.portal.set(func(f *fakePortal) { f.content["policies/"+p.SHA256+".json"] = policyDocument("p-staff", revision) })
	return &protocol.Candidate{PolicyID: p.PolicyID, Revision: p.Revision, SHA256: p.SHA256, Size: p.Size, Percent: percent}
}

// publishCandidate publishes a head with a policy and a candidate.
func (b *bench) publishCandidate(version, base, revision uint64, percent int) {
	b.t.Helper()
	b.publish("staff", version, base)
	head := b.head("staff", version, b.pointer(base))
	head.Candidate = b.candidate(revision, percent)
	b.publishHead(head)
}

// publishOnlyCandidate publishes a head whose group has no policy but a candidate.
func (b *bench) publishOnlyCandidate(version, revision uint64, percent int) {
	b.t.Helper()
	head := b.head("staff", version, nil)
	head.Candidate = b.candidate(revision, percent)
	b.publishHead(head)
}

// percentOf is the least percentage at which this Mac takes a revision; one more
// than it must be taken away for the Mac to be outside.
func (b *bench) percentOf(revision uint64) int {
	for percent := 1; ; percent++ {
		if protocol.TakesCandidate("device-1", b.pointer(revision).SHA256, percent) {
			return percent
		}
	}
}

func (b *bench) wantInForce(revision uint64, percent int) {
	b.t.Helper()
	for range 2 {
		if got := b.client.Content(); !got.InForce() || got.Pointer != *b.pointer(revision) || got.Pointer.CheckPolicy(got.Document) != nil || got.CandidatePercent != percent {
			b.t.Errorf("in force %+v, want revision %d at %d percent", got, revision, percent)
		}
		b.crash()
	}
}

// A Mac outside the ring keeps the group's policy and does not even fetch the
// candidate. It takes it once the ring is wide enough, goes back at a halt by the
// head alone, and to the promoted one without fetching it again.
func TestACandidateFromPublishToPromote(t *testing.T) {
	t.Parallel()
	b := settled(t)
	const revision = 4
	ring := b.percentOf(revision)
	if ring == 1 {
		ring++ // outside is at 0 else, which no head names
	}
	b.publishCandidate(6, 3, revision, ring-1)
	if b.percentOf(revision) > 1 {
		b.do("daily")
		b.portal.wantSent(checkin, staffHead)
		b.wantInForce(3, 0)
	}
	b.publishCandidate(7, 3, revision, ring)
	if outcome := b.do("daily"); !outcome.ContentChanged || outcome.Code != "" {
		t.Errorf("outcome %+v", outcome)
	}
	b.wantInForce(revision, ring)
	b.portal.sent()
	b.do("daily")
	b.portal.wantSent(checkin)

	b.publish("staff", 8, 3) // halt
	if outcome := b.do("daily"); !outcome.ContentChanged {
		t.Errorf("outcome %+v", outcome)
	}
	b.portal.wantSent(checkin, staffHead)
	b.wantInForce(3, 0)

	b.publishCandidate(9, 3, revision, 100)
	b.do("daily")
	b.wantInForce(revision, 100)
	b.portal.sent()
	b.publish("staff", 10, revision) // promote
	if outcome := b.do("daily"); outcome.ContentChanged {
		t.Errorf("outcome %+v", outcome)
	}
	b.portal.wantSent(checkin, staffHead)
	b.wantInForce(revision, 0)
}

// A candidate that cannot be had, or read, leaves the group's policy in force, with
// an event, and is taken as soon as it is there.
func TestACandidateThatIsNotThere(t *testing.T) {
	t.Parallel()
	b := settled(t)
	b.publishCandidate(6, 3, 4, 100)
	name := "policies/" + b.pointer(4).SHA256 + ".json"
	b.portal.set(func(f *fakePortal) { f.content[name] = []byte(`{"schema":1,"policy_id":"p-staff"}`) })
	b.refusesCandidate(protocol.CodePolicyHash)
	b.portal.set(func(f *fakePortal) { f.content[name] = policyDocument("p-staff", 4) })
	if outcome := b.do("daily"); outcome.Code != "" || !outcome.ContentChanged {
		t.Errorf("outcome %+v", outcome)
	}
	b.wantInForce(4, 100)
	b.publishCandidate(7, 3, 5, 100)
	b.portal.set(func(f *fakePortal) { delete(f.content, "policies/"+b.pointer(5).SHA256+".json") })
	b.refusesCandidate(protocol.CodePortalOutage) // the head does not name revision 4 any more
}

func (b *bench) refusesCandidate(code protocol.Code) {
	b.t.Helper()
	outcome := b.do("daily")
	if outcome.Code != code || !hasEvent(outcome.Events, code) {
		b.t.Errorf("outcome %+v", outcome)
	}
	b.wantInForce(3, 0)
	if again := b.do("daily"); again.Code != code || len(again.Events) > 0 {
		b.t.Errorf("again: %+v", again)
	}
}

// A group without a policy has Macs that try one; a halt releases them.
func TestACandidateOfAGroupWithoutAPolicy(t *testing.T) {
	t.Parallel()
	b := newContentBench(t)
	b.publishOnlyCandidate(5, 3, 100)
	b.do("agent_start")
	b.wantInForce(3, 100)
	b.publishHead(b.head("staff", 6, nil))
	if outcome := b.do("daily"); !outcome.ContentChanged {
		t.Errorf("outcome %+v", outcome)
	}
	if content := b.client.Content(); !content.Released || content.InForce() || content.Pointer.Revision != 3 {
		t.Errorf("content %+v", content)
	}
}

// H40: the mode of the head comes with it, and is another demand.
func TestH40_TheModeOfAHead(t *testing.T) {
	t.Parallel()
	b := settled(t)
	if content := b.client.Content(); content.Mode != "" || !content.Allows() {
		t.Errorf("content %+v", content)
	}
	for version, mode := range []string{protocol.ModeMonitor, protocol.ModeEnforce} {
		head := b.head("staff", 6+uint64(version), b.pointer(3))
		head.Mode = mode
		b.publishHead(head)
		if outcome := b.do("daily"); !outcome.ContentChanged {
			t.Errorf("outcome %+v", outcome)
		}
		b.crash()
		if content := b.client.Content(); content.Mode != mode || content.Allows() != (mode == protocol.ModeEnforce) {
			t.Errorf("%s: %+v", mode, content)
		}
	}
}
