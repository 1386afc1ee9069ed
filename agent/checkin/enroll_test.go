package checkin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
)

func TestH01_EnrollmentProvesTheDeviceKey(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if got := b.client.State(); got.Enrollment != EnrollmentNone || got.DeviceID != "" {
		t.Errorf("before: %+v", got)
	}
	outcome := b.do("agent_start")
	sent := b.portal.wantSent("POST /v1/enroll", "POST /v1/checkin")
	if !outcome.EnrolledNow || outcome.Requests != 2 {
		t.Errorf("outcome %+v", outcome)
	}
	if got := sent[0].header.Get("Authorization"); got != "" {
		t.Errorf("enrollment carries %q", got)
	}
	if got := b.client.State(); got.Enrollment != EnrollmentDone || got.DeviceID != "device-1" {
		t.Errorf("after: %+v", got)
	}
	info, err := os.Stat(b.options.IdentityPath)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("node.json: %v %v", info.Mode(), err)
	}
}

func TestH01_TheKeyIsWrittenBeforeItIsUsed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.line.down = true
	b.fails(protocol.CodePortalUnreachable)
	before := b.client.currentIdentity().key
	b.crash()
	b.line.down = false
	b.do("agent_start")
	if !before.Equal(b.client.currentIdentity().key) || !b.portal.device.Equal(before.Public()) {
		t.Error("the device key did not survive a restart")
	}
}

func TestH01_ADeviceThatIsUnknownReenrollsWithItsKey(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	old := b.client.currentIdentity()
	b.portal.forget()
	b.portal.sent()
	outcome := b.do("daily")
	sent := b.portal.wantSent("POST /v1/checkin", "POST /v1/enroll", "POST /v1/checkin", "POST /v1/checkin")
	if string(sent[0].body) != string(sent[2].body) {
		t.Error("the report changed while its token did")
	}
	if !outcome.EnrolledNow || !outcome.SendFull || b.client.currentIdentity().token == old.token {
		t.Errorf("outcome %+v", outcome)
	}
}

func TestH01_PendingEnrollmentKeepsTheOldToken(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	token := b.client.currentIdentity().token
	b.portal.set(func(f *fakePortal) { f.pending = true })
	b.portal.on("POST /v1/checkin", problem(protocol.ProblemDeviceUnknown))
	outcome := b.fails(protocol.CodeEnrollmentPending)
	if outcome.RetryAfter < 2*time.Minute || outcome.RetryAfter > 3*time.Minute {
		t.Errorf("retry after %v, the portal said 120 s", outcome.RetryAfter)
	}
	if b.client.State().Enrollment != EnrollmentPending {
		t.Errorf("state %+v", b.client.State())
	}
	b.crash()
	if b.client.currentIdentity().token != token {
		t.Error("the old token is gone")
	}
	b.do("daily") // and works
	if b.client.State().Enrollment != EnrollmentDone {
		t.Errorf("state %+v", b.client.State())
	}
}

func TestH01_ANewDeviceWaitsForApproval(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.portal.set(func(f *fakePortal) { f.pending = true })
	b.fails(protocol.CodeEnrollmentPending)
	if got := b.client.State(); got.Enrollment != EnrollmentPending || got.DeviceID != "device-1" {
		t.Errorf("state %+v", got)
	}
	b.portal.wantSent("POST /v1/enroll")
	b.portal.set(func(f *fakePortal) { f.pending = false })
	b.do("daily")
	request := b.portal.wantSent("POST /v1/enroll", "POST /v1/checkin")[1].checkin(t)
	if len(request.Triggers) != 1 || request.Triggers[0].Count != 2 {
		t.Errorf("triggers of the time before are lost: %+v", request.Triggers)
	}
}

func TestH01_AnEnrollmentWhoseAnswerIsLostIsProvenAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.portal.set(func(f *fakePortal) { f.loseNext, f.secret = 1, theSecret })
	b.fails(protocol.CodePortalUnreachable)
	b.crash()
	b.portal.set(func(f *fakePortal) { f.secret = "rotated meanwhile" })
	if outcome := b.do("agent_start"); !outcome.EnrolledNow || b.portal.tokens != 2 {
		t.Errorf("outcome %+v, %d tokens", outcome, b.portal.tokens)
	}
}

