package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prlagent/agent/policy"
	policyschema "prlagent/agent/policy/schema"
	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/content"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/platform/text"
)

func newPoliciesCommand() *cobra.Command {
	var options contentOptions
	command := &cobra.Command{
		Use:   "policies",
		Short: "List the policies, and promote, halt or revert one",
		Long: `Policies lists what is published: each policy with its revision, the groups that
have it, a candidate, and when the heads end. 'policies status' says what the Macs
make of it.`,
		Example: "  prlportal policies --dir site/operator\n  prlportal policies status --dir site/operator",
		Args:    cobra.NoArgs,
		RunE:    func(command *cobra.Command, _ []string) error { return options.listPolicies(command) },
	}
	options.addFlags(command)
	command.AddCommand(newPoliciesListCommand(), newPoliciesStatusCommand(), newSchemaCommand(), newPromoteCommand(), newHaltCommand(), newRevertCommand())
	return command
}

func newPoliciesListCommand() *cobra.Command {
	var options contentOptions
	command := &cobra.Command{
		Use: "list --dir DIR/operator", Short: "List the policies that are published", Args: cobra.NoArgs,
		Long:    "List shows each policy that is published, also one that no group has any more.",
		Example: "  prlportal policies list --dir site/operator\n  prlportal policies list --dir site/operator --json",
		RunE:    func(command *cobra.Command, _ []string) error { return options.listPolicies(command) },
	}
	options.addFlags(command)
	return command
}

// policyRow is a policy that is published.
type policyRow struct {
	PolicyID  string   `json:"policy_id"`
	Revision  uint64   `json:"revision"` // the latest
	Groups    []string `json:"groups"`
	Candidate string   `json:"candidate,omitempty"` // as "finance 7"
	Percent   int      `json:"percent,omitempty"`
}

func (o *contentOptions) listPolicies(command *cobra.Command) error {
	work, err := o.open(command.Context())
	if err != nil {
		return err
	}
	defer work.close()
	rows := policyRows(work.state)
	end := work.state.End()
	out := command.OutOrStdout()
	if o.asJSON {
		return printJSON(out, map[string]any{"policies": rows, "heads_end": end})
	}
	table := text.Table{Heads: []string{"Policy", "Revision", "Groups", "Candidate"}}
	for _, row := range rows {
		candidate := row.Candidate
		if candidate != "" {
			candidate = fmt.Sprintf("%s for %d %%", candidate, row.Percent)
		}
		groups := strings.Join(row.Groups, ", ")
		table.Rows = append(table.Rows, []string{row.PolicyID, strconv.FormatUint(row.Revision, 10), cmp.Or(groups, "not applied"), orEmpty(candidate)})
	}
	_, err = io.WriteString(out, table.String()+endWords(end, time.Now()))
	return err
}

// endWords say when the heads end, and what to do where that is soon.
func endWords(end, now time.Time) string {
	switch {
	case end.IsZero():
		return "There are no heads: publish a tree.\n"
	case !end.After(now):
		return fmt.Sprintf("Heads have ended on %s, and Macs call their policy stale: run 'prlportal renew'.\n", localTime(end, time.Local))
	case end.Sub(now) < content.EndWarning:
		return fmt.Sprintf("Heads end on %s: run 'prlportal renew'.\n", localTime(end, time.Local))
	}
	return fmt.Sprintf("Heads end on %s.\n", localTime(end, time.Local))
}

func policyRows(state content.State) []policyRow {
	byID := make(map[string]*policyRow)
	for _, document := range state.Documents {
		id := document.Pointer.PolicyID
		if byID[id] == nil {
			byID[id] = &policyRow{PolicyID: id, Groups: []string{}}
		}
		byID[id].Revision = max(byID[id].Revision, document.Pointer.Revision)
	}
	for _, group := range slices.Sorted(maps.Keys(state.Heads)) {
		head := state.Heads[group]
		if head.Policy != nil && byID[head.Policy.PolicyID] != nil {
			row := byID[head.Policy.PolicyID]
			row.Groups = append(row.Groups, group)
		}
		if head.Candidate != nil && byID[head.Candidate.PolicyID] != nil {
			row := byID[head.Candidate.PolicyID]
			row.Candidate, row.Percent = pointerWords(head.Candidate.Pointer()), head.Candidate.Percent
		}
	}
	rows := []policyRow{}
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		rows = append(rows, *byID[id])
	}
	return rows
}

func pointerWords(pointer protocol.PolicyPointer) string {
	return fmt.Sprintf("%s %d", pointer.PolicyID, pointer.Revision)
}

func newPoliciesStatusCommand() *cobra.Command {
	return askingCommand(&cobra.Command{
		Use: "status --dir DIR/operator", Short: "Count by group what Macs report of their policies", Args: cobra.NoArgs,
		Long: `Status counts the Macs of each group by what they report of the policy: in place,
converging, partial, failed, not applicable; other are those that report none, or
that only monitor. Violations is what is against security controls. Deferred are
settings that wait for a virtual machine or its user, with the time since which the
oldest does.`,
		Example: "  prlportal policies status --dir site/operator\n  prlportal policies status --dir site/operator --json",
	}, (*adminapi.Client).PolicyStatus, printStatus, nil)
}

