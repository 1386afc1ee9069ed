package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"prlagent/platform/text"
	"prlagent/platform/tool"
	"prlagent/prlctl"
)

// simulator makes a simulated Mac.
type simulator interface {
	create(ctx context.Context, like likeness) (simulatedMac, error)
}

// simulatedMac answers as the tools and files of a Mac do.
type simulatedMac interface {
	prlctl.Runner
	readFile(macPath string) ([]byte, error)
	remove() error
}

// likeness is what a simulated Mac has in common with the captured one.
type likeness struct {
	version  string // as of --pd-version
	edition  string // empty: the simulator's own
	intel    bool
	licensed bool
	machines []guest
}

// guest is a virtual machine to make.
type guest struct {
	name, system, state, tools string
	encrypted, shared          bool
}

// noLicense is what the tool says without one (facts/captures.md 4.1).
const noLicense = "No licenses installed."

// Words of an archive that may become an argument.
var (
	systemWord = text.Pattern(`^[a-z][a-z0-9-]{0,31}$`)
	editions   = []string{"standard", "pro", "business", "enterprise"}
	stayStates = []string{"stopped", "running", "suspended"}
)

// likeness is made of words that are known or harmless; names are our own.
func (r *reading) likeness() likeness {
	v := r.version
	like := likeness{
		version:  fmt.Sprintf("%d.%d.%d-%d", v.Major, v.Minor, v.Patch, v.Build),
		licensed: !strings.Contains(r.printed("prlsrvctl", "info", "--license"), noLicense),
		intel:    !strings.Contains(r.printed("sysctl", "-n", "hw.optional.arm64"), "1"),
	}
	if slices.Contains(editions, r.license.Edition) {
		like.edition = r.license.Edition
	}
	for i, m := range r.machines {
		made := guest{name: fmt.Sprintf("VM-%d", i+1), system: m.OS, state: string(m.State), encrypted: m.Security.Encrypted.On(),
			shared: strings.HasPrefix(m.Bundle(), "/Users/Shared/")}
		if !systemWord().MatchString(made.system) {
			made.system = "linux"
		}
		if !slices.Contains(stayStates, made.state) {
			made.state = "stopped"
		}
		switch m.GuestTools.State {
		case "not_installed":
			made.tools = "none"
		case "outdated":
			made.tools = "outdated"
		}
		like.machines = append(like.machines, made)
	}
	return like
}

// program is the path of prlsim, which makes simulated Macs.
type program string

// simulatorLimit is for making one, and for each of its answers.
const simulatorLimit = time.Minute

// account is the only user of a Mac that is made to compare with.
const account = "user"

func (p program) create(ctx context.Context, like likeness) (simulatedMac, error) {
	folder, err := os.MkdirTemp("", "prlsim-replay-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for a simulated Mac: %w", err)
	}
	mac := &macFolder{folder: folder, dir: filepath.Join(folder, "mac")}
	arguments := []string{"mac", "create", mac.dir, "--empty", "--no-processes", "--users", account, "--pd-version", like.version}
	if like.edition != "" {
		arguments = append(arguments, "--edition", like.edition)
	}
	if like.intel {
		arguments = append(arguments, "--cpu", "intel")
	}
	if err := p.console(ctx, arguments...); err != nil {
		return nil, errors.Join(err, mac.remove())
	}
	if !like.licensed {
		if err := p.console(ctx, "product", "deactivate", "--mac", mac.dir); err != nil {
			return nil, errors.Join(err, mac.remove())
		}
	}
	for _, guest := range like.machines {
		// A system that the simulator does not have makes no machine: the report says so.
		if err := p.createGuest(ctx, mac, guest); err != nil && ctx.Err() != nil {
			return nil, errors.Join(err, mac.remove())
		}
	}
	return mac, nil
}

func (p program) createGuest(ctx context.Context, mac *macFolder, wanted guest) error {
	arguments := []string{"vm", "create", "--mac", mac.dir, "--name", wanted.name, "--os", wanted.system, "--state", wanted.state, "--user", account}
	if wanted.tools != "" {
		arguments = append(arguments, "--tools", wanted.tools)
	}
	if wanted.encrypted {
		arguments = append(arguments, "--encrypted")
	}
	if wanted.shared {
		arguments = append(arguments, "--shared")
	}
	return p.console(ctx, arguments...)
}

