package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"prlagent/platform/plist"
)

// The policy of the demo, with a mistake and without. No public tool sets
// no_external_devices.
const policyWithMistake = `name: First
groups: [default]
vm_settings:
  other:
    clipboard: disconect
    no_tools_autoupdate: true
    no_external_devices: true
`

// The machine whose user changes what the policy has set, and a setting of it as
// prlctl names it.
const (
	changedVM      = "Team Linux"
	changedSetting = "Miscellaneous Sharing/Shared clipboard mode=on"
)

// policyView is what the demo reads of `prlagent policy --json`.
type policyView struct {
	Mode   string `json:"mode"`
	Report struct {
		State string `json:"state"`
	} `json:"policy"`
	Settings []settingView `json:"settings"`
	Steps    []struct {
		Setting string `json:"setting"`
	} `json:"steps"`
}

// settingView is one setting of one machine.
type settingView struct {
	User    string `json:"user_name"`
	VM      string `json:"vm_name"`
	Setting string `json:"setting"`
	Verdict string `json:"verdict"`
	Code    string `json:"code"`
	Drifts  int    `json:"drifts"`
}

// find gives a setting of a machine; its zero value if the plan has none.
func (p policyView) find(setting, vm, user string) settingView {
	for _, one := range p.Settings {
		if one.Setting == setting && one.VM == vm && one.User == user {
			return one
		}
	}
	return settingView{}
}

// readPolicy asks the daemon how it stands with the policy.
func (s *demoRun) readPolicy() (policyView, error) {
	var answer policyView
	err := s.readJSON(&answer, "prlagent", "policy", "--json")
	return answer, err
}

// waitForPolicy waits for what the daemon is about to do of the policy.
func (s *demoRun) waitForPolicy(what string, ready func(policyView) bool) (policyView, error) {
	var seen policyView
	err := s.waitUntil(what, func() bool {
		now, err := s.readPolicy()
		seen = now
		return err == nil && ready(now)
	})
	if err != nil {
		err = fmt.Errorf("%w: %+v", err, seen)
	}
	return seen, err
}

// showPolicy shows a page of `prlagent policy`.
func (s *demoRun) showPolicy(args ...string) (string, error) {
	page, err := s.mustRun("prlagent", append([]string{"policy"}, args...)...)
	if err == nil {
		s.narrator.printOutput(page)
	}
	return string(page), err
}

// writeFleet writes a file of the folder that is published.
func (s *demoRun) writeFleet(name, content string) error {
	path := filepath.Join(s.folder, "fleet", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write the policy: %w", err)
	}
	return os.WriteFile(path, []byte(content), 0o644)
}

// runFleet runs a command of prlportal on the folder of policies.
func (s *demoRun) runFleet(command string, args ...string) (programResult, error) {
	words := []string{command, filepath.Join(s.folder, "fleet")}
	if command != "lint" {
		words = append(words, "--dir", s.portalFolder)
	}
	ended, err := s.runShown("prlportal", append(words, args...)...)
	if err == nil {
		s.narrator.printOutput(ended.output)
	}
	return ended, err
}

func publishPolicy(s *demoRun) (string, error) {
	files := map[string]string{
		"site.yaml": "primary_group: default\n", "groups/default.yaml": "name: Everybody\n", "policies/first.yaml": policyWithMistake,
	}
	for name, content := range files {
		if err := s.writeFleet(name, content); err != nil {
			return "", err
		}
	}
	mistaken, err := s.runFleet("lint")
	if err != nil {
		return "", err
	}
	s.narrator.printNote("mend it")
	if err := s.writeFleet("policies/first.yaml", strings.Replace(policyWithMistake, "disconect", "disconnect", 1)); err != nil {
		return "", err
	}
	for _, command := range []string{"lint", "diff", "publish"} {
		if ended, err := s.runFleet(command); exitError(ended, err, "prlportal") != nil {
			return "", exitError(ended, err, "prlportal")
		}
	}
	found := string(mistaken.output) + mistaken.errors
	return "the mistake had file, line and column; signed by the operator's key and published",
		checkThat(mistaken.code == 1 && strings.Contains(found, "first.yaml:5:16: error"), "exit code %d, %s", mistaken.code, found)
}

func monitorPolicy(s *demoRun) (string, error) {
	if _, err := s.checkIn(); err != nil {
		return "", err
	}
	seen, err := s.waitForPolicy("the plan", func(now policyView) bool { return len(now.Steps) > 0 })
	if err != nil {
		return "", err
	}
	if _, err := s.showPolicy("plan"); err != nil {
		return "", err
	}
	pending := seen.find("clipboard", changedVM, "alice")
	return "mode monitor is what a profile says at first: nothing was set",
		checkThat(seen.Mode == "monitor" && pending.Verdict == "pending" && pending.Code == "monitor_mode", "mode %s, %+v", seen.Mode, pending)
}

