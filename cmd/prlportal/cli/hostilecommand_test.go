package cli

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/portaltest/hostile"
)

// H15: whatever a Mac says of how a command ended, signed or not, no list, no page, no file
// of evidence and no judgment of one steers a terminal or is another document.
func TestH15_NothingOfAResultSteersTheTerminal(t *testing.T) {
	t.Parallel()
	for _, evil := range hostile.Texts {
		t.Run(evil.Name, func(t *testing.T) {
			t.Parallel()
			portal := portaltest.New(t)
			m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
			vm := portaltest.WindowsVM("Windows 11")
			vm.Name, vm.Owner = protocol.CutText(evil.Text, protocol.MaxName), protocol.CutText(evil.Text, protocol.MaxName)
			vm.Name, vm.Owner = strings.ToValidUTF8(vm.Name, "?"), strings.ToValidUTF8(vm.Owner, "?") // as JSON has it
			m.Report.VMs = []protocol.VM{vm}
			m.Enroll(t, http.StatusCreated)
			m.Checkin(t)
			portal.Clock.Advance(max(0, time.Since(portal.Clock.Now())))
			command := m.NewCommand("vm.delete", &m.Report.VMs[0], nil)
			command.Reason = strings.ToValidUTF8(protocol.CutText(evil.Text, protocol.MaxText), "?")
			portal.Issue(t, command)
			m.Checkin(t)
			now, name := portal.Clock.Now(), protocol.CutText(evil.Text, protocol.MaxName)
			result := protocol.Result{
				CommandID: command.CommandID, State: protocol.CommandFailed, Code: protocol.Code(name), Message: protocol.CutText(evil.Text, protocol.MaxText), StartedAt: now, EndedAt: now,
				Observed: map[string]string{name: name},
			}
			for at, typed := range map[*time.Time]string{&result.StartedAt: "0000-01-01T00:00:00+23:59", &result.EndedAt: "9999-12-31T23:59:59-23:59"} { // years that UTC does not have
				parsed, err := time.Parse(time.RFC3339, typed)
				if err != nil {
					t.Fatal(err)
				}
				*at = parsed
			}
			request, _ := m.Next(t)
			result.Receipt = m.Receipt(t, result)
			request.Results = []protocol.Result{result}
			request.Holds = &protocol.HoldReport{Version: 1, Holds: []protocol.HoldState{{VMKey: vm.VMKey, State: name, Code: protocol.Code(name), Since: result.StartedAt, ViolatedAt: result.EndedAt, Violations: 1 << 62}}}
			if got := m.Send(t, request); got.Status != http.StatusOK {
				t.Fatalf("check-in: %d %s", got.Status, got.Body)
			}
			operator := operatorOf(t, portal)
			file := filepath.Join(t.TempDir(), "evidence.json")
			const anyLength = 8 << 20
			for _, one := range []struct {
				line    string
				longest int
			}{
				{"commands --columns all", 16 << 10}, {"commands " + command.CommandID, 8 << 10}, {"vms --columns all", 8 << 10},
				{"commands --json", anyLength}, {"commands --format csv", anyLength}, {"commands --format ndjson", anyLength}, {"commands " + command.CommandID + " --json", anyLength},
				{"evidence " + command.CommandID, anyLength}, {"evidence " + command.CommandID + " --out " + file, 8 << 10},
			} {
				stdout, stderr, code := console(t, append(strings.Fields(one.line), operator.flags...)...)
				if code != 0 {
					t.Errorf("%s: exit code %d: %.300s", one.line, code, stderr)
				}
				wantShown(t, one.line, one.longest, stdout, stderr)
				wantDocument(t, strings.Replace(one.line, file, "", 1), stdout)
			}
			for _, args := range [][]string{{"verify", file, "--dir", portal.Dir}, {"verify", file, "--dir", portal.Dir, "--json"}} {
				stdout, stderr, code := console(t, args...)
				if code != 0 && code != exitIncomplete {
					t.Errorf("%v: exit code %d: %.300s", args, code, stderr)
				}
				wantShown(t, "verify", 16<<10, stdout, stderr)
				wantDocument(t, strings.Join(args[2:], " "), stdout)
			}
		})
	}
}