// console runs prlsim as the operator's console.
func (p program) console(ctx context.Context, arguments ...string) error {
	ctx, cancel := context.WithTimeout(ctx, simulatorLimit)
	defer cancel()
	command := exec.CommandContext(ctx, string(p), arguments...)
	command.Env = []string{"TMPDIR=" + os.TempDir()}
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("prlsim %s: %w: %s", strings.Join(arguments[:2], " "), err, bytes.TrimSpace(output))
	}
	return nil
}

// macFolder is the folder of a simulated Mac.
type macFolder struct{ folder, dir string }

func (m *macFolder) remove() error { return os.RemoveAll(m.folder) }

func (m *macFolder) readFile(macPath string) ([]byte, error) {
	return os.ReadFile(filepath.Join(m.dir, filepath.Clean("/"+macPath)))
}

// Run runs a tool as the Mac's user in their session.
func (m *macFolder) Run(ctx context.Context, c *tool.Command) (tool.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, simulatorLimit)
	defer cancel()
	arguments := slices.Concat([]string{"asuser", "501", "/usr/bin/sudo", "-n", "-H", "-u", account, c.Path}, c.Args)
	command := exec.CommandContext(ctx, filepath.Join(m.dir, "bin", "launchctl"), arguments...)
	command.Env = []string{}
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return tool.Result{}, fmt.Errorf("run the simulated %s: %w", filepath.Base(c.Path), err)
	}
	return tool.Result{Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), ExitCode: command.ProcessState.ExitCode()}, nil
}

// compared are the commands whose outputs are compared, with what their shape is.
type compared struct {
	tool  string // path on the Mac
	args  []string
	shape func(stdout []byte, all string) shape
}

func jsonShape(stdout []byte, _ string) shape { return shapeJSON(stdout) }
func flagShape(_ []byte, all string) shape    { return shapeHelp(all) }
func listShape(_ []byte, all string) shape    { return shapeCommands(all) }
func lineShape(_ []byte, all string) shape    { return shapeLines(all) }

// comparisons are what does not depend on a machine.
func comparisons() []compared {
	list := []compared{
		{prlctl.Prlctl, []string{"--version"}, lineShape},
		{prlctl.Prlctl, []string{"--help"}, listShape},
		{prlctl.Prlctl, []string{"set", "--help"}, listShape},
		{prlctl.Prlctl, []string{"list", "-a", "--json"}, jsonShape},
		{prlctl.Prlctl, []string{"list", noSuchMachine, "-i", "--json"}, lineShape},
		{prlctl.Prlsrvctl, []string{"--help"}, listShape},
		{prlctl.Prlsrvctl, []string{"set", "--help"}, flagShape},
		{prlctl.Prlsrvctl, []string{"info", "--json"}, jsonShape},
		{prlctl.Prlsrvctl, []string{"info", "--license"}, lineShape},
		{prlctl.Prlsrvctl, []string{"info", "--license", "--json"}, jsonShape},
	}
	for _, category := range categories {
		list = append(list, compared{prlctl.Prlctl, []string{"set", category, "--help"}, flagShape})
	}
	return list
}

// compareWithSimulator makes a Mac like the captured one and notes what its tools
// and files do otherwise.
func (r *reading) compareWithSimulator(ctx context.Context, simulator simulator) error {
	if r.version.IsZero() || r.version.Build == 0 {
		r.add(finding{Part: partSimulator, What: "simulated Mac", Verdict: verdictMissing, Detail: "the version is not known"})
		return nil
	}
	mac, err := simulator.create(ctx, r.likeness())
	if err != nil {
		return fmt.Errorf("make a simulated Mac to compare with: %w", err)
	}
	err = r.compareWith(ctx, mac)
	return errors.Join(err, mac.remove())
}

