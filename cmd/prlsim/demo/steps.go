package demo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// demoStep is one paragraph of the demo: it does something, and gives the proof
// that it worked.
type demoStep struct {
	title string
	run   func(*demoRun) (proof string, err error)
}

var demoSteps = []demoStep{
	{"Build the programs", buildPrograms},
	{"A Mac with two users and five virtual machines", makeMac},
	{"A portal with a certificate of its own, and the profile that makes Macs trust it", makePortal},
	{"The daemon starts, enrolls and reports", startDaemon},
	{"The portal shows every virtual machine of every user", showTable},
	{"Nothing changed: one small request", quietCheckin},
	{"Somebody starts a virtual machine: nobody has to ask", startVM},
	{"Parallels' tools fail for one user: the last known rows stay, and say so", userFails},
	{"Parallels Desktop is deactivated, and activated again", deactivateProduct},
	{"A policy is a folder of YAML: checked, compared, signed, published", publishPolicy},
	{"The Mac only monitors, and says what it would do", monitorPolicy},
	{"Enforced: set on both users' virtual machines", enforcePolicy},
	{"A user changes a setting: it is put back, and told", restoreSetting},
	{"Why a setting is as it is, and one that cannot be", explainPolicy},
	{"Where updates come from, set for two users while Parallels Desktop runs", setPreferences},
	{"A virtual machine is created against the policy: reported, and suspended", suspendViolation},
	{"A user changes a preference: it is put back, and the user told once", tellUserOnce},
	{"The policy is taken back", releasePolicy},
	{"A command: a virtual machine is locked, and its user keeps starting it", lockVM},
	{"Unlocked: a signed command as well", unlockVM},
	{"A deletion that two persons have to sign", orderDeletion},
	{"Killed in the middle of the deletion, and done once", killInDeletion},
	{"Who ordered it, who approved it, what the Mac says: evidence", showEvidence},
	{"A virtual machine is deleted on the Mac", deleteVM},
	{"A thief of the portal changes the policy head: the Mac does not believe it", forgeHead},
	{"The portal is gone for a while", portalOutage},
	{"The daemon is killed in the middle of its work", killDaemon},
	{"No open port on the Mac", noPorts},
	{"What the Mac's user sees", finalView},
}

func buildPrograms(s *demoRun) (string, error) {
	if s.binFolder != "" {
		return "took the programs in " + s.binFolder, nil
	}
	s.binFolder = filepath.Join(s.folder, "bin")
	s.narrator.printCommand("go", []string{"build", "-o", s.binFolder + "/", "./cmd/..."})
	s.narrator.printNote("the first time this takes a minute or two")
	output, err := exec.CommandContext(s.ctx, "go", "build", "-o", s.binFolder+"/", "prlagent/cmd/...").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w: %s", err, strings.TrimSpace(string(output)))
	}
	return "prlagentd, prlagent, prlportal, prlsim", nil
}

func makeMac(s *demoRun) (string, error) {
	s.narrator.printCommand("prlsim", []string{"mac", "create", s.macFolder})
	if ended, err := s.runQuietly("prlsim", "mac", "create", s.macFolder); err != nil || ended.code != 0 {
		return "", exitError(ended, err, "prlsim")
	}
	list, err := s.mustRun("prlsim", "vm", "list", "--mac", s.macFolder)
	if err != nil {
		return "", err
	}
	s.narrator.printOutput(list)
	return "a folder that plays a Mac: its tools, its users, its files", checkThat(strings.Count(string(list), "\n") == 6, "%s", list)
}

func makePortal(s *demoRun) (string, error) {
	if _, err := s.mustRun("prlportal", "init", s.portalFolder, "--name", "Example Org"); err != nil {
		return "", err
	}
	if err := s.startPortal("127.0.0.1:0"); err != nil {
		return "", err
	}
	profile := s.profilePath()
	if _, err := s.mustRun("prlportal", "profile", "--dir", s.portalFolder, "--url", s.portalURL, "--format", "plist", "-o", profile); err != nil {
		return "", err
	}
	return "the portal answers at " + s.portalURL + "\nthe profile carries its URL, certificate, enrollment secret and policy keys", shortenWaits(profile)
}

// shortenWaits shortens the waits that a real Mac has between an event and its
// check-in: a demo has no fleet to be patient for.
func shortenWaits(profile string) error {
	return changeProfile(profile, func(settings map[string]any) {
		settings["Timing"] = map[string]any{"Debounce": 0.5, "EchoWait": 0.5, "Poll": 0.5, "MinimumGap": 0, "Splay": 0, "BucketSize": 100}
	})
}

