package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/platform/text"
)

// commandStates are the states that a Mac gives a command, in their order.
var commandStates = []string{
	protocol.CommandAcknowledged, protocol.CommandDeferred, protocol.CommandRunning,
	protocol.CommandSucceeded, protocol.CommandFailed, protocol.CommandRejected, protocol.CommandExpired, protocol.CommandCancelled,
}

// commandTypes are the types of all commands.
func commandTypes() []string {
	return protocol.CommandNames(func(*protocol.CommandType) bool { return true })
}

// commandFilter is which commands are wanted.
type commandFilter struct {
	open            bool
	kind, state, vm string
	from            string // as typed
	since           time.Time
}

func (p *program) commandsCommand() *cobra.Command {
	wanted := new(commandFilter)
	command := &cobra.Command{
		Use:   "commands [ID]",
		Short: "List the portal's commands to this Mac, or show all of one",
		Long: `List the commands that an administrator of the portal has signed for this Mac, the
newest first; with ID, or with as much of it as no other has, show all that is known
of one: every change of its state with the time, why, who issued it, how often it was
tried, and what was seen. They are kept for 180 days after they expire.

States: acknowledged has arrived and is verified; deferred waits, for the reason that
is shown; running has begun, and cannot be cancelled; succeeded, failed, rejected,
expired and cancelled are ends. A command that failed is never repeated by itself.

Administrators see all commands. Everybody else sees those on their own virtual
machines, without who issued them and why.

Exit codes: 0 shown, also where there is none; 1 there is no command with this ID;
3 the daemon is not running, does not answer, or is not installed.`,
		Example: "  prlagent commands\n  prlagent commands --open\n  prlagent commands --type vm.delete --since 30d\n" +
			"  prlagent commands 0198f6b2-7c1e\n  prlagent commands --json | jq -r '.commands[] | select(.state == \"failed\") | .code'",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := wanted.settle(p.now(), p.zone); err != nil {
				return err
			}
			if len(args) == 0 {
				return p.runCommands(cmd.Context(), wanted)
			}
			if wanted.isSet() {
				return fmt.Errorf("an ID is of one command; leave the filters out")
			}
			return p.runCommand(cmd.Context(), text.TypedID(args[0]))
		},
		ValidArgsFunction: p.completeCommandID,
	}
	flags := command.Flags()
	flags.BoolVar(&wanted.open, "open", false, "only those that have not ended")
	flags.StringVar(&wanted.kind, "type", "", "only those of this type")
	flags.StringVar(&wanted.state, "state", "", "only those in this state")
	flags.StringVar(&wanted.vm, "vm", "", "only those on this machine: its id, or its name")
	flags.StringVar(&wanted.from, "since", "", "only those whose state changed since then (12h, 2d) or since a date")
	completeFrom(command, "type", commandTypes())
	completeFrom(command, "state", commandStates)
	return command
}

// settle reads what was typed.
func (f *commandFilter) settle(now time.Time, zone *time.Location) (err error) {
	for _, word := range []struct {
		typed *string
		flag  string
		known []string
	}{{&f.kind, "--type", commandTypes()}, {&f.state, "--state", commandStates}} {
		if *word.typed == "" {
			continue
		}
		if *word.typed = text.TypedWord(*word.typed); !slices.Contains(word.known, *word.typed) {
			return fmt.Errorf("%s must be one of %s, not %q", word.flag, strings.Join(word.known, ", "), *word.typed)
		}
	}
	if f.from != "" {
		f.since, err = parseMoment(f.from, now, zone)
	}
	return err
}

func (f *commandFilter) isSet() bool { return *f != commandFilter{} }

// takes reports whether a command is wanted.
func (f *commandFilter) takes(one *localapi.Command) bool {
	return (!f.open || !protocol.CommandEnded(one.State)) && (f.kind == "" || one.Type == f.kind) && (f.state == "" || one.State == f.state) &&
		(f.vm == "" || strings.EqualFold(strings.Trim(f.vm, "{}"), one.Target.VMID) || f.vm == one.Target.VMName) &&
		!one.Since.Before(f.since)
}

func (p *program) runCommands(ctx context.Context, wanted *commandFilter) error {
	ctx, cancel := p.withTimeout(ctx)
	defer cancel()
	list, err := p.newClient().Commands(ctx, "")
	if err != nil {
		return exitFor(err)
	}
	list.Commands = slices.DeleteFunc(list.Commands, func(one localapi.Command) bool { return !wanted.takes(&one) })
	return exitOrNil(printDocument(p, list, func(v outputView, list localapi.CommandList) string { return commandsPage(v, list, wanted.isSet()) }))
}

