package cli

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/content"
	"prlagent/cmd/prlportal/fleet"
)

// reported are counts that a portal gives.
type reported fleet.PolicyStatus

func (r reported) PolicyStatus(context.Context) (fleet.PolicyStatus, error) {
	return fleet.PolicyStatus(r), nil
}

func (r reported) Diff(context.Context, adminapi.DiffRequest) (fleet.Difference, error) {
	return fleet.Difference{}, nil
}

// Where more than 5 % of the Macs would lose their policy, their number is typed.
func TestPublishRefusesAMassRelease(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		losing, staying, insisted int
		refused                   bool
	}{
		{0, 0, -1, false},
		{5, 95, -1, false},
		{6, 94, -1, true},
		{6, 94, 5, true},
		{6, 94, 7, true},
		{6, 94, 6, false},
		{1, 0, -1, true},
		{1, 0, 1, false},
	} {
		work := workplace{status: reported{Groups: []fleet.GroupStatus{{Group: "a", Macs: test.losing}, {Group: "b", Macs: test.staying}}}}
		change := content.Change{Steps: []content.Step{{Group: "a", What: content.Released}, {Group: "b", What: content.Unchanged}}}
		err := work.checkReleased(t.Context(), change, test.insisted)
		if (err != nil) != test.refused {
			t.Errorf("%+v: %v", test, err)
		}
		if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("%d of %d Macs", test.losing, test.losing+test.staying)) {
			t.Errorf("%+v: it says %v", test, err)
		}
	}
	folder := workplace{state: content.State{Heads: map[string]protocol.Head{"a": {}, "b": {}}}}
	change := content.Change{Steps: []content.Step{{Group: "a", What: content.Released}}}
	if err := folder.checkReleased(t.Context(), change, -1); err == nil || !strings.Contains(err.Error(), "1 of 2 groups") {
		t.Errorf("of a folder: %v", err)
	}
}

// Ten days before heads end, whoever lists policies is told.
func TestTheEndOfHeadsIsTold(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for ahead, told := range map[time.Duration]bool{30 * 24 * time.Hour: false, 10*24*time.Hour + time.Minute: false, 10*24*time.Hour - time.Minute: true, -time.Minute: true} {
		if words := endWords(now.Add(ahead), now); strings.Contains(words, "prlportal renew") != told {
			t.Errorf("%v before: %s", ahead, words)
		}
	}
}

// SEC-16: publish says on standard error what lint says of a tree that can be published,
// also with --json.
func TestSEC16_PublishSaysWhatLintDoes(t *testing.T) {
	t.Parallel()
	site := filepath.Join(t.TempDir(), "site")
	mustRun(t, "init", site)
	fleet := writeTree(t, map[string]string{
		"site.yaml": "primary_group: default\n", "groups/default.yaml": "name: Everybody\n",
		"policies/a.yaml": "name: A\ngroups: [default]\nsecurity_controls: {org_license_only: true, no_preferences: true}\n",
	})
	lint := mustRun(t, "lint", fleet)
	for _, flags := range [][]string{{}, {"--json"}, {"--dry-run"}} {
		var out, said bytes.Buffer
		args := append([]string{"publish", fleet, "--dir", site, "--out", t.TempDir()}, flags...)
		if code := runCommand(t.Context(), args, &out, &said); code != 0 || said.String() != lint {
			t.Errorf("%v: %d, it says\n%s\nand lint\n%s", flags, code, said.String(), lint)
		}
		golden(t, "publish.notes", bytes.ReplaceAll(said.Bytes(), []byte(fleet), []byte("fleet")))
	}
}