// startPortal starts the portal and waits for the URL it listens at.
func (s *demoRun) startPortal(listen string) error {
	ready := filepath.Join(s.folder, "portal.url")
	_ = os.Remove(ready)
	if err := s.startProgram("prlportal", "serve", "--demo", "--dir", s.portalFolder, "--listen", listen, "--ready-file", ready); err != nil {
		return err
	}
	return s.waitUntil("start of the portal", func() bool {
		url, err := os.ReadFile(ready)
		s.portalURL = strings.TrimSpace(string(url))
		return err == nil && s.portalURL != ""
	})
}

func startDaemon(s *demoRun) (string, error) {
	if err := s.startDaemon(); err != nil {
		return "", err
	}
	now, err := s.readStatus()
	if err != nil {
		return "", err
	}
	return "enrolled as " + now.Portal.DeviceID, checkThat(now.Health.State == "healthy", "the daemon is %s", now.Health.State)
}

// startDaemon starts it and waits for its first check-in.
func (s *demoRun) startDaemon() error {
	if err := s.startProgram("prlagentd", "run", "--root", s.macFolder); err != nil {
		return err
	}
	return s.waitUntil("the first check-in", func() bool {
		now, err := s.readStatus()
		return err == nil && now.Daemon.Running && now.Portal.Enrollment == "enrolled" && now.Portal.Sequence > 0
	})
}

func showTable(s *demoRun) (string, error) {
	shown, err := s.mustRun("prlportal", "vms", "--dir", s.portalFolder)
	if err != nil {
		return "", err
	}
	s.narrator.printOutput(shown)
	rows, err := s.portalTable()
	if err != nil {
		return "", err
	}
	shared := 0
	for _, row := range rows {
		if len(row.SeenBy) > 0 {
			shared++
		}
		if row.Name == "Windows 11" && row.User == "bob" {
			s.vm.id, s.vm.owner = row.ID, row.User
		}
	}
	return "5 rows of 2 users; the shared one is there once; an empty cell has its reason",
		checkThat(len(rows) == 5 && shared == 1 && s.vm.id != "", "%d rows, %d shared", len(rows), shared)
}

func quietCheckin(s *demoRun) (string, error) {
	if _, err := s.checkIn(); err != nil { // carries what the first pass noticed
		return "", err
	}
	quiet, err := s.checkIn()
	if err != nil {
		return "", err
	}
	pass := quiet.Pass
	proof := fmt.Sprintf("%d request of %d bytes, %d commits to disk, %d tool runs", pass.Requests, pass.Sent, pass.Commits, pass.ToolRuns)
	return proof, checkThat(pass.Requests == 1 && pass.Sent < 700 && pass.Commits <= 2, "%s", proof)
}

// reportedRow is the portal's row of the demo's machine after a check-in.
func (s *demoRun) reportedRow() (tableRow, error) {
	if _, err := s.checkIn(); err != nil {
		return tableRow{}, err
	}
	return s.portalRow(s.vm.id, s.vm.owner)
}

func startVM(s *demoRun) (string, error) {
	before := time.Now().Add(-time.Minute)
	if err := s.runSim("vm", "start", "Windows 11", "--user", s.vm.owner); err != nil {
		return "", err
	}
	var row tableRow
	err := s.waitUntil("the portal to hear of it", func() (known bool) {
		var err error
		row, err = s.portalRow(s.vm.id, s.vm.owner)
		return err == nil && row.State == "Running"
	})
	if err != nil {
		return "", err
	}
	used, err := time.Parse(time.RFC3339, row.LastUsed)
	if err != nil {
		return "", fmt.Errorf("last used date: %w", err)
	}
	return "the portal: " + row.State + ", last used " + row.LastUsed,
		checkThat(row.State == "Running" && used.After(before), "state %s, last used %s", row.State, row.LastUsed)
}

func userFails(s *demoRun) (string, error) {
	if err := s.runSim("fault", "set", "list_fails_for_user", "--user", s.vm.owner); err != nil {
		return "", err
	}
	stale, err := s.reportedRow()
	if err != nil {
		return "", err
	}
	if err := s.runSim("fault", "clear"); err != nil {
		return "", err
	}
	fresh, err := s.reportedRow()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("while it failed: %s, stale because of %s; afterwards: %s", stale.State, stale.Stale, fresh.State),
		checkThat(stale.Stale != "" && stale.State == "Unknown" && fresh.Stale == "" && fresh.State == "Running", "stale %q, then %q", stale.Stale, fresh.State)
}

