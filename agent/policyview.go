package agent

import (
	"slices"

	"prlagent/agent/enforce"
	"prlagent/agent/localapi"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// Policy is how it stands with the policy, as of the newest plan.
func (a *agent) Policy() localapi.Policy {
	view, status := a.parts.enforcer.View(), a.Status()
	shown := localapi.Policy{
		Schema: localapi.Schema, At: utc(view.At), Mode: status.PolicyInForce.Mode, InForce: status.PolicyInForce, LocksReleased: status.LocksReleased, Report: status.Policy,
		Wanted: []localapi.WantedSetting{}, Settings: []localapi.PolicySetting{}, Steps: []localapi.PolicyStep{},
	}
	if view.Document != nil {
		shown.Name = view.Document.Name
		shown.Wanted = append(wantedOf("vm_settings.golden_image", &view.Document.VMSettings.GoldenImage), wantedOf("vm_settings.other", &view.Document.VMSettings.Other)...)
		shown.Wanted = append(shown.Wanted, wantedPreferences(&view.Document.Product)...)
		shown.Wanted = append(shown.Wanted, wantedControls(view.Document)...)
	}
	names := vmNamer{view, a.Inventory().Rows}
	for i := range view.Settings {
		shown.Settings = append(shown.Settings, settingView(names.of(view.Settings[i].Verdict.VM), &view.Settings[i], view.Machines))
	}
	for i := range view.Steps {
		step := &view.Steps[i]
		shown.Steps = append(shown.Steps, localapi.PolicyStep{
			PolicyVM: names.of(step.VM), Setting: step.Setting, Call: step.Argv(), Shown: step.Prior, Word: step.Word,
		})
	}
	for i := range view.PreferenceSteps {
		shown.Steps = append(shown.Steps, preferenceStep(names, &view.PreferenceSteps[i]))
	}
	shown.Steps = append(shown.Steps, hostSteps(view)...)
	return shown
}

func wantedOf(path string, scope *policy.Scope) []localapi.WantedSetting {
	wanted := []localapi.WantedSetting{}
	for i := range policy.Settings {
		setting := &policy.Settings[i]
		if value, managed := scope.Settings[setting.Name]; managed {
			wanted = append(wanted, localapi.WantedSetting{Path: path + "." + setting.Name, Setting: setting.Name, Value: string(value), Doc: setting.Doc})
		}
	}
	for _, name := range scope.Unknown {
		wanted = append(wanted, localapi.WantedSetting{Path: path + "." + name, Setting: name})
	}
	return wanted
}

// vmNamer says what a machine is called, and who lists it.
type vmNamer struct {
	view *enforce.View
	rows []protocol.Row
}

func (n vmNamer) of(key protocol.VMKey) localapi.PolicyVM {
	vm := localapi.PolicyVM{VMKey: key}
	if machine := n.view.Machines[key]; machine != nil {
		vm.Name, vm.Owner = machine.Name, machine.Owner.User.Name
	} else if account := n.view.Accounts[key.UID]; account != nil {
		vm.Owner = account.User.Name
	}
	if at := slices.IndexFunc(n.rows, func(row protocol.Row) bool { return row.VMKey == key }); at >= 0 {
		vm.SeenBy = n.rows[at].SeenBy
	}
	return vm
}

func settingView(vm localapi.PolicyVM, one *enforce.SettingView, machines map[protocol.VMKey]*enforce.Machine) localapi.PolicySetting {
	verdict := one.Verdict
	shown := localapi.PolicySetting{
		PolicyVM: vm, Path: verdict.Path, Setting: verdict.Setting, Value: string(verdict.Value),
		Verdict: verdict.Verdict, Code: verdict.Code, Strength: verdict.Strength.Standard, StrengthAdmin: verdict.Strength.Admin,
		Since: utc(verdict.Since), Drifts: one.Memory.Drifts(), Acts: actViews(verdict),
	}
	if verdict.Beside != nil {
		shown.Observed = verdict.Beside.Observed
	}
	if wait := verdict.Wait; wait != nil {
		shown.WaitingSince, shown.Deadline, shown.Overdue = utc(wait.Since), utc(wait.Deadline), wait.Overdue
	}
	if machine := machines[vm.VMKey]; machine != nil {
		shown.CustomPassword = machine.Facts.VM.Security.CustomPassword.On()
	}
	if preference := policy.PreferenceAt(verdict.Path); preference != nil {
		shown.AppShows, shown.Unseen = preference.ShownWith(verdict.Value), policy.UnseenPreferences
	}
	if verdict.Code != "" {
		words := verdict.Code.Text()
		shown.Text, shown.Remedy = words.Text, words.Remedy
	}
	for _, gap := range verdict.Gaps {
		flag := flagView(one.Memory.Call(gap.Target))
		flag.Wanted, flag.Shown, flag.Verdict, flag.Code = gap.Wanted, gap.Shown, gap.Verdict, gap.Code
		shown.Flags = append(shown.Flags, flag)
	}
	for i := range one.Memory.Calls {
		call := &one.Memory.Calls[i]
		isGap := slices.ContainsFunc(verdict.Gaps, func(gap policy.Gap) bool { return gap.Target == call.Target })
		if !isGap && call.Word != "" {
			flag := flagView(call)
			flag.Wanted, flag.Shown, flag.Verdict = call.Wanted, call.Wanted, protocol.VerdictInPlace
			shown.Flags = append(shown.Flags, flag)
		}
	}
	return shown
}

func flagView(call *policy.CallMemory) localapi.PolicyFlag {
	return localapi.PolicyFlag{Target: call.Target, Written: call.Word, WrittenAt: utc(call.WrittenAt), Prior: call.Prior}
}
