package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const installerPath = "/usr/sbin/installer"

// installerAssumptions are what the facts leave open of installer.
var installerAssumptions = []assumption{
	{"receipt_after_failure", []string{"none", "written"}, "facts/macos.md 13.3",
		"whether a package whose postinstall failed has a receipt"},
	{"installer_folders", []string{"kept", "changed"}, "facts/macos.md 13.1",
		"whether a folder that is there keeps its mode where overwrite-permissions is off"},
}

// installLog has what scripts print, and what installer does (facts/macos.md 13.3).
const installLog = "/var/log/install.log"

// installation is one run of installer.
type installation struct {
	in      *invocation
	file    string // the package, as a path of this machine
	volume  string // where to, as the Mac says it
	whole   *flatPackage
	verb    string // install or upgrade, as installer says it
	sandbox string // folder in which everything lies before it is in place
}

// installer plays `installer -pkg FILE -target VOLUME`. Its texts are those that people
// paste (package name, base path, end); which words an unreadable package has is
// inferred. What a package is refused for here, the real one may take.
func installer(in *invocation) int {
	run := installation{in: in, verb: "install"}
	file, problem := run.parse()
	if problem != "" {
		return in.failf(1, "%s", problem)
	}
	archive, err := os.ReadFile(run.file)
	if err != nil {
		return in.failf(1, "installer: Error - the package path specified was invalid: '%s'.", file)
	}
	if run.whole, err = readPackage(archive, in.state.processor()); err != nil {
		run.note("installer", "the package is refused: "+err.Error())
		return in.failf(1, "installer: Error - the package cannot be opened: %v", err)
	}
	if !in.isRoot() {
		return in.failf(1, "installer: Must be run as root to install this package.")
	}
	base := "Installing"
	if _, again := in.state.Receipts[run.whole.info.Identifier]; again {
		run.verb, base = "upgrade", "Upgrading"
	}
	in.printLinef("installer: Package name is %s", run.whole.title)
	in.printLinef("installer: %s at base path %s", base, run.volume)
	if err := run.install(); err != nil {
		run.note("installer", err.Error())
		return in.failf(1, "installer: The %s failed. (The Installer encountered an error that caused the installation to fail. "+
			"Contact the software manufacturer for assistance. %s)", run.verb, run.explain(err))
	}
	in.printLinef("installer: The %s was successful.", run.verb)
	return 0
}

// parse reads the arguments; every other option than those that install is refused.
func (r *installation) parse() (file, problem string) {
	for arguments := r.in.args; len(arguments) > 0; arguments = arguments[1:] {
		switch option := arguments[0]; {
		case option == "-allowUntrusted" || option == "-verbose" || option == "-verboseR":
		case len(arguments) < 2:
			return "", "installer: Error - " + option + " needs a value, or is not simulated."
		case option == "-pkg" || option == "-package":
			file, arguments = arguments[1], arguments[1:]
		case option == "-target" || option == "-tgt":
			r.volume, arguments = path.Clean(arguments[1]), arguments[1:]
		default:
			return "", "installer: Error - " + option + " is not simulated."
		}
	}
	if file == "" || !strings.HasPrefix(r.volume, "/") {
		return "", "Usage: installer -pkg <pathToPackage> -target < / | /Volumes/NAME >"
	}
	if info, err := os.Stat(r.in.mac.Path(r.volume)); err != nil || !info.IsDir() {
		return "", "installer: Error - the target volume specified was invalid: '" + r.volume + "'."
	}
	r.file = file
	if _, err := os.Stat(r.in.mac.Path(file)); filepath.IsAbs(file) && err == nil {
		r.file = r.in.mac.Path(file)
	}
	return file, ""
}

// isRoot reports whether the tool runs as root: the owner of the Mac's folder plays it.
func (in *invocation) isRoot() bool {
	info, err := os.Stat(in.mac.Dir)
	return err == nil && in.caller == rootUser && ownerOf(info) == uint32(os.Geteuid())
}

// processor is the kind of the Mac as Distribution has it.
func (s *State) processor() string {
	if s.Intel {
		return "x86_64"
	}
	return "arm64"
}

