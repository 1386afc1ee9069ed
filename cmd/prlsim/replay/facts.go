package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"prlagent/platform/text"
	"prlagent/prlctl"
)

// fact is one thing that the facts say, or leave open, and how an archive
// answers it. check gives nothing where the archive has nothing to judge by.
type fact struct {
	name      string
	source    string
	certainty string // C captured, C- other people's code, I inferred, U unknown
	check     func(*reading) outcome
}

// outcome is a verdict with its detail; the zero outcome is none.
type outcome struct{ verdict, detail string }

func agrees() outcome { return outcome{verdict: verdictAgrees} }

func differs(format string, args ...any) outcome {
	return outcome{verdictDiffers, fmt.Sprintf(format, args...)}
}

func answers(format string, args ...any) outcome {
	return outcome{verdictAnswer, fmt.Sprintf(format, args...)}
}

// agreesIf judges by a condition.
func agreesIf(holds bool, format string, args ...any) outcome {
	if holds {
		return agrees()
	}
	return differs(format, args...)
}

// facts are the questions. A row of certainty I or U that differs is news, too.
var facts = []fact{
	{"the version's line", "prlctl.md 1.1", "C", checkVersionLine},
	{"the tools belong to root", "macos.md 15.11", "U", checkOwners},
	{"ids have no braces in JSON", "prlctl.md 2.1", "C", checkBareIDs},
	{"slashes are escaped in JSON", "prlctl.md 2.1", "C", checkSlashes},
	{"nothing stands around the JSON", "captures.md 3", "C", checkWordsAround},
	{"the list of all has each home", "captures.md 2", "C", checkBulkHome},
	{"words of states", "prlctl.md 2.3", "C", checkStates},
	{"words of Parallels Tools", "prlctl.md 2.2", "C", checkToolsStates},
	{"a blank ends the boot order", "captures.md 3", "C", checkBootOrder},
	{"Print Management goes by the guest", "captures.md 2", "I", checkPrintManagement},
	{"types of network", "prlctl.md 2.2", "I", checkNetworkTypes},
	{"an unknown machine", "prlctl.md 5", "I", checkNotFound},
	{"time of the list of all", "prlctl.md 11.12", "U", checkListTime},
	{"listing writes config.pvs", "prlctl.md 11.12", "U", checkTouched},
	{"words of the license's status", "captures.md 2", "C", checkLicenseStatus},
	{"the license as text", "captures.md 4.1", "C", checkLicenseText},
	{"form of the license's dates", "prlctl.md 4.2", "U", checkLicenseDates},
	{"VmInfo.pvi is there from creation on", "captures.md 2", "C", checkInfoThere},
	{"VmInfo.pvi's root", "captures.md 2", "C", checkInfoRoot},
	{"Windows in VmInfo.pvi", "captures.md 2", "C", checkWindowsVersion},
	{"serial numbers in VmInfo.pvi", "captures.md 2", "U", checkGuestSerials},
	{"config.pvs names no owner", "captures.md 4.4", "C", checkOwner},
	{"VmType of a macvm is 2", "captures.md 4.4", "C", checkMacVMType},
	{"encryption in config.pvs", "captures.md 2", "C", checkEncryption},
	{"the process of a machine", "captures.md 4.3", "C", checkProcess},
	{"prlctl set --help lists the categories", "captures.md 5.1", "C", checkCategories},
	{"flags of the categories", "captures.md 5.1", "C", checkFlags},
	{"choices have no blanks", "captures.md 5.1", "C", checkSpacing},
	{"clipboard in one direction", "prlctl.md 11.2", "U", checkClipboard},
	{"names of events", "prlctl.md 3", "C", checkEventNames},
	{"time stamps of events", "prlctl.md 3", "U", checkTimestamps},
	{"our own list makes events", "prlctl.md 3", "I", checkEcho},
	{"commands that hung", "prlctl.md 9", "U", checkHung},
}

// compareWithFacts judges every fact.
func (r *reading) compareWithFacts() {
	for _, f := range facts {
		result := f.check(r)
		if result.verdict == "" {
			result = outcome{verdictMissing, ""}
		}
		r.add(finding{Part: partFact, What: f.name, Verdict: result.verdict, Detail: result.detail, Source: f.source, Certainty: f.certainty})
	}
}

var versionLine = text.Pattern(`(?m)^prlctl version \d+\.\d+\.\d+ \(\d+\)\r?$`)

func checkVersionLine(r *reading) outcome {
	said := strings.TrimSpace(r.printed("prlctl", "--version"))
	if said == "" {
		return outcome{}
	}
	return agreesIf(versionLine().MatchString(said), "%s", said)
}

// longListing is a line of `ls -ldn`: mode, links, owner, group, and the path.
var longListing = text.Pattern(`(?m)^([-dl][-a-zA-Z@+]{9,11})\s+\d+\s+(\d+)\s+(\d+)\s.*?(/.*)$`)

