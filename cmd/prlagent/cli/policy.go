package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/platform/text"
)

func (p *program) policyCommand() *cobra.Command {
	show := func(cmd *cobra.Command, _ []string) error { return p.runPolicy(cmd.Context(), policyPage) }
	command := &cobra.Command{
		Use:   "policy",
		Short: "Show what the policy wants of the virtual machines, and how they are",
		Long: `Show what the policy wants of the virtual machines of this Mac and of the
preferences of its users, and how they are. Users who are not administrators see
their own.`,
		Example: "  prlagent policy\n  prlagent policy plan\n  prlagent policy explain network --vm f11d8098-10fe-40d9-871e-27af1e66161e",
		Args:    noSuchCommand, RunE: show,
	}
	command.AddCommand(
		&cobra.Command{
			Use: "show", Short: "What the policy wants, and for how many machines it is so", Args: cobra.NoArgs, RunE: show,
		},
		&cobra.Command{
			Use: "plan", Short: "What the agent would do now, call by call", Args: cobra.NoArgs,
			Long: `Show the calls of the newest plan: those that are being made, or, in monitor
mode, those that would be. Below it is what waits, and for what.`,
			RunE: func(cmd *cobra.Command, _ []string) error { return p.runPolicy(cmd.Context(), policyPlanPage) },
		},
		p.policyExplainCommand(),
		p.policyLintCommand(),
	)
	return command
}

func (p *program) policyExplainCommand() *cobra.Command {
	var vm string
	command := &cobra.Command{
		Use: "explain [SETTING]", Short: "Why a setting is as it is", Args: cobra.MaximumNArgs(1),
		Long: `Explain each setting of each machine: what is wanted and by which revision, what
is shown, what the agent wrote and when, how firmly it holds and for whom, how
often it was changed by somebody else, and why it is not in place where it is not.

Exit code 2 means that there is no setting, or no machine with settings, of that name.`,
		Example: "  prlagent policy explain\n  prlagent policy explain clipboard\n  prlagent policy explain --vm f11d8098-10fe-40d9-871e-27af1e66161e --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			var setting string
			if len(args) == 1 {
				setting = text.TypedWord(args[0])
			}
			return p.runExplain(cmd.Context(), setting, vm)
		},
	}
	command.Flags().StringVar(&vm, "vm", "", "only this machine: its id, or its name")
	return command
}

// runPolicy prints the policy as JSON, or as a page for people.
func (p *program) runPolicy(ctx context.Context, page func(outputView, localapi.Policy) string) error {
	ctx, cancel := p.withTimeout(ctx)
	defer cancel()
	policy, err := p.newClient().Policy(ctx)
	if err != nil {
		return exitFor(err)
	}
	return exitOrNil(printDocument(p, policy, page))
}

func (p *program) runExplain(ctx context.Context, setting, vm string) error {
	ctx, cancel := p.withTimeout(ctx)
	defer cancel()
	policy, err := p.newClient().Policy(ctx)
	if err != nil {
		return exitFor(err)
	}
	if err := checkNames(policy, setting, vm); err != nil {
		return err
	}
	isAsked := func(one localapi.PolicySetting) bool {
		return (setting == "" || one.Setting == setting || one.Path == setting) &&
			(vm == "" || strings.EqualFold(strings.Trim(vm, "{}"), one.ID) || vm == one.Name)
	}
	policy.Settings = slices.DeleteFunc(policy.Settings, func(one localapi.PolicySetting) bool { return !isAsked(one) })
	policy.Steps = slices.DeleteFunc(policy.Steps, func(one localapi.PolicyStep) bool {
		return !isAsked(localapi.PolicySetting{PolicyVM: one.PolicyVM, Setting: one.Setting})
	})
	return exitOrNil(printDocument(p, policy, explainPage))
}

