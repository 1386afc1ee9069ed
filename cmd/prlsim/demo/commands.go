package demo

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The machine that is locked, of the user who starts it all the time; the machine that is
// deleted; and who has to sign a deletion beside the operator.
const (
	heldVM      = "Windows 11"
	heldOwner   = "alice"
	doomedVM    = "Payroll"
	approver    = "carol"
	heldStarts  = 3                // how often the user starts the held machine
	unheldLimit = 10 * time.Second // how long a held machine may run
)

// commandView is what the demo reads of a command, on either end.
type commandView struct {
	ID       string `json:"command_id"`
	Type     string `json:"type"`
	State    string `json:"state"`
	Code     string `json:"code"`
	Receipt  string `json:"receipt_state"`
	Attempts int    `json:"attempts"`
}

// effectView is one thing that really happened to a simulated machine.
type effectView struct {
	Time   time.Time `json:"time"`
	Effect string    `json:"effect"`
	By     string    `json:"by"`
	Owner  string    `json:"owner"`
}

// readEffects are the effects on the machines of a name, in their order.
func (s *demoRun) readEffects(vm string) (effects []effectView, err error) {
	err = s.readJSON(&effects, "prlsim", "effects", "--vm", vm, "--json", "--mac", s.macFolder)
	return effects, err
}

// runPortal runs a command of prlportal with the folder of the operator, and shows all
// that it prints.
func (s *demoRun) runPortal(args ...string) (programResult, error) {
	return s.runPortalAs(s.portalFolder, args...)
}

// runPortalAs is runPortal with the folder of another person.
func (s *demoRun) runPortalAs(folder string, args ...string) (programResult, error) {
	ended, err := s.runShown("prlportal", append(args, "--dir", folder)...)
	if shown := strings.TrimSpace(ended.errors + "\n\n" + string(ended.output)); err == nil && shown != "" {
		s.narrator.printOutput([]byte(shown))
	}
	return ended, err
}

// order has the operator sign a command, and gives its id.
func (s *demoRun) order(kind, vm, reason string, args ...string) (id string, err error) {
	ended, err := s.runPortal(append([]string{"command", kind, "--vm", vm, "--reason", reason, "--yes", vm}, args...)...)
	if err := exitError(ended, err, "prlportal"); err != nil {
		return "", err
	}
	var answer struct {
		Commands []commandView `json:"commands"`
	}
	err = s.readJSON(&answer, "prlportal", "commands", "--filter", "type="+kind, "--filter", "open=true", "--json", "--dir", s.portalFolder)
	if err == nil && len(answer.Commands) != 1 {
		err = fmt.Errorf("the portal has %d open commands of the type %s", len(answer.Commands), kind)
	}
	if err != nil {
		return "", err
	}
	return answer.Commands[0].ID, nil
}

// waitForCommand waits until the portal has a command's end.
func (s *demoRun) waitForCommand(id string) (known commandView, err error) {
	err = s.waitUntil("the end of the command at the portal", func() bool {
		var now commandView
		known = now
		return s.readJSON(&known, "prlportal", "commands", id, "--json", "--dir", s.portalFolder) == nil && (known.State == "succeeded" || known.State == "failed" || known.State == "rejected")
	})
	return known, err
}

// carryOut orders a command for the held machine, and waits until the portal has its end.
func (s *demoRun) carryOut(kind, reason string) (ended commandView, err error) {
	id, err := s.order(kind, heldVM, reason, "--filter", "user_name="+heldOwner)
	if err != nil {
		return ended, err
	}
	if _, err := s.checkIn(); err != nil {
		return ended, err
	}
	return s.waitForCommand(id)
}

// show runs programs, and prints what they say.
func (s *demoRun) show(commands ...[]string) error {
	for _, command := range commands {
		shown, err := s.mustRun(command[0], command[1:]...)
		if err != nil {
			return err
		}
		s.narrator.printOutput(shown)
	}
	return nil
}

