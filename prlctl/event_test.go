package prlctl

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseEvent(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		line string
		want Event
	}{
		"state changed": {
			`{"Timestamp":"2024-01-01 12:00:00","VM ID":"f11d8098-10fe-40d9-871e-27af1e66161e","Event name":"vm_state_changed","Additional info":{"Vm state name":"running"}}`,
			Event{windowsID, "vm_state_changed", "running"},
		},
		"no additional info": {`{"VM ID":"` + windowsID + `","Event name":"vm_added"}`, Event{windowsID, "vm_added", ""}},
		"braces and capitals": {`{"VM ID":"{F11D8098-10FE-40D9-871E-27AF1E66161E}","Event name":"VM_State_Changed","Additional info":{"Vm state name":"Suspended"}}`,
			Event{windowsID, "vm_state_changed", "suspended"}},
		"unknown keys":            {`{"X":[1,{"y":null}],"VM ID":"` + windowsID + `","Event name":"vm_deleted"}`, Event{windowsID, "vm_deleted", ""}},
		"carriage return":         {`{"Event name":"vm_added"}` + "\r", Event{"", "vm_added", ""}},
		"no virtual machine":      {`{"Event name":"vm_added"}`, Event{"", "vm_added", ""}},
		"no UUID":                 {`{"VM ID":"../../etc/passwd","Event name":"vm_added"}`, Event{"", "vm_added", ""}},
		"nothing":                 {`{}`, Event{}},
		"values of another type":  {`{"VM ID":7,"Event name":["vm_added"],"Additional info":"running"}`, Event{}},
		"name of several words":   {`{"Event name":"vm added; rm -rf /"}`, Event{}},
		"state beyond its length": {`{"Event name":"vm_state_changed","Additional info":{"Vm state name":"` + strings.Repeat("x", 65) + `"}}`, Event{"", "vm_state_changed", ""}},
		"escapes":                 {`{"Event name":"\u0076m_added"}`, Event{"", "vm_added", ""}},
		"letters beyond ASCII":    {`{"Event name":"vm_ädded"}`, Event{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parseEvent([]byte(c.line))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestH13_EventsThatCannotBeTrusted(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ line, code string }{
		"longer than 64 KiB":      {`{"x":"` + strings.Repeat("x", maxEventLine) + `"}`, CodeOutputTooLarge},
		"deeper than any answer":  {`{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, CodeOutputTooDeep},
		"a key twice":             {`{"VM ID":"` + windowsID + `","VM ID":"00000000-0000-4000-8000-000000000000","Event name":"vm_added"}`, CodeDuplicateKey},
		"a key twice, deeper":     {`{"Additional info":{"Vm state name":"running","Vm state name":"stopped"}}`, CodeDuplicateKey},
		"a key twice, escaped":    {`{"Event name":"vm_added","Event \u006eame":"vm_deleted"}`, CodeDuplicateKey},
		"a banner":                {`Waiting for events...`, CodeOutputInvalid},
		"half a line":             {`{"VM ID":"f11d`, CodeOutputInvalid},
		"two objects in one line": {`{"Event name":"vm_added"}{"Event name":"vm_added"}`, CodeOutputInvalid},
		"words behind the object": {`{"Event name":"vm_added"} done`, CodeOutputInvalid},
		"a list":                  {`[]`, CodeOutputInvalid},
		"a string":                {`"vm_added"`, CodeOutputInvalid},
		"nothing":                 {``, CodeOutputInvalid},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parseEvent([]byte(c.line))
			if errorCode(err) != c.code || got != (Event{}) {
				t.Errorf("want %s and no event, got %v and %+v", c.code, err, got)
			}
		})
	}
}

// FuzzEvent compares the reader with the standard library's where that reads
// the line at all, and holds what must be true of every event.
func FuzzEvent(f *testing.F) {
	for _, line := range []string{
		`{"Timestamp":"2024-01-01 12:00:00","VM ID":"f11d8098-10fe-40d9-871e-27af1e66161e","Event name":"vm_state_changed","Additional info":{"Vm state name":"running"}}`,
		`{"VM ID":"{F11D8098-10FE-40D9-871E-27AF1E66161E}","Event name":"vm_config_changed"}` + "\r",
		`{"Event name":"vm_added","Event name":"vm_added"}`,
		`Login failed: Unable to connect to Parallels Service.`,
		`{"x":[[[[1e5,-0.5,true,null,"\ud83d\ude00\u00e9"]]]]}`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		event, err := parseEvent(line)
		if err != nil {
			if errorCode(err) == CodeOutputInvalid && isPlainObject(line) {
				t.Fatalf("valid JSON refused: %v", err)
			}
			if event != (Event{}) {
				t.Fatalf("an error and an event: %v, %+v", err, event)
			}
			return
		}
		if id, err := ParseID(event.VMID); event.VMID != "" && (err != nil || id != event.VMID) {
			t.Fatalf("VM ID %q", event.VMID)
		}
		if eventWord(event.Name) != event.Name || eventWord(event.State) != event.State {
			t.Fatalf("no words: %+v", event)
		}
		var plain struct {
			Name string `json:"Event name"`
		}
		if isPlainObject(line) && json.Unmarshal(line, &plain) == nil && strings.ToLower(plain.Name) == plain.Name &&
			eventWord(plain.Name) == plain.Name && plain.Name != "" && event.Name == "" && !foldsKeys(line) {
			t.Fatalf("the name %q was not read", plain.Name)
		}
	})
}

func isPlainObject(line []byte) bool {
	var object map[string]any
	return json.Unmarshal(line, &object) == nil && object != nil
}

// foldsKeys reports whether the standard decoder may have taken a key of other
// letters for ours, which it compares without regard to case.
func foldsKeys(line []byte) bool {
	var object map[string]json.RawMessage
	_ = json.Unmarshal(line, &object)
	_, exact := object["Event name"]
	return !exact || len(object) > 1
}
