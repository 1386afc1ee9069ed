package sim

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/text/unicode/norm"
)

func vmCommand() *cobra.Command {
	parent := commandGroup("vm", "Do to a virtual machine what its user would do",
		vmListCommand(), vmCreateCommand(),
		vmActionCommand("start", "start", "Start a VM, or resume a suspended one"),
		vmActionCommand("suspend", "suspend", "Suspend a running VM"),
		vmActionCommand("resume", "resume", "Resume a suspended or paused VM"),
		vmActionCommand("pause", "pause", "Pause a running VM"),
		vmCloneCommand(), vmRegisterCommand(), vmStopCommand(), vmDeleteCommand(), vmUnregisterCommand(), vmRestoreCommand(), vmMoveCommand(), vmTrashCommand(), vmLinkDisksCommand(), vmSameIDCommand(),
		vmMountCommand(false), vmMountCommand(true), vmPackCommand(true), vmPackCommand(false), vmKeepStartingCommand(), vmLetBeCommand(), vmRenameCommand(), vmSetCommand(), vmStateCommand())
	parent.PersistentFlags().String("user", "", "owner of the VM, where several have one of that name")
	return parent
}

// vmChange runs a change on the VM named by the first argument.
func vmChange(command *cobra.Command, idOrName string, apply func(Mac, *State, *VM) (string, error)) error {
	return changeMac(command, func(mac Mac, state *State) (string, error) {
		owner, err := command.Flags().GetString("user")
		if err != nil {
			return "", err
		}
		vm, err := findVM(state.ownedBy(owner), idOrName)
		if err != nil {
			return "", err
		}
		return apply(mac, state, vm)
	})
}

// ownedBy returns the VMs of one owner, or all of the Mac with an empty owner.
func (s *State) ownedBy(owner string) []*VM {
	var vms []*VM
	for _, vm := range s.VMs {
		if owner == "" || vm.Owner == owner {
			vms = append(vms, vm)
		}
	}
	return vms
}

func vmListCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use: "list", Short: "List the VMs of all users", Args: argumentCount(0, 0),
		RunE: func(command *cobra.Command, _ []string) error {
			state, err := loadState(command)
			if err != nil {
				return err
			}
			owner, err := command.Flags().GetString("user")
			if err != nil {
				return err
			}
			vms := append([]*VM{}, state.ownedBy(owner)...)
			rows := [][]string{{"ID", "NAME", "OWNER", "STATE", "OS", "TOOLS"}}
			for _, vm := range vms {
				rows = append(rows, []string{vm.ID, vm.Name, ownerText(vm), vm.State, vm.OS, vm.toolsText()})
			}
			return printRows(command, asJSON, vms, rows...)
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}

func ownerText(vm *VM) string {
	if vm.Shared {
		return vm.Owner + " (shared)"
	}
	return vm.Owner
}

func (vm *VM) toolsText() string {
	if !vm.Started {
		return "never started"
	}
	return strings.TrimSpace(vm.Tools + " " + vm.ToolsBuild)
}

func vmCreateCommand() *cobra.Command {
	var wanted newVMOptions
	var decomposed bool
	var check func(*State) error
	command := &cobra.Command{
		Use: "create", Short: "Create a VM", Args: argumentCount(0, 0),
		Example: `  prlsim vm create --os win-11 --name "Windows 11 Lab" --user bob
  prlsim vm create --os ubuntu --never-started
  prlsim vm create --os win-11 --state running --tools outdated`,
		RunE: func(command *cobra.Command, _ []string) error {
			if decomposed {
				wanted.Name = norm.NFD.String(wanted.Name)
			}
			return changeMac(command, func(mac Mac, state *State) (string, error) {
				owner, err := command.Flags().GetString("user")
				if err != nil {
					return "", err
				}
				if wanted.Owner = owner; owner == "" {
					wanted.Owner = state.defaultOwner()
				}
				if err := check(state); err != nil {
					return "", err
				}
				vm, err := mac.createVM(state, wanted)
				if err != nil {
					return "", err
				}
				return fmt.Sprintf("Created %s (%s) for %s", vm.Name, vm.ID, ownerText(vm)), nil
			})
		},
	}
	check = byFlag(command, "create-vm")
	flags := command.Flags()
	flags.StringVar(&wanted.Name, "name", "", "name (default: that of the operating system)")
	flags.BoolVar(&decomposed, "nfd", false, "accents of the name are characters of their own, as from an old volume")
	flags.StringVar(&wanted.OS, "os", "win-11", "operating system: win-11, win-10, win-2022, ubuntu, debian, fedora-core, linux, macosx")
	flags.StringVar(&wanted.State, "state", "stopped", "stopped, running or suspended")
	flags.StringVar(&wanted.Tools, "tools", "installed", "Parallels Tools: installed, outdated or none")
	flags.StringVar(&wanted.Description, "description", "", "description")
	flags.BoolVar(&wanted.Shared, "shared", false, "in /Users/Shared/Parallels, seen by all users")
	flags.BoolVar(&wanted.NeverStarted, "never-started", false, "created, but not started yet")
	flags.BoolVar(&wanted.Encrypted, "encrypted", false, "encrypted by a password, "+vmPassword)
	return command
}

// defaultOwner is the user on the screen, else the first.
func (s *State) defaultOwner() string {
	if s.Console != "" {
		return s.Console
	}
	return s.Users[0].Name
}

// vmActionCommand makes the command for one row of the transitions.
func vmActionCommand(use, action, short string) *cobra.Command {
	return &cobra.Command{
		Use: use + " NAME-OR-ID", Short: short, Args: argumentCount(1, 1),
		RunE: func(command *cobra.Command, given []string) error {
			return vmChange(command, given[0], func(mac Mac, state *State, vm *VM) (string, error) {
				return vm.Name + ": " + transitions[action].participle, mac.applyTransition(state, vm, transitions[action])
			})
		},
	}
}

