package checkin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

// A store that was lost does not bring an old head back that has not expired.
func TestH65_ALostStoreBringsNoOldHeadBack(t *testing.T) {
	t.Parallel()
	b := settled(t)
	old := b.portal.content["heads/staff.dsse.json"]
	oldHint := *b.portal.reply.Policy
	b.publish("staff", 9, 7)
	b.do("daily")
	b.stop()
	if err := os.RemoveAll(filepath.Join(b.dir, "state")); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.portal.set(func(f *fakePortal) {
		f.content["heads/staff.dsse.json"], f.reply.Policy, f.sequence, f.held = old, &oldHint, 0, ""
	})
	if outcome := b.do("agent_start"); outcome.Code != protocol.CodeRollbackDetected || !hasEvent(outcome.Events, protocol.CodeRollbackDetected) {
		t.Errorf("outcome %+v", outcome)
	}
	if b.client.Content().InForce() {
		t.Errorf("the old policy is in force: %+v", b.client.Content())
	}
	b.publish("staff", 9, 7)
	b.do("daily")
	b.wantPolicy(protocol.PolicyFetched, "", 9, 7)
}

// A store that was restored knows the old head, and its validator: the portal
// that still serves that one is found out all the same.
func TestH65_ARestoredStoreBringsNoOldHeadBack(t *testing.T) {
	t.Parallel()
	b := settled(t)
	old := b.portal.content["heads/staff.dsse.json"]
	oldHint := *b.portal.reply.Policy
	b.stop()
	backup := filepath.Join(b.dir, "backup")
	if err := os.CopyFS(backup, os.DirFS(filepath.Join(b.dir, "state"))); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.publish("staff", 9, 7)
	b.do("daily")
	b.stop()
	state := filepath.Join(b.dir, "state")
	if err := os.RemoveAll(state); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(backup, state); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.portal.set(func(f *fakePortal) { f.content["heads/staff.dsse.json"], f.reply.Policy = old, &oldHint })
	if outcome := b.do("agent_start"); outcome.Code != protocol.CodeRollbackDetected {
		t.Errorf("outcome %+v", outcome)
	}
	b.publish("staff", 10, 8)
	b.do("daily")
	b.wantPolicy(protocol.PolicyFetched, "", 10, 8)
}

// Nor does a lost store open the Mac to another site that the same key signs for.
func TestH65_ALostStoreLeavesTheSitePinned(t *testing.T) {
	t.Parallel()
	b := settled(t)
	b.stop()
	if err := os.RemoveAll(filepath.Join(b.dir, "state")); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.publish("staff", 9, 7)
	other := b.head("staff", 9, nil)
	other.SiteID = "another"
	b.publishHead(other)
	b.portal.set(func(f *fakePortal) { f.sequence, f.held = 0, "" })
	if outcome := b.do("agent_start"); outcome.Code != protocol.CodeHeadWrongSite || b.client.Content().Verified {
		t.Errorf("outcome %+v, content %+v", outcome, b.client.Content())
	}
	b.publish("staff", 9, 7)
	b.do("daily")
	b.wantPolicy(protocol.PolicyFetched, "", 9, 7)
}

// A profile that names the site pins it from the beginning, whatever is lost.
func TestH65_TheProfilePinsTheSite(t *testing.T) {
	t.Parallel()
	for site, code := range map[string]protocol.Code{"": "", strings.ToUpper(theSite): "", "another": protocol.CodeHeadWrongSite} {
		b := newContentBench(t)
		b.options.SiteID = site
		b.configure()
		b.publish("staff", 5, 3)
		if outcome := b.do("agent_start"); outcome.Code != code || b.client.Content().Verified != (code == "") {
			t.Errorf("site %q: outcome %+v", site, outcome)
		}
	}
}

// node.json is lost, or restored, and some time later the store: each has given
// the other its marks in between.
func TestH65_OneIsLostAfterTheOther(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(b *bench, early []byte) error{
		"removed":   func(b *bench, _ []byte) error { return os.Remove(b.options.IdentityPath) },
		"restored":  func(b *bench, early []byte) error { return os.WriteFile(b.options.IdentityPath, early, 0o600) },
		"unusable":  func(b *bench, _ []byte) error { return os.WriteFile(b.options.IdentityPath, []byte("{"), 0o600) },
		"as it was": func(*bench, []byte) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := settled(t)
			old := b.portal.content["heads/staff.dsse.json"]
			oldHint := *b.portal.reply.Policy
			early := readFile(t, b.options.IdentityPath)
			b.publish("staff", 9, 7)
			b.do("daily")
			b.stop()
			if err := damage(b, early); err != nil {
				t.Fatal(err)
			}
			b.start()
			b.portal.set(func(f *fakePortal) { f.device, f.sequence, f.held = nil, 0, "" }) // approved again, if it must be
			b.do("daily")
			b.stop()
			if err := os.RemoveAll(filepath.Join(b.dir, "state")); err != nil {
				t.Fatal(err)
			}
			b.start()
			b.portal.set(func(f *fakePortal) {
				f.content["heads/staff.dsse.json"], f.reply.Policy, f.sequence, f.held = old, &oldHint, 0, ""
			})
			if outcome := b.do("agent_start"); outcome.Code != protocol.CodeRollbackDetected || b.client.Content().InForce() {
				t.Errorf("outcome %+v, content %+v", outcome, b.client.Content())
			}
		})
	}
}

