package replay

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write the golden files anew")

// questions are those of entries that a fact looks for by its question.
var questions = map[string]string{"ls": "macos.md 15.11", "sh": "captures.md 4.3"}

// captureOf makes a capture of a file of command lines and what they print, with
// texts replaced.
func captureOf(t *testing.T, file string, replaced ...string) capture {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(replaced); i += 2 {
		if !bytes.Contains(data, []byte(replaced[i])) {
			t.Fatalf("%s has no %q", file, replaced[i])
		}
	}
	data = []byte(strings.NewReplacer(replaced...).Replace(string(data)))
	read := capture{manifest: manifest{Format: formatVersion, Written: "2026-11-28T10:20:00Z", System: "Darwin"}, files: map[string][]byte{"none": nil}}
	for i, file := range txtar.Parse(data).Files {
		line, exit, failed := strings.Cut(file.Name, " ! ")
		code, _ := strconv.Atoi(exit)
		name := fmt.Sprintf("%03d.out", i)
		made := entry{Command: strings.Fields(line), Stdout: name, Stderr: "none", Exit: &code, Ended: endedExit, Seconds: 0.5}
		if made.Question = questions[made.Command[0]]; failed {
			made.Stdout, made.Stderr = "none", name
		}
		read.files[name] = file.Data
		read.Entries = append(read.Entries, made)
	}
	return read
}

// archiveOf writes a capture as the script does.
func archiveOf(t *testing.T, read capture) string {
	t.Helper()
	encoded, err := json.Marshal(read.manifest)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "first-mac.tar.gz")
	data := withManifest(t, string(encoded), func(archive *tar.Writer) {
		for name, content := range read.files {
			putFile(t, archive, archiveFolder+name, string(content))
		}
	})
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// likeCaptured is a simulator whose Mac answers as a capture.
type likeCaptured struct {
	recorded
	asked likeness
}

func (l *likeCaptured) create(_ context.Context, like likeness) (simulatedMac, error) {
	l.asked = like
	return l, nil
}

func (l *likeCaptured) readFile(macPath string) ([]byte, error) {
	entry, found := l.find("read", macPath)
	if !found {
		return nil, fs.ErrNotExist
	}
	return l.stdout(entry), nil
}

func (l *likeCaptured) remove() error { return nil }

func replayed(t *testing.T, read capture, simulator simulator) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), &out, archiveOf(t, read), simulator, false)
	return out.String(), err
}

// A Mac that is as the facts say, and a simulator that is like it: exit code 0.
func TestNothingDiffers(t *testing.T) {
	t.Parallel()
	read := captureOf(t, "mac-27.txtar")
	simulator := &likeCaptured{recorded: recorded{read}}
	said, err := replayed(t, read, simulator)
	if err != nil {
		t.Errorf("%v", err)
	}
	checkGolden(t, "mac-27.golden", said)
	want := likeness{version: "27.0.2-58700", edition: "pro", licensed: true, machines: []guest{
		{name: "VM-1", system: "win-11", state: "running"}, {name: "VM-2", system: "macosx", state: "stopped"},
	}}
	if diff := cmp.Diff(want, simulator.asked, cmp.AllowUnexported(likeness{}, guest{})); diff != "" {
		t.Errorf("asked for another Mac (-want +got):\n%s", diff)
	}
}

func checkGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// Each fact that can be wrong: a Mac that is otherwise is told so, by that fact
// alone, and with exit code 1.
func TestFactsThatDiffer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		fact    string
		changed []string
		detail  string
	}{
		{"the version's line", []string{"prlctl version 27.0.2 (58700)\n-- ls", "Parallels version 27.0.2\nprlctl version 27.0.2\n-- ls"}, "Parallels version 27.0.2"},
		{"ids have no braces in JSON", []string{`"uuid": "aaaaaaaa-0000-4000-8000-000000000001"`, `"uuid": "{aaaaaaaa-0000-4000-8000-000000000001}"`}, "an id with braces"},
		{"slashes are escaped in JSON", []string{`"Home": "\/Users`, `"Home": "/Users`}, "a path has plain slashes"},
		{"words of states", []string{`"State": "stopped"`, `"State": "hibernated"`}, "also hibernated"},
		{"words of Parallels Tools", []string{`"state": "installed"`, `"state": "broken"`}, "also broken"},
		{"a blank ends the boot order", []string{`"hdd0 cdrom0 "`, `"hdd0 cdrom0"`}, `VM-1: "hdd0 cdrom0"`},
		{"Print Management goes by the guest", []string{`"Print Management"`, `"Printing"`}, "VM-1: win-11 shows it: false"},
		{"types of network", []string{`"type": "shared"`, `"type": "host-only"`}, "VM-1: net0 is host-only"},
		{"an unknown machine", []string{"-i --json ! 255", "-i --json ! 1"}, "exit 1: Failed to get VM config"},
		{"words of the license's status", []string{`"status": "ACTIVE"`, `"status": "GRACED"`}, "GRACED"},
		{"the license as text", []string{"Searching for installed licenses...", "Licenses:"}, "the header is there: false"},
		{"VmInfo.pvi's root", []string{"<VmInfo dyn_lists", "<ParallelsInfo dyn_lists", "</VmInfo>", "</ParallelsInfo>"}, "VM-1: <ParallelsInfo"},
		{"Windows in VmInfo.pvi", []string{"10.0.22631, ", "Windows 11 Pro"}, `VM-1: RealOsVersion "Windows 11 Pro"`},
		{"config.pvs names no owner", []string{"<Owner></Owner>", "<Owner>user-1</Owner>"}, "VM-1: it does"},
		{"VmType of a macvm is 2", []string{"<VmType>2", "<VmType>1"}, "VM-2: it is 1"},
		{"the process of a machine", []string{"--dir-uuid", "--directory"}, "--directory"},
		{"prlctl set --help lists the categories", []string{"  memory\n", ""}, "without memory"},
		{"flags of the categories", []string{"--isolate-vm", "--isolate"}, "absent: --isolate-vm"},
		{"choices have no blanks", []string{"--tpm <on|off>", "--tpm <on | off>"}, "1 with blanks"},
		{"names of events", []string{"vm_config_changed", "vm_wibbled"}, "also vm_wibbled"},
		{"time stamps of events", []string{"2026-11-28 10:15:01", "28.11.2026 10:15"}, "28.11.2026 10:15"},
	} {
		t.Run(test.fact, func(t *testing.T) {
			t.Parallel()
			reading := readByClient(t.Context(), captureOf(t, "mac-27.txtar", test.changed...))
			reading.compareWithFacts()
			var wrong []finding
			for _, f := range reading.report().Findings {
				if f.Verdict == verdictDiffers {
					wrong = append(wrong, f)
				}
			}
			if len(wrong) != 1 || wrong[0].What != test.fact || !strings.Contains(wrong[0].Detail, test.detail) {
				t.Errorf("%+v", wrong)
			}
		})
	}
}

// What is only an answer never makes the exit code 1.
func TestAnswersToOpenQuestions(t *testing.T) {
	t.Parallel()
	for fact, test := range map[string]struct {
		changed []string
		detail  string
	}{
		"the tools belong to root":       {[]string{"-rwxr-xr-x  1 0  0", "-rwxrwxr-x  1 501  20"}, "-rwxrwxr-x 501:20 /Applications/Parallels Desktop.app/Contents/MacOS/prlctl"},
		"nothing stands around the JSON": {[]string{"-a -i --json --\n[", "-a -i --json --\nOperation progress 100%\n["}, "text_around_json"},
		"clipboard in one direction":     {[]string{"--shared-clipboard <on|off>", "--shared-clipboard <on|off|to-guest>"}, "--shared-clipboard <on|off|to-guest>"},
		"listing writes config.pvs":      {[]string{"-newer before --\n", "-newer before --\n/Users/user-1/Parallels/VM-1.pvm/config.pvs\n"}, "of 1, 1 were written"},
		"encryption in config.pvs":       {[]string{`"Encrypted": "no"`, `"Encrypted": "yes"`, "<Security dyn_lists", "<PluginId>x</PluginId><Security dyn_lists"}, "VM-1: PluginId x"},
		"serial numbers in VmInfo.pvi":   {[]string{"27.0.2-58700", "27.0.2-58700"}, "filled for: win-11; empty for: macosx"},
	} {
		t.Run(fact, func(t *testing.T) {
			t.Parallel()
			reading := readByClient(t.Context(), captureOf(t, "mac-27.txtar", test.changed...))
			reading.compareWithFacts()
			report := reading.report()
			index := slices.IndexFunc(report.Findings, func(f finding) bool { return f.What == fact })
			if f := report.Findings[index]; f.Verdict != verdictAnswer || !strings.Contains(f.Detail, test.detail) {
				t.Errorf("%+v", f)
			}
			if report.Differences != 0 {
				t.Errorf("%d differences", report.Differences)
			}
		})
	}
}

