package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"prlagent/agent/policy"
	"prlagent/prlctl"
)

// lowSpace are the machines that a plan tells of, by their accounts.
func lowSpace(result *policy.Result) string {
	var told []string
	for _, low := range result.Controls.LowSpace {
		told = append(told, fmt.Sprint(low.VM.UID, " ", low.Used, " ", low.Free))
	}
	return strings.Join(told, ", ")
}

// ENC-10: a machine that is to be encrypted, and would not fit on its disk once more,
// is told of before, once; and again when there was room meanwhile.
func TestENC_10_RoomToEncrypt(t *testing.T) {
	t.Parallel()
	const size = 1000
	m := newControlled(t, `"org_license_only":true`)
	beside := func(result *policy.Result) string {
		at := slices.IndexFunc(result.Verdicts, func(v policy.Verdict) bool { return v.Setting == "org_license_only" })
		_, after, _ := strings.Cut(result.Verdicts[at].Beside.Observed, "; ")
		return after
	}
	for _, step := range []struct {
		name       string
		change     func(first *policy.Machine)
		told, seen string
	}{
		{"not known", func(*policy.Machine) {}, "", ""},
		{"just enough", func(first *policy.Machine) { first.UsedSpace, first.FreeSpace = size, size }, "", ""},
		{"too little", func(first *policy.Machine) { first.FreeSpace = size - 1 }, "501 1000 999", "without the disk space to be encrypted: 1"},
		{"no news", func(*policy.Machine) {}, "", "without the disk space to be encrypted: 1"},
		{"about as much", func(first *policy.Machine) { first.FreeSpace = size + 50 }, "", "without the disk space to be encrypted: 1"},
		{"not known now", func(first *policy.Machine) { first.UsedSpace, first.FreeSpace = 0, 0 }, "", "without the disk space to be encrypted: 1"},
		{"clearly more", func(first *policy.Machine) { first.UsedSpace, first.FreeSpace = size, size+100 }, "", ""},
		{"again", func(first *policy.Machine) { first.FreeSpace = 0 }, "501 1000 0", "without the disk space to be encrypted: 1"},
		{"encrypted", func(first *policy.Machine) { first.VM.Security.Encrypted = prlctl.SwitchOn }, "", ""},
	} {
		step.change(&m.machines[0])
		result := m.plan()
		wantText(t, step.name+", told", lowSpace(result), step.told)
		wantText(t, step.name+", beside", beside(result), step.seen)
	}

	m.machines[0].VM.Security.Encrypted, m.desired.VendorGates, m.version = prlctl.SwitchOff, true, prlctl.Version{Major: 20, Minor: 3}
	wantText(t, "of a version that encrypts by no policy", lowSpace(m.plan()), "")
	m.desired.VendorGates = false
	wantText(t, "without gates", lowSpace(m.plan()), "501 1000 0")
	m.wants(`"no_removal":true`)
	if m.plan(); len(m.memory.LowSpace) != 0 {
		t.Error("it is remembered without the control")
	}
}

// Whose disk matters is decided by the control, and the machine's own encryption.
func TestENC_10_WhichMachinesAreLookedAt(t *testing.T) {
	t.Parallel()
	var plain, encrypted prlctl.VM
	encrypted.Security.Encrypted = prlctl.SwitchOn
	for controls, want := range map[string]bool{`"org_license_only":true`: true, `"org_license_only":false`: false, `"no_removal":true`: false} {
		doc := document(t, `"security_controls":{`+controls+`}`)
		if doc.EncryptsLater(&plain) != want || doc.EncryptsLater(&encrypted) {
			t.Errorf("%s: %t", controls, doc.EncryptsLater(&plain))
		}
	}
}
