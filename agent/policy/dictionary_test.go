package policy

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform/plist"
)

type dict = map[string]any

// inPlist are values as they come out of a property list.
func inPlist(t *testing.T, values dict) dict {
	t.Helper()
	data, err := plist.EncodeXML(values)
	if err != nil {
		t.Fatal(err)
	}
	read, err := plist.DecodeDict(data)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func policyDict(other dict) dict {
	return dict{"schema": 1, "policy_id": "finance", "revision": 7, "name": "Finance", "vm_settings": dict{"other": other}}
}

// A policy of a property list is the same as one of JSON, in whichever form an MDM
// product writes numbers and switches.
func TestDictionaryIsTheDocument(t *testing.T) {
	t.Parallel()
	const want = `{"name":"Finance","policy_id":"finance","revision":7,"schema":1,"vm_settings":{"other":{"clipboard":"disconnect","max_cpus":50,"no_smart_cards":true,"no_share_mac_apps":false}}}`
	var tidy any
	if err := json.Unmarshal([]byte(want), &tidy); err != nil {
		t.Fatal(err)
	}
	canonical, _ := json.Marshal(tidy)
	for name, values := range map[string]dict{
		"true and integers":  policyDict(dict{"clipboard": "disconnect", "max_cpus": 50, "no_smart_cards": true, "no_share_mac_apps": false}),
		"integers as switch": policyDict(dict{"clipboard": "disconnect", "max_cpus": 50, "no_smart_cards": 1, "no_share_mac_apps": 0}),
		"reals": {"schema": 1.0, "policy_id": "finance", "revision": 7.0, "name": "Finance",
			"vm_settings": dict{"other": dict{"clipboard": "disconnect", "max_cpus": 50.0, "no_smart_cards": 1.0, "no_share_mac_apps": 0.0}}},
	} {
		dictionary, problems := ReadDictionary(inPlist(t, values))
		if len(problems) > 0 || string(dictionary.Document) != string(canonical) {
			t.Errorf("%s: %s, %v", name, dictionary.Document, problems)
		}
		if dictionary.Pointer.PolicyID != "finance" || dictionary.Pointer.Revision != 7 || dictionary.Pointer.CheckPolicy(dictionary.Document) != nil || !dictionary.Decides() || dictionary.Releases() {
			t.Errorf("%s: %+v", name, dictionary)
		}
	}
}

// What is in no policy is refused with its path, and so is what Parse refuses. A
// refused dictionary decides nothing; an empty one releases.
func TestDictionaryThatIsRefused(t *testing.T) {
	t.Parallel()
	deep := dict{}
	for range 40 {
		deep = dict{"x": deep}
	}
	for name, c := range map[string]struct {
		values dict
		path   string
		code   protocol.Code
	}{
		"data":               {policyDict(dict{"network": []byte("shared")}), "vm_settings.other.network", protocol.CodePolicyWrongType},
		"a date":             {dict{"adopt": dict{"first_seen_before": time.Now()}}, "adopt.first_seen_before", protocol.CodePolicyWrongType},
		"in a list":          {dict{"groups": []any{"a", []byte("b")}}, "groups[1]", protocol.CodePolicyWrongType},
		"a fraction":         {policyDict(dict{"max_cpus": 0.5}), "vm_settings.other.max_cpus", protocol.CodePolicyWrongType},
		"infinity":           {dict{"revision": math.Inf(1)}, "revision", protocol.CodePolicyWrongType},
		"not a number":       {dict{"revision": math.NaN()}, "revision", protocol.CodePolicyWrongType},
		"too deep":           {dict{"x": deep}, "x" + strings.Repeat(".x", protocol.MaxDepth-1), protocol.CodePolicyTooDeep},
		"too large":          {dict{"description": strings.Repeat("x", protocol.MaxPolicy)}, "", protocol.CodePolicyTooLarge},
		"twice":              {dict{"name": "n", "NAME": "n"}, "name", protocol.CodePolicyDuplicateKey},
		"two for a switch":   {policyDict(dict{"no_smart_cards": uint64(2)}), "vm_settings.other.no_smart_cards", protocol.CodePolicyWrongType},
		"one for a text":     {policyDict(dict{"network": uint64(1)}), "vm_settings.other.network", protocol.CodePolicyWrongType},
		"true for a number":  {policyDict(dict{"max_cpus": true}), "vm_settings.other.max_cpus", protocol.CodePolicyWrongType},
		"a text as switch":   {policyDict(dict{"no_smart_cards": "true"}), "vm_settings.other.no_smart_cards", protocol.CodePolicyWrongType},
		"another value":      {policyDict(dict{"network": "none"}), "vm_settings.other.network", protocol.CodePolicyWrongValue},
		"a missing member":   {dict{"schema": uint64(1), "policy_id": "p", "revision": uint64(1)}, "name", protocol.CodePolicyMissing},
		"an unknown feature": {dict{"schema": uint64(1), "policy_id": "p", "revision": uint64(1), "name": "n", "requires": []any{"teleport"}}, "requires[0]", protocol.CodeUnsupportedFeature},
	} {
		dictionary, problems := ReadDictionary(normal(c.values))
		if len(problems) == 0 || problems[0].Path != c.path || problems[0].Code != c.code {
			t.Errorf("%s: %v", name, problems)
		}
		if dictionary.Decides() || dictionary.Releases() || dictionary.Document != nil || !dictionary.Given {
			t.Errorf("%s: %+v", name, dictionary)
		}
		for _, problem := range problems {
			if name == "one for a text" && !strings.Contains(problem.Detail, "a number") {
				t.Errorf("%s: what stands there is called %q", name, problem.Detail)
			}
		}
	}
	if dictionary, problems := ReadDictionary(dict{}); !dictionary.Releases() || len(problems) > 0 {
		t.Errorf("empty: %+v, %v", dictionary, problems)
	}
	if (Dictionary{}).Decides() || (Dictionary{}).Releases() {
		t.Error("nothing decides something")
	}
}

// normal gives integers the type that platform/plist gives them.
func normal(value dict) dict {
	made := make(dict)
	for name, one := range value {
		switch one := one.(type) {
		case int:
			made[name] = uint64(one)
		case dict:
			made[name] = normal(one)
		default:
			made[name] = one
		}
	}
	return made
}

// FuzzDictionary reads policies of any property list: what is taken is a policy
// that Parse takes.
func FuzzDictionary(f *testing.F) {
	for _, values := range []dict{policyDict(dict{"network": "shared", "no_smart_cards": 1}), {"x": []any{dict{}, []byte("y")}}, {"revision": -1.5}} {
		data, err := plist.EncodeXML(values)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		values, err := plist.DecodeDict(data)
		if err != nil {
			return
		}
		dictionary, problems := ReadDictionary(values)
		if dictionary.Refused != (len(problems) > 0) {
			t.Fatalf("%+v, %v", dictionary, problems)
		}
		if dictionary.Document == nil {
			return
		}
		if _, err := Parse(dictionary.Document); err != nil {
			t.Errorf("%s: %v", dictionary.Document, err)
		}
	})
}
