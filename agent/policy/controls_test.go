package policy_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// controlled is a Mac under security controls: whose list shows what, what the
// host asks a password for, and what is remembered from plan to plan.
type controlled struct {
	t       testing.TB
	desired policy.Desired
	now     time.Time
	version prlctl.Version
	memory  *policy.ControlsMemory
	info    *prlctl.ServerInfo // nil: it cannot be read
	hidden  map[uint32]bool    // accounts that cannot be listed
	// unsettled are accounts whose machines are left out, because they are being set.
	unsettled map[uint32]bool
	host      policy.Host
	sets      []string

	machines []policy.Machine
	listed   map[uint32]bool
	newIDs   int
}

// newControlled is a Mac of alice, with a provisioned machine, and of bob, with one
// of another source, since before the controls.
func newControlled(t testing.TB, controls string) *controlled {
	t.Helper()
	m := &controlled{
		t: t, now: noon, version: prlctl.Version{Major: 20, Minor: 3, Patch: 1}, memory: &policy.ControlsMemory{}, listed: make(map[uint32]bool), hidden: make(map[uint32]bool),
		info: &prlctl.ServerInfo{PreferencesLocked: prlctl.SwitchOff},
	}
	m.desired = policy.Desired{Enforce: true, Document: document(t, `"security_controls":{`+controls+`}`)}
	m.add(501, policy.OriginGolden)
	m.add(502, policy.OriginUnknown)
	return m
}

// wants puts another policy in force.
func (m *controlled) wants(controls string) {
	m.desired.Document = document(m.t, `"security_controls":{`+controls+`}`)
}

// add gives an account one more machine, that runs.
func (m *controlled) add(uid uint32, origin policy.Origin) protocol.VMKey {
	m.newIDs++
	machine := machineOf(m.t, windowsVM, isRunning, change{"ID", fmt.Sprintf("%08d-10fe-40d9-871e-27af1e66161e", m.newIDs)})
	machine.Key.UID, machine.Origin = uid, origin
	m.machines = append(m.machines, machine)
	return machine.Key
}

func (m *controlled) remove(key protocol.VMKey) {
	m.machines = slices.DeleteFunc(m.machines, func(one policy.Machine) bool { return one.Key == key })
}

func (m *controlled) find(key protocol.VMKey) *policy.Machine {
	at := slices.IndexFunc(m.machines, func(one policy.Machine) bool { return one.Key == key })
	return &m.machines[at]
}

// plan plans a minute later.
func (m *controlled) plan() *policy.Result {
	m.now = m.now.Add(time.Minute)
	observed := policy.Observed{Now: m.now, Version: m.version, Controls: m.memory, Host: m.host}
	observed.Host.Info, observed.Host.ListedBefore, observed.Host.Listed = m.info, m.listed, make(map[uint32]bool)
	for _, uid := range []uint32{501, 502, 503} {
		observed.Host.Listed[uid] = !m.hidden[uid]
	}
	for _, machine := range m.machines {
		if !m.hidden[machine.Key.UID] {
			observed.Host.Present = append(observed.Host.Present, machine.Key)
			if !m.unsettled[machine.Key.UID] {
				observed.Machines = append(observed.Machines, machine)
			}
		}
	}
	result := policy.Plan(m.desired, &observed)
	if result.Controls.Memory != nil {
		m.memory = result.Controls.Memory
	}
	for uid, isListed := range observed.Host.Listed {
		m.listed[uid] = m.listed[uid] || isListed
	}
	return result
}

// settle plans and carries the host's steps out, until there are none.
func (m *controlled) settle() *policy.Result {
	m.t.Helper()
	for range 5 {
		result := m.plan()
		if len(result.Controls.HostSteps) == 0 {
			return result
		}
		for i := range result.Controls.HostSteps {
			step := &result.Controls.HostSteps[i]
			m.memory = m.memory.Begin(step, m.now)
			m.setHost(step.Args)
			m.memory = m.memory.End(step, policy.Outcome{Proven: step.Proven(m.info)}, policy.VersionKey(m.version, ""), m.now)
		}
	}
	m.t.Fatal("it goes on for ever")
	return &policy.Result{}
}