func TestEnrollmentRefusals(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		answer scripted
		code   protocol.Code
		state  string
	}{
		{"wrong secret", problem(protocol.ProblemEnrollmentRefused), protocol.CodeEnrollmentRefused, EnrollmentRefused},
		{"closed", problem(protocol.ProblemEnrollmentClosed), protocol.CodeEnrollmentClosed, EnrollmentRefused},
		{"retired", problem(protocol.ProblemDeviceRetired), protocol.CodeDeviceRetired, EnrollmentRetired},
		{"meant for another portal", problem(protocol.ProblemWrongPortal), protocol.CodeEnrollmentWrongPortal, EnrollmentRefused},
		{"a wrong clock", problem(protocol.ProblemEnrollmentStale), protocol.CodeEnrollmentStale, EnrollmentRefused},
		{"rejected", problem(protocol.ProblemEnrollmentDenied), protocol.CodeEnrollmentRejected, EnrollmentRefused},
		{"a full list of keys", problem(protocol.ProblemPendingFull), protocol.CodePendingKeysFull, EnrollmentRefused},
		{"a proxy's 403", plainAnswer(403, "text/html", "<html>"), protocol.CodePortalOutage, EnrollmentNone},
		{"a captive network's 200", plainAnswer(200, "text/html", "<html>"), protocol.CodePortalWebPage, EnrollmentNone},
		{"no token", plainAnswer(201, "application/json", `{"state":"approved","device_id":"d"}`), protocol.CodePortalReplyInvalid, EnrollmentNone},
		{"a token with a line break", plainAnswer(201, "application/json", `{"state":"approved","device_id":"d","token":"a\nb"}`), protocol.CodePortalReplyInvalid, EnrollmentNone},
		{"no device id", plainAnswer(201, "application/json", `{"state":"approved","token":"t"}`), protocol.CodePortalReplyInvalid, EnrollmentNone},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.portal.on("POST /v1/enroll", test.answer)
			b.fails(test.code)
			if got := b.client.State().Enrollment; got != test.state {
				t.Errorf("state %q, want %q", got, test.state)
			}
			b.do("daily")
		})
	}
}

// H04 is whole in a later issue; what is here must already be right.
func TestH04_OnlyOurProblemsChangeTheIdentity(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		answer scripted
		code   protocol.Code
		state  string
		hourly bool
	}{
		{"our revoked", problem(protocol.ProblemDeviceRevoked), protocol.CodeDeviceRevoked, EnrollmentRevoked, true},
		{"our retired", problem(protocol.ProblemDeviceRetired), protocol.CodeDeviceRetired, EnrollmentRetired, true},
		{"our duplicate", problem(protocol.ProblemDuplicateIdentity), protocol.CodeDuplicateIdentity, EnrollmentDuplicate, true},
		{"a proxy's 401", plainAnswer(401, "text/html", "no"), protocol.CodePortalOutage, EnrollmentDone, false},
		{"a proxy's 403", plainAnswer(403, "text/html", "no"), protocol.CodePortalOutage, EnrollmentDone, false},
		{"a proxy's 410", plainAnswer(410, "application/json", "{}"), protocol.CodePortalOutage, EnrollmentDone, false},
		{"another problem's 401", plainAnswer(401, protocol.ProblemContentType, `{"type":"about:blank","status":401}`), protocol.CodePortalOutage, EnrollmentDone, false},
		{"our type with another status", plainAnswer(401, protocol.ProblemContentType, `{"type":"urn:prlagent:problem:device-retired","status":410}`), protocol.CodePortalOutage, EnrollmentDone, false},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.do("agent_start")
			before := string(readFile(t, b.options.IdentityPath))
			b.portal.on("POST /v1/checkin", test.answer)
			b.portal.sent()
			outcome := b.fails(test.code)
			b.portal.wantSent("POST /v1/checkin")
			if hourly := outcome.RetryAfter >= time.Hour; hourly != test.hourly {
				t.Errorf("retry after %v", outcome.RetryAfter)
			}
			if got := b.client.State().Enrollment; got != test.state {
				t.Errorf("state %q, want %q", got, test.state)
			}
			if after := string(readFile(t, b.options.IdentityPath)); after != before {
				t.Error("node.json changed")
			}
			b.do("daily")
			if got := b.client.State().Enrollment; got != EnrollmentDone {
				t.Errorf("state %q after a success", got)
			}
		})
	}
}

