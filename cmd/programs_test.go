package cmd_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// programNames are the programs of this module.
var programNames = []string{"prlagentd", "prlagent", "prlportal", "prlsim"}

// roles are the programs that copies of the test binary play, by name: none but
// with the race detector, see racing_test.go.
var roles map[string]func()

// racedTests is what runs where there are roles, for -run.
var racedTests string

func TestMain(m *testing.M) {
	if play, is := roles[filepath.Base(os.Args[0])]; is {
		play()
	}
	if err := flag.Set("test.parallel", "8"); err != nil { // scripts wait more than they compute; -parallel still wins
		panic(err)
	}
	if err := flag.Set("test.run", racedTests); err != nil { // -run still wins
		panic(err)
	}
	code := m.Run()
	removePrograms()
	os.Exit(code)
}

// What the tests share: the programs as they ship, and those of scripts, which
// are the same but for the roles.
var (
	shippedPrograms = sync.OnceValues(func() (string, error) { return buildPrograms(nil) })
	builtPrograms   = sync.OnceValues(func() (string, error) {
		if len(roles) == 0 {
			return shippedPrograms()
		}
		return buildPrograms(slices.Collect(maps.Keys(roles)))
	})
	programFolders struct {
		sync.Mutex
		names []string
	}
)

// buildPrograms makes a folder of all programs, which other accounts can run.
// Those that are played are copies of the test binary.
func buildPrograms(played []string) (string, error) {
	folder, err := os.MkdirTemp("", "prl")
	if err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	programFolders.Lock()
	programFolders.names = append(programFolders.names, folder)
	programFolders.Unlock()
	if err := os.Chmod(folder, 0o755); err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	built := slices.DeleteFunc(slices.Clone(programNames), func(name string) bool { return slices.Contains(played, name) })
	if err := build(folder, runtime.GOOS+"/"+runtime.GOARCH, built...); err != nil {
		return "", err
	}
	for _, name := range played {
		executable, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("find own path: %w", err)
		}
		if err := copyProgram(executable, filepath.Join(folder, name)); err != nil {
			return "", err
		}
	}
	return folder, nil
}

func removePrograms() {
	for _, folder := range programFolders.names {
		_ = os.RemoveAll(folder)
	}
}

// shipped are the flags of go build that programs ship with, for their size
// (DESIGN 11). The agent speaks HTTP/1.1 only. Without inlining in the standard
// library the daemon is 6 % smaller, and reads a list a quarter slower. Functions
// that begin at any fourth byte, not at every 32nd, save 2 % on amd64 and cost no
// time that can be measured; on arm64, whose instructions have four bytes, it
// changes nothing.
var shipped = []string{"-tags=nethttpomithttp2", "-trimpath", "-ldflags=-s -w -funcalign=4", "-gcflags=all=-l"}

// TestREADMEShipsTheSameBuild: whoever follows the README gets the programs
// whose size and behavior are tested here.
func TestREADMEShipsTheSameBuild(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(readme), `"`, "")
	for _, flag := range shipped {
		if !strings.Contains(text, " "+flag+" ") {
			t.Errorf("the README's build of the agent lacks %s", flag)
		}
	}
}

// build builds programs as they ship: stripped, without C.
func build(folder, target string, programs ...string) error {
	return buildVersion(folder, target, "", programs...)
}

// buildVersion builds programs that say their version; empty: that of the build.
func buildVersion(folder, target, version string, programs ...string) error {
	system, arch, _ := strings.Cut(target, "/")
	args := append([]string{"build", "-o", folder + "/"}, shipped...)
	if version != "" {
		linked := slices.IndexFunc(args, func(flag string) bool { return strings.HasPrefix(flag, "-ldflags=") })
		args[linked] += " -X " + module + "/agent/localapi.Version=" + version
	}
	for _, program := range programs {
		args = append(args, module+"/cmd/"+program)
	}
	command := exec.Command("go", args...)
	command.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("build for %s: %w\n%s", target, err, output)
	}
	return nil
}

// copyProgram copies a program. The lock keeps others from starting a program in
// the meantime, which would hold the file open for writing for a moment, and so
// not executable.
func copyProgram(from, to string) error {
	program, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy program: %w", err)
	}
	defer program.Close()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	copied, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return fmt.Errorf("copy program: %w", err)
	}
	_, err = io.Copy(copied, program)
	return errors.Join(err, copied.Close())
}