// What the simulator does otherwise is told, whichever side has more.
func TestSimulatorThatDiffers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		changed []string // of the simulated Mac
		told    string
	}{
		"a key less":        {[]string{`		"Template": "no",` + "\n", ""}, "not simulated: []/Template yes or no"},
		"a key more":        {[]string{`"Template": "no"`, `"Template": "no", "Kind": "x"`}, "only simulated: []/Kind text"},
		"another kind":      {[]string{`"Uptime": "37000"`, `"Uptime": 37000`}, "[]/Uptime is digits, simulated number"},
		"another switch":    {[]string{`"Encrypted": "no"`, `"Encrypted": "off"`}, "[]/Security/Encrypted is yes or no, simulated on or off"},
		"another flag":      {[]string{"--tpm", "--vtpm"}, "not simulated: --tpm"},
		"other values":      {[]string{"--startup-view <same|window|headless>", "--startup-view <same|window>"}, "--startup-view is <same|window|headless>, simulated <same|window>"},
		"another command":   {[]string{"monitor-events [--json]", "events [--json]"}, "not simulated: monitor-events"},
		"another exit code": {[]string{"-i --json ! 255", "-i --json ! 1"}, "exit 255, simulated 1"},
		"another root":      {[]string{"<VmInfo dyn_lists", "<Info dyn_lists", "</VmInfo>", "</Info>"}, `root <VmInfo dyn_lists="" schemaVersion="1.0">, simulated <Info`},
		"an element less":   {[]string{"      <OsKernelVersion></OsKernelVersion>\n", ""}, "not simulated: VmInfo/GuestOsInformation/OsKernelVersion"},
		"no guest":          {[]string{`"Name": "VM-2"`, `"Name": "another"`}, "the simulator has no guest macosx"},
		"another line":      {[]string{"    edition=", "  edition="}, "not simulated:     edition="},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said, err := replayed(t, captureOf(t, "mac-27.txtar"), &likeCaptured{recorded: recorded{captureOf(t, "mac-27.txtar", test.changed...)}})
			var coded exitError
			if !errors.As(err, &coded) || coded.ExitCode() != exitDiffers {
				t.Errorf("ended with %v", err)
			}
			if !strings.Contains(said, test.told) {
				t.Errorf("no %q in\n%s", test.told, said)
			}
		})
	}
}

// What the client cannot read is told, and what says why is an answer.
func TestClientThatDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		changed []string
		verdict string
		told    string
	}{
		"no JSON":         {[]string{"-- prlsrvctl info --json --\n", "-- prlsrvctl info --json --\nno answer\n-- unused --\n"}, verdictDiffers, "output_invalid"},
		"service down":    {[]string{"-- prlsrvctl info --json --\n", "-- prlsrvctl info --json ! 253 --\n"}, verdictAnswer, "service_down"},
		"was not run":     {[]string{"-- prlsrvctl info --json --", "-- prlsrvctl info --jayson --"}, verdictMissing, "not_captured"},
		"the same twice":  {[]string{`"Version": "Desktop`, `"Version": "x", "Version": "Desktop`}, verdictDiffers, "duplicate_key"},
		"a broken number": {[]string{`"Version": "Desktop 27.0.2-58700"`, `"Version": 1e`}, verdictDiffers, "output_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reading := readByClient(t.Context(), captureOf(t, "mac-27.txtar", test.changed...))
			index := slices.IndexFunc(reading.findings, func(f finding) bool { return f.What == "prlsrvctl info --json" })
			if f := reading.findings[index]; f.Verdict != test.verdict || f.Detail != test.told {
				t.Errorf("%+v", f)
			}
		})
	}
}

// Where the service was down, what the tools say of it is no difference.
func TestServiceThatWasDown(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("testdata", "mac-27.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	var changed []string
	for _, file := range txtar.Parse(data).Files {
		if words := strings.Fields(file.Name); strings.HasPrefix(words[0], "prl") && file.Name != "prlctl --version" && !strings.Contains(file.Name, "!") {
			changed = append(changed, "-- "+file.Name+" --\n", "-- "+file.Name+" ! 253 --\nLogin failed: Unable to connect to Parallels Service.\n-- unused --\n")
		}
	}
	read := captureOf(t, "mac-27.txtar", changed...)
	if said, err := replayed(t, read, &likeCaptured{recorded: recorded{captureOf(t, "mac-27.txtar")}}); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}

// Words of the archive never become an argument of the simulator.
func TestLikenessOfAHostileArchive(t *testing.T) {
	t.Parallel()
	read := captureOf(t, "mac-27.txtar", `"OS": "win-11"`, `"OS": "--mac=\/etc"`, `"State": "running"`, `"State": "running --root"`,
		`"edition": "pro"`, `"edition": "--assume"`, `"Name": "VM-1"`, `"Name": "$(reboot)"`)
	got := readByClient(t.Context(), read).likeness()
	want := likeness{version: "27.0.2-58700", licensed: true, machines: []guest{
		{name: "VM-1", system: "linux", state: "stopped"}, {name: "VM-2", system: "macosx", state: "stopped"},
	}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(likeness{}, guest{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What an archive says cannot steer a terminal (H15).
func TestReportsAreSafeToShow(t *testing.T) {
	t.Parallel()
	read := captureOf(t, "mac-27.txtar", `"State": "stopped"`, `"State": "\u001b[2Jx"`)
	read.Written, read.Skipped = "\x1b[2J", []string{"\u202e"}
	said, _ := replayed(t, read, nil)
	if strings.ContainsAny(said, "\x1b\u202e") {
		t.Errorf("%q", said)
	}
}

func TestReportAsJSON(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), &out, archiveOf(t, captureOf(t, "mac-27.txtar")), nil, true); err != nil {
		t.Fatal(err)
	}
	var decoded report
	if err := json.Unmarshal(out.Bytes(), &decoded); err != nil {
		t.Fatal(err)
	}
	if decoded.Version != "27.0.2 (58700)" || decoded.Differences != 0 || len(decoded.Findings) == 0 || decoded.Skipped == nil {
		t.Errorf("%+v", decoded)
	}
}
