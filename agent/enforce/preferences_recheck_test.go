package enforce

import (
	"strings"
	"testing"

	"prlagent/agent/policy"
	"prlagent/platform"
)

// What was wanted when an account's preferences began to be read is not written once
// something else is wanted.
func TestH46_PreferencesOfAnOlderWish(t *testing.T) {
	t.Parallel()
	for name, later := range map[string]func(*desk){
		"only monitor":   func(d *desk) { d.monitor = true },
		"another policy": func(d *desk) { d.content = contentOf(`"clipboard":"disconnect"`, 8) },
		"released":       func(d *desk) { d.content = policy.Content{Verified: true, HeadVersion: 8, Released: true} },
		"by a person": func(d *desk) {
			if _, err := d.enforcer.ReleaseLocks(d.ctx, d.situation(), "carol", make(chan []*Handed, 1)); err != nil {
				d.t.Fatal(err)
			}
		},
	} {
		for _, moment := range []struct {
			call   string
			writes int
		}{{"export", 0}, {"write", 1}} {
			t.Run(name+" at "+moment.call, func(t *testing.T) {
				t.Parallel()
				d := newDesk(t, noUpdates)
				d.users = []platform.User{alice}
				isNoted := false
				d.after = func(_ uint32, call string) {
					if !isNoted && strings.HasPrefix(call, moment.call) {
						isNoted = true
						later(d)
						if _, err := d.enforcer.Plan(d.situation()); err != nil {
							t.Error(err)
						}
					}
				}
				for range 2 {
					d.pass()
				}
				if writes := d.count("write"); !isNoted || writes != moment.writes {
					t.Errorf("calls %q", d.calls)
				}
			})
		}
	}
}

// A reading that ends behind another wish is not judged by the older one: nothing is
// remembered or told for it.
func TestH46_AReadingForAnOlderWishTellsNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t, noUpdates)
	d.users = []platform.User{alice}
	d.settle()
	d.events = nil
	d.change(501, sourceKey, "Parallels") // by somebody
	isNoted := false
	d.before = func(_ uint32, call string) {
		if !isNoted && call == "export" {
			isNoted = true
			d.content = contentOf(`"clipboard":"disconnect"`, 8)
			if _, err := d.enforcer.Plan(d.situation()); err != nil {
				t.Error(err)
			}
		}
	}
	d.pass()
	if !isNoted || len(d.events) != 0 {
		t.Errorf("events %q", d.eventWords())
	}
}

// H41: what somebody asks to be tried again while an account's preferences are read or
// written is tried again behind that, also where another policy ends that work.
func TestH41_PreferencesAreRetriedBehindTheirTurn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		call string // meanwhile
		ends bool   // what is wanted
	}{
		"read": {"export", false}, "read for an older policy": {"export", true}, "written for an older policy": {"write", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, noUpdates)
			d.users = []platform.User{alice}
			d.loses = func() bool { return true }
			for range 20 { // until it is tried once an hour
				d.pass()
			}
			d.forget()
			isNoted := false
			d.before = func(_ uint32, call string) {
				if isNoted || !strings.HasPrefix(call, test.call) {
					return
				}
				isNoted, d.loses = true, nil
				d.retry = !test.ends
				if test.ends {
					d.content = productOf(noUpdates, 8)
				}
				if _, err := d.enforcer.Plan(d.situation()); err != nil {
					t.Error(err)
				}
				d.retry = false
			}
			d.files[501]++ // somebody has written something
			d.retry = test.ends
			d.pass()
			d.retry = false
			d.settle()
			d.want("501 update_check: in_place", "501 update_policy: in_place")
		})
	}
}