// checkNames refuses a setting that neither the policy nor the catalogues have, and a
// machine that nothing is planned for, and says which may be meant.
func checkNames(shown localapi.Policy, setting, vm string) error {
	var settings, machines []string
	for _, one := range policy.Settings {
		settings = append(settings, one.Name)
	}
	for _, one := range policy.Preferences {
		settings = append(settings, one.Name)
	}
	for _, one := range policy.Controls {
		settings = append(settings, one.Name)
	}
	isKnown := setting == "" || slices.Contains(settings, setting)
	for _, one := range pathsOf(shown) {
		isKnown = isKnown || setting == one.Setting || setting == one.Path
	}
	for _, one := range shown.Settings {
		if one.Name != "" && !slices.Contains(machines, one.Name) {
			machines = append(machines, one.Name)
		}
	}
	isThere := vm == "" || len(machines) == 0 || slices.ContainsFunc(shown.Settings, func(one localapi.PolicySetting) bool {
		return vm == one.Name || strings.EqualFold(strings.Trim(vm, "{}"), one.ID)
	})
	switch {
	case !isKnown:
		return fmt.Errorf("there is no setting %q%s 'prlagent policy show' has those of the policy", text.DisplayValue(setting), meant(setting, settings))
	case !isThere:
		return fmt.Errorf("there is no machine %q with settings%s 'prlagent vms --columns vm_name,vm_id' has their names", text.DisplayValue(vm), meant(vm, machines))
	}
	return nil
}

// meant are the names that a misspelled one may stand for, as cobra finds them.
func meant(typed string, known []string) string {
	names := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, name := range known {
		names.AddCommand(&cobra.Command{Use: strings.ReplaceAll(name, " ", "\u00a0"), Run: func(*cobra.Command, []string) {}})
	}
	found := names.SuggestionsFor(strings.ReplaceAll(typed, " ", "\u00a0"))
	if len(found) == 0 {
		return ";"
	}
	return "; did you mean " + text.DisplayValue(strings.ReplaceAll(strings.Join(found, " or "), "\u00a0", " ")) + "?"
}

// policyHeadline is the first line of every page.
func policyHeadline(v outputView, policy localapi.Policy) string {
	words := "Policy " + joinParts(" ", joinParts(", ", policyWords(policy.Report), candidateWords(policy.InForce)), withPrefix("– ", policy.Name))
	head := v.paint(styleBold, words) + "\n" + v.paint(styleDim, modeWords(policy.InForce)+planTime(v, policy)) + "\n"
	if released := policy.LocksReleased; released != nil {
		head += v.paint(styleYellow, joinParts(" ", "locks released "+v.momentWords(released.At), withPrefix("by ", released.By))+"; the agent only plans until there is a newer policy") + "\n"
	}
	return head
}

// candidateWords say that only some of the group's Macs have this policy.
func candidateWords(policy localapi.InForce) string {
	if policy.CandidatePercent == 0 {
		return ""
	}
	return fmt.Sprintf("candidate, %d %%", policy.CandidatePercent)
}

// modeWords say which mode is in force, and whose word it is that it is no other.
func modeWords(policy localapi.InForce) string {
	whose := ""
	switch {
	case policy.Mode == protocol.ModeEnforce:
	case policy.ModeOf == "head":
		whose = "by the signed head"
	case policy.ModeOf == localapi.ModeOfPerson:
		whose = "because an administrator of this Mac had the locks lifted"
	default:
		whose = "by the configuration"
	}
	return joinParts(", ", "mode "+policy.Mode, whose)
}

func planTime(v outputView, policy localapi.Policy) string {
	if policy.At.IsZero() {
		return ", nothing planned yet"
	}
	return ", planned " + v.momentWords(policy.At)
}

func policyNote(v outputView, policy localapi.Policy) string {
	if !policy.Restricted {
		return ""
	}
	return "\n" + v.paint(styleDim, "Only your own machines are shown: sudo prlagent policy") + "\n"
}