func TestH02_AnIdentityOfAnotherMacIsNotUsed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	b.portal.sent()
	other := b.options.Host
	cases := []struct {
		name  string
		host  protocol.Host
		wants error
	}{
		{"the same Mac", other, nil},
		{"nothing known this time", protocol.Host{}, nil},
		{"only the serial known", protocol.Host{Serial: other.Serial}, nil},
		{"another serial", protocol.Host{Serial: "other", HardwareUUID: other.HardwareUUID}, ErrForeign},
		{"a serial that is gone", protocol.Host{HardwareUUID: other.HardwareUUID}, nil},
		{"another logic board", protocol.Host{Serial: other.Serial, HardwareUUID: "other"}, ErrForeign},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			who, err := LoadIdentity(b.options.IdentityPath, &test.host)
			if !errors.Is(err, test.wants) {
				t.Fatalf("load: %v, want %v", err, test.wants)
			}
			if fresh := who.token == "" && !who.key.Equal(b.client.currentIdentity().key); fresh != (test.wants != nil) {
				t.Errorf("fresh: %t", fresh)
			}
		})
	}
}

// A Mac that had no serial number gets one: it is the same Mac with the same key,
// and tells the portal once.
func TestH57_AGainedSerialIsToldAndResetsNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	serial := b.options.Host.Serial
	b.options.Host.Serial = ""
	if err := os.Remove(b.options.IdentityPath); err != nil {
		t.Fatal(err)
	}
	b.configure()
	b.do("agent_start")
	before := b.client.currentIdentity()
	b.portal.sent()

	b.options.Host.Serial = serial
	b.configure()
	b.line.down = true
	b.fails(protocol.CodePortalUnreachable)
	b.line.down = false
	b.do("daily")
	asked := b.portal.wantSent("POST /v1/enroll", "POST /v1/checkin", "POST /v1/checkin")[0]
	envelope, err := protocol.ParseEnvelope(asked.body, protocol.MaxRequest)
	if err != nil {
		t.Fatal(err)
	}
	if told := b.portal.openEnrollment(envelope); told.Serial != serial || !told.DeviceKey.Equal(before.key.Public()) {
		t.Errorf("the portal was told %q", told.Serial)
	}
	b.crash()
	b.do("daily")
	b.portal.wantSent("POST /v1/checkin")

	b.options.Host.Serial = "C02OTHER" // from now on it is one that can be compared
	b.configure()
	b.fails(protocol.CodeIdentityReset)
}