// setHost does what a call of `prlsrvctl set` says.
func (m *controlled) setHost(args []string) {
	m.sets = append(m.sets, strings.Join(args, " "))
	if args[0] == "--lock-edit-settings" {
		m.info.PreferencesLocked = prlctl.ParseSwitch(args[1])
		return
	}
	action, word, _ := strings.Cut(args[1], ":")
	m.info.RequirePassword = slices.DeleteFunc(m.info.RequirePassword, func(one string) bool { return one == action })
	if word == "on" {
		m.info.RequirePassword = append(m.info.RequirePassword, action)
	}
}

// passwords are what the host asks a password for.
func (m *controlled) passwords() string {
	shown := slices.Clone(m.info.RequirePassword)
	if m.info.PreferencesLocked.On() {
		shown = append(shown, "preferences")
	}
	slices.Sort(shown)
	return strings.Join(shown, " ")
}

// actOf is the switch that asks for a password before an act.
var actOf = map[policy.Act]string{
	policy.ActCreate: "create-vm", policy.ActRegister: "add-vm", policy.ActClone: "clone-vm", policy.ActRemove: "remove-vm",
}

// does has alice do something, as an administrator of the Mac or not; she removes
// the provisioned machine. It reports whether she could.
func (m *controlled) does(act policy.Act, admin bool) bool {
	if slices.Contains(m.info.RequirePassword, actOf[act]) && !admin {
		return false
	}
	if act == policy.ActRemove {
		m.remove(m.machines[0].Key)
		return true
	}
	m.add(501, policy.OriginUnknown)
	return true
}

