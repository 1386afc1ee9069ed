package config

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

func explained(t *testing.T, e Explanation, key string) ExplainedKey {
	t.Helper()
	at := slices.IndexFunc(e.Keys, func(k ExplainedKey) bool { return k.Key == key })
	if at < 0 {
		t.Fatalf("%s is not explained", key)
	}
	return e.Keys[at]
}

func TestEveryKeyIsExplained(t *testing.T) {
	t.Parallel()
	m := newMac(t)
	m.managed(dict{"ServerURL": "https://portal.example", "EnrollmentSecret": "canary", "Mode": "Enforced", "PolicyKey": "x",
		"Proxy": "http://user:canary@proxy.example"})
	m.local(dict{"Group": "finance", "LogLevel": "debug"})
	e := Explain(m.paths)
	for _, want := range []struct {
		key, value string
		source     Source
		wrong      string
	}{
		{"ServerURL", "https://portal.example", SourceManaged, ""},
		{"ContentURL", "https://portal.example/v1/content", SourceNone, ""},
		{"EnrollmentSecret", "[secret]", SourceManaged, ""},
		{"Mode", ModeMonitor, SourceManaged, `found another word`},
		{"Group", "", SourceNone, "ignored"},
		{"LogLevel", "debug", SourceLocal, ""},
		{"PolicyKeys", "", SourceNone, ""},
		{"ReportUserNames", "true", SourceNone, ""},
	} {
		got := explained(t, e, want.key)
		wrong := ""
		for _, problem := range got.Wrong {
			wrong += problem.Text
		}
		if got.Value != want.value || got.Source != want.source || got.Default == "" || (want.wrong == "") != (wrong == "") || !strings.Contains(wrong, want.wrong) {
			t.Errorf("%+v", got)
		}
	}
	if len(e.Keys) != len(keyTable)-1 { // Timing counts under --root only
		t.Errorf("%d keys", len(e.Keys))
	}
	if len(e.Other) != 1 || e.Other[0].Key != "PolicyKey" {
		t.Errorf("other problems: %+v", e.Other)
	}
	data, err := json.Marshal(e.Keys)
	if err != nil || strings.Contains(string(data), "canary") {
		t.Errorf("a secret is shown: %s, %v", data, err)
	}
	if secrets := e.Config.Secrets(); !slices.Equal(secrets, []string{"canary", "canary"}) {
		t.Errorf("secrets %q", secrets)
	}
}

func TestFilesAreExplained(t *testing.T) {
	t.Parallel()
	m := newMac(t)
	m.local(dict{"Mode": "enforce"})
	if err := os.WriteFile(m.paths.Managed, []byte("no property list"), 0o644); err != nil {
		t.Fatal(err)
	}
	files := Explain(m.paths).Files
	if files[0].State != FileUnreadable || files[0].Code == "" || files[1].State != FileRead || files[1].Path != m.paths.Local {
		t.Errorf("%+v", files)
	}
	if files := Explain(newMac(t).paths).Files; files[0].State != FileMissing || files[1].State != FileMissing {
		t.Errorf("%+v", files)
	}
}

// What cannot be read keeps names back: what a portal was told is not taken back.
func TestINV_32_AMisspelledSwitchKeepsNamesBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		value any
		back  bool
		wrong int
	}{
		"true": {true, false, 0}, "false": {false, true, 0}, "0": {0, true, 0}, "1": {1, false, 0}, "a word": {"no", true, 1}, "nonsense": {[]any{}, true, 1},
	} {
		m := newMac(t)
		m.managed(dict{"ReportUserNames": c.value})
		got := loadNow(m.paths)
		if got.Privacy.NoUserNames != c.back || len(problemsOf(got, "ReportUserNames")) != c.wrong || got.Privacy.NoComputerName {
			t.Errorf("%s: %+v, problems %v", name, got.Privacy, got.Problems)
		}
	}
}
