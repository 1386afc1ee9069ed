package agent

import (
	"strings"
	"testing"
	"time"

	"prlagent/agent/config"
	"prlagent/agent/protocol"
	"prlagent/store"
)

// SEC-26: whoever stops the agent while the Mac is on is told of at its next start, with
// how long, as an event of security; a restart, a new version and a boot are none.
func TestSEC_26_AnAgentThatWasOff(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stopped bool          // in order
		after   time.Duration // of being awake
		boot    string
		version string // of the daemon before; empty: the same
		code    protocol.Code
		lasted  string
	}{
		"killed":                       {after: 3 * time.Second, boot: "one", code: protocol.CodeAgentWasOff},
		"stopped for long":             {stopped: true, after: 3*time.Hour + time.Millisecond, boot: "one", code: protocol.CodeAgentWasOff, lasted: "3h0m0s"},
		"stopped for long, by a newer": {stopped: true, after: 3 * time.Hour, boot: "one", version: "9.9", code: protocol.CodeAgentWasOff, lasted: "3h0m0s"},
		"restarted":                    {stopped: true, after: 30 * time.Second, boot: "one"},
		"killed by its next version":   {after: 3 * time.Second, boot: "one", version: "0.1"},
		"killed, and the Mac booted":   {after: -time.Hour, boot: "two"},
		"stopped, and the Mac booted":  {stopped: true, after: time.Hour, boot: "two"},
		"the boot is not known":        {after: time.Hour},
		"stopped, boot is not known":   {stopped: true, after: time.Hour},
		"stopped, and time ran back":   {stopped: true, after: -time.Hour, boot: "one"},
	} {
		d := newDaemon(t, settings(t))
		clock := config.AwakeTime{Boot: "one", Awake: 5 * time.Hour}
		d.parts.awake = func() config.AwakeTime { return clock }
		begun := d.startEvents()
		if begun[0].Code != "" {
			t.Errorf("%s: the first start is %+v", name, begun[0])
		}
		d.keepLife(false, begun...)
		if c.stopped {
			d.keepLife(true, d.stopEvent(t.Context(), nil))
		}
		if c.version != "" {
			err := d.store.Update(func(tx *store.Tx) error {
				var record lifeRecord
				_, err := lifeRecords.Get(tx, lifeKey, &record)
				if err != nil {
					return err
				}
				record.Version = c.version
				return lifeRecords.Put(tx, lifeKey, &record)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		clock = config.AwakeTime{Boot: c.boot, Awake: clock.Awake + c.after}
		started := d.startEvents()[0]
		if started.Code != c.code || started.IsSecurity() != (c.code != "") || started.Data["lasted"] != c.lasted || (started.Data["since"] == "") != (c.lasted == "") {
			t.Errorf("%s: %+v", name, started)
		}
		if c.code != "" && !strings.Contains(started.Data["reason"], "the Mac was on") {
			t.Errorf("%s: %+v", name, started)
		}
	}
}
