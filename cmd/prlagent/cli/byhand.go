package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/platform/text"
	"prlagent/prlctl"
)

func (p *program) vmCommand() *cobra.Command {
	command := &cobra.Command{Use: "vm", Short: "Change virtual machines by hand", Args: noSuchCommand, RunE: showHelp}
	var all bool
	set := &cobra.Command{
		Use:   "set [--all|VM-ID...] NAME=VALUE",
		Short: "Set one setting of virtual machines now",
		Long: `Set one setting of the catalogue now: of the machines with these ids, or of all
machines of all users, each as its owner. Only administrators may; everybody else
gets exit code 4.

What the agent does for a policy it does here too: it looks at each machine, sets
what is not as it is wanted, and looks again. It is done in monitor mode as well,
because a person asks for it, and at once, also where that interrupts somebody who
works in the machine. It is done once: what waits for a machine to be shut down or
resumed is to be asked for again then. A setting that the policy manages is put
back to the policy's value; that is said.

Exit code 1 means that a machine was left out. Settings and their values:
` + settingHelp(),
		Example: "  sudo prlagent vm set --all pause_idle=false\n  sudo prlagent vm set f11d8098-10fe-40d9-871e-27af1e66161e clipboard=disconnect",
		Args: func(_ *cobra.Command, args []string) error {
			_, err := handRequest(args, all)
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := handRequest(args, all)
			if err != nil {
				return err
			}
			p.bePatient(cmd)
			return p.runByHand(cmd.Context(), request, "The agent sets each user's machines one after the other; Ctrl-C stops waiting, not the agent …")
		},
	}
	set.Flags().BoolVar(&all, "all", false, "every machine of every user")
	command.AddCommand(set, p.passwdCommand())
	return command
}

func showHelp(command *cobra.Command, _ []string) error { return command.Help() }

func (p *program) releaseCommand() *cobra.Command {
	var locks, all bool
	var held []string
	command := &cobra.Command{
		Use:   "release --locks|--hold VM-ID|--all",
		Short: "Lift the locks that the agent has placed, or end holds",
		Long: `With --locks, lift what the agent has placed: the locks of virtual machines, and
the switches of the Mac that have Parallels Desktop ask for an administrator
(prlsrvctl set). No others: what was locked before stays locked. From then on the
agent only plans, also after a restart, until there is a newer policy.

With --hold, do not keep a machine suspended any more that an administrator of the
portal has locked; with --all, none of them. It may start again, and gets its
autostart back. That is logged and told to the portal, and stays so after a restart,
until the machine is locked anew.

Only administrators may; everybody else gets exit code 4. Exit code 1 means that a
lock is still there, or that no such machine is held. The agent tries again at each
look, and the command that lifts a lock by hand is printed.`,
		Example: "  sudo prlagent release --locks\n  sudo prlagent release --hold f11d8098-10fe-40d9-871e-27af1e66161e\n  sudo prlagent release --all", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			request, err := releaseRequest(locks, all, held)
			if err != nil {
				return err
			}
			p.bePatient(cmd)
			progress := "The agent lifts its locks, as the machines' owners; Ctrl-C stops waiting, not the agent …"
			if request.ReleaseHolds {
				progress = "The agent ends holds …"
			}
			return p.runByHand(cmd.Context(), request, progress)
		},
	}
	command.Flags().BoolVar(&locks, "locks", false, "the locks of virtual machines and the switches of the Mac")
	command.Flags().StringArrayVar(&held, "hold", nil, "the hold of the machine with this `VM-ID`; again for more of them")
	command.Flags().BoolVar(&all, "all", false, "every hold")
	return command
}

// releaseRequest reads what to release: one of the three.
func releaseRequest(locks, all bool, held []string) (request localapi.HandRequest, err error) {
	request = localapi.HandRequest{ReleaseLocks: locks, ReleaseHolds: !locks, All: all}
	for _, given := range held {
		id, err := prlctl.ParseID(given)
		if err != nil {
			return request, fmt.Errorf("%q is not the id of a machine; 'prlagent status --verbose' shows those that are held", given)
		}
		request.VMs = append(request.VMs, id)
	}
	asked := 0
	for _, is := range []bool{locks, all, len(held) > 0} {
		if is {
			asked++
		}
	}
	if asked != 1 {
		return request, errors.New("say what to release: --locks, --hold VM-ID or --all")
	}
	return request, nil
}

// settingHelp are the settings with their values.
func settingHelp() string {
	var out strings.Builder
	for i := range policy.Settings {
		fmt.Fprintf(&out, "  %-22s %s\n", policy.Settings[i].Name, policy.Settings[i].Values.List())
	}
	return strings.TrimRight(out.String(), "\n")
}

// handRequest reads [VM-ID...] NAME=VALUE. A machine is named by its id alone: its
// name is its user's text.
func handRequest(args []string, all bool) (request localapi.HandRequest, err error) {
	if len(args) == 0 {
		return request, errors.New("say what to set: NAME=VALUE")
	}
	name, value, found := strings.Cut(args[len(args)-1], "=")
	if !found {
		return request, fmt.Errorf("the last argument must be NAME=VALUE, not %q", args[len(args)-1])
	}
	setting := policy.Find(text.TypedWord(name))
	if setting == nil {
		return request, fmt.Errorf("there is no setting %q; 'prlagent vm set --help' lists them", name)
	}
	parsed, err := setting.Values.Parse(value)
	if err != nil {
		return request, fmt.Errorf("%s: %w", setting.Name, err)
	}
	request = localapi.HandRequest{Setting: setting.Name, Value: string(parsed), All: all}
	for _, given := range args[:len(args)-1] {
		id, err := prlctl.ParseID(given)
		if err != nil {
			return request, fmt.Errorf("%q is not the id of a machine; 'prlagent vms --columns vm_name,vm_id' shows them", given)
		}
		if !slices.Contains(request.VMs, id) {
			request.VMs = append(request.VMs, id)
		}
	}
	if all == (len(request.VMs) > 0) {
		return request, errors.New("name machines by their ids, or all of them with --all")
	}
	return request, nil
}

