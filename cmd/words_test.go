package cmd_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
)

// dishonest are words that promise more than was seen (DESIGN 1.5): what a policy
// says is not applied for being written, and a check that comes afterwards prevents
// nothing. "Not applied" is what POL-05 and GRP-10 call a policy without a group.
var dishonest = regexp.MustCompile(`(?i)\bprevents?\b|\bprevented\b|(?:^|[^a-z])applied\b`)

var notApplied = regexp.MustCompile(`(?i)\bnot[ _]applied\b`)

// dishonestWord is the first word of a text that is not to be said; empty if there
// is none.
func dishonestWord(text string) string {
	return strings.TrimSpace(dishonest.FindString(notApplied.ReplaceAllString(text, "")))
}

func TestDishonestWordsAreFound(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"the policy is not applied": "", "not_applied": "", "not_applicable": "", "applicable, reapplied": "", "prevention is better": "",
		"it was applied": "applied", "Applied": "Applied", "it prevents the start": "prevents", "policy_applied": "_applied", "not applied, and then applied": "applied",
	} {
		if got := dishonestWord(text); got != want {
			t.Errorf("%q: found %q, want %q", text, got, want)
		}
	}
}

// No program says of a setting what nobody saw: neither with a status word, nor
// with the text of a code, nor in the words of the catalogue, nor in any golden
// output.
func TestHonestWords(t *testing.T) {
	t.Parallel()
	words := map[string]string{}
	for _, word := range []string{
		protocol.PolicyNone, protocol.PolicyFetched, protocol.PolicyConverging, protocol.PolicyConverged, protocol.PolicyPartial,
		protocol.PolicyFailed, protocol.PolicyStale, protocol.PolicyNotApplicable,
		protocol.StrengthEnforced, protocol.StrengthDeterred, protocol.StrengthReverted, protocol.StrengthMonitored, protocol.StrengthNotEnforceable,
		protocol.VerdictInPlace, protocol.VerdictPending, protocol.VerdictDeferred, protocol.VerdictPartial, protocol.VerdictNotApplicable,
		protocol.VerdictUnsupported, protocol.VerdictUnknown, protocol.VerdictContended, protocol.VerdictFailed,
		string(fleet.OutcomeSet), string(fleet.OutcomeWaits), string(fleet.OutcomeRetried), string(fleet.OutcomeStays), string(fleet.OutcomeExcluded),
		string(fleet.OutcomeReleased), string(fleet.OutcomeMonitored), string(fleet.OutcomeUnknown),
	} {
		words["status word "+word] = word
	}
	for _, known := range protocol.Codes {
		words["code "+string(known.Code)] = string(known.Code) + "\n" + known.Text + "\n" + known.Remedy
	}
	for i := range policy.Settings {
		setting := &policy.Settings[i]
		said := setting.Name + "\n" + setting.Doc
		for _, meaning := range setting.Values.Only {
			said += "\n" + meaning.Doc
		}
		words["setting "+setting.Name] = said
	}
	for i := range policy.Preferences {
		preference := &policy.Preferences[i]
		said := preference.Name + "\n" + preference.Doc
		for _, meaning := range preference.Values.Only {
			said += "\n" + meaning.Doc + "\n" + preference.ShownWith(meaning.Value)
		}
		words["preference "+preference.Name] = said
	}
	addGoldenFiles(t, words)
	for _, column := range fleet.VMTable.Columns() {
		words["column "+column.ID] = column.ID + "\n" + column.Title
	}
	for where, said := range words {
		if word := dishonestWord(said); word != "" {
			t.Errorf("%s says %q", where, word)
		}
	}
}

// outsideWords are what other programs print and what is recorded of them: their
// words are theirs.
var outsideWords = []string{"testdata/prlctl", "prlctl/testdata", "cmd/prlsim/replay/testdata", "cmd/prlsim/sim/testdata", "testdata/rapid", "testdata/fuzz"}

// addGoldenFiles adds the golden files of all programs.
func addGoldenFiles(t *testing.T, words map[string]string) {
	t.Helper()
	found := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		name := strings.TrimPrefix(filepath.ToSlash(path), "../")
		if err != nil || entry.IsDir() && strings.HasPrefix(entry.Name(), ".git") {
			return filepath.SkipDir
		}
		outside := false
		for _, folder := range outsideWords {
			outside = outside || strings.Contains(name, folder)
		}
		if entry.IsDir() || outside || !strings.Contains("/"+name, "/testdata/") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err == nil {
			found++
			words[name] = string(data)
		}
		return err
	})
	if err != nil || found < 50 {
		t.Fatalf("%d golden files were read: %v", found, err)
	}
}