// A mark counts as long as one of its signers is trusted, in node.json as in the
// store, and node.json stays small whatever groups a Mac was in.
func TestH65_MarksInNodeJSON(t *testing.T) {
	t.Parallel()
	trusts := func(ids []string) bool { return len(ids) > 0 && ids[0] == "k" }
	who := &Identity{}
	for i := range 40 {
		var changed bool
		ids := []string{"k"}
		if i%2 == 0 {
			ids = []string{"left"}
		}
		for range 30 {
			ids = append(ids, strings.Repeat("a", 16))
		}
		key := markKey("site", strings.Repeat("g", 40)+string(rune('A'+i)))
		if who, changed = who.withMark(key, &markRecord{HeadVersion: uint64(i), SHA256: strings.Repeat("a", 64), KeyIDs: ids}, trusts); !changed {
			t.Errorf("mark %d changes nothing", i)
		}
		if _, changed = who.withMark(key, new(who.marks[key]), trusts); changed {
			t.Error("the same mark changes something")
		}
		if who.marks[key].HeadVersion != uint64(i) || len(who.marks) > maxMarks {
			t.Errorf("mark %d is not there, or %d are", i, len(who.marks))
		}
	}
	trusted := 0
	for _, mark := range who.marks {
		if trusts(mark.KeyIDs) {
			trusted++
		}
	}
	if trusted < maxMarks-1 {
		t.Errorf("%d of %d marks are of trusted keys", trusted, len(who.marks))
	}
	b := newBench(t)
	b.do("agent_start")
	full := *b.client.currentIdentity()
	full.marks = who.marks
	if err := full.Save(b.options.IdentityPath); err != nil {
		t.Fatal(err)
	}
	if size := len(readFile(t, b.options.IdentityPath)); size > maxIdentity/2 {
		t.Errorf("node.json has %d bytes", size)
	}
	back, err := LoadIdentity(b.options.IdentityPath, &b.options.Host)
	if err != nil || len(back.marks) != maxMarks {
		t.Errorf("%d marks, %v", len(back.marks), err)
	}
}

// poisoned is a Mac whose clock was a year ahead while a portal said the same,
// and is right again.
func poisoned(t *testing.T) (b *bench, real time.Time, pass func(time.Duration)) {
	t.Helper()
	b = settled(t)
	real = b.now
	var passed, off time.Duration
	b.options.Elapsed = func() time.Duration { return passed }
	b.configure()
	b.portal.set(func(f *fakePortal) { f.clock = func() time.Time { return b.now } })
	off = year
	b.now = real.Add(off)
	b.do("daily")
	if trusted := b.client.State().TrustedTime; trusted.Sub(real) < year-time.Hour {
		t.Fatalf("trusted time is %s", trusted)
	}
	b.wantPolicy(protocol.PolicyStale, protocol.CodeContentStale, 5, 3)
	b.now = real
	return b, real, func(by time.Duration) {
		passed += by
		b.now = real.Add(passed)
	}
}

func TestH65_APoisonedTrustedTimeHeals(t *testing.T) {
	t.Parallel()
	b, _, pass := poisoned(t)
	for answer := range doubtQuorum {
		pass(doubtInterval)
		outcome := b.do("daily")
		last := answer == doubtQuorum-1
		if healed := b.client.State().TrustedTime.Sub(b.now).Abs() < time.Minute; healed != last {
			t.Errorf("answer %d: trusted time is %s", answer, b.client.State().TrustedTime)
		}
		if hasEvent(outcome.Events, protocol.CodeTrustedTimeReset) != last || last && outcome.Code != protocol.CodeTrustedTimeReset {
			t.Errorf("answer %d: outcome %+v", answer, outcome)
		}
		b.crash()
	}
	b.wantPolicy(protocol.PolicyFetched, "", 5, 3)
	pass(doubtInterval)
	if outcome := b.do("daily"); outcome.Code != "" || len(outcome.Events) != 0 {
		t.Errorf("afterwards: %+v", outcome)
	}
}

// Nothing less than three answers, an hour apart, in agreement with each other,
// with the Mac's clock and with the time that has passed drops what is trusted: a
// portal alone cannot revive what has expired.
func TestH65_WhatDoesNotHeal(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		steps func(b *bench, real time.Time, pass func(time.Duration))
	}{
		{"ten answers within an hour", func(b *bench, _ time.Time, pass func(time.Duration)) {
			for range 10 {
				pass(5 * time.Minute)
				b.do("daily")
			}
		}},
		{"one answer in between that confirms", func(b *bench, real time.Time, pass func(time.Duration)) {
			for answer := range 6 {
				pass(doubtInterval)
				if answer%2 == 1 {
					b.now = real.Add(year)
				}
				b.do("daily")
			}
		}},
		{"a portal that the Mac's clock contradicts", func(b *bench, real time.Time, pass func(time.Duration)) {
			b.portal.set(func(f *fakePortal) { f.clock = func() time.Time { return b.now.Add(-time.Hour) } })
			for range 6 {
				pass(doubtInterval)
				b.do("daily")
			}
		}},
		{"answers that contradict each other", func(b *bench, real time.Time, pass func(time.Duration)) {
			for answer := range 6 {
				pass(doubtInterval)
				b.now = real.Add(-time.Duration(answer) * 48 * time.Hour)
				b.do("daily")
			}
		}},
		{"answers by which no time passes", func(b *bench, real time.Time, pass func(time.Duration)) {
			for range 6 {
				pass(doubtInterval)
				b.now = real
				b.do("daily")
			}
		}},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b, real, pass := poisoned(t)
			test.steps(b, real, pass)
			if trusted := b.client.State().TrustedTime; trusted.Sub(real) < 300*24*time.Hour {
				t.Errorf("trusted time is %s", trusted)
			}
		})
	}
}
