package policy_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// mac plans one machine again and again over a time, as enforcement does.
type mac struct {
	t        *testing.T
	desired  policy.Desired
	observed policy.Observed
}

func newMac(t *testing.T, document *policy.Document, file string, changes ...change) *mac {
	t.Helper()
	return &mac{t, policy.Desired{Document: document, Enforce: true}, policy.Observed{Now: noon, Memory: policy.Memory{}, Machines: []policy.Machine{machineOf(t, file, changes...)}}}
}

// shows replaces what the machine shows, and keeps what is not shown.
func (m *mac) shows(file string, changes ...change) *mac {
	m.t.Helper()
	next := machineOf(m.t, file, changes...)
	m.observed.Machines[0].VM = next.VM
	return m
}

func (m *mac) after(passed time.Duration) *mac {
	m.observed.Now = m.observed.Now.Add(passed)
	return m
}

// plan makes a plan, remembers it, and expects these calls.
func (m *mac) plan(want ...string) *policy.Result {
	m.t.Helper()
	result := policy.Plan(m.desired, &m.observed)
	wantCalls(m.t, result.Steps, want...)
	m.observed.Memory = remembered(m.observed.Memory, result)
	return result
}

// end carries all steps out with this outcome.
func (m *mac) end(result *policy.Result, outcome policy.Outcome) {
	m.t.Helper()
	for _, step := range result.Steps {
		memory := m.observed.Memory[step.VM].Begin(&step, m.observed.Now)
		m.observed.Memory[step.VM] = memory.End(&step, outcome, m.observed.Version.String(), m.observed.Now)
	}
}

var (
	done         = policy.Outcome{Proven: true}
	clipboardOff = change{"Miscellaneous Sharing/Shared clipboard mode", "off"}
)

const clipboardCall = "--shared-clipboard=off"

func TestPlanOfACompliantMacIsEmpty(t *testing.T) {
	t.Parallel()
	m := newMac(t, other(t, `"clipboard":"disconnect","startup":"manual","network":"shared"`), windowsVM, clipboardOff)
	if first := m.plan(); len(first.Memory) != 1 {
		t.Errorf("first sight remembers %+v", first.Memory)
	}
	second := m.after(time.Hour).plan()
	if len(second.Memory) != 0 || len(second.WouldDo) != 0 || stateOf(second) != protocol.PolicyConverged {
		t.Errorf("a compliant Mac costs %+v", second)
	}
	for _, v := range second.Verdicts {
		if !v.Since.Equal(noon) || v.Verdict != protocol.VerdictInPlace || v.Strength.Standard != protocol.StrengthReverted {
			t.Errorf("verdict %+v", v)
		}
	}
}

func TestH40_MonitorModeTouchesNothing(t *testing.T) {
	t.Parallel()
	m := newMac(t, other(t, `"clipboard":"disconnect","max_cpus":2`), windowsVM)
	m.desired.Enforce = false
	result := m.plan()
	wantCalls(t, result.WouldDo, clipboardCall)
	wantVerdict(t, result, "clipboard", "pending monitor_mode")
	wantVerdict(t, result, "max_cpus", "deferred vm_running")
	if len(result.Notices) != 0 || result.Verdicts[0].Strength.Standard != protocol.StrengthMonitored {
		t.Errorf("monitor mode tells and holds: %+v", result)
	}
	// What changes while the agent only monitors is nobody's drift.
	m.shows(windowsVM, clipboardOff).after(time.Minute).plan()
	m.shows(windowsVM).after(time.Minute).plan()
	m.desired.Enforce = true
	m.after(time.Minute).plan(clipboardCall)
	if drifts := m.observed.Memory[m.observed.Machines[0].Key].Setting("clipboard").Drifts(); drifts != 0 {
		t.Errorf("%d drifts", drifts)
	}
}