func wantText(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// violations are those that are new in a plan.
func violations(result *policy.Result) string {
	var list []string
	for _, v := range result.Controls.New {
		list = append(list, v.Control+" "+string(v.Code))
	}
	return strings.Join(list, ", ")
}

// verdictOn is the verdict on a control: on a machine, or with the zero key on the
// Mac as a whole.
func verdictOn(result *policy.Result, control string, key protocol.VMKey) string {
	for _, v := range result.Verdicts {
		if v.Setting == control && v.VM == key {
			return strings.TrimSpace(fmt.Sprintf("%s %s", v.Verdict, v.Code))
		}
	}
	return ""
}

// SEC-01, SEC-02, SEC-03, SEC-08, SEC-09, SEC-22, SEC-23: each control alone, and
// each pair, against each act of a standard user and of an administrator: the word
// for what it is worth, what the Mac asks for, and what is then seen.
func TestSEC22_EachControlAgainstEachAct(t *testing.T) {
	t.Parallel()
	// Words: with the password / without it; a dash: the control leaves it alone.
	const deterred, monitored, admin, none = "deterred/monitored", "monitored/monitored", "monitored/monitored", "/"
	type row struct{ create, register, clone, remove string }
	words := map[string]map[bool]row{
		"provisioned_only":         {false: {deterred, deterred, deterred, none}, true: {admin, admin, admin, none}},
		"one_provisioned_per_user": {false: {monitored, monitored, monitored, none}, true: {admin, admin, admin, none}},
		"no_removal":               {false: {none, none, none, deterred}, true: {none, none, none, admin}},
		"no_major_upgrade":         {false: {none, none, none, none}, true: {none, none, none, none}},
		"no_preferences":           {false: {none, none, none, none}, true: {none, none, none, none}},
		"org_license_only":         {false: {none, none, none, none}, true: {none, none, none, none}},
	}
	against := map[string]map[policy.Act]string{ // what is seen of who passed
		"provisioned_only": {
			policy.ActCreate: "provisioned_only vm_unprovisioned", policy.ActRegister: "provisioned_only vm_unprovisioned", policy.ActClone: "provisioned_only vm_unprovisioned",
		},
		"no_removal": {policy.ActRemove: "no_removal removed_against_policy"},
	}
	switches := map[string]string{"provisioned_only": "add-vm clone-vm create-vm", "no_removal": "remove-vm", "no_preferences": "preferences"}
	all := []string{"create-vm", "add-vm", "clone-vm", "remove-vm", "preferences"}
	for i := range policy.Controls {
		for j := i; j < len(policy.Controls); j++ {
			first, second := &policy.Controls[i], &policy.Controls[j]
			for _, isAdmin := range []bool{false, true} {
				for at, act := range policy.Acts {
					t.Run(fmt.Sprint(first.Name, " and ", second.Name, "/admin ", isAdmin, "/", act), func(t *testing.T) {
						t.Parallel()
						for _, control := range []*policy.Control{first, second} {
							r := words[control.Name][isAdmin]
							want := []string{r.create, r.register, r.clone, r.remove}[at]
							with, without := holds(control, act, isAdmin, all), holds(control, act, isAdmin, nil)
							wantText(t, "word", with+"/"+without, want)
						}
						for _, locks := range []bool{false, true} {
							document := `"` + first.Name + `":true`
							if first != second {
								document += `,"` + second.Name + `":true`
							}
							m := newControlled(t, document)
							m.desired.AllowUnprovenLocks = locks
							m.settle()
							wantPasswords, wantSeen := "", ""
							if locks {
								list := strings.Fields(switches[first.Name] + " " + switches[second.Name])
								slices.Sort(list)
								wantPasswords = strings.Join(slices.Compact(list), " ")
							}
							wantText(t, "the Mac asks a password for", m.passwords(), wantPasswords)
							could := m.does(act, isAdmin)
							if could != (isAdmin || !strings.Contains(wantPasswords, actOf[act])) {
								t.Errorf("with locks %t: could %t", locks, could)
							}
							if could {
								wantSeen = against[first.Name][act]
								if other := against[second.Name][act]; first != second && other != "" {
									wantSeen = other
								}
							}
							wantText(t, "seen", violations(m.settle()), wantSeen)
							wantText(t, "seen again", violations(m.settle()), "")
							wantText(t, "the Mac asks a password for", m.passwords(), wantPasswords)
						}
					})
				}
			}
		}
	}
}

func holds(control *policy.Control, act policy.Act, admin bool, inPlace []string) string {
	standard, forAdmin := control.Holds(act, inPlace)
	if admin {
		return forAdmin
	}
	return standard
}

// SEC-04, H42: what was there before the control, what comes with an account that
// was not seen before, what comes back and what is adopted is no violation.
func TestH42_SEC04_OnlyWhatWasSeenToComeIsAViolation(t *testing.T) {
	t.Parallel()
	m := newControlled(t, `"provisioned_only":true,"on_violation":"suspend","grace_s":60`)
	m.hidden[503] = true
	hidden := m.add(503, policy.OriginUnknown)
	old := m.machines[1].Key
	result := m.plan()
	wantText(t, "one that is older", verdictOn(result, "provisioned_only", old), "not_applicable older_than_control")
	wantText(t, "at the start", violations(result), "")

	m.hidden[503] = false
	result = m.plan()
	wantText(t, "one of an account that was not seen before", verdictOn(result, "provisioned_only", hidden), "not_applicable unknown_source")

	was := *m.find(old)
	m.remove(old)
	m.plan()
	m.machines = append(m.machines, was)
	wantText(t, "one that comes back", violations(m.plan()), "")

	moved := was
	m.remove(old)
	moved.Key.UID = 501
	m.machines = append(m.machines, moved)
	wantText(t, "one that was given to another user", violations(m.plan()), "")

	m.desired.Document = document(t, `"security_controls":{"provisioned_only":true,"on_violation":"suspend"},"adopt":{"vm_ids":["00000004-10fe-40d9-871e-27af1e66161e"]}`)
	adopted := m.add(501, policy.OriginUnknown)
	wantText(t, "one that is adopted", violations(m.plan()), "")

	m.wants(`"provisioned_only":true,"on_violation":"suspend"`)
	result = m.plan()
	wantText(t, "one that is adopted no more", violations(result), "provisioned_only vm_unprovisioned")
	wantText(t, "its verdict", verdictOn(result, "provisioned_only", adopted), "failed vm_unprovisioned")

	// A control that begins anew knows all that is there.
	m.wants(`"provisioned_only":false`)
	m.plan()
	m.wants(`"provisioned_only":true,"on_violation":"suspend"`)
	result = m.plan()
	wantText(t, "after it was off", violations(result), "")
	wantText(t, "its verdict", verdictOn(result, "provisioned_only", adopted), "not_applicable older_than_control")
	if len(result.Controls.Suspends) != 0 {
		t.Errorf("suspends %v", result.Controls.Suspends)
	}
}

// H42: a machine that is against a control is suspended after the grace, and not
// before, not while a system is installed, not in monitor mode, and not if the
// policy only wants it reported.
func TestH42_SEC01_SuspendedAfterTheGrace(t *testing.T) {
	t.Parallel()
	const suspends = `"provisioned_only":true,"on_violation":"suspend","grace_s":300`
	for name, test := range map[string]struct {
		controls string
		change   func(*controlled, *policy.Machine)
		want     string // minutes after the plan that saw it come, in which it is suspended
	}{
		"after the grace":         {suspends, nil, "5 6 7 8 9"},
		"reported is the default": {`"provisioned_only":true`, nil, ""},
		"monitor mode":            {suspends, func(m *controlled, _ *policy.Machine) { m.desired.Enforce = false }, ""},
		"it is shut down":         {suspends, func(_ *controlled, one *policy.Machine) { one.VM.State = prlctl.StateStopped }, ""},
		"it cannot be looked at":  {suspends, func(_ *controlled, one *policy.Machine) { one.Stale = protocol.CodeUserSession }, ""},
		"a system is installed": {suspends, func(_ *controlled, one *policy.Machine) {
			one.VM.GuestTools = prlctl.GuestTools{State: "not_installed"}
		}, ""},
		"nothing may be run":         {suspends, func(m *controlled, _ *policy.Machine) { m.desired.LiftLocks = true }, ""},
		"it was suspended, and runs": {suspends, func(m *controlled, one *policy.Machine) { one.StartedAt = m.now }, "5 6 7 8 9"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newControlled(t, test.controls)
			m.plan()
			key := m.add(501, policy.OriginUnknown)
			if test.change != nil {
				test.change(m, m.find(key))
			}
			var at []string
			for minute := range 10 {
				if len(m.plan().Controls.Suspends) > 0 {
					at = append(at, fmt.Sprint(minute))
				}
			}
			wantText(t, "suspended", strings.Join(at, " "), test.want)
		})
	}
	t.Run("who was only reported has the whole grace", func(t *testing.T) {
		t.Parallel()
		m := newControlled(t, `"provisioned_only":true`)
		m.plan()
		m.add(501, policy.OriginUnknown)
		m.plan()
		m.now = m.now.Add(24 * time.Hour)
		m.wants(suspends)
		result := m.plan()
		if len(result.Controls.Suspends) != 0 || !result.Controls.NextAt.Equal(m.now.Add(5*time.Minute)) {
			t.Errorf("suspends %v, next at %v", result.Controls.Suspends, result.Controls.NextAt)
		}
	})
	t.Run("an installation does not last for ever", func(t *testing.T) {
		t.Parallel()
		m := newControlled(t, suspends)
		m.plan()
		m.find(m.add(501, policy.OriginUnknown)).VM.GuestTools = prlctl.GuestTools{}
		m.plan()
		m.now = m.now.Add(24 * time.Hour)
		if result := m.plan(); len(result.Controls.Suspends) != 1 {
			t.Errorf("suspends %v", result.Controls.Suspends)
		}
	})
	t.Run("what failed is not tried without end", func(t *testing.T) {
		t.Parallel()
		m := newControlled(t, suspends)
		m.plan()
		m.add(501, policy.OriginUnknown)
		tries := 0
		for range 60 {
			for _, v := range m.plan().Controls.Suspends {
				tries++
				m.memory = m.memory.Suspended(v.VM, protocol.CodeVMBusy, m.now)
			}
		}
		if tries < 2 || tries > 12 {
			t.Errorf("%d tries in an hour", tries)
		}
	})
}