func printStatus(w io.Writer, status fleet.PolicyStatus) error {
	table := text.Table{Heads: []string{"Group", "Macs"}}
	for _, state := range (&fleet.GroupStatus{}).States() {
		table.Heads = append(table.Heads, strings.ToUpper(state.Words[:1])+state.Words[1:])
	}
	table.Heads = append(table.Heads, "Head expired", "Violations", "Deferred", "Oldest since", "Oldest on")
	for _, group := range status.Groups {
		row := []string{group.Group, strconv.Itoa(group.Macs)}
		for _, state := range group.States() {
			row = append(row, strconv.Itoa(state.Macs))
		}
		since, on := emptyCell, emptyCell
		if oldest := group.OldestDeferral; oldest != nil {
			since, on = localTime(oldest.Since, time.Local), orEmpty(oldest.MacSerial)
		}
		table.Rows = append(table.Rows, append(row, strconv.Itoa(group.Expired), strconv.Itoa(group.Violations), strconv.Itoa(group.Deferred), since, on))
	}
	_, err := io.WriteString(w, table.String())
	return err
}

func newSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of a policy document, for editors and programs",
		Long: `Schema prints the form of a policy as Macs are given it, with every setting, its values
and what it means (JSON Schema, draft 2020-12). The files of policies/ have the same
members but schema, policy_id and revision, which publishing adds; 'prlportal lint'
says more than a schema can.`,
		Example: "  prlportal policies schema >policy.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			document, err := policyschema.Policy()
			if err != nil {
				return err
			}
			return writeText(command.OutOrStdout(), string(document))
		},
	}
}

func newPromoteCommand() *cobra.Command {
	var options contentOptions
	var gate content.Gate
	command := &cobra.Command{
		Use: "promote POLICY --dir DIR/operator", Short: "Make a candidate the policy of its groups", Args: cobra.ExactArgs(1),
		Long: `Promote has all Macs of the groups take the candidate. It refuses before the
candidate is --min-hours old, while fewer than --min-devices Macs report on it, and
while more than --max-failed percent of their settings failed or are contended, of
all or of a Mac's own in the mean, or as many of the Macs could not take it.`,
		Example: "  prlportal policies promote finance --dir site/operator\n  prlportal policies promote finance --dir site/operator --min-hours 48 --max-failed 1",
		RunE: func(command *cobra.Command, args []string) error {
			return options.decide(command, func(ctx context.Context, work *workplace) (content.Change, error) {
				if work.status == nil {
					return content.Change{}, usageError("promote asks a portal what the Macs report; a folder does not know")
				}
				status, err := work.status.PolicyStatus(ctx)
				if err != nil {
					return content.Change{}, err
				}
				var shown []content.Shown
				for _, document := range status.Documents {
					shown = append(shown, content.Shown(document))
				}
				if err := gate.Check(work.state, args[0], shown, work.signer.Now); err != nil {
					return content.Change{}, err
				}
				return content.Promote(work.state, args[0])
			})
		},
	}
	options.addSigningFlags(command)
	flags := command.Flags()
	flags.IntVar(&gate.MinHours, "min-hours", 24, "least age of the candidate, in hours")
	flags.IntVar(&gate.MinDevices, "min-devices", 1, "least number of Macs that report on it")
	flags.Float64Var(&gate.MaxFailed, "max-failed", 5, "most settings that failed or are contended, in percent")
	return command
}

func newHaltCommand() *cobra.Command {
	var options contentOptions
	command := &cobra.Command{
		Use: "halt POLICY --dir DIR/operator", Short: "Take a candidate away from the Macs that have it", Args: cobra.ExactArgs(1),
		Long: `Halt publishes heads without the candidate: Macs that took it go back to the policy
of their group at their next check-in, and no other takes it.`,
		Example: "  prlportal policies halt finance --dir site/operator",
		RunE: func(command *cobra.Command, args []string) error {
			return options.decide(command, func(_ context.Context, work *workplace) (content.Change, error) {
				return content.Halt(work.state, args[0])
			})
		},
	}
	options.addSigningFlags(command)
	return command
}

func newRevertCommand() *cobra.Command {
	var options contentOptions
	var revision uint64
	command := &cobra.Command{
		Use: "revert POLICY --to REVISION --dir DIR/operator", Short: "Publish the content of an older revision again", Args: cobra.ExactArgs(1),
		Long: `Revert makes a new revision with the content of an older one, for the groups that
have the policy now. Revert the tree as well: publish would bring its content back.`,
		Example: "  prlportal policies revert finance --to 6 --dir site/operator",
		RunE: func(command *cobra.Command, args []string) error {
			if revision == 0 {
				return usageError("--to is a revision, from 1 on")
			}
			return options.decide(command, func(ctx context.Context, work *workplace) (content.Change, error) {
				return content.Revert(ctx, work.state, work.store, args[0], revision)
			})
		},
	}
	options.addSigningFlags(command)
	command.Flags().Uint64Var(&revision, "to", 0, "revision whose content comes back")
	return command
}