// A change that interrupts waits for the next stop or suspend; what was in place
// and was changed back is put back at once.
func TestDisruptiveSettingsWait(t *testing.T) {
	t.Parallel()
	const call = "--device-set net0 --disconnect"
	away := change{"Hardware/net0/state", "disconnected"}
	atWork := func(t *testing.T, members string) *mac {
		m := newMac(t, document(t, `"vm_settings":{`+members+`"other":{"network":"disconnect"}}`), windowsVM)
		m.observed.Machines[0].AtWork = true
		wantVerdict(t, m.plan(), "network", "deferred vm_in_use")
		wantVerdict(t, m.after(48*time.Hour).plan(), "network", "deferred vm_in_use")
		return m
	}
	t.Run("until it was suspended", func(t *testing.T) {
		t.Parallel()
		m := atWork(t, "")
		wantVerdict(t, m.shows(windowsVM, isSuspended).plan(), "network", "deferred vm_suspended")
		m.end(m.shows(windowsVM).after(time.Hour).plan(call), done)
		m.shows(windowsVM, away).plan()
		m.shows(windowsVM).after(time.Minute).plan(call) // the user connected it again
	})
	t.Run("until it is shut down", func(t *testing.T) {
		t.Parallel()
		atWork(t, "").shows(windowsVM, isStopped).plan(call)
	})
	t.Run("until it was started anew, unseen", func(t *testing.T) {
		t.Parallel()
		m := atWork(t, "")
		m.observed.Machines[0].StartedAt = m.observed.Now
		m.plan(call)
	})
	t.Run("until the policy's deadline", func(t *testing.T) {
		t.Parallel()
		m := atWork(t, `"max_wait_h":72,`)
		if v := m.plan().Verdicts[0]; !v.Wait.Deadline.Equal(noon.Add(72*time.Hour)) || v.Wait.Overdue || !v.Wait.Since.Equal(noon) {
			t.Errorf("deadline %s, overdue %t, waiting since %s", v.Wait.Deadline, v.Wait.Overdue, v.Wait.Since)
		}
		m.after(24 * time.Hour).plan(call)
	})
	t.Run("not for what nobody works in", func(t *testing.T) {
		t.Parallel()
		m := atWork(t, "")
		m.observed.Machines[0].AtWork = false
		m.plan(call)
	})
	t.Run("no wait for an adapter added later", func(t *testing.T) {
		t.Parallel()
		m := newMac(t, other(t, `"network":"disconnect"`), windowsVM, away)
		m.observed.Machines[0].AtWork = true
		m.plan()
		m.shows(windowsVM, away, change{"Hardware/net1", map[string]any{"enabled": true, "type": "bridged"}})
		m.plan("--device-set net1 --disconnect")
	})
	t.Run("another value waits anew", func(t *testing.T) {
		t.Parallel()
		m := newMac(t, other(t, `"network":"shared"`), windowsVM)
		m.observed.Machines[0].AtWork = true
		m.plan()
		m.desired.Document = other(t, `"network":"host_only"`)
		wantVerdict(t, m.plan(), "network", "deferred vm_in_use")
	})
}

func TestH41_Contention(t *testing.T) {
	t.Parallel()
	m := newMac(t, other(t, `"clipboard":"disconnect"`), windowsVM)
	m.end(m.plan(clipboardCall), done)
	for range 2 {
		m.shows(windowsVM, clipboardOff).plan()
		m.end(m.shows(windowsVM).after(5*time.Minute).plan(clipboardCall), done)
	}
	m.shows(windowsVM, clipboardOff).plan()
	// The third time within the hour: it is not put back at once any more.
	contended := m.shows(windowsVM).after(5 * time.Minute).plan()
	wantVerdict(t, contended, "clipboard", "contended contended")
	m.after(30 * time.Minute).plan()
	m.observed.Machines[0].StartedAt = m.observed.Now // each start of the machine is a chance
	m.end(m.after(time.Second).plan(clipboardCall), done)
	m.shows(windowsVM, clipboardOff).plan()
	m.shows(windowsVM).after(30 * time.Minute).plan()
	m.end(m.after(31*time.Minute).plan(clipboardCall), done)                                             // and so is each hour
	wantVerdict(t, m.shows(windowsVM, clipboardOff).after(time.Minute).plan(), "clipboard", "in_place ") // the cause is gone
	m.after(3 * time.Hour).plan()
	m.shows(windowsVM).plan(clipboardCall) // calm for hours: put back at once again
	if drifts := m.observed.Memory[m.observed.Machines[0].Key].Setting("clipboard").Drifts(); drifts != 5 {
		t.Errorf("%d drifts, want 5", drifts)
	}
}