// commandDocument is one command.
type commandDocument struct {
	Schema int `json:"schema"`
	localapi.Command
	Restricted bool `json:"restricted,omitempty"` // who issued it, and why, is left out
}

func (p *program) runCommand(ctx context.Context, id string) error {
	if !protocol.ValidName(id) {
		return fmt.Errorf("%q is no id of a command; 'prlagent commands' shows them", text.DisplayValue(id))
	}
	ctx, cancel := p.withTimeout(ctx)
	defer cancel()
	list, err := p.newClient().Commands(ctx, id)
	if err != nil {
		return exitFor(err)
	}
	one, err := onlyCommand(list.Commands, id)
	if err != nil {
		return err
	}
	return exitOrNil(printDocument(p, commandDocument{list.Schema, *one, list.Restricted}, commandPage))
}

// onlyCommand is the command with this id, or the only one whose id begins like it.
func onlyCommand(found []localapi.Command, id string) (*localapi.Command, error) {
	for i := range found {
		if len(found) == 1 || strings.EqualFold(found[i].CommandID, id) {
			return &found[i], nil
		}
	}
	if len(found) == 0 {
		words := protocol.CodeCommandNotFound.Text()
		return nil, &exitError{code: exitDegraded, words: &localapi.ErrorBody{Code: protocol.CodeCommandNotFound, Text: words.Text, Remedy: words.Remedy}}
	}
	var ids []string
	for _, one := range found {
		ids = append(ids, text.Display(one.CommandID))
	}
	return nil, fmt.Errorf("the ids of %s begin with %s: %s", countWords(len(found), "command"), id, joinSome(ids))
}

// completeCommandID offers the ids of commands, the newest first.
func (p *program) completeCommandID(command *cobra.Command, given []string, typed string) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	if len(given) > 0 || p.resolveFlags() != nil {
		return nil, directive
	}
	ctx, cancel := context.WithTimeout(command.Context(), min(p.timeout, completionTime))
	defer cancel()
	list, err := p.newClient().Commands(ctx, text.TypedID(typed))
	if err != nil {
		return nil, directive
	}
	var ids []string
	for _, one := range cleanDocument(list).Commands {
		ids = append(ids, cobra.CompletionWithDesc(one.CommandID, joinParts(" ", one.Type, one.Target.VMName, one.State)))
	}
	return ids, directive
}

// completionTime is how long a shell waits for words.
const completionTime = 2 * time.Second

// commandStyles are how states are shown; the others are as good as any.
var commandStyles = map[string]textStyle{
	protocol.CommandDeferred: styleYellow, protocol.CommandRunning: styleYellow, protocol.CommandSucceeded: styleGreen,
	protocol.CommandFailed: styleRed, protocol.CommandRejected: styleRed, protocol.CommandExpired: styleRed,
}

// shortID is how much of an id a terminal shows of one: a command's begins with the
// time of its making, to the millisecond.
const shortID = len("0198f6b2-7c1e")

