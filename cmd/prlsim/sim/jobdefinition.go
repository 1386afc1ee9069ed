package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"prlagent/platform/plist"
)

// daemonFolder is where the jobs of the system are, which launchd loads at boot.
const daemonFolder = "/Library/LaunchDaemons"

// jobDefinition is a job's file as launchd read it when the job was bootstrapped: a
// file that changes afterwards changes nothing (facts/macos.md 1.3).
type jobDefinition struct {
	Label      string   `json:"label"`
	Program    string   `json:"program,omitempty"` // empty: the first argument
	Arguments  []string `json:"arguments"`         // the program's name first
	RunAtLoad  bool     `json:"run_at_load,omitempty"`
	KeepAlive  bool     `json:"keep_alive,omitempty"`
	OnFailure  bool     `json:"on_failure,omitempty"` // KeepAlive is {SuccessfulExit: false}
	Throttle   int      `json:"throttle"`             // seconds
	ExitLimit  int      `json:"exit_limit"`           // seconds
	Umask      int      `json:"umask"`
	Folder     string   `json:"folder,omitempty"`
	OutputFile string   `json:"output_file,omitempty"`
	ErrorFile  string   `json:"error_file,omitempty"`
}

// Defaults of facts/macos.md 1.3.
const (
	defaultThrottle  = 10
	defaultExitLimit = 20
	defaultUmask     = 0o022
)

var (
	errNoJob      = errors.New("the file is no job")
	errJobMissing = errors.New("there is no such file")
	errJobUnsafe  = errors.New("others than root can change the file")
)

// program is the Mac path of what is started.
func (d jobDefinition) program() string {
	if d.Program == "" && len(d.Arguments) > 0 {
		return d.Arguments[0]
	}
	return d.Program
}

func (d jobDefinition) throttle() time.Duration { return time.Duration(d.Throttle) * time.Second }

func (d jobDefinition) exitLimit() time.Duration { return time.Duration(d.ExitLimit) * time.Second }

// readJob reads a job's file, which only root may be able to change, with every folder
// above it (facts/macos.md 1.2, facts/acting.md 3).
func (m Mac) readJob(macPath string) (jobDefinition, error) {
	if err := m.checkRootsOwn(macPath); err != nil {
		return jobDefinition{}, err
	}
	content, err := os.ReadFile(m.Path(macPath))
	if err != nil {
		return jobDefinition{}, errNoJob
	}
	keys, err := plist.DecodeDict(content)
	if err != nil {
		return jobDefinition{}, fmt.Errorf("%w: %w", errNoJob, err)
	}
	return decodeJob(keys)
}

// checkRootsOwn refuses what others than root could change. The owner of the Mac's
// folder plays root.
func (m Mac) checkRootsOwn(macPath string) error {
	root, err := os.Stat(m.Dir)
	if err != nil {
		return err
	}
	for path := m.Path(macPath); ; path = filepath.Dir(path) {
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return errJobMissing
		}
		if err != nil {
			return err
		}
		isFile := path == m.Path(macPath)
		if ownerOf(info) != ownerOf(root) || info.Mode()&0o022 != 0 || isFile && !info.Mode().IsRegular() {
			return errJobUnsafe
		}
		if path == m.Dir {
			return nil
		}
	}
}

func ownerOf(info fs.FileInfo) uint32 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Uid
	}
	return 0
}

// decodeJob takes the keys that the simulated Mac knows. A value of a wrong type is
// refused: what launchd makes of it is not in the facts.
func decodeJob(keys map[string]any) (jobDefinition, error) {
	job := jobDefinition{Throttle: defaultThrottle, ExitLimit: defaultExitLimit, Umask: defaultUmask}
	wrong := func(key string) (jobDefinition, error) {
		return jobDefinition{}, fmt.Errorf("%w: %s is of a wrong type", errNoJob, key)
	}
	for key, target := range map[string]*string{
		"Label": &job.Label, "Program": &job.Program, "WorkingDirectory": &job.Folder,
		"StandardOutPath": &job.OutputFile, "StandardErrorPath": &job.ErrorFile,
	} {
		if value, has := keys[key]; has && !assign(target, value) {
			return wrong(key)
		}
	}
	if value, has := keys["RunAtLoad"]; has && !assign(&job.RunAtLoad, value) {
		return wrong("RunAtLoad")
	}
	for key, target := range map[string]*int{"ThrottleInterval": &job.Throttle, "ExitTimeOut": &job.ExitLimit} {
		number := uint64(*target)
		if value, has := keys[key]; has && !assign(&number, value) {
			return wrong(key)
		}
		*target = int(number)
	}
	if value, has := keys["KeepAlive"]; has && !job.setKeepAlive(value) {
		return wrong("KeepAlive")
	}
	if value, has := keys["Umask"]; has && !job.setUmask(value) {
		return wrong("Umask")
	}
	words, _ := keys["ProgramArguments"].([]any)
	for _, word := range words {
		text, ok := word.(string)
		if !ok {
			return wrong("ProgramArguments")
		}
		job.Arguments = append(job.Arguments, text)
	}
	if job.Label == "" || !filepath.IsAbs(job.program()) {
		return jobDefinition{}, fmt.Errorf("%w: it has no label, or no program", errNoJob)
	}
	return job, nil
}

func assign[T any](target *T, value any) bool {
	typed, ok := value.(T)
	if ok {
		*target = typed
	}
	return ok
}

// setKeepAlive takes true, false, or a dictionary with SuccessfulExit. KeepAlive implies
// RunAtLoad.
func (d *jobDefinition) setKeepAlive(value any) bool {
	switch value := value.(type) {
	case bool:
		d.KeepAlive = value
	case map[string]any:
		success, ok := value["SuccessfulExit"].(bool)
		if !ok {
			return false
		}
		d.KeepAlive, d.OnFailure = true, !success
	default:
		return false
	}
	d.RunAtLoad = d.RunAtLoad || d.KeepAlive
	return true
}

// setUmask takes a decimal number, or text in octal.
func (d *jobDefinition) setUmask(value any) bool {
	switch value := value.(type) {
	case uint64:
		d.Umask = int(value) & 0o777
	case string:
		mask, err := strconv.ParseUint(strings.TrimSpace(value), 8, 16)
		if err != nil {
			return false
		}
		d.Umask = int(mask) & 0o777
	default:
		return false
	}
	return true
}

// startsAgain reports whether launchd starts the job again after such an end.
func (d jobDefinition) startsAgain(exit int) bool {
	return d.KeepAlive && (!d.OnFailure || exit != 0)
}
