package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

// commanding is a portal with two Macs whose clock is the operator's.
func commanding(t *testing.T) (*portaltest.Portal, operatorLine) {
	t.Helper()
	portal := portaltest.TwoMacs(t)
	portal.Clock.Advance(max(0, time.Since(portal.Clock.Now())))
	return portal, operatorOf(t, portal)
}

// issuedIn are the commands of a printed document, behind what was said before it.
func issuedIn(t *testing.T, out string) []adminapi.CommandDetail {
	t.Helper()
	var document struct{ Commands []adminapi.CommandDetail }
	if err := json.Unmarshal([]byte(out[strings.Index(out, "{\n"):]), &document); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return document.Commands
}

// issuedHolds is the list of holds that an operator has signed with a command.
func issuedHolds(t *testing.T, out string) (list protocol.HoldList) {
	t.Helper()
	payload, err := issuedIn(t, out)[0].Holds.Unverified()
	if err == nil {
		list, err = protocol.ParseHoldList(payload)
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Whoever deletes sees what it is about and what will happen, and says its name (CMD-02).
func TestCMD02_AnOperatorConfirmsByName(t *testing.T) {
	t.Parallel()
	portal, operator := commanding(t)
	remove := []string{"command", "vm.delete", "--vm", "Win", "--reason", "stolen"}
	for _, yes := range [][]string{{}, {"--yes", "Deb"}, {"--yes", "1"}} {
		if out, err := prlportal(t, append(append(remove, yes...), operator.flags...)...); err == nil {
			t.Errorf("%v: %s", yes, out)
		}
	}
	out := operator.run(append(remove, "--yes", "Win", "--when", "now")...)
	portaltest.MustContain(t, out, "Win (1f3c2a1b", "alice (uid 501)", "C02AAAAAAAAA", "Last used", "60 seconds", "unsaved work is lost", "no wipe", "Signed as operator", "Issued vm.delete")
	if rows := portal.VMs(t); rows["Win"]["last_command"] != "Pending delete" || rows["Deb"]["last_command"] != protocol.CommandNone {
		t.Errorf("last commands are %v and %v", rows["Win"]["last_command"], rows["Deb"]["last_command"])
	}
	shown := operator.run("commands")
	portaltest.MustContain(t, shown, "vm.delete", "pending", "operator", "stolen", "1 open")
	both := []string{"command", "inventory.refresh", "--filter", "state=ok", "--reason", "look"}
	if out, err := prlportal(t, append(append(both, "--yes", "1"), operator.flags...)...); err == nil {
		t.Errorf("a wrong count: %s", out)
	}
	if issued := issuedIn(t, operator.run(append(both, "--yes", "2", "--json")...)); len(issued) != 2 {
		t.Errorf("issued %d", len(issued))
	}
	operator.wrong("--force is for", append(remove, "--force")...)
	operator.wrong("--reason is missing", "command", "vm.delete", "--vm", "Win")
	operator.wrong("there is no command", "command", "vm.redownload", "--vm", "Win", "--reason", "x")
}

// What was typed wrong is said with what may be meant, and what is confirmed wrongly with
// what was asked for; a Mac that will reject the command is named before it is signed.
func TestCommand_SaysWhatToDoNext(t *testing.T) {
	t.Parallel()
	_, operator := commanding(t)
	lock := []string{"command", "vm.lock", "--vm", "Win", "--reason", "x", "--yes", "Win"}
	portaltest.MustContain(t, operator.run(lock...), "The Mac only monitors, and will reject it", "Win of alice on C02AAAAAAAAA", "The Mac gets it with its next check-in: prlportal commands ")
	for want, args := range map[string][]string{
		"did you mean vm.delete?":                                             {"command", "delete", "--vm", "Win", "--reason", "x"},
		"--deadline is not before the latest start":                           {"command", "vm.delete", "--vm", "Win", "--reason", "x", "--yes", "Win", "--deadline", "60d"},
		"'prlportal command TYPE":                                             {"command"},
		"Nope there; see 'prlportal vms'":                                     {"command", "vm.lock", "--vm", "Nope", "--reason", "x"},
		"nothing was signed; try the filter":                                  {"command", "vm.lock", "--filter", "user_name=nobody", "--reason", "x"},
		"Deb is not the name of the virtual machine, Win; nothing was signed": {"command", "vm.lock", "--vm", "Win", "--reason", "x", "--yes", "Deb"},
		"there is no such command; see 'prlportal commands'":                  {"commands", "0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11"},
		"the portal refuses it: a command of this type waits for this target already; cancel it first\n": lock,
	} {
		var out, problems bytes.Buffer
		if code := runCommand(t.Context(), append(args, operator.flags...), &out, &problems); code == 0 || !strings.Contains(problems.String(), want) {
			t.Errorf("%v ends with %d: %s", args, code, problems.String())
		}
	}
}

// Who waits for a command is told when it does not end in time, and when it has not
// succeeded.
func TestCommand_Wait(t *testing.T) {
	t.Parallel()
	_, operator := commanding(t)
	id := issuedIn(t, operator.run("command", "vm.lock", "--vm", "Win", "--reason", "x", "--yes", "Win", "--json"))[0].CommandID
	wait := func() string {
		t.Helper()
		var out, problems bytes.Buffer
		if code := runCommand(t.Context(), append([]string{"commands", id, "--wait", "1ms"}, operator.flags...), &out, &problems); code != exitFailure {
			t.Errorf("ends with %d", code)
		}
		return out.String() + problems.String()
	}
	portaltest.MustContain(t, wait(), "vm.lock "+id, " pending\n", "it has not ended after 1ms; it is pending")
	operator.run("commands", "cancel", id)
	portaltest.MustContain(t, wait(), "it has not succeeded: it is cancelled")
	operator.wrong("--wait is for one command", "commands", "--wait", "1s")
}

// A second person approves with a key and a folder of their own; the profile names both
// keys and how many must sign.
func TestTwoPersonsOnTheCommandLine(t *testing.T) {
	t.Parallel()
	portal, operator := commanding(t)
	bob := t.TempDir()
	for _, name := range []string{site.SiteFile, site.AdminTokenFile, site.TrustFile} {
		data, err := os.ReadFile(filepath.Join(portal.Dir, site.OperatorFolder, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(bob, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	mustRun(t, "keys", "command", "create", "--dir", bob)
	operator.run("keys", "command", "add", "bob", "--public-key", filepath.Join(bob, "command.pub"))
	operator.run("keys", "command", "threshold", "vm.delete", "2")
	portaltest.MustContain(t, operator.run("keys", "command", "threshold", "vm.delete", "2"), "bob", "vm.delete needs 2 signatures")
	issued := issuedIn(t, operator.run("command", "vm.delete", "--vm", "Win", "--reason", "stolen", "--yes", "Win", "--json"))
	id := issued[0].CommandID
	if issued[0].State != protocol.CommandAwaitingApproval {
		t.Fatalf("command is %+v", issued[0].Command)
	}
	if out, err := prlportal(t, append([]string{"commands", "approve", id, "--yes", "Win"}, operator.flags...)...); err == nil {
		t.Errorf("the issuer has approved: %s", out)
	}
	certificate := operator.flags // of the test's server
	out := mustRun(t, append([]string{"commands", "approve", id, "--yes", "Win", "--key-file", filepath.Join(bob, site.CommandKeyFile)}, certificate...)...)
	portaltest.MustContain(t, out, "Issued by", "operator", "stolen", "Approved "+id, "pending")
	portaltest.MustContain(t, operator.run("commands", id), "bob", "approved", "2 of 2")
	file := filepath.Join(t.TempDir(), "p.plist")
	mustRun(t, "profile", "--dir", portal.Dir, "--format", "plist", "-o", file)
	profile, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	portaltest.MustContain(t, string(profile), "CommandThreshold", "vm.delete", "<integer>2</integer>")
	if keys := strings.Count(string(profile), "<key>KeyID</key>"); keys != 3 { // a policy key and two command keys
		t.Errorf("the profile names %d keys", keys)
	}
	portaltest.MustContain(t, operator.run("commands", "cancel", id, "--reason", "found"), "cancelled")
}

// Each lock and unlock signs the whole list, one version higher (H69).
func TestH69_ALockSignsTheWholeListOfHolds(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	m.Report.VMs = []protocol.VM{portaltest.WindowsVM("One"), portaltest.WindowsVM("Two")}
	m.Enroll(t, http.StatusCreated)
	m.Checkin(t)
	portal.Clock.Advance(max(0, time.Since(portal.Clock.Now())))
	operator := operatorOf(t, portal)
	lock := func(kind, vm string) protocol.HoldList {
		t.Helper()
		return issuedHolds(t, operator.run("command", kind, "--vm", vm, "--reason", "leaves", "--yes", vm, "--json"))
	}
	if one := lock("vm.lock", "One"); one.Version != 1 || len(one.Holds) != 1 {
		t.Fatalf("list is %+v", one)
	}
	if two := lock("vm.lock", "Two"); two.Version != 2 || len(two.Holds) != 2 {
		t.Fatalf("list is %+v", two)
	}
	if left := lock("vm.unlock", "One"); left.Version != 3 || len(left.Holds) != 1 || left.Holds[0].VMName != "Two" {
		t.Fatalf("list is %+v", left)
	}
	reply := m.Checkin(t)
	if len(reply.Commands) != 3 {
		t.Fatalf("reply is %+v", reply)
	}
	request, _ := m.Next(t)
	since := portal.Clock.Now()
	request.Holds = &protocol.HoldReport{Version: 3, Holds: []protocol.HoldState{{VMKey: m.Report.VMs[1].VMKey, State: protocol.HoldUnenforced, Code: protocol.CodeNotDone, Since: since, Violations: 2}}}
	if got := m.Send(t, request); got.Status != http.StatusOK {
		t.Fatalf("check-in: %d %s", got.Status, got.Body)
	}
	portaltest.MustContain(t, operator.run("vms", "--columns", "vm_name,hold_state,hold_violations", "--filter", "hold_state=unenforced"), "Two", "unenforced", "2")
	if view := portal.Device(t); view.Holds != 1 || view.HoldsUnenforced != 1 {
		t.Errorf("device is %+v", view)
	}
	if out, err := prlportal(t, append([]string{"devices", "retire", "C02AAAAAAAAA"}, operator.flags...)...); err == nil {
		t.Errorf("a Mac with holds was retired: %s", out)
	}
}

// H69: the lists of all machines of a Mac that can have a command at a time are signed and
// sent, in answers that a Mac reads, each in its turn.
func TestH69_ManyMachinesOfOneMacAreLocked(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.MacWithVMs(t, portal, storage.MaxOpenCommands)
	portal.Clock.Advance(max(0, time.Since(portal.Clock.Now())))
	operator := operatorOf(t, portal)
	issued := issuedIn(t, operator.run("command", "vm.lock", "--filter", "vm_name contains vm-", "--reason", strings.Repeat("why ", 200), "--yes", strconv.Itoa(storage.MaxOpenCommands), "--json"))
	if len(issued) != storage.MaxOpenCommands {
		t.Fatalf("issued %d", len(issued))
	}
	sent := 0
	for range storage.MaxOpenCommands {
		request, base := m.Next(t)
		for _, one := range issued[:sent] {
			request.OpenCommands = append(request.OpenCommands, protocol.OpenCommand{CommandID: one.CommandID, State: protocol.CommandAcknowledged, At: portal.Clock.Now()})
		}
		got := m.Send(t, request)
		var reply protocol.CheckinReply
		if err := protocol.DecodeReply(got.Body, &reply); err != nil {
			t.Fatal(err)
		}
		m.Base = base
		for i, envelope := range reply.Commands {
			payload, err := envelope.Unverified()
			if err != nil {
				t.Fatal(err)
			}
			if command, err := protocol.ParseCommand(payload); err != nil || command.CommandID != issued[sent+i].CommandID {
				t.Fatalf("%s is sent in the place of %s: %v", command.CommandID, issued[sent+i].CommandID, err)
			}
		}
		if sent += len(reply.Commands); sent == len(issued) {
			return
		}
		portal.Clock.Advance(time.Hour)
	}
	t.Errorf("%d of %d were sent", sent, len(issued))
}

// A machine whose name shows nothing is confirmed by its id: an empty line confirms nothing.
func TestCMD02_ANameThatShowsNothingIsNoConfirmation(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "  ", "\u200b\ufeff"} {
		subject := commandSubject{row: new(protocol.Row), name: name, target: protocol.CommandTarget{VMID: "1f3c2a1b"}}
		for typed, confirms := range map[string]bool{"\n": false, name + "\n": false, "1f3c2a1b\n": true} {
			if err := confirm(strings.NewReader(typed), io.Discard, "", []commandSubject{subject}); (err == nil) != confirms {
				t.Errorf("%q is typed for %q: %v", typed, name, err)
			}
		}
	}
}

// Who approves a lock sees all that it does: by force, and until when.
func TestAnApproverSeesHowAMachineIsHeld(t *testing.T) {
	t.Parallel()
	until := time.Now().Add(time.Hour).UTC()
	list, err := json.Marshal(protocol.HoldList{DeviceID: "d", MacSerial: "C02", Version: 1, Holds: []protocol.Hold{{
		VMKey: protocol.VMKey{ID: "1f3c2a1b", UID: 501}, VMName: "W\x1b[2J", Owner: "alice", Since: until, ExpiresAt: until, Force: true,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	params, err := json.Marshal(protocol.HoldsParams{Holds: protocol.Sign(protocol.PayloadHolds, list)})
	if err != nil {
		t.Fatal(err)
	}
	page := approvalPage(protocol.Command{Type: "vm.lock", Params: params})
	portaltest.MustContain(t, page, "(1f3c2a1b) of alice, by force, until "+localTime(until, time.Local))
	if strings.Contains(page, "\x1b") {
		t.Errorf("it steers the terminal: %q", page)
	}
}

// A change of the list of command keys that broke off after it was uploaded is no end of all
// changes: the next one is made to the portal's list, which the policy key has signed.
func TestTheListOfCommandKeysGoesOnFromThePortals(t *testing.T) {
	t.Parallel()
	portal, operator := commanding(t)
	folder := filepath.Join(portal.Dir, site.OperatorFolder)
	bob := t.TempDir()
	mustRun(t, "keys", "command", "create", "--dir", bob)
	before, err := os.ReadFile(filepath.Join(folder, site.CommandKeysFile))
	if err != nil {
		t.Fatal(err)
	}
	operator.run("keys", "command", "add", "bob", "--public-key", filepath.Join(bob, "command.pub"))
	if err := os.WriteFile(filepath.Join(folder, site.CommandKeysFile), before, 0o600); err != nil {
		t.Fatal(err)
	}
	portaltest.MustContain(t, operator.run("keys", "command", "threshold", "vm.delete", "2"), "bob", "vm.delete needs 2 signatures")
}

// A portal that was put back to before the Mac's last lists builds the next one upon what
// is in force on the Mac: what was unlocked since is not locked again, and a hold that a
// person has released is the same one, and so stays released (H29, H30, H69).
func TestH69_H29_H30_ARestoredPortalLocksNothingAgain(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	m.Report.VMs = []protocol.VM{portaltest.WindowsVM("One"), portaltest.WindowsVM("Two"), portaltest.WindowsVM("Three"), portaltest.WindowsVM("Four")}
	m.Enroll(t, http.StatusCreated)
	m.Checkin(t)
	portal.Clock.Advance(max(0, time.Since(portal.Clock.Now())))
	operator := operatorOf(t, portal)
	issue := func(kind, vm string) protocol.HoldList {
		t.Helper()
		return issuedHolds(t, operator.run("command", kind, "--vm", vm, "--reason", "leaves", "--yes", vm, "--json"))
	}
	issue("vm.lock", "One") // of which the Mac says below that it is not held any more
	m.Checkin(t)
	at := portal.Clock.Now().UTC().Truncate(time.Second)
	released := protocol.HoldState{
		VMKey: m.Report.VMs[1].VMKey, CommandID: "lock-2", LockedAt: at.Add(-time.Hour), ExpiresAt: at.Add(time.Hour), Force: true,
		State: protocol.HoldReleased, Code: protocol.CodeHoldReleased, Since: at,
	}
	gone := protocol.HoldState{VMKey: m.Report.VMs[2].VMKey, CommandID: "lock-3", LockedAt: at, State: protocol.HoldNoVM, Since: at}
	request, _ := m.Next(t)
	request.Holds = &protocol.HoldReport{Version: 7, Holds: []protocol.HoldState{released, gone}}
	if got := m.Send(t, request); got.Status != http.StatusOK {
		t.Fatalf("check-in: %d %s", got.Status, got.Body)
	}
	list := issue("vm.lock", "Four")
	if list.Version != 8 || len(list.Holds) != 3 {
		t.Fatalf("list is %d, %d holds", list.Version, len(list.Holds))
	}
	for _, hold := range list.Holds {
		switch hold.VMKey {
		case released.VMKey:
			if hold.CommandID != "lock-2" || !hold.Since.Equal(released.LockedAt) || !hold.ExpiresAt.Equal(released.ExpiresAt) || !hold.Force {
				t.Errorf("the released one is %+v", hold)
			}
		case gone.VMKey:
			if hold.CommandID != "lock-3" || hold.Force || !hold.ExpiresAt.IsZero() {
				t.Errorf("the one that is not there now is %+v", hold)
			}
		case m.Report.VMs[0].VMKey:
			t.Error("what was unlocked is locked again")
		}
	}
}
