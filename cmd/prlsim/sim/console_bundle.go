package sim

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// vmWord is a command that does one thing to a VM.
func vmWord(use, short, example string, apply func(Mac, *State, *VM) (string, error)) *cobra.Command {
	return &cobra.Command{
		Use: use + " NAME-OR-ID", Short: short, Example: example, Args: argumentCount(1, 1),
		RunE: func(command *cobra.Command, given []string) error { return vmChange(command, given[0], apply) },
	}
}

func vmMoveCommand() *cobra.Command {
	var to string
	var register, asCopy bool
	command := vmWord("move", "Move the bundle of a VM to another folder, as a person does in the Finder", `  prlsim vm move macOS --to /Users/alice/Desktop
  prlsim vm move macOS --to /Volumes/Stick --register
  prlsim vm move macOS --to /Users/alice/Elsewhere --copy`,
		func(mac Mac, state *State, vm *VM) (string, error) {
			folder := strings.TrimRight(to, "/")
			if !strings.HasPrefix(folder, "/") {
				return "", fmt.Errorf("%w: --to is an absolute path on the Mac", errUsage)
			}
			if register || asCopy {
				return vm.Name + ": registered from " + folder, mac.reregister(state, vm, folder, asCopy)
			}
			moved, err := mac.moveBundle(state, vm, folder)
			return vm.Name + ": its bundle is " + moved, err
		})
	command.Long = `Move the bundle of a VM to another folder, as a person does in the Finder: whether
the product follows it is the assumption missing_bundle. With --register it is
registered from there with the same id; with --copy it is registered from a copy,
and the old files stay.`
	command.Flags().StringVar(&to, "to", "", "the folder, as a path on the Mac")
	command.Flags().BoolVar(&register, "register", false, "it is registered from there")
	command.Flags().BoolVar(&asCopy, "copy", false, "a copy there is registered in its place")
	return command
}

func vmTrashCommand() *cobra.Command {
	return vmWord("trash", "Move the bundle of a VM to the Trash of its owner", "  prlsim vm trash macOS", func(mac Mac, state *State, vm *VM) (string, error) {
		to, err := mac.moveBundle(state, vm, state.homeOf(vm.Owner)+trashFolder)
		return vm.Name + ": its bundle is " + to, err
	})
}

func vmLinkDisksCommand() *cobra.Command {
	return vmWord("link-disks", "Give each disk image of a VM a second name, in the folder Kept of its owner", "  prlsim vm link-disks macOS",
		func(mac Mac, state *State, vm *VM) (string, error) {
			links, err := mac.linkDisks(vm, state.homeOf(vm.Owner)+"/Kept")
			return vm.Name + ": also " + strings.Join(links, ", "), err
		})
}

func vmSameIDCommand() *cobra.Command {
	var to string
	command := vmWord("same-id", "Register a copy of a VM for another user, with the same id", "  prlsim vm same-id macOS --to bob", func(mac Mac, state *State, vm *VM) (string, error) {
		twin, err := mac.sameIn(state, vm, to)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s: %s has %s, too", vm.Name, to, twin.ID), nil
	})
	command.Flags().StringVar(&to, "to", "", "the other user")
	return command
}

func vmMountCommand(mounted bool) *cobra.Command {
	use, short := "unmount", "Unmount the volume below /Volumes on which a VM lies, with everything on it"
	if mounted {
		use, short = "mount", "Mount the volume of a VM again"
	}
	return vmWord(use, short, "  prlsim vm move macOS --to /Volumes/Stick --register\n  prlsim vm unmount macOS\n  prlsim vm mount macOS", func(mac Mac, state *State, vm *VM) (string, error) {
		err := mac.setMounted(state, vm, mounted)
		return vm.Name + ": its volume is " + use + "ed", err
	})
}

func vmPackCommand(pack bool) *cobra.Command {
	use, short := "unpack", "Make a bundle of a packed VM again"
	if pack {
		use, short = "pack", "Make one file of a stopped VM"
	}
	return vmWord(use, short, "  prlsim vm "+use+" macOS", func(mac Mac, state *State, vm *VM) (string, error) {
		err := mac.packVM(state, vm, pack)
		return vm.Name + ": now " + vm.Bundle, err
	})
}
