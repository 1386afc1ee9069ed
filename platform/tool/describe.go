package tool

import (
	"path/filepath"
	"slices"
)

// loggedActions are the words that may be logged as the first argument of a
// program. A word that is not here is not logged: the next first argument could
// be a name, a path or a licence key.
var loggedActions = []struct {
	program string
	words   []string
}{
	{"codesign", []string{"--verify"}},
	{"defaults", []string{"delete", "export", "import", "read", "write"}},
	{"launchctl", []string{"asuser", "bootout", "bootstrap", "enable", "kickstart", "print"}},
	{"prlagentd", []string{"look"}},
	{"prlctl", []string{
		"capture", "clone", "create", "delete", "exec", "get", "list", "monitor-events", "pause",
		"register", "reset", "restart", "resume", "set", "snapshot", "start", "status", "stop",
		"suspend", "unregister",
	}},
	{"prlsrvctl", []string{"info", "install-license", "deactivate-license", "net", "privnet", "set", "user", "usb"}},
	{"scutil", []string{"--get"}},
}

// isLogged reports whether a word may be logged as the first argument of a program.
func isLogged(program, word string) bool {
	for _, row := range loggedActions {
		if row.program == program {
			return slices.Contains(row.words, word)
		}
	}
	return false
}

// describeRun gives the program that a run is about and its action, looking
// through the programs that only start another one.
func describeRun(path string, args []string) (program, action string) {
	program = filepath.Base(path)
	for isWrapper(program, args) {
		inner := slices.IndexFunc(args, filepath.IsAbs)
		if inner < 0 {
			break
		}
		program, args = filepath.Base(args[inner]), args[inner+1:]
	}
	if len(args) > 0 && isLogged(program, args[0]) {
		action = args[0]
	}
	return program, action
}

func isWrapper(program string, args []string) bool {
	return program == "sudo" || program == "xargs" || program == "launchctl" && len(args) > 0 && args[0] == "asuser"
}