func lockVM(s *demoRun) (string, error) {
	placed, err := s.carryOut("vm.lock", "leaves the company")
	if err != nil {
		return "", err
	}
	s.narrator.printNote(heldOwner + " starts it again and again")
	if err := s.runSim("vm", "keep-starting", heldVM, "--every", "1s", "--user", heldOwner); err != nil {
		return "", err
	}
	var effects []effectView
	err = s.waitUntil("the virtual machine to be suspended each time", func() bool {
		effects, err = s.readEffects(heldVM)
		starts, _, running := heldTimes(effects)
		return err == nil && starts >= heldStarts && !running
	})
	if err = errors.Join(err, s.runSim("vm", "let-be", heldVM, "--user", heldOwner)); err != nil {
		return "", err
	}
	if err := s.show([]string{"prlsim", "effects", "--vm", heldVM, "--owner", heldOwner, "--mac", s.macFolder}, []string{"prlagent", "commands", placed.ID}); err != nil {
		return "", err
	}
	starts, longest, _ := heldTimes(effects)
	return fmt.Sprintf("started %d times, and each time suspended within %.1f s: it interrupts use, and protects no data", starts, longest.Seconds()),
		checkThat(placed.State == "succeeded" && placed.Code == "hold_placed" && longest < unheldLimit, "%+v, at most %s unheld", placed, longest)
}

// heldTimes counts how often the owner has started the held machine, and says how long it
// ran at most until the agent had it suspended, and whether it runs.
func heldTimes(effects []effectView) (starts int, longest time.Duration, running bool) {
	var since time.Time
	for _, one := range effects {
		switch {
		case one.Owner != heldOwner:
		case one.By == "person":
			starts, since, running = starts+1, one.Time, true
		case one.Effect == "suspend" && running:
			longest, running = max(longest, one.Time.Sub(since)), false
		}
	}
	return starts, longest, running
}

func unlockVM(s *demoRun) (string, error) {
	ended, err := s.carryOut("vm.unlock", "stays after all")
	if err != nil {
		return "", err
	}
	if err := s.runSim("vm", "start", heldVM, "--user", heldOwner); err != nil {
		return "", err
	}
	before, err := s.readEffects(heldVM)
	if err != nil {
		return "", err
	}
	until := time.Now().Add(2 * time.Second) // four looks of the agent
	if err := s.waitUntil("four looks of the agent", func() bool { return time.Now().After(until) }); err != nil {
		return "", err
	}
	after, err := s.readEffects(heldVM)
	return "it may start again, and is let run", checkThat(err == nil && ended.State == "succeeded" && len(after) == len(before), "%+v, %v", ended, after)
}

// secondPerson gives another person a command key, has deletions need two signatures, and
// puts the profile that says so on the Mac.
func (s *demoRun) secondPerson() error {
	folder := filepath.Join(s.folder, approver)
	for _, command := range [][]string{
		{"keys", "command", "create", "--dir", folder},
		{"keys", "command", "add", approver, "--public-key", filepath.Join(folder, "command.pub"), "--dir", s.portalFolder},
		{"keys", "command", "threshold", "vm.delete", "2", "--dir", s.portalFolder},
		{"admins", "add", approver, "--role", "approver", "-o", filepath.Join(folder, "admin.token"), "--dir", s.portalFolder},
		{"profile", "--dir", s.portalFolder, "--url", s.portalURL, "--mode", "enforce", "--format", "plist", "-o", s.profilePath()},
	} {
		if _, err := s.mustRun("prlportal", command...); err != nil {
			return err
		}
	}
	s.narrator.printNote(approver + " gets site.json, portal.crt and command-keys.dsse.json of the operator's folder; the profile arrives on the Mac")
	for _, name := range []string{"site.json", "portal.crt", "command-keys.dsse.json"} {
		data, err := os.ReadFile(filepath.Join(s.portalFolder, "operator", name))
		if err != nil {
			return fmt.Errorf("read the operator's folder: %w", err)
		}
		if err := replaceFile(filepath.Join(folder, name), data); err != nil {
			return err
		}
	}
	return shortenWaits(s.profilePath())
}

