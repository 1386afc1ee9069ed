package policy_test

import (
	"testing"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// What was seen before is no proof that our lock is gone.
func TestH47_AStaleLookDoesNotForgetALock(t *testing.T) {
	t.Parallel()
	locked := change{"Security/Configuration is locked", "on"}
	m := newMac(t, other(t, `"no_config_changes":true`), windowsVM)
	m.desired.AllowUnprovenLocks = true
	m.end(m.plan("--lock-edit-settings=on", "--lock-edit-settings=off", "--lock-edit-settings=on"), done)
	m.desired.Document = other(t, `"no_config_changes":false`)
	m.shows(windowsVM).observed.Machines[0].Stale = protocol.CodeUserSession
	m.plan()
	m.shows(windowsVM, locked).observed.Machines[0].Stale = ""
	m.desired = policy.Desired{Document: m.desired.Document, Released: true, Enforce: true}
	m.shows(windowsVM).observed.Machines[0].Stale = protocol.CodeUserSession
	m.plan()
	m.shows(windowsVM, locked).observed.Machines[0].Stale = ""
	m.plan("--lock-edit-settings=off")
}