// SEC-06, SEC-07, SEC-08: one provisioned machine for each account of the Mac; the
// one that came first may be there.
func TestSEC07_OneProvisionedForEachAccount(t *testing.T) {
	t.Parallel()
	m := newControlled(t, `"one_provisioned_per_user":true`)
	m.plan()
	m.add(502, policy.OriginGolden)
	m.add(501, policy.OriginUnknown)
	wantText(t, "one for bob, and another source for alice", violations(m.plan()), "")
	second := m.add(501, policy.OriginGolden)
	result := m.plan()
	wantText(t, "a second one for alice", violations(result), "one_provisioned_per_user second_provisioned_vm")
	wantText(t, "the second", verdictOn(result, "one_provisioned_per_user", second), "failed second_provisioned_vm")
	wantText(t, "the first", verdictOn(result, "one_provisioned_per_user", m.machines[0].Key), "")
	m.remove(m.machines[0].Key)
	wantText(t, "once the first is gone", verdictOn(m.plan(), "one_provisioned_per_user", second), "")
}

// SEC-09, SEC-10, SEC-11: the removal of a provisioned machine is seen once; that of
// another one, of an account that cannot be listed, and by the agent itself is none.
func TestSEC09_SEC11_ARemovalIsSeen(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		does func(*controlled)
		want string
	}{
		"a provisioned one":                {func(m *controlled) { m.remove(m.machines[0].Key) }, "no_removal removed_against_policy"},
		"SEC-11 one of another source":     {func(m *controlled) { m.remove(m.machines[1].Key) }, ""},
		"an account that cannot be listed": {func(m *controlled) { m.hidden[501] = true }, ""},
		"SEC-10 by the agent, under a lease": {func(m *controlled) {
			m.host.Leased = []string{"remove-vm"}
			m.remove(m.machines[0].Key)
		}, ""},
		"one that goes to another user": {func(m *controlled) { m.machines[0].Key.UID = 502 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newControlled(t, `"no_removal":true`)
			m.plan()
			test.does(m)
			result := m.plan()
			wantText(t, "seen", violations(result), test.want)
			_, code, _ := strings.Cut(test.want, " ")
			wantText(t, "verdict", verdictOn(result, "no_removal", protocol.VMKey{}), map[bool]string{true: "failed " + code, false: "in_place release_unproven"}[test.want != ""])
			wantText(t, "seen again", violations(m.plan()), "")
		})
	}
}

