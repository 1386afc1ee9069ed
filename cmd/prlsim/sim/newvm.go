package sim

import (
	"cmp"
	"slices"
	"strings"
)

// toolOption is an option behind the first argument of an action.
type toolOption struct {
	names     []string // the last one is its whole name
	takesWord bool
}

// Options of the actions by which VMs come and go (facts/prlctl.md 1.2). What it
// lists beyond them is refused: --dst, templates, snapshots, restore images.
var (
	createOptions = []toolOption{
		{[]string{"-o", "--ostype"}, true}, {[]string{"-d", "--distribution"}, true}, {[]string{"--no-hdd"}, false},
		{[]string{"--uuid"}, true}, // inferred there
	}
	cloneOptions    = []toolOption{{[]string{"--name"}, true}, {[]string{"--linked"}, false}, {[]string{"--regenerate-src-uuid"}, false}}
	registerOptions = []toolOption{
		{[]string{"--uuid"}, true}, {[]string{"--regenerate-src-uuid"}, false}, {[]string{"--force"}, false},
		{[]string{"--delay-applying-restrictions"}, false}, {[]string{"--preserve-uuid"}, false},
	}
	unregisterOptions = []toolOption{{[]string{"--clean-src-uuid"}, false}}
)

// parseOptions reads the options behind the first argument, by their whole names.
// --preserve-uuid alone is also --preserve-uuid=WORD and --preserve-uuid WORD
// (facts/prlctl.md 1.2, acting.md 1).
func parseOptions(arguments []string, known []toolOption) (map[string]string, error) {
	given := make(map[string]string)
	if len(arguments) > 0 && strings.HasPrefix(arguments[0], "-") {
		return nil, toolErrorf("Unrecognized option: %s", arguments[0])
	}
	for i := 1; i < len(arguments); i++ {
		name, word, hasWord := strings.Cut(arguments[i], "=")
		at := slices.IndexFunc(known, func(o toolOption) bool { return slices.Contains(o.names, name) })
		if at < 0 || hasWord && name != "--preserve-uuid" {
			return nil, toolErrorf("Unrecognized option: %s", arguments[i])
		}
		switch isNext := i+1 < len(arguments); {
		case known[at].takesWord && !isNext:
			return nil, toolErrorf("Option requires an argument: %s", arguments[i])
		case known[at].takesWord, name == "--preserve-uuid" && !hasWord && isNext && isYesOrNo(arguments[i+1]):
			i++
			word = arguments[i]
		}
		given[known[at].names[len(known[at].names)-1]] = word
	}
	if word := given["--preserve-uuid"]; word != "" && !isYesOrNo(word) {
		return nil, toolErrorf("An incorrect value for --preserve-uuid is specified: %s", word)
	}
	return given, nil
}

func isYesOrNo(word string) bool { return word == "yes" || word == "no" }

// givenUUID is the id that an option asks for, with or without braces; empty without
// the option. One that is registered already is refused (facts/prlctl.md 8).
func (s *State) givenUUID(options map[string]string) (string, error) {
	word, given := options["--uuid"]
	id := strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(word, "{"), "}"))
	if given && !uuidForm().MatchString(id) {
		return "", toolErrorf("An incorrect value for --uuid is specified: %s", word)
	}
	return id, s.checkFree(id)
}

// checkFree refuses the id of a VM that is in the directory; the text is invented.
func (s *State) checkFree(id string) error {
	if slices.ContainsFunc(s.VMs, func(vm *VM) bool { return vm.ID == id }) {
		return toolErrorf("A virtual machine with the ID {%s} is already registered.", id)
	}
	return nil
}

// changeDirectory carries out an action by which a VM comes or goes, behind the
// password of the host that it may need, and prints how that ended. The ancestor's
// texts of success are inferred (facts/prlctl.md 5); a simulated VM is there at once,
// a real one may be listed later (8).
func (in *invocation) changeDirectory(password, what, infinitive, participle string, change func(*State) error) int {
	if err := in.checkHostPassword(password, what); err != nil {
		return in.failAction(infinitive, err)
	}
	if err := in.change(change); err != nil {
		return in.failAction(infinitive, err)
	}
	in.printLinef("The VM has been successfully %s.", participle)
	return 0
}

// typeSystems are the systems of --ostype. Of its words only macos was seen
// (facts/prlctl.md 1.2); the others are the ancestor's.
var typeSystems = map[string]string{"windows": "win-11", "linux": "linux", "macos": "macosx"}