// policyPage is what the policy wants, and for how many machines it is so.
func policyPage(v outputView, policy localapi.Policy) string {
	wanted := styledTable{heads: []string{"setting", "value", "in place", "otherwise"}}
	for _, one := range pathsOf(policy) {
		inPlace, all, others := 0, 0, map[string]int{}
		for _, setting := range policy.Settings {
			if setting.Path != one.Path {
				continue
			}
			if all++; setting.Verdict == protocol.VerdictInPlace {
				inPlace++
			} else {
				others[joinParts(" ", setting.Verdict, withPrefix("by ", string(setting.Code)))]++
			}
		}
		wanted.rows = append(wanted.rows, []tableCell{{one.Path, ""}, {valueWords(one.Value), ""}, {fmt.Sprintf("%d of %d", inPlace, all), ""}, {countedWords(others), styleYellow}})
	}
	if len(wanted.rows) == 0 {
		return policyHeadline(v, policy) + "\nNothing is managed.\n" + policyNote(v, policy)
	}
	return policyHeadline(v, policy) + "\n" + wanted.render(v, "") + policyNote(v, policy)
}

// pathsOf are the settings of the policy; for who may not see it whole, those of
// their machines.
func pathsOf(policy localapi.Policy) []localapi.WantedSetting {
	paths := slices.Clone(policy.Wanted)
	for _, setting := range policy.Settings {
		if !slices.ContainsFunc(paths, func(one localapi.WantedSetting) bool { return one.Path == setting.Path }) {
			paths = append(paths, localapi.WantedSetting{Path: setting.Path, Setting: setting.Setting, Value: setting.Value})
		}
	}
	return paths
}

// valueWords is a value of the policy for people: an empty text is a value as well.
func valueWords(value string) string { return cmp.Or(value, `""`) }

