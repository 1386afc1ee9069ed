package cmd_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// evidencePage says how near each capability has come to a real Mac.
const evidencePage = "../agent/EVIDENCE.md"

// evidence is a row of the page.
type evidence struct{ capability, how, shown, facts, asked, switches string }

const evidenceColumns = "| capability | how far | shown by | facts | asked by | the other way |"

var (
	namedSwitch = regexp.MustCompile("`([a-z_]+)`")
	factCited   = regexp.MustCompile(`\b(?:acting|captures|macos|prlctl|deploy-and-updates)\.md \d`)
	howSure     = regexp.MustCompile(`\b(?:C1?|I|U|M)\b`)
	// A capture is an archive of first-mac.sh in the tree, and the page links it.
	namedCapture = regexp.MustCompile(`\]\((\.\./cmd/prlsim/replay/testdata/[\w.-]+)\)`)
	// How the simulator's switches and the script's steps are written in their sources.
	switchOfSource = regexp.MustCompile(`(?m)^\t\{"([a-z_]+)", \[\]string\{`)
	stepOfScript   = regexp.MustCompile(`(?m)\bbegin_step ([a-z]+) '`)
)

// TestEvidencePage walks the page: what it names exists, each row says by what it is
// shown, how sure its facts are and which switches read them otherwise, every switch
// of the simulator is there, and nothing was seen on a real Mac without a capture.
func TestEvidencePage(t *testing.T) {
	t.Parallel()
	page := readText(t, evidencePage)
	exists, switches, steps := everyProof(t), everySwitch(t), firstGroups(stepOfScript, readText(t, "../launchd/first-mac.sh"))
	for _, name := range namedProof.FindAllString(page, -1) {
		if !exists[name] {
			t.Errorf("%s does not exist", name)
		}
	}
	rows := evidenceRows(t, page)
	if len(rows) < 30 {
		t.Errorf("only %d rows were looked at", len(rows))
	}
	named := make(map[string]bool)
	for _, row := range rows {
		row.check(t)
		for step := range strings.SplitSeq(row.asked, ", ") {
			if step != "" && !steps[step] {
				t.Errorf("%s: first-mac.sh has no step %s", row.capability, step)
			}
		}
		for name := range firstGroups(namedSwitch, row.switches) {
			if !switches[name] {
				t.Errorf("%s: prlsim has no switch %s", row.capability, name)
			}
			if named[name] {
				t.Errorf("%s: %s is in two rows", row.capability, name)
			}
			named[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(switches)) {
		if !named[name] {
			t.Errorf("the switch %s is in no row", name)
		}
	}
	for _, link := range pageLink.FindAllStringSubmatch(page, -1) {
		file, _, _ := strings.Cut(link[1], "#")
		if _, err := os.Stat(filepath.Join(filepath.Dir(evidencePage), filepath.FromSlash(file))); err != nil {
			t.Errorf("link %s: %v", link[1], err)
		}
	}
}

// A row that says too much, or too little, is found.
func TestEvidenceRowsThatSayTooMuch(t *testing.T) {
	t.Parallel()
	good := evidence{"Events", "simulated", "TestEvents", "macos.md 3.1 C", "events", "`list_echo`"}
	for name, spoil := range map[string]func(*evidence){
		"seen without a capture":       func(e *evidence) { e.how = "seen" },
		"seen by a capture elsewhere":  func(e *evidence) { e.how = "seen ([it](https://example.org/x.tar.gz))" },
		"seen by a capture not there":  func(e *evidence) { e.how = "seen ([it](../cmd/prlsim/replay/testdata/none.tar.gz))" },
		"a word that is none of three": func(e *evidence) { e.how = "works" },
		"replayed without a capture":   func(e *evidence) { e.how, e.shown = "replayed", "TestCaptures_4_1_Licenses" },
		"replayed by no test":          func(e *evidence) { e.how, e.facts = "replayed", "captures.md 4.1 C" },
		"shown by nothing":             func(e *evidence) { e.shown = "" },
		"not tried, but shown":         func(e *evidence) { e.how = "not tried" },
		"facts without their degree":   func(e *evidence) { e.facts = "macos.md 3.1" },
	} {
		row := good
		spoil(&row)
		if len(row.problems()) == 0 {
			t.Errorf("%s is not found", name)
		}
	}
	if wrong := good.problems(); len(wrong) > 0 {
		t.Errorf("a good row: %v", wrong)
	}
}

func (e evidence) check(t *testing.T) {
	t.Helper()
	for _, problem := range e.problems() {
		t.Errorf("%s: %s", e.capability, problem)
	}
}

// problems are what a row says without grounds.
func (e evidence) problems() (found []string) {
	complain := func(wrong bool, text string) {
		if wrong {
			found = append(found, text)
		}
	}
	proofs := namedProof.FindAllString(e.shown, -1)
	word, _, _ := strings.Cut(e.how, " (")
	switch word {
	case "simulated":
	case "replayed":
		complain(!strings.Contains(e.facts, "captures.md "), "it is replayed from nothing that was captured")
		complain(!strings.Contains(e.shown, "TestCaptures"), "no test replays it")
	case "seen":
		capture := namedCapture.FindStringSubmatch(e.how)
		complain(capture == nil, "it was seen, and no capture is named")
		if capture != nil {
			_, err := os.Stat(filepath.Join(filepath.Dir(evidencePage), capture[1]))
			complain(err != nil, "its capture is not there")
		}
	case "not tried":
		complain(len(proofs) > 0, "it is not tried, and shown")
		return found
	default:
		complain(true, "how far is "+e.how)
	}
	complain(len(proofs) == 0, "nothing shows it")
	complain(factCited.MatchString(e.facts) && !howSure.MatchString(e.facts), "its facts say not how sure they are")
	return found
}

// evidenceRows are the rows of all tables that have the page's columns.
func evidenceRows(t *testing.T, page string) (rows []evidence) {
	t.Helper()
	inside := false
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		switch {
		case line == evidenceColumns:
			inside = true
			continue
		case !strings.HasPrefix(line, "|"):
			inside = false
		}
		if !inside || strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(line, "|")
		if len(cells) != 8 {
			t.Errorf("%d columns: %s", len(cells)-2, line)
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, evidence{cells[1], cells[2], cells[3], cells[4], cells[5], cells[6]})
	}
	return rows
}

// everySwitch gives the simulator's switches for what the facts leave open.
func everySwitch(t *testing.T) map[string]bool {
	t.Helper()
	sources, err := filepath.Glob("prlsim/sim/*.go")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]bool)
	for _, source := range sources {
		if !strings.HasSuffix(source, "_test.go") {
			maps.Copy(all, firstGroups(switchOfSource, readText(t, source)))
		}
	}
	if len(all) < 100 {
		t.Fatalf("only %d switches were found", len(all))
	}
	return all
}

// firstGroups are the first groups of all matches.
func firstGroups(shape *regexp.Regexp, text string) map[string]bool {
	all := make(map[string]bool)
	for _, match := range shape.FindAllStringSubmatch(text, -1) {
		all[match[1]] = true
	}
	return all
}

func readText(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