// shortIDs are the ids as a terminal shows them: as much as no other has, and at least
// shortID.
func shortIDs(list []localapi.Command) []string {
	ids, length := make([]string, 0, len(list)), shortID
	for again := true; again; length += 5 {
		ids, again = ids[:0], false
		seen := make(map[string]bool)
		for _, one := range list {
			id := one.CommandID[:min(len(one.CommandID), length)]
			again = again || seen[id] && len(one.CommandID) > length
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

// commandsPage is the list for people.
func commandsPage(v outputView, list localapi.CommandList, filtered bool) string {
	if len(list.Commands) == 0 {
		words := "There is no command.\n"
		if filtered {
			words = "No command is like that.\n"
		}
		return words + commandsNote(v, list)
	}
	var ids []string
	if v.window > 0 {
		ids = shortIDs(list.Commands)
	}
	table := styledTable{heads: []string{"ID", "SINCE", "TYPE", "VM", "USER", "STATE", "CODE"}, drop: []int{4, 1}}
	open := 0
	for i := range list.Commands {
		one := &list.Commands[i]
		if !protocol.CommandEnded(one.State) {
			open++
		}
		id := one.CommandID
		if ids != nil {
			id = ids[i]
		}
		table.rows = append(table.rows, []tableCell{
			{id, ""}, {v.localTime(one.Since), ""}, {cmp.Or(one.Type, "unknown"), ""}, {one.Target.VMName, ""}, {one.Target.Owner, ""},
			{one.State, commandStyles[one.State]}, {string(one.Code), ""},
		})
	}
	return table.render(v, "") + fmt.Sprintf("\n%s, %d open.\n", countWords(len(list.Commands), "command"), open) + commandsNote(v, list)
}

// commandsNote says what is not shown.
func commandsNote(v outputView, list localapi.CommandList) (out string) {
	if list.Truncated {
		out += fmt.Sprintf("There are older ones: only the newest %d are looked through.\n", localapi.MaxCommands)
	}
	if list.Restricted {
		out += v.paint(styleDim, "Only commands on your own machines are shown: sudo prlagent commands") + "\n"
	}
	return out
}

// commandPage is all there is to know of one command.
func commandPage(v outputView, one commandDocument) string {
	p := &pageWriter{view: v}
	fmt.Fprintf(&p.text, "%s %s\n", v.paint(styleBold, cmp.Or(one.Type, "unknown")), one.CommandID)
	for _, line := range [][2]string{
		{"State", v.paint(commandStyles[one.State], one.State) + " since " + v.momentWords(one.Since)},
		{"Code", codeWords(one.Code)}, {"", withPrefix("→ ", one.Remedy)}, {"Message", one.Message},
		{"Virtual machine", joinParts(", ", one.Target.VMName, one.Target.VMID)}, {"User", commandOwner(one.Target)},
		{"Issued by", one.IssuedBy}, {"Reason", one.Command.Reason},
		{"Issued", v.localTime(one.IssuedAt)}, {"Latest start", v.localTime(one.ExpiresAt)},
		{"Attempts", attemptWords(v, &one.Command)}, {"Looked at again", v.localTime(one.RetryAt)},
		{"Ended", v.localTime(one.EndedAt)}, {"Portal", acknowledgedWords(&one.Command)},
	} {
		if line[1] != "" {
			p.addItem(line[0], line[1])
		}
	}
	label := "Seen"
	for _, key := range slices.Sorted(maps.Keys(one.Observed)) {
		p.addItem(label, key+" = "+one.Observed[key])
		label = ""
	}
	p.addHistory(one.History)
	if one.Restricted {
		fmt.Fprintf(&p.text, "\n%s\n", v.paint(styleDim, "Who issued it, and why, is shown to administrators only: sudo prlagent commands"))
	}
	return p.text.String()
}

func commandOwner(target protocol.CommandTarget) string {
	if target.VMID == "" {
		return ""
	}
	return joinParts(", ", target.Owner, fmt.Sprintf("uid %d", target.UID))
}

func attemptWords(v outputView, one *localapi.Command) string {
	if one.Attempts == 0 {
		return "none"
	}
	return fmt.Sprintf("%d, the first at %s", one.Attempts, v.localTime(one.StartedAt))
}

func acknowledgedWords(one *localapi.Command) string {
	switch {
	case !protocol.CommandEnded(one.State):
		return ""
	case one.Acknowledged:
		return "has the result"
	}
	return "does not have the result yet; it is kept until then"
}

// addHistory shows every change of a command's state.
func (p *pageWriter) addHistory(history []localapi.CommandStep) {
	p.addHeading("History")
	table := styledTable{heads: []string{"AT", "STATE", "CODE"}}
	for _, step := range history {
		table.rows = append(table.rows, []tableCell{{p.view.localTime(step.At), ""}, {step.State, commandStyles[step.State]}, {codeWords(step.Code), ""}})
	}
	p.text.WriteString(table.render(p.view, "  "))
}

// addCommands says in a line or two how it stands with commands.
func (p *pageWriter) addCommands(commands *localapi.CommandStatus) {
	if commands == nil {
		return
	}
	var open []string
	for _, one := range commands.Oldest {
		open = append(open, briefWords(one)+", "+joinParts(": ", one.State, string(one.Code)))
	}
	if more := commands.Open - len(open); more > 0 && len(open) > 0 {
		open = append(open, countWords(more, "other"))
	}
	var unreported string
	if commands.Unreported > 0 {
		unreported = countWords(commands.Unreported, "result") + " for the portal"
	}
	if commands.Open == 0 && unreported == "" && commands.LastFailed == nil {
		return
	}
	words := fmt.Sprintf("%d open", commands.Open) + withPrefix(": ", strings.Join(open, "; "))
	p.addItem("Commands", joinParts("; ", words, unreported)+"; see 'prlagent commands'")
	if last := commands.LastFailed; last != nil {
		p.addItem("  last failed", joinParts(", ", briefWords(*last), joinParts(": ", last.State, string(last.Code)))+" "+
			p.view.paint(styleDim, "("+p.view.distanceWords(last.Since)+")")+"; see 'prlagent commands "+last.CommandID+"'")
	}
}

func briefWords(one localapi.CommandBrief) string {
	return joinParts(" ", cmp.Or(one.Type, "unknown"), joinParts(" of ", one.VMName, one.Owner))
}
