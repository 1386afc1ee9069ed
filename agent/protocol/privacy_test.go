package protocol

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// privateReport is one with a canary wherever a name of a person or of the Mac
// can stand.
func privateReport() Report {
	report := sampleReport()
	report.Host.ComputerName, report.Host.ConsoleUser = "canary-mac", "canary-user"
	report.Users = []UserLook{{Name: "canary-user", UID: 501}, {Name: "canary-other", UID: 502, Code: CodeServiceDown}}
	for i := range report.VMs {
		report.VMs[i].Owner = "canary-user"
		report.VMs[i].SeenBy = []Account{{UID: 502, Name: "canary-other"}}
	}
	return report
}

func TestINV_32_OnlyTheNamesAreLeftOut(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		privacy       Privacy
		stays, leaves []string
	}{
		"everything":       {Privacy{}, []string{"canary-mac", "canary-user", "canary-other"}, nil},
		"no user names":    {Privacy{NoUserNames: true}, []string{"canary-mac"}, []string{"canary-user", "canary-other"}},
		"no computer name": {Privacy{NoComputerName: true}, []string{"canary-user", "canary-other"}, []string{"canary-mac"}},
		"neither":          {Privacy{true, true}, nil, []string{"canary-mac", "canary-user", "canary-other"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := privateReport()
			told := *c.privacy.Report(&before)
			if diff := cmp.Diff(privateReport(), before); diff != "" {
				t.Errorf("the given report changed:\n%s", diff)
			}
			data, err := json.Marshal(told)
			if err != nil {
				t.Fatal(err)
			}
			for _, word := range c.stays {
				if !strings.Contains(string(data), word) {
					t.Errorf("%s is not told", word)
				}
			}
			for _, word := range c.leaves {
				if strings.Contains(string(data), word) {
					t.Errorf("%s is told: %s", word, data)
				}
			}
			for i, vm := range told.VMs {
				if vm.VMKey != before.VMs[i].VMKey || vm.SeenBy[0].UID != 502 {
					t.Errorf("its key is %v, shared with %v", vm.VMKey, vm.SeenBy)
				}
			}
			if told.Users[1].UID != 502 || told.Users[1].Code != CodeServiceDown || told.Host.Serial != before.Host.Serial {
				t.Errorf("more than names is gone: %+v %+v", told.Users, told.Host)
			}
		})
	}
}

// A cell without its name says why it is empty, in every table.
func TestINV_32_AnEmptyNameHasItsReason(t *testing.T) {
	t.Parallel()
	whole := privateReport()
	report := Privacy{true, true}.Report(&whole)
	row := Row{VM: report.VMs[0], Host: report.Host, Product: report.Product}
	for _, id := range []string{"user_name", "computer_name"} {
		column, _ := ColumnByID(id)
		if got := column.Gap(&row); got != CodeNameWithheld {
			t.Errorf("%s: %q", id, got)
		}
	}
}

func TestINV_32_EventsWithoutNames(t *testing.T) {
	t.Parallel()
	events := []Event{
		{Type: "vm_state", Data: map[string]string{"uid": "501", "user_name": "ann", "vm_name": "ann's Windows", "vm_id": "ann", "from": "Running"}},
		{Type: "account_renamed", Data: map[string]string{"uid": "501", "user_name": "ann", "from": "anna"}},
		{Type: "x", Data: map[string]string{"user": "ann", "detail": "/Users/ann/Parallels, and annex", "uid": "501"}},
		{Type: "agent_started"},
	}
	want := []Event{
		{Type: "vm_state", Data: map[string]string{"uid": "501", "vm_name": "[name]'s Windows", "vm_id": "ann", "from": "Running"}},
		{Type: "account_renamed", Data: map[string]string{"uid": "501"}},
		{Type: "x", Data: map[string]string{"detail": "/Users/[name]/Parallels, and annex", "uid": "501"}},
		{Type: "agent_started"},
	}
	if diff := cmp.Diff(want, Privacy{NoUserNames: true}.Events(events)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if events[0].Data["user_name"] != "ann" {
		t.Error("the Mac's own events lost their names")
	}
	if diff := cmp.Diff(events, Privacy{NoComputerName: true}.Events(events)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
