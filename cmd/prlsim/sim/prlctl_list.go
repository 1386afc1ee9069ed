package sim

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// listVMs plays `prlctl list` (facts/prlctl.md 1.2 and 2).
func listVMs(in *invocation, arguments []string) int {
	if in.state.hasFault("list_fails_for_user", in.caller) {
		return in.failf(exitRefused, "Failed to get the list of virtual machines: Operation canceled.")
	}
	options, err := in.parseList(arguments)
	if err != nil {
		return in.failWith(err)
	}
	if in.state.Product.LicenseStatus == "EXPIRED" && in.state.assumes("expired_list", "refused") {
		return in.failWith(toolErrorf("Failed to get the list of virtual machines: %v", errLicenseExpired))
	}
	if options.listFields { // the names of the fields (facts/prlctl.md 1.2)
		in.printLinef("%s", strings.Join(listFields, "\n"))
		return 0
	}
	vms, err := in.selectVMs(options)
	if err != nil {
		return in.failWith(err)
	}
	if code, refused := in.printEditionGate(); refused {
		return code
	}
	if in.promptInList(vms) {
		return 0
	}
	code := in.printList(vms, options)
	if err := in.echoConfigChanges(vms, options.id != ""); err != nil {
		return in.failf(1, "%v", err)
	}
	return code
}

// selectVMs selects the VMs: one by id, the running ones, or all. There are no
// templates on the simulated Mac.
func (in *invocation) selectVMs(options listOptions) ([]*VM, error) {
	visible := in.state.visibleTo(in.caller)
	if options.id != "" {
		vm, err := findVM(visible, options.id)
		if err != nil {
			return nil, errNotFound
		}
		return []*VM{vm}, nil
	}
	if options.template {
		return nil, nil
	}
	var vms []*VM
	for _, vm := range visible {
		if options.stopped && vm.State == "stopped" || !options.stopped && (options.all || vm.State == "running") {
			vms = append(vms, vm)
		}
	}
	return vms, nil
}

func (in *invocation) printList(vms []*VM, options listOptions) int {
	switch {
	case options.json && len(vms) == 0 && in.state.assumes("empty_list", "nothing"):
		return 0
	case options.json && len(vms) == 0:
		return in.printAnswer("[]")
	case options.json && options.info:
		return in.printDocuments(vms, options.id == "")
	case options.json:
		return in.printAnswerList(in.state.shortForm(vms, options.fields))
	case options.info:
		return in.printInfoText(vms)
	}
	in.printTable(vms, options)
	return 0
}

func (in *invocation) printDocuments(vms []*VM, bulk bool) int {
	documents := make([]orderedObject, 0, len(vms))
	for _, vm := range vms {
		document, err := in.state.infoDocument(vm, bulk)
		if err != nil {
			return in.failf(exitRefused, "%v", err)
		}
		documents = append(documents, document)
	}
	return in.printAnswerList(documents)
}

// shortForm is the JSON without -i (facts/prlctl.md 2.4).
func (s *State) shortForm(vms []*VM, fields []string) []orderedObject {
	rows := make([]orderedObject, 0, len(vms))
	for _, vm := range vms {
		var row orderedObject
		for _, name := range fields {
			row = row.with(member{name, s.shortValue(vm, name)})
		}
		rows = append(rows, row)
	}
	return rows
}

func (s *State) shortValue(vm *VM, name string) string {
	switch name {
	case "uuid":
		return s.idCase(vm.ID)
	case "status":
		return vm.State
	case "ip_configured":
		if vm.State == "running" {
			return vm.Address
		}
		return "-"
	case "dist":
		return vm.OS
	case "type":
		return "VM"
	}
	return vm.Name
}

// printTable is the text form: ids in braces (facts/prlctl.md 2.4).
func (in *invocation) printTable(vms []*VM, options listOptions) {
	widths := map[string]int{"uuid": 39, "status": 13, "ip_configured": 16, "dist": 16, "type": 5}
	titles := map[string]string{"uuid": "UUID", "status": "STATUS", "ip_configured": "IP_ADDR", "name": "NAME", "dist": "DIST", "type": "T"}
	line := func(cell func(name string) string) {
		var out strings.Builder
		for i, name := range options.fields {
			if i == len(options.fields)-1 {
				out.WriteString(cell(name))
				continue
			}
			fmt.Fprintf(&out, "%-*s", widths[name], cell(name))
		}
		in.printLinef("%s", out.String())
	}
	if !options.noHeader {
		line(func(name string) string { return titles[name] })
	}
	for _, vm := range vms {
		line(func(name string) string {
			if name == "uuid" {
				return "{" + in.state.shortValue(vm, name) + "}"
			}
			return in.state.shortValue(vm, name)
		})
	}
}

// printInfoText is the text form of -i, reduced to the lines that have been
// seen (facts/prlctl.md 10).
func (in *invocation) printInfoText(vms []*VM) int {
	for _, vm := range vms {
		document, err := in.state.infoDocument(vm, false)
		if err != nil {
			return in.failf(exitRefused, "%v", err)
		}
		in.printLinef("INFO")
		for _, member := range document {
			switch value := member.Value.(type) {
			case string:
				if member.Key == "ID" {
					value = "{" + value + "}"
				}
				in.printLinef("%s: %s", member.Key, value)
			case orderedObject:
				in.printLinef("%s: %s", member.Key, flatText(value))
			}
		}
		in.printLinef("")
	}
	return 0
}

func flatText(members orderedObject) string {
	var words []string
	for _, member := range members {
		if member.Key == "enabled" {
			on := slices.Contains([]any{true, "on", "On", "yes"}, member.Value)
			words = append(words, map[bool]string{true: "(+)", false: "(-)"}[on])
			continue
		}
		if section, ok := member.Value.(orderedObject); ok {
			words = append(words, "\n  "+member.Key+" "+flatText(section))
			continue
		}
		if _, isList := member.Value.([]orderedObject); !isList {
			words = append(words, fmt.Sprintf("%s=%v", member.Key, member.Value))
		}
	}
	return strings.Join(words, " ")
}

// echoConfigChanges tells the monitors of every VM that was read that its
// configuration changed, as the real dispatcher does (facts/prlctl.md 2.1 and
// 3). That it does so where one VM is asked for is confirmed, for lists of all
// it is not.
func (in *invocation) echoConfigChanges(vms []*VM, one bool) error {
	if in.state.assumes("list_echo", "every") || one && in.state.assumes("list_echo", "single") {
		events := make([]eventRecord, 0, len(vms))
		for _, vm := range vms {
			events = append(events, in.state.newEvent(vm, "vm_config_changed", ""))
		}
		if err := in.mac.recordEvents(events...); err != nil {
			return err
		}
	}
	if in.state.assumes("list_touches_config", "no") {
		return nil
	}
	for _, vm := range vms {
		now := time.Now()
		err := os.Chtimes(in.mac.Path(path.Join(vm.Bundle, "config.pvs")), now, now)
		if err != nil && !vm.Packed && vm.State != "invalid" {
			return fmt.Errorf("touch config.pvs: %w", err)
		}
	}
	return nil
}
