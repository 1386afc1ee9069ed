package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/platform/text"
)

// One page lists every field of every document; a field that comes or goes shows
// here.
func TestHelpJSON(t *testing.T) {
	t.Parallel()
	got := run(t, mac(t), "help", "json")
	checkGolden(t, "help-json.txt", got.stdout)
	if got.code != exitHealthy {
		t.Errorf("exit code %d", got.code)
	}
	for _, document := range jsonDocuments {
		if _, has := reflect.TypeOf(document.example).FieldByName("Schema"); !has {
			t.Errorf("%s has no schema", document.commands)
		}
	}
}

// Each command that prints JSON prints a document of the page, and nothing that
// the page lacks.
func TestDocumentsAreThoseOfThePage(t *testing.T) {
	t.Parallel()
	daemon, root := sampleDaemon(t), rotated(t)
	daemon.serve(t, root, admin)
	for arguments, commands := range map[string]string{
		"status --json": "status --json, status.json", "vms --json": "vms --json", "events --json": "events --json", "checkin --json": "checkin --json",
		"commands --json": "commands --json", "commands 0194f3b6-0000-7000-8000-000000000001 --json": "commands ID --json",
		"get health --json": "get FIELD --json", "get --json": "get --json", "doctor --json": "doctor --json", "config --json": "config --json",
		"version --json": "version --json", "support-bundle --list --json": "support-bundle --json", "status --what-is-sent --json": "any command that fails",
	} {
		var document map[string]any
		got := run(t, root, strings.Fields(arguments)...)
		if err := json.Unmarshal([]byte(got.stdout), &document); err != nil {
			t.Errorf("%s: %v: %.200s", arguments, err, got.stdout)
			continue
		}
		known := make(map[string]bool)
		for _, row := range jsonDocuments {
			if row.commands == commands {
				for _, line := range fieldLines(reflect.TypeOf(row.example), "", nil) {
					known[line.path] = true
				}
			}
		}
		for _, column := range protocol.Columns {
			known["rows[]."+column.ID] = true
		}
		for path := range pathsIn(document, "") {
			if !known[path] && !known[path+".*"] && !underMap(known, path) {
				t.Errorf("%s has %s, which the page lacks", arguments, path)
			}
		}
		if document["schema"] != float64(localapi.Schema) {
			t.Errorf("%s: schema %v", arguments, document["schema"])
		}
	}
}

// underMap reports whether a path is an entry of an object whose names are free.
func underMap(known map[string]bool, path string) bool {
	for _, free := range []string{"tool_runs", "gaps", "counts", "data", "observed"} {
		if strings.Contains(path, "."+free+".") || strings.HasPrefix(path, free+".") {
			return true
		}
	}
	return false
}

func pathsIn(value any, path string) map[string]bool {
	paths := make(map[string]bool)
	switch value := value.(type) {
	case map[string]any:
		for name, inner := range value {
			below := joinPath(path, name)
			paths[below] = true
			for deeper := range pathsIn(inner, below) {
				paths[deeper] = true
			}
		}
	case []any:
		for _, inner := range value {
			for deeper := range pathsIn(inner, path+"[]") {
				paths[deeper] = true
			}
		}
	}
	return paths
}

// INV-32: what the portal was told is shown field by field, and what is withheld.
func TestINV_32_WhatIsSent(t *testing.T) {
	t.Parallel()
	report := contract[protocol.CheckinRequest](t, "checkin-full.json")
	sent := localapi.SentReport{Schema: localapi.Schema, At: time.Date(2026, 11, 23, 9, 40, 0, 0, time.UTC),
		Privacy: protocol.Privacy{NoComputerName: true}, Report: report}
	p, _, _ := testProgram(nil)
	page, err := sentPage(p.newView(), cleanDocument(sent))
	if err != nil {
		t.Fatal(err)
	}
	checkGolden(t, "what-is-sent.txt", page)
	data, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	fields := 0
	if err := flattenJSON(data, "", func(path, value string) {
		fields++
		if !strings.Contains(page, path) || !strings.Contains(page, text.Display(value)) {
			t.Errorf("%s = %s is not shown", path, value)
		}
	}); err != nil || fields < 50 {
		t.Errorf("%d fields, %v", fields, err)
	}
}

