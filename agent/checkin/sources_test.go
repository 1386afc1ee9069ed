package checkin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"prlagent/agent/enforce"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// newFolderBench is a Mac without a portal that has a folder of signed policies.
// The bench's portal is where they are made.
func newFolderBench(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.options.ServerURL, b.options.Secret, b.options.Group = nil, "", "staff"
	b.options.ContentFolder = filepath.Join(b.dir, "content")
	b.configure()
	return b
}

// unpack makes the folder what the bench's portal would serve.
func (b *bench) unpack() {
	b.t.Helper()
	if err := os.RemoveAll(b.options.ContentFolder); err != nil {
		b.t.Fatal(err)
	}
	for _, folder := range []string{"heads", "policies"} {
		if err := os.MkdirAll(filepath.Join(b.options.ContentFolder, folder), 0o755); err != nil {
			b.t.Fatal(err)
		}
	}
	for name, data := range b.portal.content {
		if err := os.WriteFile(filepath.Join(b.options.ContentFolder, name), data, 0o644); err != nil {
			b.t.Fatal(err)
		}
	}
}

// refresh is what the daemon does with each look; it gives the codes of events.
func (b *bench) refresh() (codes []protocol.Code) {
	b.t.Helper()
	for _, event := range b.client.Refresh(b.t.Context(), true) {
		codes = append(codes, event.Code)
	}
	return codes
}

func TestAFolderIsASourceWithoutAServer(t *testing.T) {
	t.Parallel()
	b := newFolderBench(t)
	b.publish("staff", 5, 3)
	b.unpack()
	if codes := b.refresh(); len(codes) > 0 {
		t.Errorf("events %v", codes)
	}
	b.wantPolicy(protocol.PolicyFetched, "", 5, 3)
	if content := b.client.Content(); !content.InForce() || content.Source != policy.FromHead {
		t.Errorf("content %+v", content)
	}
	commits := b.options.Store.Commits()
	b.now = b.now.Add(time.Hour)
	b.refresh()
	if now := b.options.Store.Commits(); now != commits {
		t.Errorf("%d commits for a folder that is as it was", now-commits)
	}
	b.publish("staff", 6, 4)
	b.unpack()
	b.client.Refresh(t.Context(), false)
	b.wantPolicy(protocol.PolicyFetched, "", 6, 4)
	b.crash()
	b.wantPolicy(protocol.PolicyFetched, "", 6, 4)
	b.portal.wantSent()
}

// While a check-in runs, its end reads the folder.
func TestAFolderBesideAPortal(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.options.ContentFolder = filepath.Join(b.dir, "content")
	b.configure()
	b.publish("staff", 5, 3)
	b.unpack()
	b.portal.set(func(f *fakePortal) { f.content = map[string][]byte{} })
	if outcome := b.do("agent_start"); outcome.Code != "" || !outcome.ContentChanged {
		t.Errorf("outcome %+v", outcome)
	}
	b.portal.wantSent("POST /v1/enroll", checkin)
	b.wantPolicy(protocol.PolicyFetched, "", 5, 3)
}

