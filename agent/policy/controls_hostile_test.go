package policy_test

import (
	"testing"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// H42: a machine of which nothing but its id was ever readable may be of a golden
// image: it is no violation, and one that was told does not end by that.
func TestH42_AnUnreadableMachineIsNoViolation(t *testing.T) {
	t.Parallel()
	m := newControlled(t, `"provisioned_only":true,"one_provisioned_per_user":true`)
	m.plan()
	hidden := m.add(501, policy.OriginUnknown)
	m.find(hidden).Unreadable = protocol.CodeUnreadableVM
	wantText(t, "unreadable", violations(m.plan()), "")
	wantText(t, "unreadable", verdictOn(m.plan(), "provisioned_only", hidden), "unknown "+string(protocol.CodeUnreadableVM))
	m.find(hidden).Unreadable = ""
	wantText(t, "readable", violations(m.plan()), "provisioned_only vm_unprovisioned")
	m.find(hidden).Unreadable = protocol.CodeUnreadableVM
	m.plan()
	m.find(hidden).Unreadable = ""
	wantText(t, "readable again", violations(m.plan()), "")
}

// SEC-12: what is not known of the version for a while, as while it is replaced, has
// no violation told twice.
func TestSEC12_AMajorUpgradeIsToldOnceThoughTheVersionIsUnknownForAWhile(t *testing.T) {
	t.Parallel()
	m := newControlled(t, `"no_major_upgrade":true`)
	m.plan()
	m.version = prlctl.Version{Major: 26}
	wantText(t, "upgraded", violations(m.plan()), "no_major_upgrade major_upgrade")
	m.version = prlctl.Version{}
	wantText(t, "not known", violations(m.plan()), "")
	m.version = prlctl.Version{Major: 26}
	wantText(t, "known again", violations(m.plan()), "")
	m.version = prlctl.Version{Major: 20}
	wantText(t, "back", verdictOn(m.plan(), "no_major_upgrade", protocol.VMKey{}), "in_place")
	m.version = prlctl.Version{Major: 26}
	wantText(t, "upgraded again", violations(m.plan()), "no_major_upgrade major_upgrade")
}

// SEC-07, H42: a machine that an account is given from another one came to it last,
// so that it takes the place of none that was there.
func TestSEC07_H42_AMovedMachineDoesNotPushAnotherOneOut(t *testing.T) {
	t.Parallel()
	m := newControlled(t, `"one_provisioned_per_user":true,"on_violation":"suspend","grace_s":60`)
	m.plan()
	bobs := m.add(502, policy.OriginGolden)
	m.plan()
	m.machines[0].Key.UID = 502 // alice's first one goes to bob
	result := m.plan()
	wantText(t, "what bob had", verdictOn(result, "one_provisioned_per_user", bobs), "")
	wantText(t, "what bob was given", verdictOn(result, "one_provisioned_per_user", m.machines[0].Key), "not_applicable older_than_control")
	wantText(t, "violations", violations(result), "")
}

// H42: the grace goes on where it was for a machine that is taken out of the list and
// put back: its time away does not count, and does not begin it anew.
func TestH42_TheGraceIsNotBegunAnewByRegisteringAgain(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]func(*controlled, protocol.VMKey) (back func()){
		"taken out and put back": func(m *controlled, key protocol.VMKey) func() {
			kept := *m.find(key)
			m.remove(key)
			return func() { m.machines = append(m.machines, kept) }
		},
		"given to another account": func(m *controlled, key protocol.VMKey) func() {
			m.find(key).Key.UID = 502
			return func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newControlled(t, `"provisioned_only":true,"on_violation":"suspend","grace_s":600`)
			m.plan()
			key := m.add(501, policy.OriginUnknown)
			for range 8 { // of the ten minutes
				if result := m.plan(); len(result.Controls.Suspends) != 0 {
					t.Fatal("suspended within the grace")
				}
			}
			back := away(m, key)
			m.plan()
			m.plan()
			back()
			minutes := 0
			for ; minutes < 11 && len(m.plan().Controls.Suspends) == 0; minutes++ {
			}
			if minutes > 3 {
				t.Errorf("suspended %d minutes after it was back, of a grace of which 2 were left", minutes)
			}
		})
	}
}

// H42: a clock that is set back keeps no machine under installation for ever.
func TestH42_AnInstallationEndsThoughTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	m := newControlled(t, `"provisioned_only":true,"on_violation":"suspend","grace_s":60`)
	m.plan()
	m.now = m.now.AddDate(10, 0, 0)
	key := m.add(501, policy.OriginUnknown)
	m.find(key).VM.GuestTools = prlctl.GuestTools{}
	m.plan()
	m.now = m.now.AddDate(-10, 0, 0)
	m.plan()
	m.now = m.now.Add(25 * time.Hour)
	if len(m.plan().Controls.Suspends) != 1 {
		t.Error("it is taken to be under installation after a day")
	}
}

// H42: what was to be suspended is not any more once the policy only reports, also
// where its account's machines are not looked at just then.
func TestH42_NothingIsSuspendedOnceThePolicyOnlyReports(t *testing.T) {
	t.Parallel()
	m := newControlled(t, `"provisioned_only":true,"on_violation":"suspend","grace_s":60`)
	m.plan()
	key := m.add(501, policy.OriginUnknown)
	m.plan()
	if !m.memory.IsToBeSuspended("provisioned_only", key) {
		t.Fatal("it is not to be suspended")
	}
	m.wants(`"provisioned_only":true`)
	m.unsettled = map[uint32]bool{501: true}
	m.plan()
	if m.memory.IsToBeSuspended("provisioned_only", key) {
		t.Error("it is still to be suspended")
	}
}
