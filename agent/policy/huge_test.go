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
			var result policy.Result
			took := time.Hour
			for tries := 0; took > 500*time.Millisecond && tries < 10; tries++ { // the machine may do other things
				began := time.Now()
				result = policy.Plan(desired, observed)
				took = min(took, time.Since(began))
			}
			if took > 500*time.Millisecond {
				t.Errorf("a plan takes %s at least", took)
			}
			kept, err := json.Marshal(records(remembered(nil, policy.Plan(desired, policy.Observed{Now: noon, Machines: observed.Machines}))))
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

// records are what the store keeps of each machine.
func records(memory policy.Memory) (list []policy.VMMemory) {
	for _, one := range memory {
		list = append(list, one)
	}
	return list
}
