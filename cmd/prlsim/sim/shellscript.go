package sim

import (
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"prlagent/platform/text"
)

// shellScript is a script that root runs on the Mac. The shell is this machine's, and
// knows of no Mac: what the script's text names of the Mac is put below its folder, and
// the Mac's tools come before this machine's.
type shellScript struct {
	mac       Mac
	text      []byte
	arguments []string
	variables []string // NAME=VALUE, beside those of every program
	folder    string   // where it lies and runs, of this machine
	output    io.Writer
	errors    io.Writer
	// elsewhere is a script for another volume than that of the running system: the
	// paths that it puts behind a variable are below that volume.
	elsewhere bool
}

// toolFolders are where a program is looked for, on every Mac and here.
var toolFolders = []string{"/usr/bin", "/bin", "/usr/sbin", "/sbin"}

var (
	// macPath is a path of the Mac in a script, with what stands before it.
	macPath = text.Pattern(`(^|[^\w./-])(\$\{?\w+\}?)?(/(?:Applications|Library|Users|private|usr/local|var)(?:/|\b))`)
	// searchPath is a script's own list of folders.
	searchPath = text.Pattern(`(?m)^PATH=(\S+)$`)
)

// placed is the text with the Mac's paths below its folder.
func (s shellScript) placed() []byte {
	text := searchPath().ReplaceAllStringFunc(string(s.text), func(line string) string {
		return "PATH=" + quoteWord(s.searchPath(strings.Split(strings.TrimPrefix(line, "PATH="), ":")))
	})
	return []byte(macPath().ReplaceAllStringFunc(text, func(found string) string {
		match := macPath().FindStringSubmatch(found)
		if match[2] != "" && s.elsewhere {
			return found
		}
		return match[1] + match[2] + s.mac.Dir + match[3]
	}))
}

// searchPath are the folders on the Mac, and then those of this machine.
func (s shellScript) searchPath(folders []string) string {
	var all []string
	for _, folder := range folders {
		all = append(all, s.mac.Path(folder))
	}
	return strings.Join(append(all, folders...), ":")
}

func quoteWord(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// command is the script as a process with a group of its own.
func (s shellScript) command(state *State, name string) (*exec.Cmd, error) {
	file := filepath.Join(s.folder, name)
	if err := os.WriteFile(file, s.placed(), 0o700); err != nil {
		return nil, fmt.Errorf("write script: %w", err)
	}
	process := exec.Command("/bin/sh", append([]string{file}, s.arguments...)...)
	process.Dir, process.Stdout, process.Stderr = s.folder, s.output, s.errors
	process.Env = append([]string{"PATH=" + s.searchPath(toolFolders), "HOME=" + s.mac.Path("/var/root"), "USER=" + rootUser, "LOGNAME=" + rootUser}, s.variables...)
	for _, variable := range slices.Sorted(maps.Keys(state.JobEnvironment)) { // of what launchd starts
		process.Env = append(process.Env, variable+"="+state.JobEnvironment[variable])
	}
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return process, nil
}