// What nobody but root can have put there counts, and nothing else.
func TestH53_AFolderThatOthersCanChange(t *testing.T) {
	t.Parallel()
	head := "heads/staff.dsse.json"
	for name, c := range map[string]struct {
		spoil func(folder string) error
		code  protocol.Code
	}{
		"the folder itself":   {func(folder string) error { return os.Chmod(folder, 0o777) }, protocol.CodeFolderWritable},
		"the folder of heads": {func(folder string) error { return os.Chmod(filepath.Join(folder, "heads"), 0o777) }, protocol.CodeFolderWritable},
		"a head":              {func(folder string) error { return os.Chmod(filepath.Join(folder, head), 0o666) }, protocol.CodeContentUnreadable},
		"a linked head": {func(folder string) error {
			return errorsOf(os.Rename(filepath.Join(folder, head), folder+"/x"), os.Symlink(folder+"/x", filepath.Join(folder, head)))
		}, protocol.CodeContentUnreadable},
		"a FIFO": {func(folder string) error {
			return errorsOf(os.Remove(filepath.Join(folder, head)), syscall.Mkfifo(filepath.Join(folder, head), 0o644))
		}, protocol.CodeContentUnreadable},
		"a folder as head": {func(folder string) error {
			return errorsOf(os.Remove(filepath.Join(folder, head)), os.Mkdir(filepath.Join(folder, head), 0o755))
		}, protocol.CodeContentUnreadable},
		"a head that is too large": {func(folder string) error {
			return os.WriteFile(filepath.Join(folder, head), bytes.Repeat([]byte(" "), protocol.MaxHead+1), 0o644)
		}, protocol.CodeContentUnreadable},
		"policies that are gone": {func(folder string) error { return os.RemoveAll(filepath.Join(folder, "policies")) }, protocol.CodeContentUnreadable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFolderBench(t)
			b.publish("staff", 5, 3)
			b.unpack()
			b.refresh()
			b.publish("staff", 6, 4)
			b.unpack()
			if err := c.spoil(b.options.ContentFolder); err != nil {
				t.Fatal(err)
			}
			if codes := b.refresh(); !slices.Equal(codes, []protocol.Code{c.code}) {
				t.Errorf("events %v, want %s", codes, c.code)
			}
			b.keeps(c.code)
			b.unpack()
			if codes := b.refresh(); len(codes) > 0 {
				t.Errorf("afterwards: %v", codes)
			}
			b.wantPolicy(protocol.PolicyFetched, "", 6, 4)
		})
	}
}

// What is not good is read again with each look, also where the folder shows no
// change, and between two looks only if it does, or did a moment ago.
func TestAFolderIsReadAgainUntilItIsGood(t *testing.T) {
	t.Parallel()
	b := newFolderBench(t)
	b.publish("staff", 5, 3)
	b.unpack()
	if err := os.Chmod(b.options.ContentFolder, 0o777); err != nil {
		t.Fatal(err)
	}
	b.refresh()
	b.wantPolicy(protocol.PolicyFailed, protocol.CodeFolderWritable, 0, 0)
	if err := os.Chmod(b.options.ContentFolder, 0o755); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(time.Minute)
	b.client.Refresh(t.Context(), false)
	b.wantPolicy(protocol.PolicyFailed, protocol.CodeFolderWritable, 0, 0)
	b.refresh()
	b.wantPolicy(protocol.PolicyFetched, "", 5, 3)
}

