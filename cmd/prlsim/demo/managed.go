package demo

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// What the policy of the demo has beside settings of machines: where Parallels
// Desktop gets its updates, and that only machines of the organization are allowed.
const managedMembers = `product:
  update_policy: None
  update_check: never
security_controls:
  provisioned_only: true
  on_violation: suspend
  grace_s: 1
`

// A preference of Parallels Desktop as the policy names it, and its key.
const (
	managedPreference = "update_check"
	preferenceKey     = "Application preferences.Check for updates"
)

// violatingVM is what somebody creates against the policy, and reportLimit how soon
// the portal has to know.
const (
	violatingVM = "Lab"
	reportLimit = time.Minute
)

// isOfBoth reports whether a preference stands like this for both users.
func (p policyView) isOfBoth(verdict, code string) bool {
	for _, user := range []string{"alice", "bob"} {
		if one := p.find(managedPreference, "", user); one.Verdict != verdict || one.Code != code {
			return false
		}
	}
	return true
}

func setPreferences(s *demoRun) (string, error) {
	if err := s.runSim("app", "launch", "--user", "alice"); err != nil {
		return "", err
	}
	s.narrator.printNote("add to the policy:\n   " + strings.ReplaceAll(strings.TrimSpace(managedMembers), "\n", "\n   "))
	if err := s.writeFleet("policies/first.yaml", strings.Replace(policyWithMistake, "disconect", "disconnect", 1)+managedMembers); err != nil {
		return "", err
	}
	if ended, err := s.runFleet("publish"); exitError(ended, err, "prlportal") != nil {
		return "", exitError(ended, err, "prlportal")
	}
	if _, err := s.checkIn(); err != nil {
		return "", err
	}
	isPending := func(now policyView) bool { return now.isOfBoth("pending", "pending_restart") }
	if _, err := s.waitForPolicy("the values to wait for a restart", isPending); err != nil {
		return "", err
	}
	waits, err := s.showPolicy("explain", managedPreference)
	if err != nil {
		return "", err
	}
	if err := s.runSim("app", "quit", "--user", "alice"); err != nil {
		return "", err
	}
	if _, err := s.waitForPolicy("the values to be in place", func(now policyView) bool { return now.isOfBoth("in_place", "") }); err != nil {
		return "", err
	}
	done, err := s.showPolicy("explain", managedPreference)
	return "written for both at once; pending until the application that had read the old ones has quit, and in place then",
		checkThat(err == nil && strings.Count(waits, "pending_restart") >= 2 && !strings.Contains(done, "pending_restart"), "%s%s", waits, done)
}

// reportedViolation is the violation that the portal was told of a machine; its zero
// value if it was told none.
func (s *demoRun) reportedViolation(vm string) (found violationView, err error) {
	var answer struct {
		Events []violationView `json:"events"`
	}
	err = s.readJSON(&answer, "prlportal", "events", "--dir", s.portalFolder, "--type", "policy_violation", "--json")
	for _, one := range answer.Events {
		if one.Data.VM == vm {
			found = one
		}
	}
	return found, err
}

// violationView is what the demo reads of the event of a violation.
type violationView struct {
	Code string `json:"code"`
	Data struct {
		VM     string `json:"vm_name"`
		User   string `json:"user_name"`
		Action string `json:"action"`
	} `json:"data"`
}

func suspendViolation(s *demoRun) (string, error) {
	user := s.vm.owner
	began := time.Now()
	if err := s.runSim("vm", "create", "--os", "ubuntu", "--name", violatingVM, "--state", "running", "--user", user, "--by", user); err != nil {
		return "", err
	}
	var told violationView
	err := s.waitUntil("the portal to hear of the violation", func() (known bool) {
		told, _ = s.reportedViolation(violatingVM)
		return told.Code != ""
	})
	if err != nil {
		return "", err
	}
	took := time.Since(began)
	states := make(map[string]string)
	err = s.waitUntil("the virtual machine to be suspended", func() bool {
		rows, err := s.portalTable()
		for _, row := range rows {
			states[row.Name] = row.State
		}
		return err == nil && states[violatingVM] == "Suspended"
	})
	if err != nil {
		return "", err
	}
	if _, err := s.checkIn(); err != nil {
		return "", err
	}
	if _, err := s.showPolicy("explain", "provisioned_only", "--vm", violatingVM); err != nil {
		return "", err
	}
	s.narrator.printNote(user + " deletes it")
	for _, change := range [][]string{{"stop", violatingVM, "--drop-state"}, {"delete", violatingVM, "--by", user}} {
		if err := s.runSim(append([]string{"vm"}, append(change, "--user", user)...)...); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("the portal knew after %.1f s: %s of %s; suspended after the policy's grace, and never deleted; older ones run on",
			took.Seconds(), told.Code, told.Data.User),
		checkThat(took < reportLimit && told.Code == "vm_unprovisioned" && told.Data.User == user && told.Data.Action == "suspended_after_grace" &&
			states["Windows 11"] == "Running", "after %s: %+v, %v", took, told, states)
}

// countShown counts how often a user was shown a text with these words.
func (s *demoRun) countShown(user, words string) (count int, err error) {
	var shown []struct {
		User string `json:"user"`
		Text string `json:"text"`
	}
	err = s.readJSON(&shown, "prlsim", "user", "notifications", "--json", "--mac", s.macFolder)
	for _, one := range shown {
		if one.User == user && strings.Contains(one.Text, words) {
			count++
		}
	}
	return count, err
}

func tellUserOnce(s *demoRun) (string, error) {
	user := s.vm.owner
	s.narrator.printNote("a profile with NotifyUsers = true arrives, and " + user + " changes the same preference twice")
	if err := changeProfile(s.profilePath(), func(settings map[string]any) { settings["NotifyUsers"] = true }); err != nil {
		return "", err
	}
	const words = "was put back"
	for drifts := 1; drifts <= 2; drifts++ {
		if _, err := s.checkIn(); err != nil {
			return "", err
		}
		if err := s.runSim("prefs", "set", preferenceKey, "3", "--type", "int", "--user", user); err != nil {
			return "", err
		}
		if _, err := s.checkIn(); err != nil {
			return "", err
		}
		_, err := s.waitForPolicy("the preference to be put back", func(now policyView) bool {
			one := now.find(managedPreference, "", user)
			return one.Drifts == drifts && one.Verdict == "in_place"
		})
		if err != nil {
			return "", err
		}
		err = s.waitUntil("the user to be told", func() bool {
			count, err := s.countShown(user, words)
			return err == nil && count > 0
		})
		told := time.Now().Unix() // the agent's memory knows whole seconds
		err = errors.Join(err, s.waitUntil("the next second", func() bool { return time.Now().Unix() > told }))
		if err != nil {
			return "", err
		}
	}
	if _, err := s.checkIn(); err != nil {
		return "", err
	}
	shown, err := s.mustRun("prlsim", "user", "notifications", "--mac", s.macFolder)
	if err != nil {
		return "", err
	}
	s.narrator.printOutput(shown)
	count, err := s.countShown(user, words)
	return "put back both times; " + user + " was told once, and would be again tomorrow",
		checkThat(err == nil && count == 1, "told %d times: %s", count, shown)
}