func deactivateProduct(s *demoRun) (string, error) {
	var words []string
	for _, change := range [][]string{{"product", "deactivate"}, {"product", "activate", "--key"}} {
		if err := s.runSim(change...); err != nil {
			return "", err
		}
		row, err := s.reportedRow()
		if err != nil {
			return "", err
		}
		words = append(words, row.Status)
	}
	return "VM status: " + strings.Join(words, ", then "), checkThat(words[0] == "Deactivated" && words[1] == "Active", "%v", words)
}

func deleteVM(s *demoRun) (string, error) {
	for _, change := range [][]string{{"vm", "stop", "Windows 11"}, {"vm", "delete", "Windows 11"}} {
		if err := s.runSim(append(change, "--user", s.vm.owner)...); err != nil {
			return "", err
		}
	}
	if _, err := s.checkIn(); err != nil {
		return "", err
	}
	rows, err := s.portalTable()
	if err != nil {
		return "", err
	}
	for _, row := range rows {
		if row.ID == s.vm.id {
			return "", fmt.Errorf("not as promised: the row is still there")
		}
	}
	return "its row has left the table", checkThat(len(rows) == 4, "%d rows", len(rows))
}

func portalOutage(s *demoRun) (string, error) {
	address := strings.TrimPrefix(s.portalURL, "https://")
	s.narrator.printNote("kill the portal")
	if err := s.stopProgram("prlportal", syscall.SIGKILL); err != nil {
		return "", err
	}
	if _, err := s.runShown("prlagent", "checkin", "--wait"); err != nil {
		return "", err
	}
	offline, err := s.readStatus()
	if err != nil {
		return "", err
	}
	ended, err := s.runQuietly("prlagent", "status")
	if err != nil {
		return "", err
	}
	if err := s.startPortal(address); err != nil {
		return "", err
	}
	if _, err := s.checkIn(); err != nil {
		return "", err
	}
	online, err := s.readStatus()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("meanwhile: portal_unreachable, exit code %d, all else goes on; afterwards: %s", ended.code, online.Health.State),
		checkThat(offline.hasCondition("portal_unreachable") && ended.code == 1 && online.Health.State == "healthy", "%v", offline.Health)
}

func killDaemon(s *demoRun) (string, error) {
	before, err := s.readStatus()
	if err != nil {
		return "", err
	}
	s.narrator.printNote("kill -9 the daemon")
	if err := s.stopProgram("prlagentd", syscall.SIGKILL); err != nil {
		return "", err
	}
	down, err := s.runShown("prlagent", "status")
	if err != nil {
		return "", err
	}
	if err := s.startDaemon(); err != nil {
		return "", err
	}
	if _, err := s.checkIn(); err != nil {
		return "", err
	}
	after, err := s.readStatus()
	if err != nil {
		return "", err
	}
	rows, err := s.portalTable()
	if err != nil {
		return "", err
	}
	same := after.Portal.DeviceID == before.Portal.DeviceID && after.Store.Epoch == before.Store.Epoch
	return fmt.Sprintf("down: status answers from its snapshot with exit code %d\nback: same device, same epoch, sequence %d after %d, %d rows",
			down.code, after.Portal.Sequence, before.Portal.Sequence, len(rows)),
		checkThat(down.code == 3 && same && after.Portal.Sequence > before.Portal.Sequence && len(rows) == 4, "code %d, same %t, %d rows", down.code, same, len(rows))
}

func noPorts(s *demoRun) (string, error) {
	if runtime.GOOS != "linux" {
		return "not looked at: this system has no /proc", nil
	}
	count, err := countOpenPorts(s.programs["prlagentd"].pid())
	if err != nil {
		return "", err
	}
	return "the daemon listens on no TCP or UDP port", checkThat(count == 0, "it listens on %d", count)
}

func finalView(s *demoRun) (string, error) {
	for _, command := range [][]string{{"status"}, {"vms"}, {"events"}} {
		ended, err := s.runShown("prlagent", command...)
		if err := exitError(ended, err, "prlagent"); err != nil {
			return "", err
		}
		s.narrator.printOutput(ended.output)
		s.narrator.printLinef("")
	}
	field, err := s.mustRun("prlagent", "get", "vm_count", "--ea")
	return "for Jamf: " + strings.TrimSpace(string(field)), checkThat(err == nil && strings.Contains(string(field), "<result>4</result>"), "%s", field)
}
