package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/evidence"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/site"
)

// A delete is ordered, done and told with a receipt; its evidence is judged without the
// portal, and one byte of it that changes is refused.
func TestEvidenceIsWrittenAndJudged(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	portal.Clock.Advance(max(0, time.Since(portal.Clock.Now())))
	operator := operatorOf(t, portal)
	id := issuedIn(t, operator.run("command", "vm.delete", "--vm", "Windows 11", "--reason", "stolen", "--yes", "Windows 11", "--json"))[0].CommandID
	file := filepath.Join(t.TempDir(), "deleted.json")
	write := func() {
		t.Helper()
		portaltest.MustContain(t, operator.run("evidence", id, "--out", file), "Wrote")
	}
	judge := func(wantCode int, args ...string) string {
		t.Helper()
		out, err := prlportal(t, append([]string{"verify", file}, args...)...)
		if code := codeOf(err); code != wantCode {
			t.Fatalf("verify %v ends with %d (%v), want %d:\n%s", args, code, err, wantCode, out)
		}
		return out
	}
	m.Checkin(t)
	write()
	portaltest.MustContain(t, judge(exitIncomplete, "--dir", portal.Dir), "Ordered by operator", "no result", "The keys are those that you know")

	now := portal.Clock.Now()
	result := protocol.Result{CommandID: id, State: protocol.CommandSucceeded, Code: protocol.CodeVerifiedAbsent, StartedAt: now, EndedAt: now}
	result.Receipt = m.Receipt(t, result)
	request, _ := m.Next(t)
	request.Results = []protocol.Result{result}
	m.Send(t, request)
	portaltest.MustContain(t, operator.run("commands", id), "Receipt", "verified: signed with the Mac's own key")
	portaltest.MustContain(t, operator.run("commands", "--columns", "command_id,receipt_state"), "verified")
	write()
	content := filepath.Join(portal.Dir, site.PortalFolder, site.ContentFolder)
	for _, keys := range [][]string{
		{"--dir", portal.Dir}, {"--keys", filepath.Join(content, site.PolicyKeysFile)}, {"--keys", filepath.Join(content, site.CommandKeysFile)},
		{"--dir", portal.Dir, "--device-key", strings.ToUpper(m.KeyID()), "--audit", portal.AuditPath()},
	} {
		portaltest.MustContain(t, judge(0, keys...), "Ordered by operator", "The Mac's own key "+m.KeyID(), "Windows 11", "alice", "Audit line", "Not shown", "backups", "root on the Mac")
	}
	judge(exitIncomplete)
	judge(exitFailure, "--dir", portal.Dir, "--device-key", "0000000000000000")
	if out, err := prlportal(t, "verify", file, "--audit", filepath.Join(t.TempDir(), "none")); codeOf(err) != exitUsage {
		t.Errorf("an audit log that is not there: %v\n%s", err, out)
	}
	if out, err := prlportal(t, "verify", filepath.Join(t.TempDir(), "none")); codeOf(err) != exitUsage {
		t.Errorf("a file that is not there: %v\n%s", err, out)
	}
	var proof evidence.Proof
	if err := json.Unmarshal([]byte(judge(0, "--dir", portal.Dir, "--json")), &proof); err != nil || !proof.Complete || proof.CommandID != id {
		t.Errorf("%v, %+v", err, proof)
	}
	printed := operator.run("evidence", id)
	written, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(printed, "{\n  \"schema\": 1,\n") || len(printed) != len(written) {
		t.Errorf("%v; printed are %d bytes, written %d", err, len(printed), len(written))
	}
	flipped := bytes.Clone(written)
	flipped[len(flipped)/2] ^= 1
	if err := os.WriteFile(file, flipped, 0o600); err != nil {
		t.Fatal(err)
	}
	judge(exitFailure, "--dir", portal.Dir)
}

// codeOf is the exit code of a command that ended with an error, or did not.
func codeOf(err error) int {
	if err == nil {
		return 0
	}
	return exitCode(err)
}