func TestFailuresSlowDown(t *testing.T) {
	t.Parallel()
	m := newMac(t, other(t, `"clipboard":"disconnect"`), windowsVM)
	failed := policy.Outcome{Code: protocol.CodeAdminPassword}
	m.end(m.plan(clipboardCall), failed)
	second := m.after(time.Minute).plan(clipboardCall)
	wantVerdict(t, second, "clipboard", "failed admin_password_required")
	m.end(second, policy.Outcome{})
	wantVerdict(t, m.after(time.Minute).plan(), "clipboard", "failed not_verified")
	m.observed.Machines[0].RetryNow = true
	m.end(m.plan(clipboardCall), failed)
	m.observed.Machines[0].RetryNow = false
	m.after(59 * time.Minute).plan()
	m.end(m.after(time.Minute).plan(clipboardCall), done)
	wantVerdict(t, m.shows(windowsVM, clipboardOff).plan(), "clipboard", "in_place ")
	setting := m.observed.Memory[m.observed.Machines[0].Key].Setting("clipboard")
	if call := setting.Call("--shared-clipboard"); call.Failures != 0 || call.Prior != "on" {
		t.Errorf("remembered %+v", call)
	}
}

// A refusal is of a version: another one is asked again.
func TestCaptures54_RefusedIsNotApplicableUntilTheVersionChanges(t *testing.T) {
	t.Parallel()
	m := newMac(t, other(t, `"clipboard":"disconnect"`), windowsVM)
	version, err := prlctl.ParseVersion("26.4.0 (57513)")
	if err != nil {
		t.Fatal(err)
	}
	m.observed.Version = version
	m.end(m.plan(clipboardCall), policy.Outcome{Code: protocol.CodeGuestOS, NotApplicable: true})
	wantVerdict(t, m.after(24*time.Hour).plan(), "clipboard", "not_applicable guest_os")
	m.observed.Version.Minor = 5
	m.plan(clipboardCall)
}

// The verdict's time is of the verdict, through restarts and other things that
// happen.
func TestSinceIsKept(t *testing.T) {
	t.Parallel()
	m := newMac(t, other(t, `"max_cpus":2`), windowsVM)
	m.plan()
	for range 3 {
		if v := m.after(time.Hour).plan().Verdicts[0]; !v.Since.Equal(noon) || !v.Wait.Since.Equal(noon) {
			t.Errorf("since %s, waiting since %s", v.Since, v.Wait.Since)
		}
	}
	suspended := m.shows(windowsVM, isSuspended).after(time.Hour).plan().Verdicts[0]
	if !suspended.Since.Equal(m.observed.Now) || !suspended.Wait.Since.Equal(noon) {
		t.Errorf("suspended since %s, waiting since %s", suspended.Since, suspended.Wait.Since)
	}
}

func TestNoticesAreRare(t *testing.T) {
	t.Parallel()
	wants := document(t, `"vm_settings":{"max_wait_h":240,"other":{"max_cpus":2}}`)
	alice, second, bob := machineOf(t, windowsVM), machineOf(t, linuxVM, isRunning, change{"Hardware/cpu/cpus", 4}), machineOf(t, windowsVM)
	bob.Key.UID = 502
	desired := policy.Desired{Document: wants, Enforce: true}
	observed := policy.Observed{Now: noon, Memory: policy.Memory{}, Machines: []policy.Machine{alice, second, bob}}
	told := make(map[uint32]int)
	for day := range 22 {
		observed.Now = noon.AddDate(0, 0, day)
		result := policy.Plan(desired, &observed)
		observed.Memory = remembered(observed.Memory, result)
		for _, notice := range result.Notices {
			told[notice.UID]++
			if !notice.Deadline.Equal(noon.Add(240*time.Hour)) || len(notice.VMs) != map[uint32]int{501: 2, 502: 1}[notice.UID] {
				t.Errorf("day %d: %+v", day, notice)
			}
			for _, key := range notice.VMs {
				observed.Memory[key] = observed.Memory[key].Told(observed.Now)
			}
		}
	}
	if fmt.Sprint(told) != "map[501:4 502:4]" {
		t.Errorf("in three weeks and a day told %v", told)
	}
	desired.Document = document(t, `"vm_settings":{"remind_every_weeks":0,"other":{"max_cpus":2}}`)
	if result := policy.Plan(desired, &policy.Observed{Now: noon, Machines: observed.Machines}); len(result.Notices) != 0 {
		t.Errorf("reminded all the same: %+v", result.Notices)
	}
}