func vmStopCommand() *cobra.Command {
	var kill, dropState bool
	command := &cobra.Command{
		Use: "stop NAME-OR-ID", Short: "Shut a running VM down", Args: argumentCount(1, 1),
		RunE: func(command *cobra.Command, given []string) error {
			action := "stop"
			switch {
			case kill && dropState:
				return fmt.Errorf("%w: --kill and --drop-state exclude each other", errUsage)
			case kill:
				action = "stop --kill"
			case dropState:
				action = "stop --drop-state"
			}
			return vmChange(command, given[0], func(mac Mac, state *State, vm *VM) (string, error) {
				return vm.Name + ": stopped", mac.applyTransition(state, vm, transitions[action])
			})
		},
	}
	command.Flags().BoolVar(&kill, "kill", false, "power it off, also when paused")
	command.Flags().BoolVar(&dropState, "drop-state", false, "discard the state of a suspended VM")
	return command
}

func vmDeleteCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "delete NAME-OR-ID", Short: "Delete a stopped VM and its files", Args: argumentCount(1, 1),
	}
	check := byFlag(command, "remove-vm")
	command.RunE = func(command *cobra.Command, given []string) error {
		return vmChange(command, given[0], func(mac Mac, state *State, vm *VM) (string, error) {
			if err := check(state); err != nil {
				return "", err
			}
			return vm.Name + ": deleted", mac.removeVM(state, vm)
		})
	}
	return command
}

func vmUnregisterCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "unregister NAME-OR-ID", Short: "Take a stopped VM out of the list and keep its files", Args: argumentCount(1, 1),
	}
	check := byFlag(command, "remove-vm")
	command.RunE = func(command *cobra.Command, given []string) error {
		return vmChange(command, given[0], func(mac Mac, state *State, vm *VM) (string, error) {
			if err := check(state); err != nil {
				return "", err
			}
			return vm.Name + ": unregistered", mac.unregisterVM(state, vm)
		})
	}
	return command
}

func vmRestoreCommand() *cobra.Command {
	return &cobra.Command{
		Use: "restore NAME-OR-ID", Short: "Replace the bundle of a VM at rest by a copy, as a restore from a backup does", Args: argumentCount(1, 1),
		RunE: func(command *cobra.Command, given []string) error {
			return vmChange(command, given[0], func(mac Mac, _ *State, vm *VM) (string, error) {
				return vm.Name + ": restored", mac.restoreBundle(vm)
			})
		},
	}
}

func vmRenameCommand() *cobra.Command {
	var decomposed bool
	command := &cobra.Command{
		Use: "rename NAME-OR-ID NEW-NAME", Short: "Rename a VM; its folder keeps its name, and so does its process", Args: argumentCount(2, 2),
		RunE: func(command *cobra.Command, given []string) error {
			if decomposed {
				given[1] = norm.NFD.String(given[1])
			}
			return vmChange(command, given[0], func(mac Mac, state *State, vm *VM) (string, error) {
				old := vm.Name
				return old + ": now " + given[1], mac.configureVM(state, vm, "name="+given[1], false)
			})
		},
	}
	command.Flags().BoolVar(&decomposed, "nfd", false, "accents of the name are characters of their own")
	return command
}

func vmSetCommand() *cobra.Command {
	var newKey bool
	command := &cobra.Command{
		Use:   "set NAME-OR-ID SETTING=VALUE…",
		Short: "Change settings as the user would in the VM's configuration",
		Long: `Change settings. SETTING is name, description, encrypted, tools, tools-build,
address, guest-build, product-edition (Windows' number: 48 Pro, 101 Home),
adapters (how many), net0 and so on (shared, host-only, bridged, bridged:INTERFACE,
connected, disconnected, enabled, disabled; several with commas), a flag of prlctl
set without its dashes, or the path of a value in the output of prlctl list -i
--json. No rule is asked: what the tool refuses, a person may do.`,
		Example: `  prlsim vm set "Ubuntu 22.04" "description=dev box of the lab"
  prlsim vm set macOS "Advanced/Show developer tools=on" "Hardware/cpu/cpus=6"
  prlsim vm set "Windows 11" lock-on-suspend=off shf-host-defined=home net0=bridged:en1
  prlsim vm set macOS --new-key "Advanced/Added by a later version=on"`,
		Args: argumentCount(2, -1),
		RunE: func(command *cobra.Command, given []string) error {
			return vmChange(command, given[0], func(mac Mac, state *State, vm *VM) (string, error) {
				for _, setting := range given[1:] {
					if err := mac.configureVM(state, vm, setting, newKey); err != nil {
						return "", err
					}
				}
				return vm.Name + ": configured", nil
			})
		},
	}
	command.Flags().BoolVar(&newKey, "new-key", false, "add keys that the output does not have")
	return command
}

func vmStateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "state NAME-OR-ID STATE",
		Short: "Put a VM into any state, also a passing one, without rules",
		Long:  "Put a VM into any state of the tool's vocabulary, without rules:\n" + strings.Join(knownStates, ", ") + ".",
		Args:  argumentCount(2, 2),
		RunE: func(command *cobra.Command, given []string) error {
			if !isKnownState(given[1]) {
				return fmt.Errorf("%w: unknown state %q (one of %s)", errUsage, given[1], strings.Join(knownStates, ", "))
			}
			return vmChange(command, given[0], func(mac Mac, state *State, vm *VM) (string, error) {
				return vm.Name + ": " + given[1], mac.setVMState(state, vm, given[1])
			})
		},
	}
}