// checkOwners looks at who could replace a tool (hardening H10).
func checkOwners(r *reading) outcome {
	var lines []string
	for _, entry := range r.Entries {
		if entry.Question != "macos.md 15.11" {
			continue
		}
		for _, found := range longListing().FindAllStringSubmatch(string(r.stdout(entry)), -1) {
			mode := found[1]
			if found[2] != "0" || mode[0] != 'l' && (mode[5] == 'w' || mode[8] == 'w') {
				lines = append(lines, fmt.Sprintf("%s %s:%s %s", mode, found[2], found[3], found[4]))
			}
		}
		if len(lines) == 0 {
			return answers("they do, and nobody else may write them")
		}
		return answers("%s", strings.Join(lines, "; "))
	}
	return outcome{}
}

var bracedID = text.Pattern(`"(ID|uuid)": ?"\{`)

func checkBareIDs(r *reading) outcome {
	if len(r.bulk.VMs) == 0 {
		return outcome{}
	}
	return agreesIf(!bracedID().MatchString(r.lists()), "an id with braces")
}

// lists is every list of machines as JSON.
func (r *reading) lists() string {
	said := r.printed("prlctl", "list", "-a", "-i", "--json") + r.printed("prlctl", "list", "-a", "--json")
	for _, m := range r.machines {
		said += string(r.stdout(m.entry))
	}
	return said
}

var bareSlash = text.Pattern(`"Home(?: path)?": ?"/`)

func checkSlashes(r *reading) outcome {
	said := r.lists()
	if !strings.Contains(said, `\/`) && !bareSlash().MatchString(said) {
		return outcome{}
	}
	return agreesIf(!bareSlash().MatchString(said), "a path has plain slashes")
}

func checkWordsAround(r *reading) outcome {
	if entry, found := r.find("prlctl", "list", "-a", "-i", "--json"); !found || entry.Exit == nil {
		return outcome{}
	}
	if len(r.bulk.Notes) > 0 {
		return answers("%s", strings.Join(r.bulk.Notes, ", "))
	}
	return agrees()
}

func checkBulkHome(r *reading) outcome {
	empty := 0
	for _, vm := range r.bulk.VMs {
		if vm.Bundle() == "" {
			empty++
		}
	}
	if len(r.bulk.VMs) == 0 {
		return outcome{}
	}
	return answers("empty for %d of %d", empty, len(r.bulk.VMs))
}

var knownStates = strings.Fields("stopped running suspended paused invalid starting restoring resetting pausing suspending stopping " +
	"compacting snapshoting continuing migrating del_snapshot resuming syncing reconnecting mounted")

var knownToolsStates = []string{"installed", "possibly_installed", "not_installed", "outdated"}

func checkStates(r *reading) outcome {
	return knownWords(r.bulk.VMs, knownStates, func(vm prlctl.VM) string { return string(vm.State) })
}

func checkToolsStates(r *reading) outcome {
	return knownWords(r.bulk.VMs, knownToolsStates, func(vm prlctl.VM) string { return vm.GuestTools.State })
}

// knownWords judges whether a field has only words that are known.
func knownWords[T any](items []T, known []string, word func(T) string) outcome {
	var others []string
	for _, item := range items {
		if w := word(item); w != "" && !slices.Contains(known, w) && !slices.Contains(others, w) {
			others = append(others, w)
		}
	}
	if len(items) == 0 {
		return outcome{}
	}
	return agreesIf(len(others) == 0, "also %s", strings.Join(others, ", "))
}

// document is a machine's list entry as plain values.
func (m machine) document() map[string]any {
	var document map[string]any
	if json.Unmarshal(m.Raw, &document) != nil {
		return nil // the client has read it already
	}
	return document
}

// ofMachines judges each machine, and gives the first that differs.
func ofMachines(r *reading, check func(machine) outcome) (last outcome) {
	for _, m := range r.machines {
		switch result := check(m); result.verdict {
		case verdictDiffers:
			return differs("%s: %s", m.Name, result.detail)
		case "":
		default:
			last = result
		}
	}
	return last
}

func checkBootOrder(r *reading) outcome {
	return ofMachines(r, func(m machine) outcome {
		order, _ := m.document()["Boot order"].(string)
		if order == "" {
			return outcome{}
		}
		return agreesIf(strings.HasSuffix(order, " "), "%q", order)
	})
}

func checkPrintManagement(r *reading) outcome {
	return ofMachines(r, func(m machine) outcome {
		_, shown := m.document()["Print Management"]
		return agreesIf(shown == m.isWindows(), "%s shows it: %t", m.OS, shown)
	})
}

func checkNetworkTypes(r *reading) outcome {
	return ofMachines(r, func(m machine) outcome {
		hardware, _ := m.document()["Hardware"].(map[string]any)
		last := outcome{}
		for name, device := range hardware {
			device, _ := device.(map[string]any)
			kind, _ := device["type"].(string)
			if !strings.HasPrefix(name, "net") || kind == "" {
				continue
			}
			if last = agreesIf(slices.Contains([]string{"shared", "bridged", "host"}, kind), "%s is %s", name, kind); last.verdict == verdictDiffers {
				break
			}
		}
		return last
	})
}