func (r *reading) compareWith(ctx context.Context, mac simulatedMac) error {
	for _, c := range comparisons() {
		entry, found := r.find(append([]string{filepath.Base(c.tool)}, c.args...)...)
		if !found || entry.Exit == nil || r.serviceWasDown(entry) {
			continue
		}
		if err := r.compareRun(ctx, mac, strings.Join(entry.Command, " "), entry, c); err != nil {
			return err
		}
	}
	simulated, err := prlctl.New(mac).List(ctx)
	if err != nil {
		return fmt.Errorf("list the simulated machines: %w", err)
	}
	for i, m := range r.machines {
		name := fmt.Sprintf("VM-%d", i+1)
		index := slices.IndexFunc(simulated.VMs, func(vm prlctl.VM) bool { return vm.Name == name })
		if index < 0 {
			r.add(finding{Part: partSimulator, What: m.Name, Verdict: verdictDiffers, Detail: "the simulator has no guest " + m.OS})
			continue
		}
		if err := r.compareMachine(ctx, mac, m, simulated.VMs[index].ID); err != nil {
			return err
		}
	}
	return nil
}

// compareRun compares one command: how it ends, where it prints, and what.
func (r *reading) compareRun(ctx context.Context, mac simulatedMac, what string, entry entry, c compared) error {
	simulated, err := mac.Run(ctx, &tool.Command{Path: c.tool, Args: c.args})
	if err != nil {
		return err
	}
	stdout, stderr := r.files[entry.Stdout], r.files[entry.Stderr]
	if *entry.Exit != simulated.ExitCode {
		r.noteSimulator(what, "exit %d, simulated %d", *entry.Exit, simulated.ExitCode)
		return nil
	}
	if len(stdout) > 0 != (len(simulated.Stdout) > 0) {
		r.noteSimulator(what, "prints on standard output: %t, simulated %t", len(stdout) > 0, len(simulated.Stdout) > 0)
	}
	r.compareShapes(what, c.shape(stdout, string(stdout)+"\n"+string(stderr)),
		c.shape(simulated.Stdout, string(simulated.Stdout)+"\n"+string(simulated.Stderr)))
	return nil
}

func (r *reading) compareMachine(ctx context.Context, mac simulatedMac, m machine, id string) error {
	what := "prlctl list " + m.OS
	if m.entry.Exit != nil {
		if err := r.compareRun(ctx, mac, what, m.entry, compared{prlctl.Prlctl, []string{"list", id, "-i", "--json"}, jsonShape}); err != nil {
			return err
		}
	}
	vm, err := prlctl.New(mac).Get(ctx, id)
	if err != nil {
		return fmt.Errorf("read a simulated machine: %w", err)
	}
	for name, captured := range map[string][]byte{"config.pvs": m.config, "VmInfo.pvi": m.info} {
		if captured == nil {
			continue
		}
		simulated, err := mac.readFile(vm.Bundle() + "/" + name)
		if err != nil {
			r.noteSimulator(name+" of "+m.OS, "the simulator has none")
			continue
		}
		root, elements := shapeXML(captured)
		simulatedRoot, simulatedElements := shapeXML(simulated)
		if root != simulatedRoot {
			r.noteSimulator(name+" of "+m.OS, "root <%s>, simulated <%s>", root, simulatedRoot)
			continue
		}
		r.compareShapes(name+" of "+m.OS, elements, simulatedElements)
	}
	return nil
}

// compareShapes notes what is on one side only, and values of another kind.
func (r *reading) compareShapes(what string, captured, simulated shape) {
	before := len(r.findings)
	for _, key := range slices.Sorted(maps.Keys(captured)) {
		kind, there := simulated[key]
		switch {
		case !there:
			r.noteSimulator(what, "not simulated: %s %s", key, captured[key])
		case kind != captured[key] && kind != "" && captured[key] != "":
			r.noteSimulator(what, "%s is %s, simulated %s", key, captured[key], kind)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(simulated)) {
		if _, there := captured[key]; !there {
			r.noteSimulator(what, "only simulated: %s %s", key, simulated[key])
		}
	}
	if len(r.findings) == before {
		r.add(finding{Part: partSimulator, What: what, Verdict: verdictAgrees})
	}
}

func (r *reading) noteSimulator(what, format string, args ...any) {
	r.add(finding{Part: partSimulator, What: what, Verdict: verdictDiffers, Detail: strings.TrimSpace(fmt.Sprintf(format, args...))})
}
