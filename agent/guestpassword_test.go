package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/config"
	"prlagent/agent/lane"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/tool"
	"prlagent/prlctl"
)

const (
	guestID   = "f11d8098-10fe-40d9-871e-27af1e66161e"
	twiceID   = "00000000-0000-4000-8000-000000000002"
	canaryPwd = "canary-of-a-guest"
)

// guestMac is a Mac of two users, as their prlctl sees a machine.
type guestMac struct {
	state, tools string
	getError     error
	setError     error
	noDirectory  bool
	as           []string // who asked for a password, and how
}

func (m *guestMac) Users(context.Context) (platform.Users, error) {
	if m.noDirectory {
		return platform.Users{}, errors.New("nobody answers")
	}
	return platform.Users{People: []platform.User{{Name: "alice", UID: 501}, {Name: "bob", UID: 502}}}, nil
}

func (m *guestMac) Console(context.Context) (platform.Console, error) {
	return platform.Console{Sessions: []uint32{502}}, nil
}

// guestUser is prlctl as one of them.
type guestUser struct {
	mac     *guestMac
	user    platform.User
	session bool
}

func (u guestUser) Get(_ context.Context, id string) (prlctl.VM, error) {
	return prlctl.VM{ID: id, State: prlctl.State(u.mac.state), GuestTools: prlctl.GuestTools{State: u.mac.tools}}, u.mac.getError
}

func (u guestUser) SetGuestPassword(_ context.Context, id, account, password string) error {
	asked := u.user.Name + " " + id + " " + account + " " + password
	if u.session {
		asked += " in the session"
	}
	u.mac.as = append(u.mac.as, asked)
	return u.mac.setError
}

func guestRows() []protocol.Row {
	row := func(id string, uid uint32, owner, name string) protocol.Row {
		return protocol.Row{VM: protocol.VM{VMKey: protocol.VMKey{ID: id, UID: uid}, Owner: owner, Name: name}}
	}
	return []protocol.Row{row(guestID, 501, "alice", "Win"), row(twiceID, 501, "alice", "Ubuntu"), row(twiceID, 502, "bob", "Ubuntu")}
}

