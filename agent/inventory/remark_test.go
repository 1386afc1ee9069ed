package inventory

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
)

func TestINV_24_INV_27_INV_14_Remarks(t *testing.T) {
	t.Parallel()
	const serial = "Parallels-F1 1D 80 98 10 FE 40 D9 87 1E 27 AF 1E 66 16 1E"
	type gaps = map[string]protocol.Code
	whole := protocol.VM{Serial: serial, CPU: protocol.CPUArm, Encryption: protocol.NotEncrypted, ToolsVersion: "26.4.0-57513", ToolsState: "installed"}
	with := func(change func(*protocol.VM)) protocol.VM {
		vm := whole
		change(&vm)
		return vm
	}
	current := protocol.Product{Version: "26.4.0", Build: "57513"}
	for name, c := range map[string]struct {
		row     protocol.VM
		product protocol.Product
		want    protocol.VM
	}{
		"nothing to say": {whole, current, whole},
		"tools that the product calls old": {
			with(func(vm *protocol.VM) { vm.ToolsState = "outdated" }), current,
			with(func(vm *protocol.VM) {
				vm.ToolsState, vm.Gaps = "outdated", gaps{"tools_version": protocol.CodeToolsOutdated}
			})},
		"old tools of a machine at rest": {
			with(func(vm *protocol.VM) { vm.ToolsState, vm.ToolsVersion = "possibly_installed", "20.1.1-55740" }), current,
			with(func(vm *protocol.VM) {
				vm.ToolsState, vm.ToolsVersion = "possibly_installed", "20.1.1-55740"
				vm.Gaps = gaps{"tools_version": protocol.CodeToolsOutdated}
			})},
		"no tools are not old ones": {
			with(func(vm *protocol.VM) {
				vm.ToolsState, vm.ToolsVersion, vm.Gaps = "outdated", "", gaps{"tools_version": protocol.CodeNoTools}
			}), current,
			with(func(vm *protocol.VM) {
				vm.ToolsState, vm.ToolsVersion, vm.Gaps = "outdated", "", gaps{"tools_version": protocol.CodeNoTools}
			})},
		"encrypted by nobody knows what": {
			with(func(vm *protocol.VM) { vm.Encryption = protocol.Encrypted }), current,
			with(func(vm *protocol.VM) {
				vm.Encryption, vm.Gaps = protocol.Encrypted, gaps{"vm_encryption": protocol.CodeEncryptionMethod}
			})},
		"encrypted by a password": {
			with(func(vm *protocol.VM) { vm.Encryption = protocol.EncryptedPassword }), current,
			with(func(vm *protocol.VM) { vm.Encryption = protocol.EncryptedPassword })},
		"an old version shows neither processor nor serial number": {
			with(func(vm *protocol.VM) { vm.CPU, vm.Gaps = "", gaps{"cpu": protocol.CodeNotShown} }),
			protocol.Product{Version: "17.1.4", Build: "51567"},
			with(func(vm *protocol.VM) {
				vm.CPU, vm.Serial = "", ""
				vm.Gaps = gaps{"cpu": protocol.CodePDVersionTooOld, "vm_serial": protocol.CodePDVersionTooOld}
			})},
		"a new version that does not show the processor": {
			with(func(vm *protocol.VM) { vm.CPU, vm.Gaps = "", gaps{"cpu": protocol.CodeNotShown} }), current,
			with(func(vm *protocol.VM) { vm.CPU, vm.Gaps = "", gaps{"cpu": protocol.CodeNotShown} })},
		"a serial number that was set": {
			with(func(vm *protocol.VM) { vm.Serial = "ACME-1" }), protocol.Product{Version: "17.1.4"},
			with(func(vm *protocol.VM) { vm.Serial = "ACME-1" })},
		"nothing is known of the product": {
			with(func(vm *protocol.VM) {
				vm.ToolsState, vm.CPU, vm.Gaps = "possibly_installed", "", gaps{"cpu": protocol.CodeNotShown}
			}),
			protocol.Product{},
			with(func(vm *protocol.VM) {
				vm.ToolsState, vm.CPU, vm.Gaps = "possibly_installed", "", gaps{"cpu": protocol.CodeNotShown}
			})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := gaps{}
			for column, code := range c.row.Gaps {
				before[column] = code
			}
			if diff := cmp.Diff([]protocol.VM{c.want}, remarked([]protocol.VM{c.row}, &c.product)); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
			if len(c.row.Gaps) != len(before) {
				t.Errorf("what is remembered was changed: %v", c.row.Gaps)
			}
		})
	}
}
