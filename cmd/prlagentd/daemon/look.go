package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"prlagent/agent"
)

// lookLimit ends a child that its daemon did not end: macOS ends no child with
// its parent.
const lookLimit = 30 * time.Second

// answerLook is the child through which the daemon sees a user's files (H11).
// It answers the daemon's request and nobody else's (H60).
func answerLook() error {
	timer := time.AfterFunc(lookLimit, func() { os.Exit(exitFailed) })
	defer timer.Stop()
	err := agent.AnswerLook(os.Stdin)
	if errors.Is(err, agent.ErrNotDaemon) {
		return &exitError{exitRefused, "look is nothing for people: " + err.Error()}
	}
	return err
}

// installSelf puts the running program where the simulated Mac's sudo finds it as the
// child of the above, and the command line, if it lies beside it, where it is looked for
// to make a support bundle. On a real Mac the installation has done so.
func installSelf(root string) error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	commandLine := filepath.Join(filepath.Dir(executable), filepath.Base(agent.CommandLine))
	if _, err := os.Stat(commandLine); err == nil {
		if err := installProgram(commandLine, filepath.Join(root, agent.CommandLine)); err != nil {
			return err
		}
	}
	return installProgram(executable, filepath.Join(root, agent.Program))
}

func installProgram(executable, program string) error {
	if isSameFile(executable, program) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		return fmt.Errorf("make folder of own program: %w", err)
	}
	fresh := program + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace own program: %w", err)
	}
	if os.Link(executable, fresh) != nil { // another volume, or another owner
		if err := copyFile(executable, fresh); err != nil {
			return fmt.Errorf("copy own program: %w", err)
		}
	}
	if err := os.Rename(fresh, program); err != nil {
		return fmt.Errorf("replace own program: %w", err)
	}
	return nil
}

func isSameFile(a, b string) bool {
	one, oneError := os.Stat(a)
	other, otherError := os.Lstat(b)
	return oneError == nil && otherError == nil && os.SameFile(one, other)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
