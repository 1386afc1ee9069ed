package localapi

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
)

var update = flag.Bool("update", false, "write the golden files anew")

const contractFolder = "../../testdata/contract"

// The contract's documents, as the daemon writes them and prlagent --json
// prints them (DESIGN 4.1).
func TestContractDocuments(t *testing.T) {
	t.Parallel()
	cases := map[string]any{
		"status.json":          sampleStatus(),
		"status-everyone.json": sampleStatus().ForEveryone(),
		"vms.json":             sampleInventory(),
		"policy.json":          samplePolicy(),
		"hand-result.json":     sampleHand(),
		"commands.json":        sampleCommands(),
		"events.json":          EventList{Schema: Schema, Events: sampleEvents(), Next: 4},
		"checkin-result.json":  sampleCheckin(),
		"placed.json":          samplePlaced(),
		"local-error.json": ErrorBody{
			Code: protocol.CodeNotAllowed, Text: protocol.CodeNotAllowed.Text().Text, Remedy: protocol.CodeNotAllowed.Text().Remedy,
		},
	}
	for name, document := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := json.MarshalIndent(document, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, filepath.Join(contractFolder, name), append(got, '\n'))
		})
	}
}

func checkGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// What the client reads shows the same cells, and the same reasons for the
// empty ones, as what the daemon had.
func TestInventoryTravelsWhole(t *testing.T) {
	t.Parallel()
	sent := sampleInventory()
	data, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	var got Inventory
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != len(sent.Rows) {
		t.Fatalf("%d rows, want %d", len(got.Rows), len(sent.Rows))
	}
	for i, row := range got.Rows {
		for _, column := range protocol.Columns {
			if value, want := column.Value(&row), column.Value(&sent.Rows[i]); value != want {
				t.Errorf("row %d, %s: %q, want %q", i, column.ID, value, want)
			}
			if gap, want := column.Gap(&row), column.Gap(&sent.Rows[i]); gap != want {
				t.Errorf("row %d, %s: reason %q, want %q", i, column.ID, gap, want)
			}
		}
		if diff := cmp.Diff(sent.Rows[i].Extra, row.Extra); diff != "" {
			t.Errorf("row %d, extra (-want +got):\n%s", i, diff)
		}
	}
}

func TestStatusTravelsWhole(t *testing.T) {
	t.Parallel()
	data, err := json.Marshal(sampleStatus())
	if err != nil {
		t.Fatal(err)
	}
	var got Status
	if err := protocol.Decode(data, maxAnswer, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*sampleStatus(), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFieldsAreFoundByTheirID(t *testing.T) {
	t.Parallel()
	for _, field := range Fields {
		if found, ok := FieldByID(field.ID); !ok || found.ID != field.ID || found.Title != field.Title {
			t.Errorf("%s: found %v, %q", field.ID, ok, found.ID)
		}
	}
	for _, id := range []string{"", "Health", "health ", "nothing"} {
		if found, ok := FieldByID(id); ok {
			t.Errorf("%q is %q", id, found.ID)
		}
	}
}

func TestFieldsHaveValues(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"health": "degraded", "conditions": "portal_unreachable locally_managed", "agent_version": "1.0.0",
		"mode": "monitor", "configuration": "local", "enrollment": "enrolled", "group": "grp-design",
		"last_checkin": "2026-11-23 08:40:00", "policy_state": "fetched", "violations": "0", "vm_count": "3", "vm_running": "1",
		"vm_stale": "1", "pd_version": "26.4.0", "pd_state": "Activated (License Key)", "pd_edition": "Enterprise Edition",
	}
	got := make(map[string]string)
	for _, field := range Fields {
		got[field.ID] = field.Value(*sampleStatus())
		if public := field.Value(*sampleStatus().ForEveryone()); public != got[field.ID] {
			t.Errorf("%s: %q for everyone, %q for admins; a field must be public", field.ID, public, got[field.ID])
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