func TestH45_TheLockIsLast(t *testing.T) {
	t.Parallel()
	const lock, unlock = "--lock-edit-settings=on", "--lock-edit-settings=off"
	locked := change{"Security/Configuration is locked", "on"}
	m := newMac(t, other(t, `"no_config_changes":true,"clipboard":"disconnect","isolate_vm":true`), windowsVM)
	m.desired.AllowUnprovenLocks = true
	first := m.plan("--isolate-vm=on", clipboardCall, lock, unlock, lock) // it is found out whether it can be lifted
	if step := first.Steps[2]; step.Unlocks || step.InFile || !first.Steps[0].InFile {
		t.Errorf("steps %+v", first.Steps)
	}
	m.observed.Machines[0].Config.IsolatedVM = prlctl.SwitchOn
	m.end(first, done)
	m.shows(windowsVM, clipboardOff, locked).plan()
	// Under our own lock, what drifted is put back between lifting and placing it.
	again := m.shows(windowsVM, locked).after(time.Hour).plan(unlock, clipboardCall, lock)
	if !again.Steps[0].Unlocks || !again.Steps[0].StopsOthers || again.Steps[0].Restores {
		t.Errorf("the lock is lifted by %+v", again.Steps[0])
	}
	// A crash in the middle or behind each of the three leaves what the next plan
	// goes on with.
	lift := again.Steps[0]
	m.observed.Memory[lift.VM] = m.observed.Memory[lift.VM].Begin(&lift, m.observed.Now)
	m.shows(windowsVM).after(time.Minute).plan(clipboardCall, lock)
	m.end(&policy.Result{Steps: again.Steps[:1]}, done)
	m.shows(windowsVM).after(time.Minute).plan(clipboardCall, lock)
	m.shows(windowsVM, clipboardOff).plan(lock)
	if drifts := m.observed.Memory[m.observed.Machines[0].Key].Setting("no_config_changes").Drifts(); drifts != 0 {
		t.Errorf("our own lifting counts as %d drifts", drifts)
	}
}

// A release leaves every value, and lifts the lock that is ours.
func TestPOL09_POL10_H47_Release(t *testing.T) {
	t.Parallel()
	const unlock = "--lock-edit-settings=off"
	locked := change{"Security/Configuration is locked", "on"}
	ours := func(t *testing.T) *mac {
		m := newMac(t, other(t, `"no_config_changes":true,"clipboard":"disconnect"`), windowsVM)
		m.desired.AllowUnprovenLocks = true
		m.end(m.plan(clipboardCall, "--lock-edit-settings=on", unlock, "--lock-edit-settings=on"), done)
		m.shows(windowsVM, clipboardOff, locked).plan()
		return m
	}
	remains := func(m *mac) int { return len(m.observed.Memory) }
	t.Run("signed", func(t *testing.T) {
		t.Parallel()
		m := ours(t)
		m.desired.Released, m.desired.AllowUnprovenLocks = true, false // what was allowed once is lifted all the same
		result := m.plan(unlock)
		wantVerdict(t, result, "no_config_changes", "pending lock_releasing")
		if !result.Steps[0].Restores || !result.Steps[0].Unlocks {
			t.Errorf("step %+v", result.Steps[0])
		}
		m.plan(unlock) // a crash before, or in the middle
		m.end(result, done)
		m.shows(windowsVM, clipboardOff).plan()
		if remains(m) != 0 {
			t.Errorf("remembered %+v", m.observed.Memory)
		}
		m.shows(windowsVM).plan()                       // POL-10: the user's again
		m.shows(windowsVM, locked, clipboardOff).plan() // and so is a lock of theirs
	})
	t.Run("a group taken out of the policy", func(t *testing.T) {
		t.Parallel()
		m := ours(t)
		m.desired.Document = other(t, `"clipboard":"disconnect"`)
		m.plan(unlock)
	})
	t.Run("false lifts ours", func(t *testing.T) {
		t.Parallel()
		m := ours(t)
		m.desired.AllowUnprovenLocks, m.desired.Document = false, other(t, `"no_config_changes":false`)
		m.end(m.plan(unlock), policy.Outcome{})
		m.plan(unlock)
		m.shows(windowsVM, clipboardOff).plan()
	})
	t.Run("no document releases nothing", func(t *testing.T) {
		t.Parallel()
		m := ours(t)
		m.desired.Document = nil
		if result := m.plan(); len(result.Memory)+len(result.Verdicts) != 0 || remains(m) != 1 {
			t.Errorf("%+v", result)
		}
	})
	t.Run("in monitor mode it is only said", func(t *testing.T) {
		t.Parallel()
		m := ours(t)
		m.desired.Released, m.desired.Enforce = true, false
		result := m.plan()
		wantCalls(t, result.WouldDo, unlock)
		if remains(m) != 1 {
			t.Error("a lock that is still there was forgotten")
		}
	})
	t.Run("on a suspended machine it waits", func(t *testing.T) {
		t.Parallel()
		m := ours(t)
		m.desired.Released = true
		wantVerdict(t, m.shows(windowsVM, clipboardOff, locked, isSuspended).plan(), "no_config_changes", "deferred vm_suspended")
		m.shows(windowsVM, clipboardOff, locked).plan(unlock)
	})
	t.Run("somebody's own lock stays", func(t *testing.T) {
		t.Parallel()
		m := newMac(t, other(t, `"no_config_changes":true`), windowsVM, locked)
		m.desired.AllowUnprovenLocks = true
		m.plan()
		m.desired.Released = true
		m.plan()
	})
}