// A file that has its name already, and its content a moment later.
func TestAFolderThatIsReadWhileItIsFilled(t *testing.T) {
	t.Parallel()
	b := newFolderBench(t)
	b.publish("staff", 5, 3)
	b.unpack()
	fill := func(part int) {
		for name, data := range b.portal.content {
			if strings.HasPrefix(name, "policies/") {
				write(t, filepath.Join(b.options.ContentFolder, name), data[:len(data)/part])
			}
		}
	}
	fill(2)
	b.client.Refresh(t.Context(), false)
	b.wantPolicy(protocol.PolicyFailed, protocol.CodePolicyHash, 0, 0)
	fill(1)
	b.now = b.now.Add(time.Second)
	b.client.Refresh(t.Context(), false)
	b.wantPolicy(protocol.PolicyFetched, "", 5, 3)
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func errorsOf(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

// H47, H65, CFP-02: whatever comes in place of what was good, from a server or
// from a folder, leaves it in force, with an event. Only what is signed for this
// Mac's group, is not older and has not expired releases.
func TestH47_WhatReleasesAndWhatDoesNot(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		change func(b *bench)
		code   protocol.Code
	}{
		{"no head", func(b *bench) { delete(b.portal.content, "heads/staff.dsse.json") }, protocol.CodeHeadMissing},
		{"garbage", func(b *bench) { b.portal.content["heads/staff.dsse.json"] = []byte("<html>a captive network") }, protocol.CodeHeadInvalid},
		{"nothing in it", func(b *bench) { b.portal.content["heads/staff.dsse.json"] = bytes.Repeat([]byte(" "), 40) }, protocol.CodeHeadInvalid},
		{"another group's release", func(b *bench) { b.serveHead("staff", b.head("interns", 6, nil), b.signer) }, protocol.CodeHeadWrongGroup},
		{"another site's release", func(b *bench) {
			head := b.head("staff", 6, nil)
			head.SiteID = "elsewhere"
			b.serveHead("staff", head, b.signer)
		}, protocol.CodeHeadWrongSite},
		{"an older release", func(b *bench) { b.serveHead("staff", b.head("staff", 4, nil), b.signer) }, protocol.CodeRollbackDetected},
		{"a release that has expired", func(b *bench) {
			head := b.head("staff", 6, nil)
			head.ExpiresAt = b.now
			b.serveHead("staff", head, b.signer)
		}, protocol.CodeContentStale},
		{"a release by somebody else", func(b *bench) {
			_, stranger := keyPair(b.t)
			b.serveHead("staff", b.head("staff", 6, nil), stranger)
		}, protocol.CodeHeadSignature},
		{"a head that does not say which policy", func(b *bench) {
			head, _ := json.Marshal(map[string]any{"site_id": theSite, "group_id": "staff", "head_version": 6, "expires_at": b.now.Add(time.Hour)})
			b.portal.content["heads/staff.dsse.json"], _ = protocol.Sign(protocol.PayloadHead, head, b.signer).JSON()
		}, protocol.CodeHeadInvalid},
		{"a release", func(b *bench) { b.serveHead("staff", b.head("staff", 6, nil), b.signer) }, ""},
	}
	for _, source := range []string{"server", "folder"} {
		for _, test := range cases {
			t.Run(source+": "+test.name, func(t *testing.T) {
				t.Parallel()
				b := newContentBench(t)
				take := func() (codes []protocol.Code) {
					b.hint(99)
					for _, event := range b.do("daily").Events {
						codes = append(codes, event.Code)
					}
					return codes
				}
				if source == "folder" {
					b = newFolderBench(t)
					take = func() []protocol.Code { b.unpack(); return b.refresh() }
				}
				b.publish("staff", 5, 3)
				take()
				b.wantPolicy(protocol.PolicyFetched, "", 5, 3)
				test.change(b)
				codes := take()
				if test.code == "" {
					if content := b.client.Content(); !content.Released || content.InForce() || len(codes) > 0 {
						t.Errorf("content %+v, events %v", content, codes)
					}
					return
				}
				if !slices.Equal(codes, []protocol.Code{test.code}) {
					t.Errorf("events %v, want %s", codes, test.code)
				}
				if again := take(); len(again) > 0 {
					t.Errorf("the same event twice: %v", again)
				}
				b.keeps(test.code)
			})
		}
	}
}

// dictionaryOf is a policy of the configuration.
func dictionaryOf(revision uint64) policy.Dictionary {
	document := policyDocument("p-profile", revision)
	return policy.Dictionary{Given: true, Document: document, Pointer: protocol.PointTo("p-profile", revision, document)}
}

// profile makes the policy of the configuration another one, as the loop does.
func (b *bench) profile(dictionary policy.Dictionary) *policy.Content {
	b.options.Policy = dictionary
	b.configure()
	b.client.Refresh(b.t.Context(), true)
	return b.client.Content()
}

// H06, H47: a policy of the configuration wins over signed ones, and stays until
// the configuration says another one, or that there is none.
func TestH06_H47_APolicyOfTheConfiguration(t *testing.T) {
	t.Parallel()
	gone, refused, empty := policy.Dictionary{}, policy.Dictionary{Given: true, Refused: true}, policy.Dictionary{Given: true}
	type step struct {
		dictionary policy.Dictionary
		id         string // of what is in force; empty: nothing
		code       protocol.Code
		released   bool
	}
	for name, c := range map[string]struct {
		head  bool // the portal has one
		steps []step
	}{
		"alone": {false, []step{
			{gone, "", "", false}, {dictionaryOf(1), "p-profile 1", "", false}, {dictionaryOf(2), "p-profile 2", "", false},
			{refused, "p-profile 2", protocol.CodeConfigInvalid, false}, {gone, "p-profile 2", protocol.CodePolicyKeyGone, false},
			{dictionaryOf(1), "p-profile 1", "", false}, {empty, "", "", true}, {gone, "", "", true}, {refused, "", "", true}, {dictionaryOf(3), "p-profile 3", "", false},
		}},
		"garbage from the beginning": {false, []step{{refused, "", protocol.CodeConfigInvalid, false}, {gone, "", "", false}}},
		"over a signed one": {true, []step{
			{gone, "p-staff 3", "", false}, {refused, "p-staff 3", protocol.CodeConfigInvalid, false}, {dictionaryOf(1), "p-profile 1", "", false},
			{refused, "p-profile 1", protocol.CodeConfigInvalid, false}, {empty, "", "", true}, {dictionaryOf(2), "p-profile 2", "", false}, {gone, "p-staff 3", "", false},
			{refused, "p-staff 3", protocol.CodeConfigInvalid, false},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newContentBench(t)
			if c.head {
				b.publish("staff", 5, 3)
			} else {
				b.options.ContentURL = nil
				b.configure()
			}
			b.do("agent_start")
			for i, step := range c.steps {
				b.profile(step.dictionary)
				for _, when := range []string{"at once", "after a check-in", "after a restart"} {
					content := b.client.Content()
					id := ""
					if content.InForce() {
						id = fmt.Sprintf("%s %d", content.Pointer.PolicyID, content.Pointer.Revision)
					}
					if id != step.id || content.Code != step.code || content.Released != step.released {
						t.Fatalf("step %d, %s: %s, code %q, released %t; want %+v", i+1, when, id, content.Code, content.Released, step)
					}
					if when == "at once" {
						b.do("daily")
					} else {
						b.crash()
					}
				}
				commits := b.options.Store.Commits()
				b.client.Refresh(t.Context(), true)
				if now := b.options.Store.Commits(); now != commits {
					t.Errorf("step %d: %d commits for nothing new", i+1, now-commits)
				}
			}
		})
	}
}

// GRP-02, GRP-04, GRP-10, H08: whatever group an unsigned answer names, and
// whatever head that group has, a Mac with a policy in force from any source is
// neither released by it nor moved to a weaker mode.
func TestH08_GRP_02_GRP_04_GRP_10_AnUnsignedGroupWeakensNothing(t *testing.T) {
	t.Parallel()
	for name, arrange := range map[string]func(b *bench){
		"a signed policy":                       func(b *bench) {},
		"a signed policy of the managed Group":  func(b *bench) { b.options.Group = "staff" },
		"a candidate":                           func(b *bench) { b.publishCandidate(5, 3, 4, 100) },
		"a candidate where there was no policy": func(b *bench) { b.publishOnlyCandidate(5, 3, 100) },
		"the configuration's":                   func(b *bench) { b.options.Policy = dictionaryOf(3) },
		"a folder's":                            func(b *bench) { b.options.ContentFolder = filepath.Join(b.dir, "content"); b.unpack() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newContentBench(t)
			b.publish("staff", 5, 3)
			arrange(b)
			b.configure()
			b.do("agent_start")
			b.client.Refresh(t.Context(), true)
			before := b.client.Content()
			if !before.InForce() {
				t.Fatalf("content %+v", before)
			}
			released := b.head("interns", 9, nil)
			released.Mode = protocol.ModeMonitor
			b.publishHead(released)
			if b.options.ContentFolder != "" {
				b.unpack()
			}
			for _, group := range []string{"interns", "no-such-group", ""} {
				b.portal.set(func(f *fakePortal) { f.reply.Group = protocol.Group{ID: group, Source: protocol.GroupFromSecret} })
				b.do("daily")
				b.client.Refresh(t.Context(), true)
				b.crash()
				after := b.client.Content()
				if !after.InForce() || after.Pointer != before.Pointer || after.Mode != before.Mode {
					t.Errorf("group %q: %+v", group, after)
				}
			}
		})
	}
}

