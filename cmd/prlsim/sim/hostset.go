package sim

import (
	"fmt"
	"slices"
	"strings"
)

// hostFlags are the flags of `prlsrvctl set` (facts/prlctl.md 1.4), with the key
// of info that shows them.
var hostFlags = []setFlag{
	{name: "--require-pwd", values: "create-vm|add-vm|remove-vm|clone-vm"}, // each with :on or :off
	{name: "--lock-edit-settings", values: onOrOff, path: "Preferences are locked"},
	{name: "--host-admin", values: "text"},
	{name: headlessFeature, values: onOrOff}, // no key is known
	{name: "--verbose-log", values: onOrOff, path: "Verbose log"},
	{name: "--cep", values: onOrOff, path: "CEP mechanism", inferred: true},
	{name: "--mem-limit", values: "text", path: "Memory limit/mode", inferred: true},
	{name: "--min-security-level", values: "low|normal|high", path: "Minimal security level", inferred: true},
	{name: "--mng-settings", values: "allow|deny", path: "Manage settings for new users", inferred: true},
	{name: "--log-rotation", values: onOrOff, path: "Log rotation", inferred: true},
	{name: "--allow-attach-screenshots", values: onOrOff, path: "Allow attach screenshots", inferred: true},
}

// headlessFeature lets VMs run in the background (facts/prlctl.md 1.4).
const headlessFeature = "--headless-mode-feature"

// hostPasswordActions are the actions of --require-pwd (acting.md 1).
var hostPasswordActions = []string{"create-vm", "add-vm", "remove-vm", "clone-vm"}

// setHost plays `prlsrvctl set`. The Standard edition has no set at all
// (captures.md 5.4). What it prints in the end is invented.
func setHost(in *invocation, arguments []string) int {
	if in.isStandardEdition() {
		fmt.Fprint(in.stdout, editionGate)
		return exitRefused
	}
	sets, err := in.parseHostSet(arguments)
	if err != nil {
		return in.failWith(err)
	}
	if err := in.askForHostSet(sets); err != nil {
		return in.failWith(err)
	}
	lost, err := in.mac.useFault(in.state, "require_pwd_lost", in.caller)
	if err != nil {
		return in.failWith(err)
	}
	passwords := in.state.RequirePwd
	err = in.mac.update(func(state *State) error {
		if in.state.assumes("require_pwd_race", "loses") {
			// One list that is read, changed and written: what another wrote in
			// the meantime is lost (acting.md 1).
			state.RequirePwd = passwords
		}
		if err := state.changeHost(sets); err != nil {
			return err
		}
		if lost { // another writer had read the list before, and wrote it after
			state.RequirePwd = passwords
		}
		return nil
	})
	if err != nil {
		return in.failWith(err)
	}
	in.printLinef("The server has been successfully configured.")
	return 0
}

func (in *invocation) parseHostSet(arguments []string) ([]flagValue, error) {
	flags := slices.Clone(hostFlags)
	flags[0].values = "text" // read below, with the ancestor's text
	if len(arguments) == 0 {
		return nil, toolErrorf("Usage: prlsrvctl set [OPTIONS]")
	}
	var sets []flagValue
	reader := flagReader{arguments: arguments}
	for len(reader.arguments) > 0 {
		set, err := reader.next(flags, in.state.knowsFlag)
		if err != nil {
			return nil, err
		}
		if set.flag.name == flags[0].name {
			if _, _, err := passwordOperation(set.value, hostPasswordActions); err != nil {
				return nil, err
			}
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// askForHostSet asks for the administrator: for the password of the one that
// --host-admin names (acting.md 1), or for both where the preferences' lock
// changes.
func (in *invocation) askForHostSet(sets []flagValue) error {
	at := func(name string) int {
		return slices.IndexFunc(sets, func(set flagValue) bool { return set.flag.name == name })
	}
	administrator := at("--host-admin")
	switch {
	case in.asksForPasswords(sets) && administrator < 0:
		return in.askAdministrator("change what needs a password")
	case in.state.assumes("host_lock", "accepted"):
		return nil
	case administrator >= 0:
		return in.readAdministrator(sets[administrator].value)
	case at(lockFlag) >= 0:
		return in.askAdministrator("lock the preferences")
	}
	return nil
}

// asksForPasswords reports whether prlsrvctl asks before it changes the list of
// passwords, which is not known (facts/prlctl.md 11.13).
func (in *invocation) asksForPasswords(sets []flagValue) bool {
	return slices.ContainsFunc(sets, func(set flagValue) bool {
		return set.flag.name == "--require-pwd" &&
			(in.state.assumes("require_pwd_set", "prompt") || in.state.assumes("require_pwd_set", "prompt_off") && strings.HasSuffix(set.value, ":off"))
	})
}

func (s *State) changeHost(sets []flagValue) error {
	for _, set := range sets {
		if set.flag.name != "--require-pwd" {
			if s.Host == nil {
				s.Host = map[string]string{}
			}
			s.Host[set.flag.name] = set.value
			continue
		}
		action, on, err := passwordOperation(set.value, hostPasswordActions)
		if err != nil {
			return err
		}
		s.RequirePwd = switchedList(s.RequirePwd, action, on)
	}
	return nil
}

// withHostSettings is `info --json` with what prlsrvctl set has changed. The list
// of passwords stands before the license, and only where there is one
// (captures.md 3).
func (s *State) withHostSettings(info orderedObject) (orderedObject, error) {
	for _, flag := range hostFlags {
		value, set := s.Host[flag.name]
		if !set || flag.path == "" {
			continue
		}
		var err error
		if info, err = applySetting(info, flag.path, value, false); err != nil {
			return nil, err
		}
	}
	if len(s.RequirePwd) == 0 {
		return info, nil
	}
	return slices.Insert(info, info.index("License"), member{"Require password to", slices.Clone(s.RequirePwd)}), nil
}
