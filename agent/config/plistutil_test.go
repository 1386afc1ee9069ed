package config

import (
	"testing"
	"time"

	"prlagent/platform/plist/plisttest"
)

// What the state keeps of a profile is a property list to a second parser as well.
func TestH06_KeptProfileReadByPlistutil(t *testing.T) {
	t.Parallel()
	parser, m := plisttest.Find(t), newKeeperMac(t)
	m.managed(managedProfile(t))
	m.after(time.Minute)
	if len(m.keeper.kept.Values) == 0 {
		t.Fatal("nothing is kept")
	}
	if err := parser.Agrees(m.keeper.kept.Values); err != nil {
		t.Error(err)
	}
}