// A Mac that sleeps through the time in which the profile has both keys goes on
// with the new one, and obeys the old one no more.
func TestAKeyIsRotatedUnderAMacThatSleeps(t *testing.T) {
	t.Parallel()
	for name, wakesBetween := range map[string]bool{"awake": true, "asleep": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := settled(t)
			old, oldSigner := b.options.PolicyKeys[0], b.signer
			public, private := keyPair(t)
			next := protocol.TrustedKey{ID: protocol.KeyID(public), Key: public}
			if wakesBetween { // two keys, and a head that both have signed
				b.options.PolicyKeys = []protocol.TrustedKey{old, next}
				b.configure()
				b.publish("staff", 6, 3)
				payload, _ := json.Marshal(b.head("staff", 6, b.pointer(3)))
				both, _ := protocol.Sign(protocol.PayloadHead, payload, oldSigner, private).JSON()
				b.portal.set(func(f *fakePortal) { f.content["heads/staff.dsse.json"] = both })
				b.do("profile_changed")
				b.wantPolicy(protocol.PolicyFetched, "", 6, 3)
			}
			b.now = b.now.Add(40 * 24 * time.Hour)
			b.options.PolicyKeys = []protocol.TrustedKey{next}
			b.configure()
			if !b.client.Content().InForce() {
				t.Error("the policy went with its key")
			}
			b.signer = private
			b.publish("staff", 7, 4)
			b.do("profile_changed")
			b.wantPolicy(protocol.PolicyFetched, "", 7, 4)
			b.signer = oldSigner
			b.publish("staff", 8, 5)
			if outcome := b.do("daily"); outcome.Code != protocol.CodeHeadSignature {
				t.Errorf("a head of the old key: %+v", outcome)
			}
			b.wantPolicy(protocol.PolicyFetched, protocol.CodeHeadSignature, 7, 4)
		})
	}
}

