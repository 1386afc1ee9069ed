package sim

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
)

// requiresPassword reports whether prlsrvctl set --require-pwd has an
// administrator asked for the action.
func (s *State) requiresPassword(action string) bool { return slices.Contains(s.RequirePwd, action) }

// checkPerson asks the rules of the Mac for what a person does in the application:
// where an administrator is asked for, one knows the password, and a standard user
// does not. That this is how far the rule reaches is inferred (facts/prlctl.md 6:
// a brake, not a block). Without a person nobody is asked.
func (s *State) checkPerson(name, action string) error {
	if name == "" {
		return nil
	}
	user, known := s.userByName(name)
	switch {
	case !known:
		return fmt.Errorf("no user %q on this Mac", name)
	case s.requiresPassword(action) && user.Standard:
		return errCredentials
	}
	return nil
}

// checkPreferencesLock is checkPerson for the application's preferences, which
// prlsrvctl set --lock-edit-settings locks (facts/prlctl.md 1.4).
func (s *State) checkPreferencesLock(user macUser) error {
	if s.Host[lockFlag] == "on" && user.Standard {
		return errCredentials
	}
	return nil
}

// byFlag adds --by to a command and gives what checks the rules for that person.
func byFlag(command *cobra.Command, action string) (check func(*State) error) {
	person := command.Flags().String("by", "", "who does it in the application, where an administrator may be asked for (default: no rule is asked)")
	return func(state *State) error { return state.checkPerson(*person, action) }
}

func vmCloneCommand() *cobra.Command {
	var name string
	var linked bool
	command := &cobra.Command{
		Use: "clone NAME-OR-ID", Short: "Clone a stopped VM", Args: argumentCount(1, 1),
		Example: `  prlsim vm clone "Ubuntu 22.04" --name "Ubuntu of Bob" --by bob`,
	}
	check := byFlag(command, "clone-vm")
	command.Flags().StringVar(&name, "name", "", "name (default: that of the VM, with \"Clone of\" before it)")
	command.Flags().BoolVar(&linked, "linked", false, "a linked clone: it needs the disks of the VM")
	command.RunE = func(command *cobra.Command, given []string) error {
		return vmChange(command, given[0], func(mac Mac, state *State, vm *VM) (string, error) {
			if err := check(state); err != nil {
				return "", err
			}
			clone, err := mac.cloneVM(state, vm, name)
			if err != nil {
				return "", err
			}
			if linked {
				clone.LinkedTo = vm.ID
				if err := mac.writeBundle(state, clone); err != nil {
					return "", err
				}
			}
			return fmt.Sprintf("Cloned %s as %s (%s)", vm.Name, clone.Name, clone.ID), nil
		})
	}
	return command
}

// cloneVM makes a VM like another one, of the same owner, which has the other one's
// id for its source (facts/prlctl.md 6, the name of the element).
func (m Mac) cloneVM(state *State, vm *VM, name string) (*VM, error) {
	if vm.State != "stopped" {
		return nil, fmt.Errorf("%w: it is %s", errWrongState, vm.State)
	}
	if name == "" {
		name = "Clone of " + vm.Name
	}
	clone, err := m.createVM(state, newVMOptions{Name: name, OS: vm.OS, Owner: vm.Owner, Shared: vm.Shared, Tools: vm.Tools,
		Encrypted: vm.Encrypted, Description: vm.Description, NeverStarted: !vm.Started})
	if err != nil {
		return nil, err
	}
	clone.Source = vm.ID
	return clone, m.writeBundle(state, clone)
}

func vmRegisterCommand() *cobra.Command {
	wanted := newVMOptions{NeverStarted: false}
	command := &cobra.Command{
		Use: "register [BUNDLE]", Short: "Register a VM that was unregistered, or one that somebody brings along", Args: argumentCount(0, 1),
		Long: `Register the VM of a bundle that was unregistered, as a path on the Mac, for whom
it was before, or, without one, a VM that somebody brings along from elsewhere.`,
		Example: `  prlsim vm register /Users/alice/Parallels/macOS.macvm
  prlsim vm register --name Private --os win-10 --user bob --by bob`,
	}
	check := byFlag(command, "add-vm")
	command.Flags().StringVar(&wanted.Name, "name", "", "name of one that is brought along")
	command.Flags().StringVar(&wanted.OS, "os", "win-11", "its operating system, as of vm create")
	command.RunE = func(command *cobra.Command, given []string) error {
		owner, err := command.Flags().GetString("user")
		if err != nil {
			return err
		}
		return changeMac(command, func(mac Mac, state *State) (string, error) {
			if err := check(state); err != nil {
				return "", err
			}
			vm, err := mac.registerVM(state, given, owner, wanted)
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("Registered %s (%s) for %s", vm.Name, vm.ID, ownerText(vm)), nil
		})
	}
	return command
}

// registerVM takes a VM into the directory: that of the bundle named, or a new one
// from elsewhere, whose source nobody here knows.
func (m Mac) registerVM(state *State, bundle []string, owner string, wanted newVMOptions) (*VM, error) {
	if len(bundle) == 0 {
		if wanted.Owner = owner; owner == "" {
			wanted.Owner = state.defaultOwner()
		}
		vm, err := m.createVM(state, wanted)
		if err != nil {
			return nil, err
		}
		vm.Source = seededUUID(state.Seed, "elsewhere "+vm.ID)
		return vm, m.writeBundle(state, vm)
	}
	index := slices.IndexFunc(state.Unregistered, func(vm *VM) bool { return vm.Bundle == bundle[0] })
	if index < 0 {
		return nil, fmt.Errorf("%s is no bundle that was unregistered", bundle[0])
	}
	return m.addAgain(state, index)
}

// addAgain takes one of those that were unregistered into the directory.
func (m Mac) addAgain(state *State, index int) (*VM, error) {
	vm := state.Unregistered[index]
	state.Unregistered = slices.Delete(state.Unregistered, index, index+1)
	state.VMs = append(state.VMs, vm)
	state.addEvent(vm, "vm_added", "")
	return vm, m.writeBundle(state, vm)
}