// createTool plays `prlctl create NAME`: a VM without Tools that was never started, in
// the caller's directory.
func createTool(in *invocation, arguments []string) int {
	options, err := parseOptions(arguments, createOptions)
	switch {
	case err != nil:
		return in.failWith(err)
	case len(arguments) == 0:
		return in.failf(exitRefused, "The name of the virtual machine is not specified.")
	case options["--distribution"] == "list":
		for _, system := range guestSystems {
			in.printLinef("%s", system.id)
		}
		return 0
	}
	system := cmp.Or(options["--distribution"], typeSystems[options["--ostype"]])
	if _, err := guestSystem(system); err != nil {
		return in.failf(exitRefused, "Unknown operating system: %s", cmp.Or(options["--distribution"], options["--ostype"]))
	}
	if err := in.checkMac(); err != nil {
		return in.failAction("create", err)
	}
	return in.changeDirectory("create-vm", "create a virtual machine", "create", "created", func(state *State) error {
		id, err := state.givenUUID(options)
		if err != nil {
			return err
		}
		_, err = in.mac.createVM(state, newVMOptions{ID: id, Name: arguments[0], OS: system, Owner: in.caller, Tools: "none", NeverStarted: true})
		return err
	})
}

// cloneTool plays `prlctl clone ID --name NAME`.
func cloneTool(in *invocation, arguments []string) int {
	vm, err := in.targetVM(in.state, arguments)
	if err != nil {
		return in.failWith(err)
	}
	options, err := parseOptions(arguments, cloneOptions)
	if err != nil {
		return in.failWith(err)
	}
	if options["--name"] == "" {
		return in.failf(exitRefused, "The name of the virtual machine is not specified.")
	}
	if err := in.checkAction(vm); err != nil {
		return in.failAction("clone", err)
	}
	return in.changeDirectory("clone-vm", "clone a virtual machine", "clone", "cloned", func(state *State) error {
		vm, err := in.targetVM(state, arguments)
		if err != nil {
			return err
		}
		_, linked := options["--linked"]
		_, regenerate := options["--regenerate-src-uuid"]
		_, err = in.mac.cloneVM(state, vm, wantedClone{options["--name"], linked, regenerate})
		return err
	})
}

// registerTool plays `prlctl register PATH` for a bundle of the caller's, or a shared
// one, that is in no directory.
func registerTool(in *invocation, arguments []string) int {
	options, err := parseOptions(arguments, registerOptions)
	switch {
	case err != nil:
		return in.failWith(err)
	case len(arguments) == 0:
		return in.failf(exitRefused, "The path of the virtual machine is not specified.")
	}
	if err := in.checkMac(); err != nil {
		return in.failAction("register", err)
	}
	return in.changeDirectory("add-vm", "add a virtual machine", "register", "registered", func(state *State) error {
		return in.registerBundle(state, strings.TrimSuffix(arguments[0], "/"), options)
	})
}

// registerBundle takes the VM of a bundle into the directory, with the id that the
// options ask for (facts/prlctl.md 8: --preserve-uuid keeps that of the file).
func (in *invocation) registerBundle(state *State, bundle string, options map[string]string) error {
	at := slices.IndexFunc(state.Unregistered, func(vm *VM) bool {
		return vm.Bundle == bundle && (vm.Owner == in.caller || vm.Shared)
	})
	if at < 0 {
		return toolErrorf("The virtual machine cannot be found at %s.", bundle) // invented
	}
	vm := state.Unregistered[at]
	id, err := state.givenUUID(options)
	switch {
	case err != nil:
		return err
	case id != "":
		vm.ID = id
	case options["--preserve-uuid"] == "no":
		vm.ID = seededUUID(state.Seed, state.nextID("vm"))
	}
	if err := state.checkFree(vm.ID); err != nil {
		return err
	}
	if _, regenerate := options["--regenerate-src-uuid"]; regenerate {
		vm.Source = ""
	}
	_, err = in.mac.addAgain(state, at)
	return err
}

// unregisterTool plays `prlctl unregister ID`, which keeps the files.
func unregisterTool(in *invocation, arguments []string) int {
	vm, err := in.targetVM(in.state, arguments)
	if err != nil {
		return in.failWith(err)
	}
	if _, err := parseOptions(arguments, unregisterOptions); err != nil {
		return in.failWith(err)
	}
	if err := in.checkAction(vm); err != nil {
		return in.failAction("unregister", err)
	}
	return in.changeDirectory("remove-vm", "remove a virtual machine", "unregister", "unregistered", func(state *State) error {
		vm, err := in.targetVM(state, arguments)
		if err != nil {
			return err
		}
		return in.mac.unregisterVM(state, vm)
	})
}