// Isolating a machine turns the sharing of gamepads on (facts/prlctl.md 6), which
// nobody asked for.
func TestIsolatingKeepsGamepads(t *testing.T) {
	t.Parallel()
	const isolate, keep = "--isolate-vm=on", "--auto-share-gamepad=off"
	gamepads := func(word string) change { return change{"USB and Bluetooth/Automatic sharing gamepads", word} }
	m := newMac(t, other(t, `"isolate_vm":true`), windowsVM, gamepads("off"))
	first := m.plan(isolate, keep)
	m.end(&policy.Result{Steps: first.Steps[:1]}, done) // a crash between the two
	m.observed.Machines[0].Config.IsolatedVM = prlctl.SwitchOn
	m.end(m.shows(windowsVM, gamepads("on")).plan(keep), done)
	m.shows(windowsVM, gamepads("off")).plan()
	m.shows(windowsVM, gamepads("on")).plan() // the user's choice later
	wantCalls(t, plan(other(t, `"isolate_vm":true`), machineOf(t, windowsVM)).Steps, isolate)
}

func TestWhatIsClosedWaits(t *testing.T) {
	t.Parallel()
	m := newMac(t, other(t, `"clipboard":"disconnect","startup":"manual"`), windowsVM)
	m.observed.Closed = protocol.CodeEdition
	result := m.plan()
	wantVerdict(t, result, "clipboard", "deferred edition")
	wantVerdict(t, result, "startup", "in_place ")
}

func TestWhatIsNotCarriedOutIsSaid(t *testing.T) {
	t.Parallel()
	wants := document(t, `"windows_updates":{"weekly":true},"vm_settings":{"other":{"of_tomorrow":{"x":[1]}}}`)
	result := plan(wants, machineOf(t, windowsVM))
	wantCalls(t, result.Steps)
	wantVerdict(t, result, "of_tomorrow", "unsupported setting_unknown")
	last := result.Verdicts[len(result.Verdicts)-1]
	if last.Path != "windows_updates.weekly" || last.Code != protocol.CodeSectionNotSupported || last.VM != (protocol.VMKey{}) {
		t.Errorf("verdict %+v", last)
	}
	if state := stateOf(result); state != protocol.PolicyPartial {
		t.Errorf("state %s", state)
	}
	if again := policy.Plan(policy.Desired{Document: wants, Enforce: true}, &policy.Observed{Now: noon.Add(time.Hour), Machines: []policy.Machine{machineOf(t, windowsVM)}, Memory: result.Memory}); len(again.Memory) != 0 {
		t.Errorf("an unknown setting costs a write each time: %+v", again.Memory)
	}
}

// Two settings that share a flag, and want the same of it, set it once.
func TestSharedFlagsAreSetOnce(t *testing.T) {
	t.Parallel()
	wants := other(t, `"no_share_mac_folders":true,"share_cloud_folders":false,"smart_mount":false`)
	result := plan(wants, machineOf(t, windowsVM, change{"Miscellaneous Sharing/Shared cloud", "on"}, change{"Host Shared Folders/enabled", false}, change{"Host defined sharing", "off"}))
	wantCalls(t, result.Steps, "--shared-cloud=off")
	wantVerdict(t, result, "share_cloud_folders", "pending not_set_yet")
}