// decide publishes what a decision changes.
func (o *contentOptions) decide(command *cobra.Command, plan func(ctx context.Context, work *workplace) (content.Change, error)) error {
	work, err := o.open(command.Context())
	if err != nil {
		return err
	}
	defer work.close()
	change, err := plan(command.Context(), work)
	if err != nil {
		return err
	}
	return work.finish(command.Context(), o, command.OutOrStdout(), change)
}

// groupRow is a group that is published, or that Macs are in.
type groupRow struct {
	GroupID  string `json:"group_id"`
	Name     string `json:"name,omitempty"`
	Policy   string `json:"policy,omitempty"` // its name
	PolicyID string `json:"policy_id,omitempty"`
	Revision uint64 `json:"revision,omitempty"`
	Image    string `json:"golden_image,omitempty"`
	Mode     string `json:"mode,omitempty"`
	// Status is what its Macs report; nil where no portal is asked, or none has the
	// group.
	Status *fleet.GroupStatus `json:"status,omitempty"`
}

func newGroupsCommand() *cobra.Command {
	var options contentOptions
	command := &cobra.Command{
		Use: "groups --dir DIR/operator", Short: "List the groups with their policy, golden image and Macs", Args: cobra.NoArgs,
		Long: `Groups shows each group: where its Macs have it from (their profile, the enrollment
secret, or because it is the primary group), its policy with the revision, the
golden image, and how many Macs report which state of the policy. A Mac has one
group for all its users.`,
		Example: "  prlportal groups --dir site/operator\n  prlportal groups --dir site/operator --json",
		RunE: func(command *cobra.Command, _ []string) error {
			work, err := options.open(command.Context())
			if err != nil {
				return err
			}
			defer work.close()
			rows, err := work.groupRows(command.Context())
			if err != nil {
				return err
			}
			if options.asJSON {
				return printJSON(command.OutOrStdout(), map[string]any{"groups": rows})
			}
			return printGroups(command.OutOrStdout(), rows)
		},
	}
	options.addFlags(command)
	return command
}

func (w *workplace) groupRows(ctx context.Context) ([]groupRow, error) {
	byID := make(map[string]*groupRow)
	row := func(id string) *groupRow {
		if byID[id] == nil {
			byID[id] = &groupRow{GroupID: id}
		}
		return byID[id]
	}
	for _, group := range w.published.Groups {
		row(group.ID).Name = group.Name
	}
	for id, head := range w.state.Heads {
		group := row(id)
		group.Mode = head.Mode
		if head.Policy == nil {
			continue
		}
		group.PolicyID, group.Revision = head.Policy.PolicyID, head.Policy.Revision
		data, err := w.store.Policy(ctx, head.Policy.SHA256)
		if err != nil {
			return nil, fmt.Errorf("read policy %s: %w", pointerWords(*head.Policy), err)
		}
		group.Policy, group.Image = namesIn(data)
	}
	if w.status != nil {
		status, err := w.status.PolicyStatus(ctx)
		if err != nil {
			return nil, err
		}
		for i := range status.Groups {
			row(status.Groups[i].Group).Status = &status.Groups[i]
		}
	}
	rows := []groupRow{}
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		rows = append(rows, *byID[id])
	}
	return rows, nil
}

// namesIn are the names of a policy and of its golden image.
func namesIn(data []byte) (name, image string) {
	document, problems := policy.Check(data)
	if len(problems) > 0 {
		_ = json.Unmarshal(data, &struct{ Name *string }{&name})
		return name, ""
	}
	if document.GoldenImage != nil {
		image = document.GoldenImage.Name
	}
	return document.Name, image
}

func printGroups(w io.Writer, rows []groupRow) error {
	table := text.Table{Heads: []string{"Group", "Name", "Policy", "Revision", "Golden image", "Mode", "Macs", "From", "States"}}
	for _, row := range rows {
		revision := emptyCell
		if row.Revision > 0 {
			revision = strconv.FormatUint(row.Revision, 10)
		}
		macs, sources, states := "0", emptyCell, emptyCell
		if status := row.Status; status != nil {
			macs, sources, states = strconv.Itoa(status.Macs), countWords(status.Sources), stateWords(status)
		}
		table.Rows = append(table.Rows, []string{row.GroupID, orEmpty(row.Name), orEmpty(cmp.Or(row.Policy, row.PolicyID)), revision,
			orEmpty(row.Image), orEmpty(row.Mode), macs, sources, states})
	}
	_, err := io.WriteString(w, table.String())
	return err
}

// stateWords are the states of a group's Macs, as "3 in place, 1 failed".
func stateWords(status *fleet.GroupStatus) string {
	var words []string
	for _, state := range status.States() {
		if state.Macs > 0 {
			words = append(words, fmt.Sprintf("%d %s", state.Macs, state.Words))
		}
	}
	return orEmpty(strings.Join(words, ", "))
}

// countWords are counts by their words, as "3 primary, 1 profile".
func countWords(counts map[string]int) string {
	var words []string
	for _, word := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%d %s", counts[word], cmp.Or(word, "unreported")))
	}
	return orEmpty(strings.Join(words, ", "))
}