func enforcePolicy(s *demoRun) (string, error) {
	s.narrator.printNote(s.vm.owner + "'s machine asks for a password that the agent has not; its user decrypts it, and a profile with Mode = enforce arrives")
	if err := s.runSim("vm", "set", "Windows 11", "encrypted=no", "--user", s.vm.owner); err != nil {
		return "", err
	}
	if err := changeProfile(s.profilePath(), func(settings map[string]any) { settings["Mode"] = "enforce" }); err != nil {
		return "", err
	}
	inPlace := func(now policyView) bool {
		return now.find("clipboard", "Windows 11", "alice").Verdict == "in_place" &&
			now.find("clipboard", "Windows 11", s.vm.owner).Verdict == "in_place" &&
			now.find("clipboard", changedVM, "alice").Verdict == "in_place" &&
			now.find("no_tools_autoupdate", "macOS", "alice").Verdict == "in_place"
	}
	seen, err := s.waitForPolicy("the settings of both users' machines", inPlace)
	if err != nil {
		return "", err
	}
	if _, err := s.showPolicy("show"); err != nil {
		return "", err
	}
	mac, asleep := seen.find("clipboard", "macOS", "alice"), seen.find("clipboard", "Ubuntu 22.04", "alice")
	return "set as each owner, read back, and only then said to be in place; a suspended one waits; a macOS guest has no such clipboard",
		checkThat(mac.Verdict == "not_applicable" && asleep.Verdict == "deferred" && asleep.Code == "vm_suspended", "%+v, %+v", mac, asleep)
}

func restoreSetting(s *demoRun) (string, error) {
	if err := s.runSim("vm", "set", changedVM, changedSetting); err != nil {
		return "", err
	}
	_, err := s.waitForPolicy("the clipboard to be put back", func(now policyView) bool {
		one := now.find("clipboard", changedVM, "alice")
		return one.Drifts == 1 && one.Verdict == "in_place"
	})
	if err != nil {
		return "", err
	}
	events, err := s.mustRun("prlagent", "events")
	if err != nil {
		return "", err
	}
	var told []string
	for line := range strings.Lines(string(events)) {
		if strings.Contains(line, "policy_setting_changed") || strings.Contains(line, "policy_setting_restored") {
			told = append(told, line)
		}
	}
	s.narrator.printOutput([]byte(strings.Join(told, "")))
	return "put back at once, and told", checkThat(len(told) == 2, "%s", events)
}

func explainPolicy(s *demoRun) (string, error) {
	holds, err := s.showPolicy("explain", "clipboard", "--vm", changedVM)
	if err != nil {
		return "", err
	}
	cannot, err := s.showPolicy("explain", "no_external_devices", "--vm", changedVM)
	if err != nil {
		return "", err
	}
	if _, err := s.checkIn(); err != nil {
		return "", err
	}
	fleet, err := s.mustRun("prlportal", "policies", "status", "--dir", s.portalFolder)
	if err != nil {
		return "", err
	}
	s.narrator.printOutput(fleet)
	return "reverted, not prevented, and by whom; what no public tool sets is unsupported",
		checkThat(strings.Contains(holds, "reverted for a standard user") && strings.Contains(holds, "1 time by somebody else") &&
			strings.Contains(cannot, "unsupported") && strings.Contains(cannot, "no_public_way") && strings.Contains(string(fleet), "default"), "%s%s", holds, cannot)
}

func releasePolicy(s *demoRun) (string, error) {
	s.narrator.printNote("take the policy out of the folder, and say in site.yaml that this is meant")
	if err := os.Remove(filepath.Join(s.folder, "fleet", "policies", "first.yaml")); err != nil {
		return "", fmt.Errorf("remove the policy: %w", err)
	}
	if err := s.writeFleet("site.yaml", "primary_group: default\ndeleted_policies: [first]\n"); err != nil {
		return "", err
	}
	refused, err := s.runFleet("publish")
	if err != nil {
		return "", err
	}
	s.narrator.printNote(lastLine(refused.errors))
	if ended, err := s.runFleet("publish", "--release", "1"); exitError(ended, err, "prlportal") != nil {
		return "", exitError(ended, err, "prlportal")
	}
	if _, err := s.checkIn(); err != nil {
		return "", err
	}
	if _, err := s.waitForPolicy("the release", func(now policyView) bool { return now.Report.State == "none" }); err != nil {
		return "", err
	}
	if err := s.runSim("vm", "set", changedVM, changedSetting); err != nil {
		return "", err
	}
	if _, err := s.checkIn(); err != nil {
		return "", err
	}
	released, err := s.showPolicy("plan")
	if err != nil {
		return "", err
	}
	events, err := s.runQuietly("prlagent", "events")
	if err != nil {
		return "", err
	}
	restored := 0
	for line := range strings.Lines(string(events.output)) {
		if strings.Contains(line, "policy_setting_restored") && strings.Contains(line, "vm_name="+changedVM) {
			restored++
		}
	}
	return "not without saying for how many Macs; afterwards values stay as they are, and are the users' own again",
		checkThat(refused.code == 1 && strings.Contains(released, "Nothing is to be set") && restored == 1,
			"exit code %d, put back %d times, %s", refused.code, restored, released)
}

func lastLine(words string) string {
	lines := strings.Split(strings.TrimSpace(words), "\n")
	return lines[len(lines)-1]
}

// profilePath is where the Mac has its managed preferences.
func (s *demoRun) profilePath() string {
	return filepath.Join(s.macFolder, "Library/Managed Preferences/org.prlagent.agent.plist")
}

// changeProfile changes the Mac's profile as device management does.
func changeProfile(profile string, change func(settings map[string]any)) error {
	data, err := os.ReadFile(profile)
	if err != nil {
		return fmt.Errorf("read profile: %w", err)
	}
	settings, err := plist.DecodeDict(data)
	if err != nil {
		return fmt.Errorf("read profile: %w", err)
	}
	change(settings)
	if data, err = plist.EncodeXML(settings); err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	return replaceFile(profile, data)
}

// replaceFile replaces a file at once, so that who reads it has all of it.
func replaceFile(path string, data []byte) error {
	fresh := path + ".new"
	if err := os.WriteFile(fresh, data, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return os.Rename(fresh, path)
}
