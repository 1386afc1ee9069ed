package enforce

import (
	"strings"
	"testing"
	"time"
)

// Where what is done cannot be kept, as on a disk that a user has filled, preferences
// are neither written nor read without end.
func TestPreferencesWhileTheStoreCannotBeWritten(t *testing.T) {
	t.Parallel()
	d := newDesk(t, `"update_check":"weekly"`)
	d.loses = func() bool { return true }
	d.settle() // what fails is tried again in an hour
	d.now = d.now.Add(time.Hour)
	d.enforcer.readings[alice.UID] = &reading{at: d.now, domain: map[string]any{}, file: "file 0"}
	d.enforcer.readings[bob.UID] = &reading{at: d.now, domain: map[string]any{}, file: "file 0"}
	d.forget()
	if err := d.state.Close(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		planned, err := d.enforcer.Plan(d.situation())
		if err != nil {
			break
		}
		d.enforcer.Apply(d.ctx, planned)
		for range planned.work {
			<-d.posted
		}
		_, _ = d.enforcer.TakePreferences()
	}
	if exports := d.count("export"); exports > 4 {
		t.Errorf("%d exports", exports)
	}
	if writes := d.count("write"); writes != 0 {
		t.Errorf("%d writes", writes)
	}
}

// What a user has under a managed key is not kept in memory, whatever its size.
func TestPreferencesOfAHostileUserTakeNoMemory(t *testing.T) {
	skipLong(t)
	t.Parallel()
	d := newDesk(t, `"support_url":"https://help.example.com/"`)
	d.monitor = true
	d.change(alice.UID, "SupportRequestUrl", strings.Repeat("x", 3<<20))
	many := make([]any, 1000)
	for i := range many {
		many[i] = strings.Repeat("y", 1000)
	}
	d.change(bob.UID, "SupportRequestUrl", map[string]any{"": many})
	d.settle()
	d.want("501 support_url: pending monitor_mode", "502 support_url: pending monitor_mode")
	for uid, read := range d.enforcer.readings {
		value := read.domain["SupportRequestUrl"]
		text, isText := value.(string)
		below, isDictionary := value.(map[string]any)
		if isText && len(text) > 16<<10 || isDictionary && len(below) != 0 || value == nil {
			t.Errorf("%d: %d bytes, or %d keys, are kept", uid, len(text), len(below))
		}
	}
	d.monitor = false
	d.now = d.now.Add(time.Minute)
	d.settle()
	d.want("501 support_url: in_place", "502 support_url: in_place")
}