// SEC-12 to SEC-15: the first number of the version counts, and only where nobody
// else manages the updates.
func TestSEC12_SEC13_SEC14_SEC15_MajorUpgrade(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		to    prlctl.Version
		other protocol.Code
		want  string
	}{
		"SEC-13 minor":                   {prlctl.Version{Major: 20, Minor: 4}, "", "in_place"},
		"SEC-12 from 20 to 26":           {prlctl.Version{Major: 26}, "", "failed major_upgrade"},
		"back to an older one":           {prlctl.Version{Major: 19}, "", "in_place"},
		"a version that is not known":    {prlctl.Version{}, "", "in_place"},
		"SEC-14 with a local server":     {prlctl.Version{Major: 26}, protocol.CodeLocalUpdateServer, "not_applicable local_update_server"},
		"SEC-15 where a profile manages": {prlctl.Version{Major: 26}, protocol.CodeManagedByMDM, "not_applicable mdm"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newControlled(t, `"no_major_upgrade":true`)
			m.plan()
			m.version, m.host.Updates.Elsewhere = test.to, test.other
			result := m.plan()
			wantText(t, "verdict", verdictOn(result, "no_major_upgrade", protocol.VMKey{}), test.want)
			if isSeen := violations(result) != ""; isSeen != strings.HasPrefix(test.want, "failed") {
				t.Errorf("seen %q", violations(result))
			}
			wantText(t, "seen again", violations(m.plan()), "")
			m.version = prlctl.Version{Major: 20, Minor: 5}
			if m.host.Updates.Elsewhere == "" {
				wantText(t, "back", verdictOn(m.plan(), "no_major_upgrade", protocol.VMKey{}), "in_place")
			}
		})
	}
}

