package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a file says under names that are not read.
func TestNamesThatAreNotRead(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		values dict
		want   []string // "key code: text"
	}{
		{"all right", dict{"ServerURL": managedServer, "PayloadUUID": "x", "_manualProfile": true}, nil},
		{"a key of a later version", dict{"ServerURL": managedServer, "Notifications": dict{"Quiet": true}}, nil},
		{"another case", dict{"ServerUrl": managedServer},
			[]string{"ServerUrl config_unknown_key: in the profile: not read, the key is called ServerURL"}},
		{"beside the right one", dict{"ServerURL": managedServer, "serverURL": managedServer},
			[]string{"serverURL config_unknown_key: in the profile: not read, the key is called ServerURL"}},
		{"singular, an underscore, a letter too much and one that is missing",
			dict{"PolicyKey": []any{}, "log_level": "debug", "Modee": "enforce", "EnrolmentSecret": "canary"},
			[]string{
				"EnrolmentSecret config_unknown_key: in the profile: not read, the key is called EnrollmentSecret",
				"Modee config_unknown_key: in the profile: not read, the key is called Mode",
				"PolicyKey config_unknown_key: in the profile: not read, the key is called PolicyKeys",
				"log_level config_unknown_key: in the profile: not read, the key is called LogLevel",
			}},
		{"one level too deep", dict{"Settings": dict{"ServerURL": managedServer, "Mode": "enforce"}},
			[]string{"Settings config_nested_key: in the profile: Mode, ServerURL must stand at the top level"}},
		{"deep and misspelled", dict{"org.prlagent.agent": dict{"serverurl": managedServer}},
			[]string{"org.prlagent.agent config_nested_key: in the profile: ServerURL must stand at the top level"}},
		{"the profile itself in the place of its settings",
			dict{"PayloadType": "Configuration", "PayloadContent": []any{dict{"PayloadContent": dict{
				"org.prlagent.agent": dict{"Forced": []any{dict{"mcx_preference_settings": dict{"ServerURL": managedServer}}}}}}}},
			[]string{"PayloadContent[1].PayloadContent.org.prlagent.agent.Forced[1].mcx_preference_settings config_nested_key: " +
				"in the profile: ServerURL must stand at the top level"}},
		{"a dictionary of somebody else", dict{"Mode": "enforce", "Later": dict{"Mode": "x"}}, nil},
		{"nothing", dict{}, []string{"profile config_no_keys: found nothing in it"}},
		{"nothing of ours", dict{"PayloadUUID": "x"}, []string{"profile config_no_keys: found nothing in it"}},
		{"something else", dict{"Server": managedServer, "Color": "red", "ProxyAddress": "x"},
			[]string{"profile config_no_keys: found only Color, ProxyAddress (Proxy?), Server (ServerURL?)"}},
		{"an entry of our own dictionary", dict{"DestructiveLimit": dict{"count": 1, "windowhours": 2, "Later": 3}},
			[]string{"DestructiveLimit config_invalid: count: not read, it is called Count",
				"DestructiveLimit config_invalid: windowhours: not read, it is called WindowHours"}},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := newMac(t)
			m.managed(test.values)
			c := loadNow(m.paths)
			var got []string
			for _, problem := range c.Problems {
				got = append(got, fmt.Sprintf("%s %s: %s", problem.Key, problem.Code, problem.Text))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(fmt.Sprint(got), "canary") || strings.Contains(fmt.Sprint(got), managedServer) {
				t.Errorf("a value is shown: %v", got)
			}
		})
	}
}

func TestNamesOfConfigPlist(t *testing.T) {
	t.Parallel()
	m := newMac(t)
	m.local(dict{"serverURL": localServer})
	c := loadNow(m.paths)
	if got := problemsOf(c, "serverURL"); len(got) != 1 || !strings.Contains(got[0], "in the config.plist: ") {
		t.Errorf("problems %v", c.Problems)
	}
}

// However many names a file has, few of them are said, and shortly.
func TestManyOddNames(t *testing.T) {
	t.Parallel()
	values, nested := dict{}, []any{}
	for i := range 1000 {
		values[fmt.Sprintf("%04d%s", i, strings.Repeat("x", 200))] = i
		nested = append(nested, dict{"ServerURL": "x"})
	}
	text := nameProblems(values, "profile")[0].Text
	if !strings.HasSuffix(text, "990 more") || len(text) > 1000 {
		t.Errorf("%d bytes: %s", len(text), text)
	}
	values["Nested"] = nested
	for i := range 100 {
		values["ServerURL"+strings.Repeat(" ", i+1)] = i
	}
	if got := len(nameProblems(values, "profile")); got != 2*maxNamesShown {
		t.Errorf("%d problems", got)
	}
}

func TestEditDistance(t *testing.T) {
	t.Parallel()
	for words, want := range map[[2]string]int{
		{"", ""}: 0, {"mode", "mode"}: 0, {"", "mode"}: 4, {"mode", ""}: 4, {"mode", "node"}: 1, {"mode", "modes"}: 1,
		{"modes", "mode"}: 1, {"mode", "ode"}: 1, {"kitten", "sitting"}: 3, {"abc", "cab"}: 2,
	} {
		if got := editDistance(words[0], words[1]); got != want {
			t.Errorf("%v: %d, want %d", words, got, want)
		}
	}
}
