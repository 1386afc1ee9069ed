package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseHead(t *testing.T) {
	t.Parallel()
	change := func(how func(map[string]any)) string {
		data, err := json.Marshal(sampleHead())
		if err != nil {
			t.Fatal(err)
		}
		fields := make(map[string]any)
		if err := json.Unmarshal(data, &fields); err != nil {
			t.Fatal(err)
		}
		how(fields)
		if data, err = json.Marshal(fields); err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	policy := func(key string, value any) string {
		return change(func(f map[string]any) { f["policy"].(map[string]any)[key] = value })
	}
	candidate := func(key string, value any) string {
		return change(func(f map[string]any) {
			named := maps.Clone(f["policy"].(map[string]any))
			named["percent"], named[key] = 5, value
			f["candidate"] = named
		})
	}
	cases := map[string]struct {
		payload string
		valid   bool
	}{
		"whole":                        {change(func(map[string]any) {}), true},
		"release":                      {change(func(f map[string]any) { f["policy"] = nil }), true},
		"unknown fields":               {change(func(f map[string]any) { f["of_the_future"] = 1 }), true},
		"the policy is left out":       {change(func(f map[string]any) { delete(f, "policy") }), false},
		"the policy is misspelled":     {change(func(f map[string]any) { f["policies"] = f["policy"]; delete(f, "policy") }), false},
		"no site":                      {change(func(f map[string]any) { delete(f, "site_id") }), false},
		"no group":                     {change(func(f map[string]any) { f["group_id"] = "" }), false},
		"no version":                   {change(func(f map[string]any) { delete(f, "head_version") }), false},
		"version zero":                 {change(func(f map[string]any) { f["head_version"] = 0 }), false},
		"no expiry":                    {change(func(f map[string]any) { delete(f, "expires_at") }), false},
		"an expiry in words":           {change(func(f map[string]any) { f["expires_at"] = "never" }), false},
		"a policy without a name":      {policy("policy_id", ""), false},
		"a hash that is too short":     {policy("sha256", "9c41"), false},
		"a policy of nothing":          {policy("size", 0), false},
		"a policy below nothing":       {policy("size", -1), false},
		"a policy as large as allowed": {policy("size", MaxPolicy), true},
		"a policy beyond the cap":      {policy("size", MaxPolicy+1), false},
		"an empty policy":              {change(func(f map[string]any) { f["policy"] = map[string]any{} }), false},
		"monitor mode":                 {change(func(f map[string]any) { f["mode"] = "monitor" }), true},
		"an unknown mode":              {change(func(f map[string]any) { f["mode"] = "Enforce" }), false},
		"a candidate":                  {candidate("percent", 5), true},
		"a candidate of nobody":        {candidate("percent", 0), false},
		"a candidate of too many":      {candidate("percent", 101), false},
		"a candidate without a hash":   {candidate("sha256", ""), false},
		"a candidate without a size":   {candidate("size", 0), false},
		"a candidate that is null":     {change(func(f map[string]any) { f["candidate"] = nil }), true},
		"too large":                    {change(func(f map[string]any) { f["x"] = strings.Repeat("a", MaxHead) }), false},
		"null":                         {"null", false},
		"a list":                       {"[]", false},
		"nothing":                      {"", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			head, err := ParseHead([]byte(c.payload))
			if c.valid && err != nil || !c.valid && !errors.Is(err, ErrHeadInvalid) {
				t.Errorf("got %v", err)
			}
			if !c.valid && !cmp.Equal(head, Head{}) {
				t.Errorf("a refused head says %+v", head)
			}
		})
	}
}

func TestCheckPolicy(t *testing.T) {
	t.Parallel()
	document := []byte(`{"schema":1}`)
	pointer := PointTo("finance", 7, document)
	if err := pointer.CheckPolicy(document); err != nil {
		t.Error(err)
	}
	shorter := pointer
	shorter.Size--
	upper := pointer
	upper.SHA256 = strings.ToUpper(upper.SHA256)
	for name, c := range map[string]struct {
		pointer PolicyPointer
		data    string
	}{
		"another byte": {pointer, `{"schema":2}`}, "a byte more": {pointer, `{"schema":1} `}, "nothing": {pointer, ""},
		"another size": {shorter, string(document)}, "another spelling of the hash": {upper, string(document)},
	} {
		if err := c.pointer.CheckPolicy([]byte(c.data)); !errors.Is(err, ErrPolicyHash) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A share of the devices takes a candidate: about as many as it says, more of
// them at a higher share and none fewer, and others of another document.
func TestTakesCandidate(t *testing.T) {
	t.Parallel()
	const devices = 20_000
	counts, both := make(map[int]int), 0
	for i := range devices {
		device := fmt.Sprintf("0198f6b2-0000-7000-8000-%012d", i)
		taken := false
		for _, percent := range []int{0, 1, 5, 50, 100} {
			takes := TakesCandidate(device, "9c41", percent)
			if taken && !takes {
				t.Fatalf("%s does not take at %d percent what it takes at fewer", device, percent)
			}
			if taken = takes; takes {
				counts[percent]++
			}
		}
		if TakesCandidate(device, "9c41", 5) && TakesCandidate(device, "51aa", 5) {
			both++
		}
	}
	for percent, count := range map[int]int{0: 0, 1: devices / 100, 5: devices / 20, 50: devices / 2, 100: devices} {
		if off := counts[percent] - count; off < -devices/100*percent/5-20 || off > devices/100*percent/5+20 {
			t.Errorf("%d of %d devices take it at %d percent", counts[percent], devices, percent)
		}
	}
	if both > devices/200 {
		t.Errorf("%d devices are among the first for both of two documents", both)
	}
}