func (p *program) runByHand(ctx context.Context, request localapi.HandRequest, progress string) error {
	var result localapi.HandResult
	var err error
	p.withProgress(ctx, progress, func(ctx context.Context) { result, err = p.newClient().ByHand(ctx, request) })
	if err != nil {
		return exitFor(err)
	}
	if err := printDocument(p, result, handPage); err != nil {
		return exitFor(err)
	}
	isLeft := func(vm localapi.HandVM) bool { return vm.Outcome != policy.HandDone }
	isOn := func(s localapi.HandSwitch) bool { return s.Outcome != policy.HandDone }
	if result.Code != "" || slices.ContainsFunc(result.VMs, isLeft) || slices.ContainsFunc(result.Switches, isOn) {
		return &exitError{code: exitDegraded}
	}
	return nil
}

// handPage is what became of each machine, and of each switch of the Mac.
func handPage(v outputView, result localapi.HandResult) string {
	if result.Code != "" {
		return v.paint(styleRed, "✗") + " It was not done, or nobody knows how it ended.\n" + reasonLines(v, result.Code, "")
	}
	if result.ReleaseHolds {
		return releasedPage(v, result)
	}
	var out strings.Builder
	release := result.Setting == ""
	if len(result.VMs)+len(result.Switches) == 0 {
		out.WriteString(map[bool]string{true: "The agent has placed no lock.\n", false: "There is no virtual machine.\n"}[release])
	}
	for _, vm := range result.VMs {
		out.WriteString(handLines(v, result, vm))
	}
	for _, s := range result.Switches {
		out.WriteString(switchLines(v, s))
	}
	switch {
	case release:
		out.WriteString("From now on the agent only plans, until there is a newer policy.\n")
	case result.Mode == "monitor":
		out.WriteString("The agent only monitors by itself; this was done because you asked for it.\n")
	}
	return out.String()
}

// releasedPage is which machines are not held any more.
func releasedPage(v outputView, result localapi.HandResult) string {
	if len(result.VMs) == 0 {
		return "Nothing is held.\n"
	}
	var out strings.Builder
	for _, vm := range result.VMs {
		who := joinParts(" of ", vm.Name, vm.Owner)
		if who == "" {
			who = vm.ID
		}
		fmt.Fprintf(&out, "%s %s is not held any more\n", v.paint(styleGreen, "✓"), who)
	}
	return out.String() + "They stay released until they are locked anew.\n"
}

// handMarks are how an outcome is marked.
var handMarks = map[string]struct {
	style textStyle
	mark  string
}{
	policy.HandDone: {styleGreen, "✓"}, policy.HandDeferred: {styleYellow, "–"}, policy.HandRefused: {styleRed, "✗"},
}

func handLines(v outputView, result localapi.HandResult, vm localapi.HandVM) string {
	mark, what := handMarks[vm.Outcome], result.Setting+" is "+result.Value
	if vm.Outcome != policy.HandDone {
		what = result.Setting + " is not set"
	}
	if result.Setting == "" {
		what = map[bool]string{true: "the lock is lifted", false: "the lock is not lifted"}[vm.Outcome == policy.HandDone]
	}
	who := joinParts(" of ", vm.Name, vm.Owner)
	if who == "" {
		who = vm.ID
	}
	out := fmt.Sprintf("%s %s: %s\n", v.paint(mark.style, mark.mark), who, joinParts(", ", what, withPrefix(vm.Outcome+": ", string(vm.Code))))
	return out + handReason(vm.Code, vm.Command) + policyLine(vm)
}

// switchLines is what became of a switch of the Mac.
func switchLines(v outputView, s localapi.HandSwitch) string {
	mark := handMarks[s.Outcome]
	what := map[bool]string{true: s.Target + " is lifted", false: s.Target + " is not lifted"}[s.Outcome == policy.HandDone]
	out := fmt.Sprintf("%s This Mac: %s\n", v.paint(mark.style, mark.mark), joinParts(", ", what, withPrefix(s.Outcome+": ", string(s.Code))))
	return out + handReason(s.Code, s.Command)
}

// handReason is why something is left, and what a person does about it.
func handReason(code protocol.Code, command string) (out string) {
	if code != "" {
		out = "  " + code.Text().Text + "\n"
	}
	switch {
	case command != "":
		out += "  → " + command + "\n"
	case code != "" && code.Text().Remedy != "":
		out += "  → " + code.Text().Remedy + "\n"
	}
	return out
}

// policyLine says that the policy manages the setting.
func policyLine(vm localapi.HandVM) string {
	switch {
	case vm.PutBack:
		return fmt.Sprintf("  The policy wants %s (%s), and the agent puts that back.\n", vm.PolicyValue, vm.PolicyPath)
	case vm.PolicyPath != "":
		return fmt.Sprintf("  The policy wants %s (%s).\n", vm.PolicyValue, vm.PolicyPath)
	}
	return ""
}
