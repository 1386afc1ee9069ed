package agent

import (
	"prlagent/agent/enforce"
	"prlagent/agent/localapi"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// Policy is how it stands with the policy, as of the newest plan.
func (a *agent) Policy() *localapi.Policy {
	view, status := a.parts.enforcer.View(), a.Status()
	shown := &localapi.Policy{
		Schema: localapi.Schema, At: utc(view.At), Mode: status.PolicyInForce.Mode, InForce: status.PolicyInForce, LocksReleased: status.LocksReleased, Report: status.Policy,
		Wanted: []localapi.WantedSetting{}, Settings: make([]localapi.PolicySetting, len(view.Settings)),
		Steps: make([]localapi.PolicyStep, len(view.Steps)+len(view.PreferenceSteps)+len(view.Host)),
	}
	if view.Document != nil {
		shown.Name = view.Document.Name
		addScope(shown, "vm_settings.golden_image", &view.Document.VMSettings.GoldenImage)
		addScope(shown, "vm_settings.other", &view.Document.VMSettings.Other)
		addPreferences(shown, &view.Document.Product)
		addControls(shown, view.Document)
	}
	names := &vmNamer{view, a.Inventory().Rows}
	for i := range view.Settings {
		setting := &shown.Settings[i]
		names.name(&setting.PolicyVM, view.Settings[i].Verdict.VM)
		showSetting(setting, &view.Settings[i], view.Machines)
	}
	steps := shown.Steps
	for i := range view.Steps {
		step := &view.Steps[i]
		names.name(&steps[i].PolicyVM, step.VM)
		steps[i].Setting, steps[i].Call, steps[i].Shown, steps[i].Word = step.Setting, step.Argv(), step.Prior, step.Word
	}
	steps = steps[len(view.Steps):]
	for i := range view.PreferenceSteps {
		step := &view.PreferenceSteps[i]
		names.name(&steps[i].PolicyVM, policy.AccountKey(step.UID))
		showPreferenceStep(&steps[i], step)
	}
	steps = steps[len(view.PreferenceSteps):]
	for i := range view.Host {
		showHostStep(&steps[i], &view.Host[i])
	}
	return shown
}

func addWanted(shown *localapi.Policy, path, setting, value, doc string) {
	shown.Wanted = append(shown.Wanted, localapi.WantedSetting{Path: path, Setting: setting, Value: value, Doc: doc})
}

func addScope(shown *localapi.Policy, path string, scope *policy.Scope) {
	for i := range policy.Settings {
		setting := &policy.Settings[i]
		if value, managed := scope.Settings[setting.Name]; managed {
			addWanted(shown, path+"."+setting.Name, setting.Name, string(value), setting.Doc)
		}
	}
	for _, name := range scope.Unknown {
		addWanted(shown, path+"."+name, name, "", "")
	}
}

// vmNamer says what a machine is called, and who lists it.
type vmNamer struct {
	view *enforce.View
	rows []protocol.Row
}

func (n *vmNamer) name(vm *localapi.PolicyVM, key protocol.VMKey) {
	vm.VMKey = key
	if machine := n.view.Machines[key]; machine != nil {
		vm.Name, vm.Owner = machine.Name, machine.Owner.User.Name
	} else if account := n.view.Accounts[key.UID]; account != nil {
		vm.Owner = account.User.Name
	}
	for i := range n.rows {
		if n.rows[i].VMKey == key {
			vm.SeenBy = n.rows[i].SeenBy
			return
		}
	}
}

// showSetting fills in what is shown of a setting, but for the machine's name.
func showSetting(shown *localapi.PolicySetting, one *enforce.SettingView, machines map[protocol.VMKey]*enforce.Machine) {
	verdict := one.Verdict
	shown.Path, shown.Setting, shown.Value, shown.Verdict, shown.Code = verdict.Path, verdict.Setting, string(verdict.Value), verdict.Verdict, verdict.Code
	shown.Strength, shown.StrengthAdmin, shown.Since = verdict.Strength.Standard, verdict.Strength.Admin, utc(verdict.Since)
	shown.Drifts, shown.Acts = one.Memory.Drifts(), actViews(verdict)
	if verdict.Beside != nil {
		shown.Observed = verdict.Beside.Observed
	}
	if wait := verdict.Wait; wait != nil {
		shown.WaitingSince, shown.Deadline, shown.Overdue = utc(wait.Since), utc(wait.Deadline), wait.Overdue
	}
	if machine := machines[shown.VMKey]; machine != nil {
		shown.CustomPassword = machine.Facts.VM.Security.CustomPassword.On()
	}
	if preference := policy.PreferenceAt(verdict.Path); preference != nil {
		shown.AppShows, shown.Unseen = preference.ShownWith(verdict.Value), policy.UnseenPreferences
	}
	if verdict.Code != "" {
		words := verdict.Code.Text()
		shown.Text, shown.Remedy = words.Text, words.Remedy
	}
	for i := range verdict.Gaps {
		gap := &verdict.Gaps[i]
		flag := addFlag(shown, one.Memory.Call(gap.Target))
		flag.Wanted, flag.Shown, flag.Verdict, flag.Code = gap.Wanted, gap.Shown, gap.Verdict, gap.Code
	}
	for i := range one.Memory.Calls {
		call := &one.Memory.Calls[i]
		if call.Word != "" && verdict.GapOf(call.Target) == nil {
			flag := addFlag(shown, call)
			flag.Wanted, flag.Shown, flag.Verdict = call.Wanted, call.Wanted, protocol.VerdictInPlace
		}
	}
}

// addFlag adds a flag of a setting with what the agent has written of it.
func addFlag(shown *localapi.PolicySetting, call *policy.CallMemory) *localapi.PolicyFlag {
	shown.Flags = append(shown.Flags, localapi.PolicyFlag{Target: call.Target, Written: call.Word, WrittenAt: utc(call.WrittenAt), Prior: call.Prior})
	return &shown.Flags[len(shown.Flags)-1]
}
