package launchd

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden file anew")

var golden = filepath.Join("testdata", Label+".plist")

// fields is what a reader of the definition must find, key by key.
func fields(job Job) map[string]any {
	arguments := make([]any, len(job.ProgramArguments))
	for i, argument := range job.ProgramArguments {
		arguments[i] = argument
	}
	return map[string]any{
		"Label":               job.Label,
		"Program":             job.Program,
		"ProgramArguments":    arguments,
		"RunAtLoad":           job.RunAtLoad,
		"KeepAlive":           job.KeepAlive,
		"ThrottleInterval":    job.ThrottleInterval,
		"ExitTimeOut":         job.ExitTimeOut,
		"Umask":               job.Umask,
		"WorkingDirectory":    job.WorkingDirectory,
		"StandardErrorPath":   job.StandardErrorPath,
		"AbandonProcessGroup": job.AbandonProcessGroup,
	}
}

func rendered(t *testing.T, job *Job) []byte {
	t.Helper()
	data, err := job.Plist()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAgentJobGolden(t *testing.T) {
	got := rendered(t, AgentJob())
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestAgentJobReadByASecondParser(t *testing.T) {
	t.Parallel()
	job := AgentJob()
	got, err := readPlist(string(rendered(t, job)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(any(fields(*job)), got); diff != "" {
		t.Error(diff)
	}
}

func TestAgentJobReadByPython(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3: its plistlib is not asked for a third opinion")
	}
	const program = "import json, plistlib, sys; print(json.dumps(plistlib.loads(sys.stdin.buffer.read(), fmt=plistlib.FMT_XML)))"
	job := AgentJob()
	command := exec.CommandContext(t.Context(), python, "-I", "-c", program)
	command.Stdin = strings.NewReader(string(rendered(t, job)))
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(fields(*job))
	if err != nil {
		t.Fatal(err)
	}
	var gotTree, wantTree any
	if err := json.Unmarshal(output, &gotTree); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(want, &wantTree); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantTree, gotTree); diff != "" {
		t.Error(diff)
	}
}

// The second parser is only worth something if it refuses what is broken.
func TestSecondParserRefusesBrokenDefinitions(t *testing.T) {
	t.Parallel()
	whole := string(rendered(t, AgentJob()))
	for name, cut := range map[string][2]string{
		"key without a value":      {"<key>KeepAlive</key>\n\t\t<true/>", "<key>KeepAlive</key>"},
		"last key without a value": {"<key>WorkingDirectory</key>\n\t\t<string>/Library/Application Support/prlagent</string>", "<key>WorkingDirectory</key>"},
		"value without a key":      {"<key>KeepAlive</key>", ""},
		"key twice":                {"<key>KeepAlive</key>", "<key>Label</key>"},
		"integer that is none":     {"<integer>10</integer>", "<integer>ten</integer>"},
		"text in true":             {"<true/>", "<true>false</true>"},
		"unknown element":          {"<true/>", "<yes/>"},
		"stray text":               {"<dict>", "<dict>text"},
		"unclosed":                 {"</dict>", ""},
		"second value":             {"</dict>", "</dict><dict></dict>"},
		"trailing element":         {"</plist>", "</plist><plist></plist>"},
		"no root":                  {`<plist version="1.0">`, `<list>`},
	} {
		t.Run(name, func(t *testing.T) {
			broken := strings.Replace(whole, cut[0], cut[1], 1)
			if broken == whole {
				t.Fatal("nothing was broken")
			}
			if tree, err := readPlist(broken); err == nil {
				t.Errorf("accepted as %v", tree)
			}
		})
	}
}

func TestAgentJobNames(t *testing.T) {
	t.Parallel()
	job := AgentJob()
	if path.Base(PlistPath) != job.Label+".plist" {
		t.Errorf("%s is not named after the label %s", PlistPath, job.Label)
	}
	if job.ProgramArguments[0] != job.Program {
		t.Errorf("runs %s as %s", job.Program, job.ProgramArguments[0])
	}
	if !strings.HasPrefix(job.Program, job.WorkingDirectory+"/") {
		t.Errorf("working directory %s need not exist when %s does", job.WorkingDirectory, job.Program)
	}
}

func TestPlistRefusesJobsLaunchdWouldMisread(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*Job){
		"no label":                  func(job *Job) { job.Label = "" },
		"no arguments":              func(job *Job) { job.ProgramArguments = nil },
		"relative program":          func(job *Job) { job.Program = "prlagentd" },
		"no working directory":      func(job *Job) { job.WorkingDirectory = "" },
		"relative error file":       func(job *Job) { job.StandardErrorPath = "panic.log" },
		"no throttle":               func(job *Job) { job.ThrottleInterval = 0 },
		"wait forever":              func(job *Job) { job.ExitTimeOut = 0 },
		"decimal umask":             func(job *Job) { job.Umask = "63" },
		"umask that is no number":   func(job *Job) { job.Umask = "0rwx" },
		"no umask":                  func(job *Job) { job.Umask = "" },
		"text that XML cannot hold": func(job *Job) { job.ProgramArguments = []string{"a\x00b"} },
	} {
		t.Run(name, func(t *testing.T) {
			job := AgentJob()
			spoil(job)
			if data, err := job.Plist(); err == nil || data != nil {
				t.Errorf("rendered: %s, %v", data, err)
			}
		})
	}
}
