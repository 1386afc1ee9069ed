package command

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// licensedMac is a Mac with a license.
type licensedMac struct {
	*testMac
	status    string
	offline   bool // the vendor's server cannot be reached
	console   *platform.Console
	unread    map[uint32]error
	skipped   []bool // each deactivation, and whether it passed network errors over
	written   map[uint32]map[string]any
	profile   bool
	tooOld    bool
	pretended bool // the tool says well, and does nothing
}

func newLicensedMac(t testing.TB) *licensedMac {
	m := &licensedMac{testMac: newTestMac(t), status: "ACTIVE", unread: make(map[uint32]error), written: make(map[uint32]map[string]any)}
	m.sessions = []uint32{aliceUID}
	m.console = &platform.Console{User: "alice", UID: aliceUID, Sessions: m.sessions}
	return m
}

// Console says who sits at the Mac.
func (m *licensedMac) Console(context.Context) (platform.Console, error) { return *m.console, nil }

func (m *licensedMac) executor() *Deactivation {
	mac := m.mac()
	mac.Directory = m
	return &Deactivation{
		Mac:          mac,
		Tool:         func(account *Account) LicenseTool { return &licenseTool{m, account.User.UID} },
		Preferences:  func(account *Account) PreferenceTool { return &preferenceTool{m, account.User.UID} },
		HasProfile:   func() (bool, error) { return m.profile, nil },
		TooOldForSSO: func() bool { return m.tooOld },
	}
}

type licenseTool struct {
	mac *licensedMac
	uid uint32
}

func (l *licenseTool) License(context.Context) (prlctl.License, error) {
	return prlctl.License{Status: l.mac.status}, l.mac.unread[l.uid]
}

func (l *licenseTool) DeactivateLicense(_ context.Context, skip bool) error {
	l.mac.skipped = append(l.mac.skipped, skip)
	if l.mac.offline && !skip {
		return &prlctl.Error{Code: prlctl.CodeToolFailed, ExitCode: 255}
	}
	if !l.mac.pretended {
		l.mac.status = ""
	}
	return nil
}

type preferenceTool struct {
	mac *licensedMac
	uid uint32
}

func (p *preferenceTool) Export(context.Context) (map[string]any, error) {
	return p.mac.written[p.uid], nil
}

func (p *preferenceTool) Write(_ context.Context, key string, value any) error {
	if p.mac.written[p.uid] == nil {
		p.mac.written[p.uid] = make(map[string]any)
	}
	p.mac.written[p.uid][key] = value
	return nil
}

// The result says what is known of the Mac, and that the seat is not.
func TestLIC_01_CMD_15_Deactivation(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		params  protocol.DeactivateParams
		arm     func(m *licensedMac)
		state   string
		code    protocol.Code
		skipped []bool
	}{
		"done":                     {state: protocol.CommandSucceeded, code: protocol.CodeLicenseDeactivated, skipped: []bool{false}},
		"a profile activates anew": {arm: func(m *licensedMac) { m.profile = true }, state: protocol.CommandSucceeded, code: protocol.CodeWillReactivate, skipped: []bool{false}},
		"no network": {arm: func(m *licensedMac) { m.offline = true },
			state: protocol.CommandFailed, code: protocol.CodeNotDone, skipped: []bool{false, false}},
		"no network, and that is passed over": {params: protocol.DeactivateParams{SkipNetworkErrors: true}, arm: func(m *licensedMac) { m.offline = true },
			state: protocol.CommandSucceeded, code: protocol.CodeLicenseDeactivated, skipped: []bool{true}},
		"the tool says well, and does nothing": {arm: func(m *licensedMac) { m.pretended = true },
			state: protocol.CommandFailed, code: protocol.CodeNotDone, skipped: []bool{false, false}},
		"the first account's tool does not answer": {arm: func(m *licensedMac) { m.unread[aliceUID] = &prlctl.Error{Code: prlctl.CodeServiceDown} },
			state: protocol.CommandSucceeded, code: protocol.CodeLicenseDeactivated, skipped: []bool{false}},
		"nothing to do": {arm: func(m *licensedMac) { m.status = "" }, state: protocol.CommandSucceeded, code: protocol.CodeLicenseDeactivated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newLicensedMac(t)
			if c.arm != nil {
				c.arm(m)
			}
			ready, seen, err := carryOut(t, m.executor(), m.command("license.deactivate", c.params))
			if ready.State != "" {
				seen = &Outcome{State: ready.State, Code: ready.Code, Observed: ready.Observed}
			}
			if err != nil || seen.State != c.state || seen.Code != c.code {
				t.Errorf("got %+v, %v", seen, err)
			}
			if diff := cmp.Diff(c.skipped, m.skipped); diff != "" {
				t.Errorf("deactivations (-want +got):\n%s", diff)
			}
			if c.state == protocol.CommandSucceeded && (seen.Observed["license"] != "none" || seen.Observed["seat"] != "unknown") {
				t.Errorf("observed %v", seen.Observed)
			}
		})
	}
}