func TestStepIsProvenByALook(t *testing.T) {
	t.Parallel()
	wants := other(t, `"clipboard":"disconnect","network":"host_only","lock_on_suspend":true,"no_share_vm_folders":true`)
	before := machineOf(t, windowsVM, change{"Guest Shared Folders/enabled", true})
	steps := plan(wants, before).Steps
	after := machineOf(t, windowsVM, clipboardOff, change{"Hardware/net0/type", "host"})
	after.Config.LockGuestOnSuspend = prlctl.SwitchOn
	var got []string
	for _, step := range steps {
		got = append(got, fmt.Sprintf("%s %t %t", step.Target, step.Proven(&before.VM, before.Config), step.Proven(&after.VM, after.Config)))
	}
	want := []string{"--device-set net0 false true", "--shf-guest false true", "--shf-guest-automount true true", "--shared-clipboard false true", "--lock-on-suspend false true"}
	if !slices.Equal(got, want) {
		t.Errorf("proven %q, want %q", got, want)
	}
	if steps[4].Proven(&after.VM, nil) || steps[0].Proven(&prlctl.VM{}, nil) {
		t.Error("proven by nothing")
	}
}

// What was there before us stays remembered, whatever is written over it later.
func TestPriorIsWhatWasThereBeforeUs(t *testing.T) {
	t.Parallel()
	const autostart = "Startup and Shutdown/Autostart"
	m := newMac(t, other(t, `"startup":"manual"`), windowsVM, change{autostart, "start-app"})
	m.end(m.plan("--autostart=off"), done)
	m.end(m.shows(windowsVM, change{autostart, "open-window"}).after(time.Hour).plan("--autostart=off"), done)
	setting := m.observed.Memory[m.observed.Machines[0].Key].Setting("startup")
	if call := setting.Call("--autostart"); call.Prior != "start-app" || call.Word != "off" || call.Drifts != 1 || !call.WrittenAt.Equal(noon.Add(time.Hour)) {
		t.Errorf("remembered %+v", call)
	}
}

// config.pvs is read where a setting is shown nowhere else: before 20 that is
// folders of the guest as well.
func TestVMS43_WhichMachinesNeedTheirFile(t *testing.T) {
	t.Parallel()
	shown := machineOf(t, windowsVM, change{"Guest Shared Folders/enabled", false}).VM
	hidden := machineOf(t, windowsVM, change{"Guest Shared Folders", nil}).VM
	for settings, want := range map[string][2]bool{ // of a machine that shows the folders, and of one that does not
		`"clipboard":"disconnect","network":"shared"`: {false, false},
		`"no_share_vm_folders":true`:                  {false, true},
		`"isolate_vm":true`:                           {true, true},
		`"lock_on_suspend":true`:                      {true, true},
		`"no_tools_autoupdate":false`:                 {true, true},
		`"asset_tag":"A-1"`:                           {true, true},
		``:                                            {false, false},
	} {
		wants := other(t, settings)
		if got := [2]bool{wants.ReadsFile(&shown), wants.ReadsFile(&hidden)}; got != want {
			t.Errorf("%s: %v, want %v", settings, got, want)
		}
		if got := wants.ManagesVMs(); got != (settings != "") {
			t.Errorf("%s manages virtual machines: %t", settings, got)
		}
	}
}

// A machine that is held by a lock does not start by itself, whatever the policy wants;
// everything else is set, and that as well once it is not held any more.
func TestH27_VMS07_AHeldMachineDoesNotStartByItself(t *testing.T) {
	t.Parallel()
	m := newMac(t, other(t, `"startup":"ready_in_background"`), windowsVM)
	m.observed.Machines[0].Held = true
	held := m.plan("--startup-view=headless")
	if at := held.Verdicts[0]; at.Verdict != protocol.VerdictDeferred || at.Code != protocol.CodeVMHeld {
		t.Errorf("it is %s %s", at.Verdict, at.Code)
	}
	m.end(held, done)
	m.observed.Machines[0].Held = false
	m.shows(windowsVM, change{"Startup and Shutdown/Startup view", "headless"}).after(time.Hour).plan("--autostart=user-login")

	manual := newMac(t, other(t, `"startup":"manual"`), windowsVM, change{"Startup and Shutdown/Autostart", "start-host"})
	manual.observed.Machines[0].Held = true
	manual.plan("--autostart=off")
}