func TestH02_AClonedDiskEnrollsAnew(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	first := b.portal.device
	b.portal.sent()
	b.options.Host.Serial = "C02CLONE"
	b.configure()
	b.fails(protocol.CodeIdentityReset)
	b.portal.wantSent()
	if got := b.client.State().Enrollment; got != EnrollmentForeign {
		t.Errorf("state %q", got)
	}

	fresh, err := LoadIdentity(b.options.IdentityPath, &b.options.Host)
	if !errors.Is(err, ErrForeign) {
		t.Fatal(err)
	}
	epoch := b.options.Store.Epoch()
	if err := b.options.Store.Erase(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.options.Store.NewEpoch(); err != nil {
		t.Fatal(err)
	}
	if err := fresh.Save(b.options.IdentityPath); err != nil {
		t.Fatal(err)
	}
	b.portal.set(func(f *fakePortal) { f.device = nil })
	b.do("agent_start")
	request := b.portal.wantSent("POST /v1/enroll", "POST /v1/checkin", "POST /v1/checkin")[2].checkin(t)
	if request.Epoch == epoch || !request.Inventory.Full || b.portal.device.Equal(first) {
		t.Errorf("the clone goes on as the original: %+v", request.Inventory)
	}
}

func TestIdentityThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"empty": "", "cut off": `{"version":1,"seed":"canary`, "another version": `{"version":2}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			if err := os.WriteFile(b.options.IdentityPath, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			b.configure()
			if events := b.do("agent_start").Events; len(events) != 1 || events[0].Code != protocol.CodeIdentityReset {
				t.Errorf("events %+v, want identity_reset", events)
			}
			if events := b.do("daily").Events; len(events) != 0 {
				t.Errorf("it is said again: %+v", events)
			}
			if got := string(readFile(t, b.options.IdentityPath+".damaged")); got != content {
				t.Errorf("the damaged file was not kept: %q", got)
			}
		})
	}
	t.Run("and none can be written", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		path := b.options.IdentityPath
		if err := errors.Join(os.WriteFile(path, []byte("damaged"), 0o600), os.Chmod(b.dir, 0o777)); err != nil {
			t.Fatal(err)
		}
		b.configure()
		if who := b.client.currentIdentity(); who.key != nil {
			t.Error("a key is used that is on no disk")
		}
		b.fails(protocol.CodeIdentityUnreadable)
		b.portal.wantSent()
		if err := os.Chmod(b.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		b.do("daily")
		if saved, err := LoadIdentity(path, &b.options.Host); err != nil || !publicKey(saved.key).Equal(b.portal.device) {
			t.Errorf("the portal knows another key than the disk: %v", err)
		}
	})
	t.Run("a symbolic link", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		path := b.options.IdentityPath
		if err := errors.Join(os.Rename(path, path+".elsewhere"), os.Symlink(path+".elsewhere", path)); err != nil {
			t.Fatal(err)
		}
		b.configure()
		b.fails(protocol.CodeIdentityUnreadable)
	})
	t.Run("before the Mac is known", func(t *testing.T) {
		t.Parallel()
		_, err := LoadIdentity(t.TempDir()+"/node.json", &protocol.Host{Serial: "C02XYZ"})
		if !errors.Is(err, errHostUnknown) {
			t.Error(err)
		}
	})
	t.Run("without a serial", func(t *testing.T) {
		t.Parallel()
		path, bare := t.TempDir()+"/node.json", protocol.Host{HardwareUUID: "11111111-2222-3333-4444-555555555555"}
		made, err := LoadIdentity(path, &bare)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := LoadIdentity(path, &bare); err != nil || !again.key.Equal(made.key) {
			t.Errorf("the second time: %v", err)
		}
	})
}

func TestAnotherPortalGetsAnotherToken(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	old := b.client.currentIdentity().token
	b.portal.sent()
	other := newFakePortal(t)
	other.clock = b.portal.clock
	other.tokens = 10
	b.options.ServerURL = parseURL(t, "https://other.example")
	b.options.Transport = &directly{handler: other}
	b.configure()
	b.do("profile_changed")
	sent := other.wantSent("POST /v1/enroll", "POST /v1/checkin")
	for _, request := range sent {
		if strings.Contains(fmt.Sprint(request.header)+string(request.body), old) {
			t.Error("the old portal's token went to the new one")
		}
	}
	if request := sent[1].checkin(t); !request.Inventory.Full || request.Sequence != 2 {
		t.Errorf("the new portal did not get everything: %+v", request)
	}
	b.portal.wantSent()
}

// One portal under two addresses, one after the other, as after a typing error
// in a profile: to it a number that comes back is a second Mac.
func TestH02_NumbersRiseAcrossAddresses(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	b.portal.set(func(f *fakePortal) { f.loseNext = 1 })
	b.fails(protocol.CodePortalUnreachable) // the portal has number 2
	first := b.options.ServerURL
	for want, address := range []string{"https://portal.example:8443", "https://other.example", ""} {
		b.options.ServerURL = first
		if address != "" {
			b.options.ServerURL = parseURL(t, address)
		}
		b.configure()
		b.portal.sent()
		b.do("profile_changed")
		request := b.portal.wantSent("POST /v1/enroll", "POST /v1/checkin")[1].checkin(t)
		if request.Sequence != uint64(want+3) || !request.Inventory.Full {
			t.Errorf("at %q: number %d, want %d; full %t", address, request.Sequence, want+3, request.Inventory.Full)
		}
	}
}

func TestManagedGroupIsToldByEnrollingAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	b.options.Group = "finance"
	b.configure()
	b.portal.sent()
	b.do("profile_changed")
	b.do("daily")
	b.portal.wantSent("POST /v1/enroll", "POST /v1/checkin", "POST /v1/checkin")
	if got := b.client.State().Group; got != (protocol.Group{ID: "finance", Source: protocol.GroupFromProfile}) {
		t.Errorf("group %+v", got)
	}
}

func TestNotConfigured(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.options.ServerURL = nil
	b.configure()
	outcome, err := b.client.Do(context.Background(), &b.report, Extra{})
	var failure *exchangeError
	if !errors.As(err, &failure) || outcome.Code != protocol.CodeNotConfigured || outcome.Requests != 0 {
		t.Errorf("%v %+v", err, outcome)
	}
	if got := b.client.State().Enrollment; got != EnrollmentNotConfigured {
		t.Errorf("state %q", got)
	}
}

func TestGRP_03_GroupAndSourceAreShown(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.portal.set(func(f *fakePortal) {
		f.reply.Group = protocol.Group{ID: "everyone", Name: "Everyone", Source: protocol.GroupFromPrimary}
	})
	b.do("agent_start")
	want := protocol.Group{ID: "everyone", Name: "Everyone", Source: protocol.GroupFromPrimary}
	if diff := cmp.Diff(want, b.client.State().Group); diff != "" {
		t.Error(diff)
	}
	b.crash()
	if diff := cmp.Diff(want, b.client.State().Group); diff != "" {
		t.Errorf("after a restart: %s", diff)
	}
}
