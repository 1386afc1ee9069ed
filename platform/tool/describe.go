package tool

import (
	"path/filepath"
	"slices"
)

// loggedActions are the words that may be logged as the first argument of a
// program. A word that is not here is not logged: the next first argument could
// be a name, a path or a licence key.
var loggedActions = map[string][]string{
	"codesign":  {"--verify"},
	"defaults":  {"delete", "export", "import", "read", "write"},
	"launchctl": {"asuser", "bootout", "bootstrap", "enable", "kickstart", "print"},
	"prlagentd": {"look"},
	"prlctl": {
		"capture", "clone", "create", "delete", "exec", "get", "list", "monitor-events", "pause",
		"register", "reset", "restart", "resume", "set", "snapshot", "start", "status", "stop",
		"suspend", "unregister",
	},
	"prlsrvctl": {"info", "install-license", "deactivate-license", "net", "privnet", "set", "user", "usb"},
	"scutil":    {"--get"},
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
	if len(args) > 0 && slices.Contains(loggedActions[program], args[0]) {
		action = args[0]
	}
	return program, action
}

func isWrapper(program string, args []string) bool {
	return program == "sudo" || program == "xargs" || program == "launchctl" && len(args) > 0 && args[0] == "asuser"
}