func countedWords(counts map[string]int) string {
	words := make([]string, 0, len(counts))
	for word, count := range counts {
		words = append(words, fmt.Sprintf("%d %s", count, word))
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// notPlannedYet stands for a plan that there is not: the virtual machines have to
// be looked at before.
const notPlannedYet = "The next look at the virtual machines plans for this policy: ask again in a moment."

// awaitsPlan reports whether there is a policy that nothing was planned for yet.
func awaitsPlan(policy localapi.Policy) bool { return policy.At.IsZero() && len(policy.Wanted) > 0 }

// policyPlanPage is what would be done now, and what waits.
func policyPlanPage(v outputView, policy localapi.Policy) string {
	var out strings.Builder
	out.WriteString(policyHeadline(v, policy))
	switch {
	case awaitsPlan(policy):
		out.WriteString("\n" + notPlannedYet + "\n")
	case len(policy.Steps) == 0:
		out.WriteString("\nNothing is to be set.\n")
	case policy.Mode == "monitor":
		out.WriteString("\nThe agent only monitors. In enforce mode it would run, as each owner:\n")
	default:
		out.WriteString("\nThe agent runs, as each owner:\n")
	}
	steps := styledTable{heads: []string{"user", "machine", "setting", "shown", "call"}}
	for _, step := range policy.Steps {
		owner, name := step.Owner, step.Name
		if owner == "" {
			owner, name = "root", "this Mac"
		}
		steps.rows = append(steps.rows, []tableCell{{owner, ""}, {name, ""}, {step.Setting, ""}, {step.Shown, ""}, {callWords(step), ""}})
	}
	if len(steps.rows) > 0 {
		out.WriteString("\n" + steps.render(v, "  "))
	}
	for _, setting := range policy.Settings {
		if setting.Verdict == protocol.VerdictDeferred {
			fmt.Fprintf(&out, "\n%s of %s waits since %s: %s", setting.Setting, vmWords(setting.PolicyVM), v.momentWords(setting.WaitingSince), codeWords(setting.Code))
		}
	}
	return strings.TrimRight(out.String(), "\n") + "\n" + policyNote(v, policy)
}

// callWords are the words of a call. They show what it does: an argument that a
// shell would not take as it is stands in quotes.
func callWords(step localapi.PolicyStep) string {
	words := cmp.Or(step.Tool, "prlctl")
	for _, arg := range step.Call {
		if strings.ContainsAny(arg, " <>&;") {
			arg = "'" + arg + "'"
		}
		words += " " + arg
	}
	return words
}

func vmWords(vm localapi.PolicyVM) string {
	if vm.ID == "" && vm.UID == 0 {
		return "this Mac"
	}
	if vm.ID == "" {
		return cmp.Or(vm.Owner, fmt.Sprintf("uid %d", vm.UID))
	}
	return joinParts(" of ", vm.Name, vm.Owner)
}

// explainPage explains each setting of each machine.
func explainPage(v outputView, policy localapi.Policy) string {
	p := &pageWriter{view: v}
	p.text.WriteString(policyHeadline(v, policy))
	for _, setting := range policy.Settings {
		p.addSetting(policy, setting)
	}
	p.addUnseen(policy)
	switch {
	case len(policy.Settings) > 0:
	case awaitsPlan(policy):
		p.text.WriteString("\n" + notPlannedYet + "\n")
	default:
		p.text.WriteString("\nNothing of that name is managed, or nothing was planned for it yet: 'prlagent policy show' lists what is.\n")
	}
	return p.text.String() + policyNote(v, policy)
}

func (p *pageWriter) addSetting(policy localapi.Policy, setting localapi.PolicySetting) {
	p.addHeading(setting.Setting + " of " + vmWords(setting.PolicyVM))
	by := "by " + setting.Path
	if policy.Report.PolicyID != "" {
		by += fmt.Sprintf(" of %s, revision %d", policy.Report.PolicyID, policy.Report.Revision)
	}
	p.addItem("Wanted", joinParts(", ", valueWords(setting.Value), by))
	p.addItem("Is", joinParts(", ", setting.Verdict, withPrefix("since ", p.view.momentWords(setting.Since))))
	if setting.Code != "" {
		p.addItem("Why", codeWords(setting.Code))
	}
	if setting.Remedy != "" {
		p.addItem("", "→ "+setting.Remedy)
	}
	p.addItem("Holds", fmt.Sprintf("%s for a standard user, %s for an administrator", setting.Strength, setting.StrengthAdmin))
	if !setting.WaitingSince.IsZero() {
		deadline := ""
		if !setting.Deadline.IsZero() {
			deadline = "until " + p.view.momentWords(setting.Deadline)
		}
		p.addItem("Waits", joinParts(", ", "since "+p.view.momentWords(setting.WaitingSince), deadline))
	}
	p.addControl(setting)
	if setting.Drifts > 0 {
		p.addItem("Changed", countWords(setting.Drifts, "time")+" by somebody else")
	}
	if setting.AppShows != "" {
		p.addItem("Application", setting.AppShows)
	}
	if setting.CustomPassword {
		p.addItem("Password", "the machine has a custom password, which is asked for before its configuration is changed")
	}
	for _, flag := range setting.Flags {
		p.addItem(flag.Target, flagWords(p.view, flag))
	}
}

// addUnseen says once for the page what is not looked at.
func (p *pageWriter) addUnseen(policy localapi.Policy) {
	var told []string
	for i := range policy.Settings {
		if unseen := policy.Settings[i].Unseen; unseen != "" && !slices.Contains(told, unseen) {
			told = append(told, unseen)
		}
	}
	for _, unseen := range told {
		p.text.WriteString("\n")
		p.addItem("Not seen", unseen)
	}
}

// addControl says of a security control against what it holds, and what is seen or
// done beside it.
func (p *pageWriter) addControl(setting localapi.PolicySetting) {
	for _, act := range setting.Acts {
		p.addItem("Against "+act.Act, act.Strength+" for a standard user, "+act.StrengthAdmin+" for an administrator")
	}
	if setting.Observed != "" {
		p.addItem("Seen", setting.Observed)
	}
	if setting.WaitingSince.IsZero() && !setting.Deadline.IsZero() {
		p.addItem("Suspended", "from "+p.view.momentWords(setting.Deadline)+" on")
	}
}

func flagWords(v outputView, flag localapi.PolicyFlag) string {
	words := "shows " + flag.Shown
	if flag.Shown == "" {
		words = "shows nothing"
	}
	if flag.Verdict != protocol.VerdictInPlace {
		words = joinParts(", ", words, "wanted "+flag.Wanted, flag.Verdict, string(flag.Code))
	}
	if flag.Written == "" {
		return words
	}
	attempt := "set to "
	if flag.Verdict == protocol.VerdictFailed {
		attempt = "tried to set to " // a refused write is remembered too
	}
	return joinParts(", ", words, attempt+flag.Written+" "+v.momentWords(flag.WrittenAt), withPrefix("before: ", flag.Prior))
}