// errScript is a script that ended with another code than 0.
var errScript = errors.New("an error occurred while running scripts")

func (r *installation) explain(err error) string {
	if errors.Is(err, errScript) {
		return "An error occurred while running scripts from the package “" + filepath.Base(r.file) + "”."
	}
	return err.Error()
}

// install does what installd does, in its order: the payload is unpacked aside,
// preinstall runs, the payload takes its place, postinstall runs, and the receipt is
// written (its place behind postinstall is that of an install.log).
func (r *installation) install() (err error) {
	if r.sandbox, err = os.MkdirTemp(r.in.mac.markerPath(""), "install-"); err != nil {
		return fmt.Errorf("make sandbox: %w", err)
	}
	defer os.RemoveAll(r.sandbox)
	if err := r.unpack(); err != nil {
		return err
	}
	if err := r.runScript("preinstall"); err != nil {
		return err
	}
	r.dieAfter(stepPreinstall)
	if err := r.shove(); err != nil {
		return err
	}
	r.dieAfter(stepPayload)
	failed := r.runScript("postinstall")
	r.dieAfter(stepPostinstall)
	if failed != nil && r.in.state.assumes("receipt_after_failure", "none") {
		return failed
	}
	return errors.Join(failed, r.writeReceipt())
}

// place is where a file of the package belongs, as the Mac says it.
func (r *installation) place(file packedFile) string {
	return path.Join(r.volume, r.whole.info.Location, file.path)
}

// aside is where a file lies before it is in place.
func (r *installation) aside(index int) string {
	return filepath.Join(r.sandbox, fmt.Sprintf("file-%d", index))
}

func (r *installation) unpack() error {
	for i, file := range r.whole.payload {
		if file.isFolder() {
			continue
		}
		if err := writeFileMode(r.aside(i), file.data, file.permissions()); err != nil {
			return err
		}
	}
	return nil
}

// shove puts everything in place, one thing after the other. A file takes the place of
// what is there in one step; a folder that is there stays. Whose the things are is of no
// account here: root is who runs this.
func (r *installation) shove() error {
	for i, file := range r.whole.payload {
		place := r.in.mac.Path(r.place(file))
		if !file.isFolder() {
			if err := os.Rename(r.aside(i), place); err != nil {
				return fmt.Errorf("install %s: %w", file.path, err)
			}
			r.dieAfter(stepFirstFile)
			continue
		}
		err := os.Mkdir(place, file.permissions())
		changes := err == nil // the mode that it was made with depends on the umask
		if errors.Is(err, fs.ErrExist) {
			changes = file.path != "." && (r.whole.info.Overwrite || r.in.state.assumes("installer_folders", "changed"))
		} else if err != nil {
			return fmt.Errorf("install %s: %w", file.path, err)
		}
		if changes {
			if err := os.Chmod(place, file.permissions()); err != nil {
				return fmt.Errorf("install %s: %w", file.path, err)
			}
		}
	}
	return nil
}

// runScript runs a script with the arguments of installer: the package, the place, the
// volume (facts/macos.md 13.3) and the folder of the running system. Of the variables
// only INSTALLER_SECURE_TEMP is seen in somebody's log; the others are inferred.
func (r *installation) runScript(name string) error {
	text, has := r.whole.scripts[name]
	if !has {
		return nil
	}
	volume := r.volume
	if volume != "/" {
		volume = r.in.mac.Path(volume)
	}
	var printed bytes.Buffer
	process, err := shellScript{
		mac: r.in.mac, text: text, folder: r.sandbox, output: &printed, errors: &printed, elsewhere: volume != "/",
		arguments: []string{r.file, path.Join(volume, r.whole.info.Location), volume, "/"},
		variables: []string{
			"INSTALLER_SECURE_TEMP=" + r.sandbox, "INSTALLER_TEMP=" + r.sandbox, "PACKAGE_PATH=" + r.file,
			"SCRIPT_NAME=" + name, "DSTROOT=" + path.Join(volume, r.whole.info.Location), "DSTVOLUME=" + volume, "COMMAND_LINE_INSTALL=1",
		},
	}.command(r.in.state, name)
	if err != nil {
		return err
	}
	if err = process.Start(); err == nil {
		stop := r.dieWithin(name, process)
		err = process.Wait()
		stop()
	}
	for line := range strings.Lines(printed.String()) {
		r.note("package_script_service", "./"+name+": "+strings.TrimRight(line, "\n"))
	}
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return fmt.Errorf("%w: %s ended with %d", errScript, name, ended.ExitCode())
	}
	return err
}

