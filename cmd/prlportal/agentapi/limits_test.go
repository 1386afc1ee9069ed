package agentapi

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"prlagent/agent/protocol"
)

// Whatever a report says of a Mac and its machines has an end, also in fields
// that are yet to come.
func TestH51_EveryTextOfAReportIsCut(t *testing.T) {
	t.Parallel()
	host, product, agent := protocol.Host{}, protocol.Product{}, protocol.AgentInfo{}
	policy, machine, reason := protocol.PolicyReport{}, protocol.VM{SeenBy: []protocol.Account{{}}}, protocol.Trigger{}
	parts := []any{&host, &product, &agent, &policy, &machine, &reason}
	long := strings.Repeat("é", 10_000)
	for _, part := range parts {
		eachText(reflect.ValueOf(part), func(text reflect.Value) { text.SetString(long) })
	}
	machine.ID, machine.Owner = "id", "alice" // refused where they are too long
	request := protocol.CheckinRequest{
		Protocol: protocol.Version, RequestID: uuid.NewString(), Epoch: "epoch", Sequence: 1,
		Host: &host, Product: &product, Agent: &agent, Policy: &policy, Triggers: []protocol.Trigger{reason},
		Inventory: protocol.Inventory{Hash: "hash", VMs: []protocol.VM{machine}},
	}
	if err := checkCheckin(&request, time.Now()); err != nil {
		t.Fatal(err)
	}
	row := protocol.Row{Host: host, Product: product, VM: request.Inventory.VMs[0]}
	row.Product.Build = "" // stands beside the version in one cell
	for _, column := range protocol.Columns {
		if value := column.Value(&row); column.Limit > 0 && len(value) > column.Limit {
			t.Errorf("%s has %d bytes, its limit is %d", column.ID, len(value), column.Limit)
		}
	}
	for _, part := range append(parts[:4], &request.Triggers[0], &request.Inventory.VMs[0]) {
		eachText(reflect.ValueOf(part), func(text reflect.Value) {
			if text.Len() > protocol.MaxName || !utf8.ValidString(text.String()) {
				t.Errorf("%T keeps a text of %d bytes", part, text.Len())
			}
		})
	}
}

// Accounts, verdicts, events, results and open commands have an end too, each and
// in number.
func TestH56_EveryListOfAReportIsCut(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 10_000)
	data, counts := make(map[string]string), make(map[string]int)
	for i := range 1000 {
		data[fmt.Sprint(i)], counts[fmt.Sprint(i)] = long, i
	}
	data[long], counts[long] = "", 1
	request := protocol.CheckinRequest{
		Protocol: protocol.Version, RequestID: uuid.NewString(), Epoch: "epoch", Sequence: 1,
		Users:        slices.Repeat([]protocol.UserLook{{Name: long, Code: protocol.Code(long)}}, 1000),
		OpenCommands: []protocol.OpenCommand{{CommandID: long, State: long}},
		Results:      []protocol.Result{{CommandID: long, State: long, Code: protocol.Code(long), Message: long, Observed: data}},
		Events:       []protocol.Event{{Type: long, Code: protocol.Code(long), Data: maps.Clone(data)}},
		Policy:       &protocol.PolicyReport{State: long, PolicyID: long, SHA256: long, Counts: counts},
		Verdicts: &protocol.VerdictReport{
			Hash: long, Base: long, SHA256: long, VMs: slices.Repeat([]protocol.VMKey{{ID: long}}, 8000), Cleared: slices.Repeat([]protocol.VMKey{{ID: long}}, 8000),
			Groups: slices.Repeat([]protocol.VerdictGroup{{Path: long, Verdict: long, Strength: long, Code: protocol.Code(long)}}, 8000),
		},
		Health:    &protocol.HealthReport{State: long, Conditions: slices.Repeat([]protocol.ReportedCondition{{Code: protocol.Code(long), Subject: long}}, 1000)},
		Inventory: protocol.Inventory{Hash: "hash"},
	}
	if err := checkCheckin(&request, time.Now()); err != nil {
		t.Fatal(err)
	}
	eachText(reflect.ValueOf(&request), func(text reflect.Value) {
		if text.Len() > protocol.MaxText || !utf8.ValidString(text.String()) {
			t.Errorf("a text of %d bytes is kept: %.20s", text.Len(), text.String())
		}
	})
	if n := len(request.Results[0].Message); n <= protocol.MaxName {
		t.Errorf("a message is cut to %d bytes", n)
	}
	got := []int{len(request.Users), len(request.Verdicts.Groups), len(request.Verdicts.VMs), len(request.Verdicts.Cleared), len(request.Policy.Counts), len(request.Health.Conditions), len(request.Events[0].Data), len(request.Results[0].Observed)}
	if want := []int{protocol.MaxUsers, protocol.MaxVerdictGroups, protocol.MaxVMs, protocol.MaxVMs, protocol.MaxEventData, protocol.MaxConditions, protocol.MaxEventData, protocol.MaxEventData}; !slices.Equal(got, want) {
		t.Errorf("%v are kept, want %v", got, want)
	}
}

// eachText calls visit with every text of a structure and of its lists.
func eachText(value reflect.Value, visit func(reflect.Value)) {
	switch value.Kind() {
	case reflect.String:
		visit(value)
	case reflect.Pointer:
		eachText(value.Elem(), visit)
	case reflect.Slice:
		for i := range value.Len() {
			eachText(value.Index(i), visit)
		}
	case reflect.Map:
		for _, key := range value.MapKeys() {
			visit(key)
			eachText(value.MapIndex(key), visit)
		}
	case reflect.Struct:
		for i := range value.NumField() {
			if value.Type().Field(i).IsExported() {
				eachText(value.Field(i), visit)
			}
		}
	}
}
