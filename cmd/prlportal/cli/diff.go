package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/content"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/platform/text"
)

func newDiffCommand() *cobra.Command {
	var options contentOptions
	var rings ringOptions
	command := &cobra.Command{
		Use:   "diff DIR --dir DIR/operator",
		Short: "Say what publishing a folder of policies would change, and for how many Macs",
		Long: `Diff compares a folder of policies with what is published, and says of each setting
on how many virtual machines it will be set, waits for the machine or its user, stays
as it is, is tried again, is not for the machine, or becomes unmanaged: its value then
stays, and its users may change it. Of a preference of Parallels Desktop it says so of
users, where waits is written and waits for the application to be quit, and of a
security control of Macs, where unmanaged is lifted. Beside on_violation and grace_s
are virtual machines that are against a control.

It goes by what the Macs have reported. That of which nothing tells how it is, as of a
setting that no policy had before, of a password that the Mac's profile has to allow, or
of a Mac with no user that was reported, is unknown and counted apart; users who come
later are not counted. Nothing is signed.`,
		Example: "  prlportal diff fleet --dir site/operator\n  prlportal diff fleet --dir site/operator --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			if options.out != "" {
				return usageError("diff asks a portal what its Macs report; a folder does not know")
			}
			read, err := rings.readTree(command, args[0])
			if err != nil {
				return err
			}
			work, err := options.open(command.Context())
			if err != nil {
				return err
			}
			defer work.close()
			change, err := rings.plan(command.Context(), work, read)
			if err != nil {
				return err
			}
			found, err := work.differences(command.Context(), change)
			if err != nil {
				return err
			}
			if options.asJSON {
				return printJSON(command.OutOrStdout(), map[string]any{"groups": found})
			}
			return printDifferences(command.OutOrStdout(), found)
		},
	}
	options.addFlags(command)
	rings.addFlags(command)
	return command
}

// groupDifference is what publishing changes for one group.
type groupDifference struct {
	Change     content.Step     `json:"change"`
	Difference fleet.Difference `json:"difference"`
}

// differences asks what each change of a group would do to its Macs. A candidate is
// shown as if all of them took it.
func (w *workplace) differences(ctx context.Context, change content.Change) ([]groupDifference, error) {
	found := []groupDifference{}
	for _, head := range change.Heads {
		before := w.state.Heads[head.GroupID]
		next := head.Policy
		if head.Candidate != nil {
			pointer := head.Candidate.Pointer()
			next = &pointer
		}
		asked := adminapi.DiffRequest{Group: head.GroupID}
		var err error
		if asked.Before, err = w.diffVersion(ctx, change, before.Policy, before.Mode); err != nil {
			return nil, err
		}
		if asked.Next, err = w.diffVersion(ctx, change, next, head.Mode); err != nil {
			return nil, err
		}
		difference, err := w.status.Diff(ctx, asked)
		if err != nil {
			return nil, fmt.Errorf("compare for group %s: %w", head.GroupID, err)
		}
		at := slices.IndexFunc(change.Steps, func(step content.Step) bool { return step.Group == head.GroupID })
		found = append(found, groupDifference{change.Steps[at], difference})
	}
	return found, nil
}

// diffVersion is a policy with its very bytes: one that is about to be published, or
// one that is.
func (w *workplace) diffVersion(ctx context.Context, change content.Change, pointer *protocol.PolicyPointer, mode string) (adminapi.DiffVersion, error) {
	version := adminapi.DiffVersion{Enforce: mode != protocol.ModeMonitor}
	if pointer == nil {
		return version, nil
	}
	for _, data := range change.Policies {
		if pointer.CheckPolicy(data) == nil {
			version.Document = data
			return version, nil
		}
	}
	data, err := w.store.Policy(ctx, pointer.SHA256)
	if err != nil {
		return version, fmt.Errorf("read policy %s: %w", pointerWords(*pointer), err)
	}
	version.Document = data
	return version, nil
}

// outcomeColumns are the outcomes in the order in which they are told.
var outcomeColumns = []struct {
	outcome fleet.Outcome
	title   string
}{
	{fleet.OutcomeSet, "Set"}, {fleet.OutcomeWaits, "Waits"}, {fleet.OutcomeRetried, "Tried again"},
	{fleet.OutcomeMonitored, "Monitored"}, {fleet.OutcomeReleased, "Unmanaged"}, {fleet.OutcomeStays, "Stays"},
	{fleet.OutcomeExcluded, "Not for it"}, {fleet.OutcomeUnknown, "Unknown"},
}

func printDifferences(w io.Writer, found []groupDifference) error {
	var page strings.Builder
	for i := range found {
		change, difference := &found[i].Change, &found[i].Difference
		fmt.Fprintf(&page, "%s: %s to %s, %s with %s", text.DisplayValue(change.Group), orEmpty(change.Before), orEmpty(change.After),
			countOf(difference.Macs, "Mac"), countOf(difference.VMs, "virtual machine"))
		if slices.ContainsFunc(difference.Settings, func(setting fleet.SettingDiff) bool { return len(setting.Users) > 0 }) {
			fmt.Fprintf(&page, " and %s", countOf(difference.Users, "user"))
		}
		if difference.Silent > 0 {
			fmt.Fprintf(&page, ", %d of the Macs with no machine that was reported", difference.Silent)
		}
		if change.Candidate != "" {
			fmt.Fprintf(&page, "; %s for %d %% of them, shown as if all took it", change.Candidate, change.Percent)
		}
		page.WriteString("\n")
		page.WriteString(settingsTable(difference.Settings) + "\n")
	}
	if len(found) == 0 {
		page.WriteString("Nothing would change.\n")
	}
	return writeText(w, page.String())
}

// settingsTable has a row for each setting, and a column for each outcome that there
// is.
func settingsTable(settings []fleet.SettingDiff) string {
	table := text.Table{Heads: []string{"Setting", "Before", "Then"}}
	for _, setting := range settings {
		table.Rows = append(table.Rows, []string{setting.Path, orEmpty(setting.Old), orEmpty(setting.New)})
	}
	for _, column := range outcomeColumns {
		if !slices.ContainsFunc(settings, func(setting fleet.SettingDiff) bool { return setting.Macs[column.outcome] > 0 }) {
			continue
		}
		table.Heads = append(table.Heads, column.title)
		for i, setting := range settings {
			table.Rows[i] = append(table.Rows[i], countsOnMacs(setting, column.outcome))
		}
	}
	return table.String()
}

// countsOnMacs is how many machines of how many Macs, as "12 on 9", how many users, as
// "3 users on 2", or how many Macs.
func countsOnMacs(setting fleet.SettingDiff, outcome fleet.Outcome) string {
	macs := setting.Macs[outcome]
	switch {
	case setting.VMs[outcome] > 0:
		return fmt.Sprintf("%d on %d", setting.VMs[outcome], macs)
	case setting.Users[outcome] > 0:
		return fmt.Sprintf("%s on %d", countOf(setting.Users[outcome], "user"), macs)
	case macs > 0:
		return countOf(macs, "Mac")
	}
	return emptyCell
}