func TestConfigForPeople(t *testing.T) {
	t.Parallel()
	root := mac(t)
	putPlist(t, root, localapi.ManagedConfig, map[string]any{
		"ServerURL": "https://portal.example", "EnrollmentSecret": canaryEnrollment, "Mode": "Enforced", "PolicyKey": "x", "Colour": "red", "ReportUserNames": false,
	})
	got := run(t, root, "config")
	page := strings.ReplaceAll(got.stdout, root, "ROOT")
	checkGolden(t, "config.txt", page)
	if got.code != exitDegraded || strings.Contains(page, "canary") {
		t.Errorf("exit code %d", got.code)
	}
	if got := run(t, mac(t), "config"); got.code != exitHealthy {
		t.Errorf("nothing configured: %+v", got)
	}
}

// A window leaves columns out in the stated order; a pipe leaves out nothing.
// Whoever may not read a file is told so, and not that something is wrong with it.
func TestConfigOfAFileForRootOnly(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root reads every file")
	}
	root := mac(t)
	path := filepath.Join(root, localapi.ManagedConfig)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0); err != nil {
		t.Fatal(err)
	}
	got := run(t, root, "config")
	if got.code != exitRefused || !strings.Contains(got.stderr, path+" is for root only") || strings.Contains(got.stdout, "Install the profile") {
		t.Errorf("%+v", got)
	}
	if got := run(t, root, "config", "--json"); got.code != exitRefused || strings.Count(got.stdout, `"schema"`) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestTablesFitTheWindow(t *testing.T) {
	t.Parallel()
	daemon := sampleDaemon(t)
	columns, err := columnsByID(usefulColumns)
	if err != nil {
		t.Fatal(err)
	}
	for window, left := range map[int]string{
		0: "", 200: "", 95: "No room for: VM status.", 80: "No room for: VM status, VM OS.", 60: "No room for: VM status, VM OS, Last used date.",
	} {
		v := outputView{zone: time.UTC, window: window}
		table, _, _ := strings.Cut(vmsPage(v, cleanDocument(daemon.inventory), columns), "\n\n")
		if left == "" == strings.Contains(table, "No room for") || !strings.Contains(table, left) {
			t.Errorf("%d columns:\n%s", window, table)
		}
		for line := range strings.Lines(table) {
			if width := text.Width(strings.TrimSuffix(line, "\n")); window > 0 && width > window {
				t.Errorf("%d columns in a window of %d: %s", width, window, line)
			}
		}
	}
	daemon.inventory.LeftOut = 12
	if page := vmsPage(outputView{zone: time.UTC}, daemon.inventory, columns); !strings.Contains(page, "12 more are not shown: the agent keeps at most 200.") {
		t.Errorf("more than the agent keeps:\n%s", page)
	}
}

func TestHelpForNonsenseAndVersion(t *testing.T) {
	t.Parallel()
	for arguments, want := range map[string]string{"help NONSENSE": `there is no help for "NONSENSE"`, "help vms extra": `there is no help for "extra"`} {
		if got := run(t, mac(t), strings.Fields(arguments)...); got.code != exitUsage || !strings.Contains(got.stderr, want) || got.stdout != "" {
			t.Errorf("%s: %+v", arguments, got)
		}
	}
	version, flag := run(t, mac(t), "version"), run(t, mac(t), "--version")
	if version.stdout != flag.stdout || !strings.HasPrefix(flag.stdout, "prlagent ") {
		t.Errorf("%q and %q", version.stdout, flag.stdout)
	}
	if got := run(t, mac(t), "help", "doctor"); got.code != exitHealthy || !strings.Contains(got.stdout, "Exit codes:") {
		t.Errorf("%+v", got)
	}
}
