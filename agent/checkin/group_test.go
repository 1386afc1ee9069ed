package checkin

import (
	"testing"

	"prlagent/agent/protocol"
)

// What an unsigned answer names beside a managed group is not remembered: it
// must not become the Mac's group when the key leaves the profile.
func TestH08_NoUnsignedGroupWaitsBehindAManagedOne(t *testing.T) {
	t.Parallel()
	interns := protocol.Group{ID: "interns", Name: "Interns", Source: protocol.GroupFromPrimary}
	t.Run("no group before", func(t *testing.T) {
		t.Parallel()
		b := newContentBench(t)
		b.options.Group = "finance"
		b.configure()
		b.portal.set(func(f *fakePortal) { f.reply.Group = interns })
		b.do("agent_start")
		b.do("daily")
		b.options.Group = ""
		b.crash()
		if got := b.client.State().Group; got != (protocol.Group{}) {
			t.Errorf("group %+v", got)
		}
	})
	t.Run("a group that was believed before", func(t *testing.T) {
		t.Parallel()
		b := settled(t)
		before := b.client.State().Group
		b.options.Group = "finance"
		b.configure()
		b.portal.set(func(f *fakePortal) { f.reply.Group = interns })
		b.do("profile_changed")
		if got := b.client.State().Group; got != (protocol.Group{ID: "finance", Source: protocol.GroupFromProfile}) {
			t.Errorf("managed group %+v", got)
		}
		b.options.Group = ""
		b.crash()
		if got := b.client.State().Group; got != before {
			t.Errorf("group %+v, before it was %+v", got, before)
		}
	})
}

// The portal's name for the managed group is shown; its name for another is not.
func TestGRP_03_AManagedGroupHasThePortalsName(t *testing.T) {
	t.Parallel()
	for named, want := range map[string]string{"finance": "Finance EMEA", "interns": ""} {
		t.Run(named, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.portal.set(func(f *fakePortal) {
				f.reply.Group = protocol.Group{ID: named, Name: "Finance EMEA", Source: protocol.GroupFromPrimary}
			})
			b.do("agent_start")
			b.options.Group = "finance"
			b.configure()
			b.do("profile_changed")
			if got := b.client.State().Group; got != (protocol.Group{ID: "finance", Name: want, Source: protocol.GroupFromProfile}) {
				t.Errorf("group %+v, want the name %q", got, want)
			}
		})
	}
}