// note writes a line of the log, in the form in which people paste it.
func (r *installation) note(program, text string) {
	line := fmt.Sprintf("%s %s %s[%d]: %s\n", time.Now().Format("2006-01-02 15:04:05-07"), localHostName(r.in.state.ComputerName), program, os.Getpid(), text)
	if os.MkdirAll(filepath.Dir(r.in.mac.Path(installLog)), 0o755) != nil {
		return
	}
	log, err := os.OpenFile(r.in.mac.Path(installLog), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return // as syslog, which nobody waits for
	}
	_, _ = log.WriteString(line)
	_ = log.Close()
}

// Steps after which installer can be made to die: a person kills it, or the Mac loses
// its power.
const (
	stepPreinstall  = "preinstall"
	stepFirstFile   = "first_file"
	stepPayload     = "payload"
	stepPostinstall = "postinstall"
)

// faultInstaller is an installer that dies.
const faultInstaller = "installer_dies"

// installerValue is the value of that fault.
const installerValue = "preinstall, first_file, payload, postinstall, or postinstall:N at the Nth call of launchctl in postinstall"

func (r *installation) dieAfter(step string) {
	if value, on := r.in.state.faultValue(faultInstaller, rootUser); on && value == step {
		die(0)
	}
}

// die ends this process, and a group of others, as by kill -9.
func die(group int) {
	if group != 0 {
		_ = syscall.Kill(-group, syscall.SIGKILL)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// dieWithin dies while a script runs, once it has called launchctl so many times.
func (r *installation) dieWithin(name string, process *exec.Cmd) (stop func()) {
	value, on := r.in.state.faultValue(faultInstaller, rootUser)
	script, number, counted := strings.Cut(value, ":")
	if !on || !counted || script != name {
		return func() {}
	}
	before, ended := r.in.mac.jobCalls(), make(chan struct{})
	var dying sync.Mutex // held to the end: that the script was killed is no news any more
	go func() {
		for ; ; time.Sleep(time.Millisecond) {
			called := r.in.mac.jobCalls() >= before+decimalValue(number)
			dying.Lock()
			select {
			case <-ended:
				dying.Unlock()
				return
			default:
			}
			if called {
				die(process.Process.Pid)
			}
			dying.Unlock()
		}
	}()
	return func() {
		dying.Lock()
		defer dying.Unlock()
		close(ended)
	}
}

// jobCalls is how often launchctl was called for a job.
func (m Mac) jobCalls() (count int) {
	content, err := os.ReadFile(m.Path(StartsFile))
	if errors.Is(err, fs.ErrNotExist) { // from now on they are kept
		_ = os.WriteFile(m.Path(StartsFile), nil, 0o666)
	}
	for line := range bytes.Lines(content) {
		var start Start
		if json.Unmarshal(line, &start) == nil && start.Tool == "launchctl" && len(start.Args) > 0 && start.Args[0] != "asuser" {
			count++
		}
	}
	return count
}

// checkInstallerFault refuses a value that the fault does not take.
func checkInstallerFault(value string) error {
	script, number, counted := strings.Cut(value, ":")
	count, err := strconv.Atoi(number)
	switch {
	case counted && script == stepPostinstall && err == nil && count > 0:
	case !counted && (value == stepPreinstall || value == stepFirstFile || value == stepPayload || value == stepPostinstall):
	default:
		return fmt.Errorf("%w: fault %s takes %s, not %q", errUsage, faultInstaller, installerValue, value)
	}
	return nil
}