func orderDeletion(s *demoRun) (string, error) {
	if err := s.runSim("vm", "create", "--name", doomedVM, "--os", "win-11", "--state", "suspended", "--user", heldOwner); err != nil {
		return "", err
	}
	if err := s.secondPerson(); err != nil {
		return "", err
	}
	if _, err := s.checkIn(); err != nil {
		return "", err
	}
	id, err := s.order("vm.delete", doomedVM, "stolen laptop, ticket 1042", "--when", "now")
	if err != nil {
		return "", err
	}
	s.deletion = id
	alone, err := s.runPortal("commands", "approve", id, "--yes", doomedVM)
	if err != nil {
		return "", err
	}
	ended, err := s.runPortalAs(filepath.Join(s.folder, approver), "commands", "approve", id, "--yes", doomedVM, "--url", s.portalURL)
	if err := exitError(ended, err, "prlportal"); err != nil {
		return "", err
	}
	return "signed by two persons, each with a key of their own; nobody signs for the other",
		checkThat(alone.code == 1 && strings.Contains(string(ended.output), "pending"), "exit code %d, then %s", alone.code, ended.output)
}

func killInDeletion(s *demoRun) (string, error) {
	if err := s.runSim("fault", "set", "action_hangs_when_done=delete"); err != nil {
		return "", err
	}
	if _, err := s.checkIn(); err != nil {
		return "", err
	}
	deletions := func() (count int) {
		effects, _ := s.readEffects(doomedVM)
		for _, one := range effects {
			if one.Effect == "delete" {
				count++
			}
		}
		return count
	}
	if err := s.waitUntil("the deletion", func() bool { return deletions() == 1 }); err != nil {
		return "", err
	}
	s.narrator.printNote("it is deleted, prlctl has not come back, and nobody was told: kill -9 the daemon")
	if err := s.stopProgram("prlagentd", syscall.SIGKILL); err != nil {
		return "", err
	}
	if err := errors.Join(s.runSim("fault", "clear"), s.startDaemon()); err != nil {
		return "", err
	}
	known, err := s.waitForCommand(s.deletion)
	if err != nil {
		return "", err
	}
	if _, err := s.checkIn(); err != nil { // a second time, it is not done again
		return "", err
	}
	if err := s.show([]string{"prlagent", "commands", s.deletion}, []string{"prlsim", "effects", "--vm", doomedVM, "--mac", s.macFolder}); err != nil {
		return "", err
	}
	return "begun once and done once; the agent that came after looked, instead of doing it again",
		checkThat(known.State == "succeeded" && known.Code == "verified_absent" && deletions() == 1, "%+v, %d deletions", known, deletions())
}

func showEvidence(s *demoRun) (string, error) {
	must := func(args ...string) error {
		ended, err := s.runPortal(args...)
		return exitError(ended, err, "prlportal")
	}
	for _, command := range [][]string{{"commands"}, {"commands", s.deletion}, {"audit", "verify"}} {
		if err := must(command...); err != nil {
			return "", err
		}
	}
	now, err := s.readStatus()
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.folder, "deleted.json")
	if err := must("evidence", s.deletion, "--out", file); err != nil {
		return "", err
	}
	log := filepath.Join(s.portalFolder, "portal", "audit.log")
	if err := must("verify", file, "--device-key", now.Portal.KeyID, "--audit", log); err != nil {
		return "", err
	}
	s.narrator.printNote("change one byte of it")
	if err := changeByte(file); err != nil {
		return "", err
	}
	changed, err := s.runPortal("verify", file)
	return "order, approval, receipt and audit log fit together, and say what they do not show; one other byte, and it is refused",
		checkThat(err == nil && changed.code == 1, "exit code %d: %s", changed.code, changed.errors)
}

// changeByte makes another letter of one in the reason of a file of evidence.
func changeByte(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read evidence: %w", err)
	}
	changed := bytes.Replace(data, []byte("stolen laptop"), []byte("stolen laptoq"), 1)
	if bytes.Equal(changed, data) {
		return errors.New("the evidence has no reason")
	}
	return replaceFile(file, changed)
}
