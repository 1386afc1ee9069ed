package cli

import (
	"context"
	"fmt"
	"strings"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

// holdStyles are how the states of a hold are shown.
var holdStyles = map[string]textStyle{
	protocol.HoldKept: styleGreen, protocol.HoldSuspending: styleYellow, protocol.HoldUnenforced: styleRed,
	protocol.HoldNoVM: styleYellow, protocol.HoldReleased: styleYellow, protocol.HoldEnded: styleDim,
}

// addHolds shows the machines that are to stay suspended, and how each stands.
func (p *pageWriter) addHolds(holds *localapi.Holds) {
	if holds == nil || holds.Held == 0 && len(holds.VMs) == 0 {
		return
	}
	if len(holds.VMs) == 0 {
		p.addItem("Held", countWords(holds.Held, "virtual machine"))
		return
	}
	p.addHeading("Held virtual machines")
	table := styledTable{heads: []string{"VM", "ID", "USER", "STATE", "SINCE", "VIOLATIONS", "REASON"}}
	for i := range holds.VMs {
		vm := &holds.VMs[i]
		table.rows = append(table.rows, []tableCell{
			{vm.Name, ""}, {vm.ID, ""}, {vm.Owner, ""}, {holdWords(vm), holdStyles[vm.State]}, {p.view.localTime(vm.Since), ""},
			{fmt.Sprint(vm.Violations), ""}, {joinParts("; ", codeWords(vm.Code), withPrefix("locked because: ", vm.Reason)), styleYellow},
		})
	}
	p.text.WriteString(table.render(p.view, "  "))
}

// addHeldSummary names the machines that are held, as many as a line has room for.
func (p *pageWriter) addHeldSummary(holds *localapi.Holds) {
	const room = 3
	if holds == nil || holds.Held == 0 {
		return
	}
	var named []string
	for i := range holds.VMs {
		if vm := &holds.VMs[i]; !vm.IsOver() && len(named) < room {
			named = append(named, vm.Name+" of "+vm.Owner+", "+holdWords(vm))
		}
	}
	if more := holds.Held - len(named); more > 0 && len(named) > 0 {
		named = append(named, countWords(more, "other"))
	}
	p.addItem("Held", countWords(holds.Held, "virtual machine")+withPrefix(": ", strings.Join(named, "; ")))
}

// holdWords are the state of a hold, and what of it the state leaves out.
func holdWords(vm *localapi.HeldVM) string {
	words := strings.ReplaceAll(vm.State, "_", " ")
	switch {
	case vm.Paused:
		words += ", paused"
	case vm.ReleasedBy != "":
		words += " by " + vm.ReleasedBy
	}
	return words
}

// checkHolds says which machines are held, and which run all the same.
func (m *checkedMac) checkHolds(context.Context) checkResult {
	status, err := m.status()
	switch {
	case err != nil:
		return unknownResult(err.Error())
	case status.Restricted && status.Holds != nil:
		return asRoot("only administrators see what is held")
	}
	return judgeHolds(status.Holds)
}

func judgeHolds(holds *localapi.Holds) checkResult {
	if holds == nil || len(holds.VMs) == 0 {
		return unneededResult("No virtual machine is held.")
	}
	var loose []string
	for i := range holds.VMs {
		vm := &holds.VMs[i]
		if vm.IsLoose() {
			loose = append(loose, joinParts(": ", vm.ID, string(vm.Code)))
		}
	}
	if len(loose) > 0 {
		return codeResult(protocol.CodeHoldUnenforced, strings.Join(loose, "; ")+".")
	}
	return okResult("%s held; 'sudo prlagent release --all' ends that.", countWords(holds.Held, "virtual machine"))
}
