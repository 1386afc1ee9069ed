package policy_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// fill makes a list as long as a document may be, of what make gives.
func fill(beside int, item func(int) string) string {
	var list strings.Builder
	for i := 0; list.Len() < protocol.MaxPolicy-beside; i++ {
		if i > 0 {
			list.WriteByte(',')
		}
		list.WriteString(item(i))
	}
	return list.String()
}

// A document as large as it may be costs no more for each machine than one with
// all settings: what it names a thousand times over is told some times. The
// numbers are of 200 machines; what is kept is what is written to the store once.
func TestAPolicyOf256KiB(t *testing.T) {
	t.Parallel()
	small := policy.Desired{Document: document(t, `"vm_settings":{"other":{"clipboard":"disconnect"}}`), Enforce: true}
	for name, members := range map[string]string{
		"settings that nobody has": `"vm_settings":{"other":{"clipboard":"disconnect",` + fill(400, func(i int) string { return fmt.Sprintf(`"s%d":1`, i) }) + `}}`,
		"sections of tomorrow":     `"vm_settings":{"other":{"clipboard":"disconnect"}},"product":{` + fill(400, func(i int) string { return fmt.Sprintf(`"p%d":1`, i) }) + `}`,
		"machines to adopt": `"vm_settings":{"other":{"clipboard":"disconnect"}},"adopt":{"vm_ids":[` +
			fill(400, func(i int) string { return fmt.Sprintf(`"f11d8098-10fe-40d9-871f-%012d"`, i) }) + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			wants := document(t, members)
			desired := policy.Desired{Document: wants, Enforce: true}
			observed := fleetOf(t, desired, 200)
			result := policy.Plan(desired, &observed)
			if each := timesSlower(desired, small, observed); each > 25 {
				t.Errorf("a plan takes %.0f times as long as one of a small document", each)
			}
			kept, err := json.Marshal(records(remembered(nil, policy.Plan(desired, &policy.Observed{Now: noon, Machines: observed.Machines}))))
			if err != nil {
				t.Fatal(err)
			}
			if len(result.Verdicts) > 200*70+256 || len(kept) > 4<<20 {
				t.Errorf("%d verdicts, %d bytes kept", len(result.Verdicts), len(kept))
			}
			if len(result.Steps) != 200 {
				t.Errorf("%d steps", len(result.Steps))
			}
		})
	}
	_, problems := policy.Check([]byte(`{"schema":1,"policy_id":"a","revision":1,"name":"A","adopt":{"first_seen_before":"2026-01-01","bundle_names":[` +
		fill(400, func(int) string { return `"*a*a*a*a*.pvm"` }) + `]}}`))
	if len(problems) != 1 || problems[0].Path != "adopt.bundle_names" {
		t.Errorf("a thousand patterns for each machine: %v", problems)
	}
}

// timesSlower is how many times as long as the plan of another document the plan of one
// takes: of the fastest tries, in turn, since this machine does other things.
func timesSlower(one, other policy.Desired, observed policy.Observed) float64 {
	took := func(desired policy.Desired) time.Duration {
		began := time.Now()
		policy.Plan(desired, &observed)
		return time.Since(began)
	}
	ofOne, ofOther := time.Hour, time.Hour
	for range 20 {
		ofOne, ofOther = min(ofOne, took(one)), min(ofOther, took(other))
	}
	return ofOne.Seconds() / ofOther.Seconds()
}

// records are what the store keeps of each machine.
func records(memory policy.Memory) (list []policy.VMMemory) {
	for _, one := range memory {
		list = append(list, one)
	}
	return list
}
