package enforce

import (
	"testing"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// SEC-25: an event about a switch of the host names the controls that it is about:
// those in force, and where none of them is any more, all that there are.
func TestSEC25_HostEventsNameTheControls(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		document string
		target   string
		want     string
	}{
		"in force":     {`{"schema":1,"policy_id":"p","name":"p","revision":1,"security_controls":{"no_removal":true}}`, "remove-vm", "no_removal"},
		"none anymore": {"", "remove-vm", "no_removal"},
		"preferences":  {"", "preferences", "no_preferences"},
		"no such":      {"", "other", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var document *policy.Document
			if test.document != "" {
				parsed, err := policy.Parse([]byte(test.document))
				if err != nil {
					t.Fatal(err)
				}
				document = parsed
			}
			e := &Enforcer{controls: &policy.ControlsMemory{}}
			step := &policy.HostStep{Switch: test.target, Target: test.target, Word: "on", Prior: "off"}
			for _, outcome := range []policy.Outcome{{Proven: true}, {}} {
				var events []protocol.Event
				e.tellOfSwitch(&events, step, outcome, &Planned{Document: document})
				if len(events) != 1 || events[0].Data["control"] != test.want {
					t.Errorf("%+v: %+v, want the control %q", outcome, events, test.want)
				}
			}
		})
	}
}