// pointer is the pointer to a revision of the policy of staff.
func (b *bench) pointer(revision uint64) *protocol.PolicyPointer {
	pointer := protocol.PointTo("p-staff", revision, policyDocument("p-staff", revision))
	return &pointer
}

// Ten days before a head expires it is said, and afterwards; the policy stays, and
// a renewed head heals, from either source.
func TestAHeadRunsOutAndIsRenewed(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"server", "folder"} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			b := newContentBench(t)
			take := func() { b.do("daily") }
			if source == "folder" {
				b = newFolderBench(t)
				take = func() { b.unpack(); b.refresh() }
			}
			b.publish("staff", 5, 3)
			take()
			for days, want := range map[int][2]bool{0: {false, false}, 19: {false, false}, 21: {true, false}, 31: {true, true}} {
				began := b.now
				b.now = b.now.Add(time.Duration(days) * 24 * time.Hour)
				content := b.client.Content()
				if got := [2]bool{content.ExpiresSoon, content.Expired}; got != want || !content.InForce() || content.Pointer.Revision != 3 {
					t.Errorf("after %d days: %+v", days, content)
				}
				b.now = began
			}
			b.now = b.now.Add(31 * 24 * time.Hour)
			b.publish("staff", 6, 3)
			take()
			if content := b.client.Content(); content.ExpiresSoon || content.Expired || content.Code != "" || !content.InForce() {
				t.Errorf("renewed: %+v", content)
			}
			if state := enforce.Report(b.client.Content(), enforce.Gates{}).State; state != protocol.PolicyFetched {
				t.Errorf("renewed: %s", state)
			}
		})
	}
}
