// Package sim is the simulated Mac: a folder with the tree of a Mac, and one
// program that plays every tool the tree contains. It knows nothing of the
// agent; each behavior cites the fact it stands on, and behaviors that are only
// inferred or unknown can be switched with an assumption (see assumptions).
package sim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// toolPaths lists the Mac's absolute path of every tool the simulator plays, but for
// those that are on some Macs only.
var toolPaths = []string{
	"/usr/bin/sudo",
	"/usr/bin/xargs",
	"/usr/bin/dscl",
	"/usr/sbin/scutil",
	"/usr/sbin/ioreg",
	"/usr/sbin/sysctl",
	"/bin/launchctl",
	"/usr/bin/logger",
	"/usr/bin/codesign",
	"/usr/bin/osascript",
	"/usr/bin/defaults",
	"/usr/bin/id",
	"/usr/bin/profiles",
	"/usr/sbin/chown",
	installerPath,
	pkgutilPath,
	"/usr/bin/plutil",
	appTools + "/prlctl",
	appTools + "/prlsrvctl",
	vmAppPath,
	clientAppPath,
	dispatcherPath,
	launchdPath,
	personPath,
}

// toolFunc is one simulated program: it returns its exit code.
type toolFunc func(*invocation) int

// invocation is one call of a tool on one Mac.
type invocation struct {
	mac     Mac
	state   *State
	caller  string // account the tool runs as
	session int    // uid of the user whose GUI session the tool runs in, 0 outside of all
	name    string // base name of the tool
	args    []string
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
}

// toolNames returns the base names of all tools that Main can play. A test
// binary registers them (with "prlsim") to stand in for the real program.
func toolNames() []string {
	names := make([]string, 0, len(toolPaths))
	for _, path := range append(toolPaths[:len(toolPaths):len(toolPaths)], dialogPath) {
		names = append(names, filepath.Base(path))
	}
	return names
}

// Main acts as the program named by the base name of argv[0] and returns its
// exit code: a tool of the Mac in whose folder the program lies, or else the
// operator's console with the additional commands given.
func Main(additional ...func() *cobra.Command) int {
	name := filepath.Base(os.Args[0])
	if play, ok := toolByName(name); ok {
		return runAsTool(name, play)
	}
	command := consoleCommand()
	for _, build := range additional {
		command.AddCommand(build())
	}
	return executeConsole(command)
}

func toolByName(name string) (toolFunc, bool) {
	play, ok := map[string]toolFunc{
		"sudo":       sudo,
		"xargs":      xargs,
		"dscl":       dscl,
		"scutil":     scutil,
		"ioreg":      ioreg,
		"sysctl":     sysctl,
		"launchctl":  launchctl,
		"launchd":    runLaunchd,
		"logger":     recordCall,
		"codesign":   codesign,
		"osascript":  osascript,
		"Dialog":     swiftDialog,
		"defaults":   defaults,
		"id":         printID,
		"profiles":   profiles,
		"chown":      changeOwner,
		"installer":  installer,
		"pkgutil":    pkgutil,
		"plutil":     plutil,
		"prlctl":     prlctl,
		"prlsrvctl":  prlsrvctl,
		"prl_vm_app": vmApp,

		"prl_client_app":   runBackground,
		"prl_disp_service": runDispatcher,
		personProgram:      runPerson,
	}[name]
	return play, ok
}

func runAsTool(name string, play toolFunc) int {
	mac, err := macOfThisProgram()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s (simulated): %v\n", name, err)
		return 1
	}
	if err := mac.noteStart(name, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s (simulated): %v\n", name, err)
		return 1
	}
	state, err := mac.Load()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s (simulated): %v\n", name, err)
		return 1
	}
	return play(&invocation{
		mac: mac, state: state, name: name, args: os.Args[1:],
		caller: state.callerFrom(os.Getenv("USER")), session: parseSession(os.Getenv(sessionVariable)),
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
	})
}

// callerFrom names the account a tool runs as. Only the simulated sudo sets
// USER to an account of the Mac; everything else is root, because the agent
// clears the environment.
func (s *State) callerFrom(user string) string {
	if _, ok := s.userByName(user); ok {
		return user
	}
	return rootUser
}

// macOfThisProgram finds the Mac from the program's own path, never from the
// environment, which callers clear.
func macOfThisProgram() (Mac, error) {
	if filepath.IsAbs(os.Args[0]) {
		if mac, err := findMac(filepath.Dir(os.Args[0])); err == nil {
			return mac, nil
		}
	}
	executable, err := os.Executable()
	if err != nil {
		return Mac{}, fmt.Errorf("find own path: %w", err)
	}
	return findMac(filepath.Dir(executable))
}

// failf prints one line on stderr and returns the exit code.
func (in *invocation) failf(code int, format string, args ...any) int {
	fmt.Fprintf(in.stderr, format+"\n", args...)
	return code
}

// printLinef prints one line on stdout.
func (in *invocation) printLinef(format string, args ...any) {
	fmt.Fprintf(in.stdout, format+"\n", args...)
}

// errUsage marks errors of the operator's console that end with exit code 2.
var errUsage = errors.New("usage")