// SEC-14: an update server that an account has set by hand takes the control out of
// force, and that is said; what was against the control before stays against it. As
// long as nobody knows whether it is still there, as after a restart, it is.
func TestSEC14_AnUpdateServerSetByHand(t *testing.T) {
	t.Parallel()
	m := newControlled(t, `"no_major_upgrade":true`)
	m.plan()
	byHand := policy.UpdateSource{Elsewhere: protocol.CodeLocalUpdateServer, ByHand: 1}
	m.host.Updates, m.version.Major = byHand, 26
	result := m.plan()
	wantText(t, "by hand", verdictOn(result, "no_major_upgrade", protocol.VMKey{}), "not_applicable local_update_server")
	wantText(t, "seen", violations(result), "")
	at := slices.IndexFunc(result.Verdicts, func(v policy.Verdict) bool { return v.Setting == "no_major_upgrade" })
	wantText(t, "beside", result.Verdicts[at].Beside.Observed, "accounts with an update server that neither the policy nor a profile has set: 1")

	m.host.Updates = policy.UpdateSource{Unread: true}
	result = m.plan()
	wantText(t, "not read", verdictOn(result, "no_major_upgrade", protocol.VMKey{})+violations(result), "not_applicable local_update_server")
	m.host.Updates = policy.UpdateSource{}
	result = m.plan()
	wantText(t, "taken back", verdictOn(result, "no_major_upgrade", protocol.VMKey{}), "failed major_upgrade")
	if violations(result) == "" {
		t.Error("it is not seen")
	}
	m.host.Updates = byHand
	m.plan()
	if len(m.memory.Violations) != 1 {
		t.Errorf("%d violations are kept", len(m.memory.Violations))
	}
	m.host.Updates.ByHand = 0 // the policy has a server now
	m.plan()
	if len(m.memory.Violations) != 0 {
		t.Errorf("%d violations are kept", len(m.memory.Violations))
	}
}

// SEC-16, SEC-18, SEC-21, ENC-01, ENC-12, VMF-03: what nothing of ours can hold is
// said to be so, with what is seen beside it.
func TestSEC16_SEC21_ENC01_ENC12_VMF03_WhatCannotBeEnforcedIsSaid(t *testing.T) {
	t.Parallel()
	m := newControlled(t, `"no_preferences":true,"org_license_only":true`)
	result := m.plan()
	for _, name := range []string{"no_preferences", "org_license_only"} {
		wantText(t, name, verdictOn(result, name, protocol.VMKey{}), "unsupported not_enforceable")
		at := slices.IndexFunc(result.Verdicts, func(v policy.Verdict) bool { return v.Setting == name })
		wantText(t, name, result.Verdicts[at].Strength.Standard+" "+result.Verdicts[at].Strength.Admin, "not_enforceable not_enforceable")
	}
	observed := func() string {
		result := m.plan()
		return result.Verdicts[slices.IndexFunc(result.Verdicts, func(v policy.Verdict) bool { return v.Setting == "org_license_only" })].Beside.Observed
	}
	wantText(t, "seen", observed(), "0 of 2 virtual machines are encrypted, 0 expire")
	m.machines[0].VM.Security.Encrypted, m.machines[1].VM.Security.Protected = prlctl.SwitchOn, prlctl.SwitchOn
	wantText(t, "seen", observed(), "1 of 2 virtual machines are encrypted, 1 expire")

	m.desired.VendorGates = true
	wantText(t, "20.3.1", verdictOn(m.plan(), "org_license_only", protocol.VMKey{}), "unsupported not_enforceable")
	m.version = prlctl.Version{Major: 20, Minor: 3}
	wantText(t, "20.3.0", verdictOn(m.plan(), "org_license_only", protocol.VMKey{}), "not_applicable pd_version_too_old")
}

