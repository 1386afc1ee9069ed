package prlctl

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestINV_07_StatesMapToThePortalsFour(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		PortalRunning:   "running continuing resuming restoring starting resetting snapshoting pausing Running",
		PortalSuspended: "suspended suspending syncing paused",
		PortalStopped:   "stopped stopping compacting mounted",
		PortalUnknown:   "invalid unknown reconnecting migrating del_snapshot cloning brand-new",
	}
	for portal, words := range want {
		for word := range strings.FieldsSeq(words) {
			if got := State(word).Portal(); got != portal {
				t.Errorf("%s: want %s, got %s", word, portal, got)
			}
		}
	}
	if got := State("").Portal(); got != PortalUnknown {
		t.Errorf("no state: want %s, got %s", PortalUnknown, got)
	}
}

func TestINV_10_SerialNumber(t *testing.T) {
	t.Parallel()
	const derived = "Parallels-1A 1B CB 3B 64 66 4B 13 86 B0 86 FF 7E 2B 20 30"
	const id = "1a1bcb3b-6466-4b13-86b0-86ff7e2b2030"
	cases := map[string]struct {
		vm   VM
		want string
	}{
		"windows":            {VM{ID: id, OS: "win-11"}, derived},
		"linux":              {VM{ID: id, OS: "ubuntu"}, derived},
		"overridden":         {VM{ID: id, OS: "win-11", SerialNumber: "ACME-1"}, "ACME-1"},
		"macOS on Intel":     {VM{ID: id, OS: "macosx", Type: "VM"}, ""},
		"macOS on Apple":     {VM{ID: id, OS: "macosx", Type: "APPLE_VZ_VM"}, ""},
		"macOS, overridden":  {VM{ID: id, OS: "macosx", SerialNumber: "C02AAAAAAA"}, "C02AAAAAAA"},
		"not read from tool": {VM{}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := c.vm.Serial(); got != c.want {
				t.Errorf("want %q, got %q", c.want, got)
			}
		})
	}
}

func TestINV_06_IDsAreOneSpelling(t *testing.T) {
	t.Parallel()
	for _, text := range []string{windowsID, strings.ToUpper(windowsID), "{" + windowsID + "}"} {
		if got, err := ParseID(text); err != nil || got != windowsID {
			t.Errorf("ParseID(%q) = %q, %v", text, got, err)
		}
	}
}

func TestBundle(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		vm   VM
		want string
	}{
		"home":                {VM{Home: "/Users/u/Parallels/A.pvm/"}, "/Users/u/Parallels/A.pvm"},
		"home path only":      {VM{HomePath: "/Users/u/Parallels/A.pvm/config.pvs"}, "/Users/u/Parallels/A.pvm"},
		"packed":              {VM{Home: "/u/A.pvmp", HomePath: "/u/A.pvmp"}, "/u/A.pvmp"},
		"relative":            {VM{Home: "Parallels/A.pvm"}, ""},
		"neither (bulk list)": {VM{}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := c.vm.Bundle(); got != c.want {
				t.Errorf("want %q, got %q", c.want, got)
			}
		})
	}
}

func TestVMSurvivesJSON(t *testing.T) {
	t.Parallel()
	for _, vm := range listed(t, sample(t, "list-bulk.json")).VMs {
		encoded, err := json.Marshal(vm)
		if err != nil {
			t.Fatal(err)
		}
		var decoded VM
		if err := json.Unmarshal(encoded, &decoded); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(vm, decoded, sameVM); diff != "" {
			t.Errorf("%s (-before +after):\n%s", vm.Name, diff)
		}
	}
	if encoded, err := json.Marshal(VM{ID: windowsID}); err != nil || string(encoded) != "null" {
		t.Errorf("a VM without raw JSON: got %s, %v", encoded, err)
	}
	var vm VM
	if err := json.Unmarshal([]byte(`{"ID":"`+windowsID+`","ID":"`+windowsID+`"}`), &vm); errorCode(err) != CodeDuplicateKey {
		t.Errorf("duplicate key: got %v", err)
	}
}

func TestSwitchWords(t *testing.T) {
	t.Parallel()
	want := map[Switch]string{
		SwitchOn:      "on|yes|true|1|ON| Yes ",
		SwitchOff:     "off|no|false|0|Off",
		SwitchUnknown: "|maybe|2|onoff",
	}
	for value, words := range want {
		for word := range strings.SplitSeq(words, "|") {
			if got := ParseSwitch(word); got != value {
				t.Errorf("%q: want %s, got %s", word, value, got)
			}
		}
	}
}