// Nobody can say whether the license is gone: that is no success.
func TestLIC_01_ALicenseThatCannotBeRead(t *testing.T) {
	t.Parallel()
	m := newLicensedMac(t)
	for _, uid := range []uint32{aliceUID, bobUID} {
		m.unread[uid] = &prlctl.Error{Code: prlctl.CodeLicenseUnreadable}
	}
	seen, err := m.executor().Verify(t.Context(), &Job{Command: m.command("license.deactivate", protocol.DeactivateParams{}), Attempt: 1})
	if err == nil || seen != nil {
		t.Errorf("got %+v, %v", seen, err)
	}
}

// The two keys of the guide are written for each user, with their types.
func TestLIC_02_SwitchOverToSignOn(t *testing.T) {
	t.Parallel()
	m := newLicensedMac(t)
	_, seen, err := carryOut(t, m.executor(), m.command("license.deactivate", protocol.DeactivateParams{SSO: true}))
	if err != nil || seen.State != protocol.CommandSucceeded || seen.Observed["sign_on_offered"] != "2 of 2" {
		t.Errorf("got %+v, %v", seen, err)
	}
	want := map[string]any{"ActivationExperience": "sso", "isSSOExperienceForced": false}
	if diff := cmp.Diff(map[uint32]map[string]any{aliceUID: want, bobUID: want}, m.written); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}

	m = newLicensedMac(t)
	m.console.User = ""
	ready, _, err := carryOut(t, m.executor(), m.command("license.deactivate", protocol.DeactivateParams{SSO: true}))
	if err != nil || ready.State != protocol.CommandDeferred || ready.Code != protocol.CodeUserSession || len(m.skipped) > 0 {
		t.Errorf("nobody sits there: %+v, %v", ready, err)
	}
}

// After a crash between the two parts the second is made up for, and the first is not
// done again.
func TestLIC_02_ACrashBetweenTheParts(t *testing.T) {
	t.Parallel()
	m := newLicensedMac(t)
	m.status = ""
	_, seen, err := carryOut(t, m.executor(), m.command("license.deactivate", protocol.DeactivateParams{SSO: true}))
	if err != nil || seen.State != protocol.CommandSucceeded || len(m.skipped) > 0 || len(m.written) != 2 {
		t.Errorf("got %+v, %v, %v", seen, err, m.skipped)
	}
}

func TestLIC_03_SignOnOfAnOldVersion(t *testing.T) {
	t.Parallel()
	m := newLicensedMac(t)
	m.tooOld = true
	ready, _, err := carryOut(t, m.executor(), m.command("license.deactivate", protocol.DeactivateParams{SSO: true}))
	if err != nil || ready.State != protocol.CommandRejected || ready.Code != protocol.CodePDVersionTooOld || len(m.skipped) > 0 {
		t.Errorf("got %+v, %v", ready, err)
	}
}

// Who has the application open is told, and the result says so.
func TestLIC_04_UsersAreToldToRestart(t *testing.T) {
	t.Parallel()
	m := newLicensedMac(t)
	m.processes = []platform.Process{{Name: "prl_client_app", Path: prlctl.ClientApp}}
	_, seen, err := carryOut(t, m.executor(), m.command("license.deactivate", protocol.DeactivateParams{}))
	if err != nil || seen.Observed["restart"] != string(protocol.CodePendingRestart) || len(m.told) != 1 {
		t.Errorf("got %+v, %v, told %v", seen, err, m.told)
	}
}