// H67: without AllowUnprovenLocks no switch is placed, nor read, and what there is
// is released to what was found before us, not to off.
func TestH67_TheHostsListIsReleasedToWhatItWas(t *testing.T) {
	t.Parallel()
	m := newControlled(t, `"provisioned_only":true,"no_removal":true`)
	if m.desired.NeedsHost(m.memory) {
		t.Error("the host is asked without need")
	}
	m.settle()
	wantText(t, "without leave", m.passwords(), "")
	wantText(t, "verdict", verdictOn(m.plan(), "no_removal", protocol.VMKey{}), "in_place release_unproven")

	m.desired.AllowUnprovenLocks = true
	m.info.RequirePassword = []string{"clone-vm"} // somebody else's
	m.settle()
	wantText(t, "placed", m.passwords(), "add-vm clone-vm create-vm remove-vm")
	wantText(t, "verdict", verdictOn(m.plan(), "provisioned_only", protocol.VMKey{}), "in_place")

	m.desired.AllowUnprovenLocks = false // what was allowed once stays until it is not wanted
	m.settle()
	wantText(t, "placed", m.passwords(), "add-vm clone-vm create-vm remove-vm")
	for name, end := range map[string]func(*controlled){
		"the control is off":    func(m *controlled) { m.wants(`"provisioned_only":false,"no_removal":false`) },
		"it is not in a policy": func(m *controlled) { m.desired.Document = other(t, `"network":"shared"`) },
		"a signed release":      func(m *controlled) { m.desired.Released = true },
		"a person":              func(m *controlled) { m.desired.LiftLocks, m.desired.Enforce = true, false },
	} {
		one := *m
		one.t, one.info = t, &prlctl.ServerInfo{RequirePassword: slices.Clone(m.info.RequirePassword)}
		end(&one)
		one.settle()
		wantText(t, name+": what is left", one.passwords(), "clone-vm")
		if one.memory.HoldsSwitch() {
			t.Errorf("%s: it is remembered: %+v", name, one.memory.Host)
		}
	}
}

// H46, H47: while the host's switches are being set, what is shown and what is remembered
// of them may be of different moments: no step is planned, nothing is counted, and
// nothing of ours is forgotten.
func TestH46_H47_NothingIsConcludedWhileSwitchesAreSet(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  func(*controlled)
		verdict string // on no_removal
	}{
		"it is being placed":              {func(m *controlled) { m.memory = &policy.ControlsMemory{} }, "pending not_set_yet"},
		"it was placed, and shows later":  {func(*controlled) {}, "pending not_set_yet"},
		"it is being lifted":              {func(m *controlled) { m.wants(`"provisioned_only":true`) }, ""},
		"it is being lifted by a release": {func(m *controlled) { m.desired.LiftLocks, m.desired.Enforce = true, false }, "pending lock_releasing"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newControlled(t, `"no_removal":true`)
			m.desired.AllowUnprovenLocks = true
			m.settle()
			m.info.RequirePassword, m.host.AtWork = nil, true
			c.change(m)
			before := m.memory.Host
			result := m.plan()
			wantText(t, "verdict", verdictOn(result, "no_removal", protocol.VMKey{}), c.verdict)
			if len(result.Controls.HostSteps)+len(result.Controls.HostWouldDo) > 0 || !reflect.DeepEqual(m.memory.Host, before) {
				t.Errorf("steps %v, remembered %+v, before %+v", result.Controls.HostSteps, m.memory.Host, before)
			}
			if isOurs := name != "it is being placed"; m.memory.HoldsSwitch() != isOurs {
				t.Errorf("remembered %+v", m.memory.Host)
			}
		})
	}
}