// VMF-05, VMF-06: the password is asked for as the machine's owner, by its id, only of a
// machine that runs and whose Tools were heard of; what is not known is not called done;
// and the password is in no event, log, status, report or answer.
func TestVMF05_VMF06_GuestPassword(t *testing.T) {
	t.Parallel()
	ready := func() *guestMac { return &guestMac{state: "running", tools: "installed"} }
	with := func(change func(*guestMac)) func() *guestMac {
		return func() *guestMac { m := ready(); change(m); return m }
	}
	fails := func(code string) func() *guestMac {
		return with(func(m *guestMac) { m.setError = &prlctl.Error{Code: code} })
	}
	for name, c := range map[string]struct {
		mac     func() *guestMac
		vm      string
		owner   string
		outcome string
		code    protocol.Code
		as      string // who asked; empty: nobody did
	}{
		"asked":              {ready, guestID, "", localapi.PasswordAsked, protocol.CodePasswordUnproven, "alice " + guestID},
		"old Tools":          {with(func(m *guestMac) { m.tools = "outdated" }), strings.ToUpper(guestID), "", localapi.PasswordAsked, protocol.CodePasswordUnproven, "alice " + guestID},
		"of two, by name":    {ready, twiceID, "bob", localapi.PasswordAsked, protocol.CodePasswordUnproven, "bob " + twiceID},
		"of two, by uid":     {ready, twiceID, "501", localapi.PasswordAsked, protocol.CodePasswordUnproven, "alice " + twiceID},
		"of two":             {ready, twiceID, "", localapi.PasswordRefused, protocol.CodeVMOfSeveral, ""},
		"another's":          {ready, guestID, "bob", localapi.PasswordRefused, protocol.CodeVMNotFound, ""},
		"no such machine":    {ready, "00000000-0000-4000-8000-00000000dead", "", localapi.PasswordRefused, protocol.CodeVMNotFound, ""},
		"stopped":            {with(func(m *guestMac) { m.state = "stopped" }), guestID, "", localapi.PasswordRefused, protocol.CodeNeedsRunning, ""},
		"suspended":          {with(func(m *guestMac) { m.state = "suspended" }), guestID, "", localapi.PasswordRefused, protocol.CodeNeedsRunning, ""},
		"no Tools":           {with(func(m *guestMac) { m.tools = "not_installed" }), guestID, "", localapi.PasswordRefused, protocol.CodeNeedsTools, ""},
		"it just started":    {with(func(m *guestMac) { m.tools = "possibly_installed" }), guestID, "", localapi.PasswordRefused, protocol.CodeNeedsTools, ""},
		"nothing of Tools":   {with(func(m *guestMac) { m.tools = "" }), guestID, "", localapi.PasswordRefused, protocol.CodeNeedsTools, ""},
		"not readable":       {with(func(m *guestMac) { m.getError = &prlctl.Error{Code: prlctl.CodeServiceDown} }), guestID, "", localapi.PasswordRefused, protocol.CodeServiceDown, ""},
		"hangs before":       {with(func(m *guestMac) { m.getError = &prlctl.Error{Code: tool.CodeTimeout} }), guestID, "", localapi.PasswordRefused, protocol.CodeToolTimeout, ""},
		"no directory":       {with(func(m *guestMac) { m.noDirectory = true }), guestID, "", localapi.PasswordRefused, tool.CodeFailed, ""},
		"prompt":             {fails(prlctl.CodeAdminPassword), guestID, "", localapi.PasswordRefused, protocol.CodeAdminPassword, "alice " + guestID},
		"killed":             {fails(tool.CodeTimeout), guestID, "", localapi.PasswordUnknown, protocol.CodeToolTimeout, "alice " + guestID},
		"255, and done":      {fails(prlctl.CodeOperationCanceled), guestID, "", localapi.PasswordUnknown, protocol.CodeOperationCanceled, "alice " + guestID},
		"fails without word": {fails(prlctl.CodeToolFailed), guestID, "", localapi.PasswordUnknown, protocol.CodeToolFailed, "alice " + guestID},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac, log := c.mac(), new(bytes.Buffer)
			d := newDaemon(t, config.Config{})
			logger := zerolog.New(log)
			d.parts.log = &logger
			d.parts.guests = guests{accounts: mac, lanes: lane.New(), tool: func(user platform.User, session bool) guestTool { return guestUser{mac, user, session} }}
			d.view.inventory.Store(&localapi.Inventory{At: time.Now(), Rows: guestRows()})
			result := d.GuestPassword(t.Context(), &localapi.PasswordRequest{VM: c.vm, Owner: c.owner, User: "max", Password: canaryPwd}, "uid 0")
			if result.Outcome != c.outcome || result.Code != c.code || result.User != "max" {
				t.Errorf("%+v", result)
			}
			asked := strings.Join(mac.as, "; ")
			if want := c.as; want != "" {
				want += " max " + canaryPwd
				if strings.HasPrefix(want, "bob") {
					want += " in the session"
				}
				if asked != want {
					t.Errorf("asked %q, want %q", asked, want)
				}
			} else if asked != "" {
				t.Errorf("asked %q", asked)
			}
			events, _, err := d.eventLog.EventsSince(0, 100)
			told, encodeError := json.Marshal([]any{events, result, d.Status()})
			if err != nil || encodeError != nil || strings.Contains(string(told)+log.String(), "canary") {
				t.Errorf("the password is in %s, or in the log %s; %v", told, log, errors.Join(err, encodeError))
			}
			if isTold := len(events) == 1 && events[0].Type == eventGuestPassword && events[0].Data["by"] == "uid 0"; isTold != (c.as != "") {
				t.Errorf("events %+v", events)
			}
			if kept, err := json.Marshal(events); err != nil || strings.Contains(string(kept)+log.String(), "max") {
				t.Errorf("the guest's account is in the events %s, or in the log %s", kept, log)
			}
		})
	}
}

// A look that was never made is no proof that there is no such machine.
func TestVMF05_GuestPasswordBeforeTheFirstLook(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, config.Config{})
	if result := d.GuestPassword(t.Context(), &localapi.PasswordRequest{VM: guestID, User: "max", Password: canaryPwd}, "root"); result.Code != protocol.CodeNotLookedYet {
		t.Errorf("%+v", result)
	}
}
