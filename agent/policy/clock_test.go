package policy_test

import (
	"testing"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// clockWasAhead is a Mac whose clock was a year ahead while something happened,
// and is right again.
func clockWasAhead(m *mac, happens func()) {
	right := m.observed.Now
	m.observed.Now = right.AddDate(1, 0, 0)
	happens()
	m.observed.Now = right
}

// A clock that was ahead makes nothing wait for the year: what failed then, or
// was contended, is tried again, and what waits is dated by the right clock.
func TestH41_ClockThatWasAhead(t *testing.T) {
	t.Parallel()
	wants := other(t, `"clipboard":"disconnect"`)
	failed := policy.Outcome{Code: protocol.CodeAdminPassword}
	t.Run("failed", func(t *testing.T) {
		m := newMac(t, wants, windowsVM)
		clockWasAhead(m, func() {
			for range 3 {
				m.end(m.after(time.Hour).plan(clipboardCall), failed)
			}
		})
		m.plan(clipboardCall)
	})
	t.Run("contended", func(t *testing.T) {
		m := newMac(t, wants, windowsVM)
		m.end(m.plan(clipboardCall), done)
		clockWasAhead(m, func() {
			for range 2 {
				m.shows(windowsVM, clipboardOff).plan()
				m.end(m.shows(windowsVM).after(5*time.Minute).plan(clipboardCall), done)
			}
			m.shows(windowsVM, clipboardOff).plan()
			wantVerdict(t, m.shows(windowsVM).after(5*time.Minute).plan(), "clipboard", "contended contended")
		})
		m.end(m.plan(clipboardCall), done)
		m.shows(windowsVM, clipboardOff).plan()
		m.shows(windowsVM).plan(clipboardCall) // calm
	})
	t.Run("a drift then is none of this hour", func(t *testing.T) {
		m := newMac(t, wants, windowsVM)
		m.end(m.plan(clipboardCall), done)
		drift := func() {
			m.shows(windowsVM, clipboardOff).plan()
			m.end(m.shows(windowsVM).after(time.Minute).plan(clipboardCall), done)
		}
		clockWasAhead(m, drift)
		drift()
		drift() // three that are a year apart
	})
	t.Run("waits", func(t *testing.T) {
		m := newMac(t, document(t, `"vm_settings":{"max_wait_h":24,"other":{"network":"host_only","max_cpus":2}}`), windowsVM)
		m.observed.Machines[0].AtWork = true
		clockWasAhead(m, func() { m.plan() })
		v := m.plan().Verdicts[0]
		if !v.Since.Equal(noon) || !v.Wait.Since.Equal(noon) || !v.Wait.Deadline.Equal(noon.Add(24*time.Hour)) {
			t.Errorf("it waits since %s until %s, and is so since %s", v.Wait.Since, v.Wait.Deadline, v.Since)
		}
		m.after(24 * time.Hour).plan("--device-set net0 --type host-only --connect")
	})
	t.Run("reminded", func(t *testing.T) {
		m := newMac(t, other(t, `"max_cpus":2`), windowsVM)
		key := m.observed.Machines[0].Key
		clockWasAhead(m, func() {
			m.plan()
			m.observed.Memory[key] = m.observed.Memory[key].Told(m.observed.Now)
		})
		if notices := m.plan().Notices; len(notices) != 1 {
			t.Errorf("notices %+v", notices)
		}
	})
}

// Setting the clock forward does not end a wait, where a portal's time was ever
// believed; and such a time alone, which a portal may have wrong, does not either.
func TestPOL_02_AClockSetForwardEndsNoWait(t *testing.T) {
	t.Parallel()
	m := newMac(t, document(t, `"vm_settings":{"max_wait_h":24,"other":{"network":"host_only"}}`), windowsVM)
	m.observed.Machines[0].AtWork = true
	m.observed.Trusted = noon
	waits := func() {
		t.Helper()
		if wait := m.plan().Verdicts[0].Wait; wait == nil || wait.Overdue {
			t.Errorf("it waits %+v", wait)
		}
	}
	waits()
	m.observed.Now = noon.AddDate(0, 0, 30)
	m.observed.Trusted = noon.Add(23 * time.Hour)
	waits()
	m.observed.Now, m.observed.Trusted = noon.Add(23*time.Hour), noon.AddDate(0, 0, 30)
	waits()
	m.observed.Now, m.observed.Trusted = noon.Add(24*time.Hour), noon.Add(24*time.Hour)
	m.plan("--device-set net0 --type host-only --connect")
}