// H67: what was on before us is not ours: that somebody turns it off is no drift, and
// it is placed as what is off.
func TestH67_WhatWasOnBeforeUsIsNotRemembered(t *testing.T) {
	t.Parallel()
	m := newControlled(t, `"no_removal":true`)
	m.desired.AllowUnprovenLocks, m.info.RequirePassword = true, []string{"remove-vm"}
	m.settle()
	if len(m.memory.Host.Calls) != 0 {
		t.Errorf("remembered %+v", m.memory.Host.Calls)
	}
	m.setHost([]string{"--require-pwd", "remove-vm:off"})
	m.settle()
	if call := m.memory.Host.Call("--require-pwd remove-vm"); call.Drifts != 0 || call.Prior != "off" || !call.Holds {
		t.Errorf("remembered %+v", call)
	}
}

// A Mac on which all is as it is wanted is left alone, and nothing is remembered
// anew.
func TestControlsInPlaceCostNothing(t *testing.T) {
	t.Parallel()
	m := newControlled(t, `"provisioned_only":true,"one_provisioned_per_user":true,"no_removal":true,"no_major_upgrade":true,"no_preferences":true,"org_license_only":true`)
	m.desired.AllowUnprovenLocks = true
	m.settle()
	sets := len(m.sets)
	for range 10 {
		if result := m.plan(); result.Controls.Memory != nil || len(result.Controls.HostSteps) != 0 {
			t.Fatalf("steps %v, remembered %+v", result.Controls.HostSteps, result.Controls.Memory)
		}
	}
	if len(m.sets) != sets || sets != 5 {
		t.Errorf("%d sets, and %d more", sets, len(m.sets)-sets)
	}
}

// What somebody turns off is turned on again and counted; what is turned off again
// and again is contended (H41); what cannot be seen is left alone.
func TestH41_SEC17_ASwitchThatSomebodyTurnsOff(t *testing.T) {
	t.Parallel()
	m := newControlled(t, `"no_removal":true`)
	m.desired.AllowUnprovenLocks = true
	m.settle()
	for range 2 {
		m.setHost([]string{"--require-pwd", "remove-vm:off"})
		m.settle()
		wantText(t, "put back", m.passwords(), "remove-vm")
	}
	m.setHost([]string{"--require-pwd", "remove-vm:off"})
	result := m.plan()
	wantText(t, "the third time", verdictOn(result, "no_removal", protocol.VMKey{}), "contended contended")
	if len(result.Controls.HostSteps) != 0 {
		t.Errorf("steps %v", result.Controls.HostSteps)
	}
	if call := m.memory.Host.Call("--require-pwd remove-vm"); call.Drifts != 3 || call.Prior != "off" {
		t.Errorf("remembered %+v", call)
	}
	m.info, m.host.Code = nil, protocol.CodeServiceDown
	wantText(t, "not read", verdictOn(m.plan(), "no_removal", protocol.VMKey{}), "unknown service_down")

	// H68: what is lifted for our own work is no change by somebody else.
	m.info, m.host.Code, m.host.Leased = &prlctl.ServerInfo{}, "", []string{"remove-vm"}
	result = m.plan()
	wantText(t, "lifted", verdictOn(result, "no_removal", protocol.VMKey{}), "pending control_lifted")
	if call := m.memory.Host.Call("--require-pwd remove-vm"); call.Drifts != 3 || len(result.Controls.HostSteps) != 0 {
		t.Errorf("remembered %+v, steps %v", call, result.Controls.HostSteps)
	}
}