// noSuchMachine is the id that the script asks for in vain.
const noSuchMachine = "00000000-0000-4000-8000-000000000000"

func checkNotFound(r *reading) outcome {
	entry, found := r.find("prlctl", "list", noSuchMachine, "-i", "--json")
	if !found || entry.Exit == nil || r.serviceWasDown(entry) {
		return outcome{}
	}
	said := string(r.files[entry.Stderr])
	return agreesIf(*entry.Exit == 255 && strings.Contains(said, "could not be found"), "exit %d: %s", *entry.Exit, strings.TrimSpace(said))
}

func checkListTime(r *reading) outcome {
	entry, found := r.find("prlctl", "list", "-a", "-i", "--json")
	if !found {
		return outcome{}
	}
	return answers("%.2f s for %d machines", entry.Seconds, len(r.bulk.VMs))
}

func checkTouched(r *reading) outcome {
	asked, written := 0, 0
	for _, entry := range r.Entries {
		if entry.Command[0] == "find" {
			asked++
			if len(bytes.TrimSpace(r.stdout(entry))) > 0 {
				written++
			}
		}
	}
	if asked == 0 {
		return outcome{}
	}
	return answers("of %d, %d were written after the list", asked, written)
}

func checkLicenseStatus(r *reading) outcome {
	if r.license.Status == "" {
		return outcome{}
	}
	return agreesIf(slices.Contains([]string{"ACTIVE", "EXPIRED"}, r.license.Status), "%s", r.license.Status)
}

// statusLine is the line of a license's state.
var statusLine = text.Pattern(`(?m)^    status="[A-Z]+"`)

func checkLicenseText(r *reading) outcome {
	said := r.printed("prlsrvctl", "info", "--license")
	if strings.TrimSpace(said) == "" {
		return outcome{}
	}
	header := strings.Contains(said, "Searching for installed licenses...")
	body := strings.Contains(said, noLicense) || statusLine().MatchString(said)
	return agreesIf(header && body, "the header is there: %t, and its lines as captured: %t", header, body)
}

func checkLicenseDates(r *reading) outcome {
	for _, date := range []string{r.license.Expiration, r.license.MainPeriodEndsAt, r.license.GracePeriodEndsAt} {
		if date != "" {
			return answers("%s", digit().ReplaceAllString(date, "9"))
		}
	}
	return outcome{}
}

var digit = text.Pattern(`\d`)

func checkProcess(r *reading) outcome {
	for _, entry := range r.Entries {
		for line := range strings.Lines(string(r.stdout(entry))) {
			if entry.Question == "captures.md 4.3" && strings.Contains(line, "prl_vm_app") {
				return agreesIf(vmProcess().MatchString(strings.TrimSpace(line)), "%s", strings.TrimSpace(line))
			}
		}
	}
	return outcome{}
}

var vmProcess = text.Pattern(`/Contents/MacOS//Parallels VM\.app/Contents/MacOS/prl_vm_app --vm-name .+ --uuid \{[0-9A-Fa-f-]{36}\} --dir-uuid \{[0-9A-Fa-f-]{36}\} --log-dir /.+$`)

var knownEvents = strings.Fields("vm_state_changed vm_added vm_unregistered vm_deleted vm_config_changed vm_tools_state_changed " +
	"vm_snapshots_tree_changed vm_snapshot_created vm_created vm_started vm_stopped vm_resumed vm_continued vm_perfstats")

func checkEventNames(r *reading) outcome {
	return knownWords(r.events, knownEvents, func(e prlctl.Event) string { return e.Name })
}

var timestamp = text.Pattern(`"Timestamp": ?"([^"]{1,64})"`)

func checkTimestamps(r *reading) outcome {
	found := timestamp().FindStringSubmatch(r.printed("prlctl", "monitor-events", "--json"))
	if found == nil {
		return outcome{}
	}
	_, err := time.Parse(time.DateTime, found[1])
	return agreesIf(err == nil, "%s", found[1])
}

// checkEcho looks for the changes that our list in the midst of the events is
// said to cause.
func checkEcho(r *reading) outcome {
	echoes := 0
	for _, event := range r.events {
		if event.Name == "vm_config_changed" {
			echoes++
		}
	}
	if len(r.events) == 0 {
		return outcome{}
	}
	return answers("%d vm_config_changed among %d events, with one list of %d machines", echoes, len(r.events), len(r.bulk.VMs))
}

func checkHung(r *reading) outcome {
	var hung []string
	for _, entry := range r.Entries {
		if entry.Ended == endedKilled {
			hung = append(hung, strings.Join(entry.Command, " "))
		}
	}
	if len(hung) == 0 {
		return answers("none")
	}
	return answers("%s", strings.Join(hung, "; "))
}
