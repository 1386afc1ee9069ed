package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Limits of what the demo waits for.
const (
	commandLimit = 60 * time.Second
	readyLimit   = 20 * time.Second
	readyPoll    = 20 * time.Millisecond
)

// programResult is how a program ended that the demo waited for.
type programResult struct {
	output []byte
	errors string
	code   int
}

// runShown runs one of our programs to its end and shows the command line.
func (s *demoRun) runShown(program string, args ...string) (programResult, error) {
	s.narrator.printCommand(program, s.shownArguments(program, args))
	return s.runQuietly(program, args...)
}

// runQuietly is runShown without showing it.
func (s *demoRun) runQuietly(program string, args ...string) (programResult, error) {
	ctx, cancel := context.WithTimeout(s.ctx, commandLimit)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(s.binFolder, program), args...)
	command.Env = s.programEnvironment()
	var output, complaints bytes.Buffer
	command.Stdout, command.Stderr = &output, &complaints
	err := command.Run()
	ended := programResult{output.Bytes(), strings.TrimSpace(complaints.String()), command.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return ended, fmt.Errorf("run %s: %w", program, err)
	}
	return ended, nil
}

// mustRun is runShown for a program that has to end well.
func (s *demoRun) mustRun(program string, args ...string) ([]byte, error) {
	ended, err := s.runShown(program, args...)
	return ended.output, exitError(ended, err, program)
}

// readJSON runs a program that prints JSON, without showing it, and reads that.
func (s *demoRun) readJSON(into any, program string, args ...string) error {
	ended, err := s.runQuietly(program, args...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(ended.output, into); err != nil {
		return fmt.Errorf("%s %s printed no JSON: %w; %s", program, args[0], err, ended.errors)
	}
	return nil
}

func exitError(ended programResult, err error, program string) error {
	if err == nil && ended.code != 0 {
		err = fmt.Errorf("%s ended with %d: %s", program, ended.code, ended.errors)
	}
	return err
}

// programEnvironment gives the programs the Mac's folder, as the demo tells its
// user to do.
func (s *demoRun) programEnvironment() []string {
	return append(os.Environ(), "PRLAGENT_ROOT="+s.macFolder, "NO_COLOR=1")
}

// shownArguments leaves out of a shown command line what the environment says.
func (s *demoRun) shownArguments(program string, args []string) []string {
	var short []string
	for i := 0; i < len(args); i++ {
		if program == "prlagentd" && args[i] == "--root" {
			i++
			continue
		}
		short = append(short, args[i])
	}
	return short
}

// childProcess is a program that runs beside the demo.
type childProcess struct {
	command *exec.Cmd
	ended   chan struct{}
}

func (p *childProcess) pid() int { return p.command.Process.Pid }

// startProgram runs a program in the background, with its output in a log.
func (s *demoRun) startProgram(program string, args ...string) error {
	s.narrator.printCommand(program, append(s.shownArguments(program, args), "&"))
	log, err := os.OpenFile(filepath.Join(s.folder, program+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	command := exec.Command(filepath.Join(s.binFolder, program), args...)
	command.Env, command.Stdout, command.Stderr = s.programEnvironment(), log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is the demo's to handle
	if err := command.Start(); err != nil {
		return fmt.Errorf("start %s: %w", program, err)
	}
	started := &childProcess{command: command, ended: make(chan struct{})}
	go func() {
		_ = command.Wait()
		close(started.ended)
	}()
	s.programs[program] = started
	return nil
}

// stopProgram signals a program and waits for its end.
func (s *demoRun) stopProgram(program string, how syscall.Signal) error {
	running, is := s.programs[program]
	if !is {
		return nil
	}
	delete(s.programs, program)
	_ = running.command.Process.Signal(how)
	select {
	case <-running.ended:
		return nil
	case <-time.After(readyLimit):
		_ = running.command.Process.Kill()
		return fmt.Errorf("%s did not stop", program)
	}
}

// waitUntil waits for something that another program is about to do.
func (s *demoRun) waitUntil(what string, ready func() bool) error {
	for deadline := time.Now().Add(readyLimit); time.Now().Before(deadline); time.Sleep(readyPoll) {
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		if ready() {
			return nil
		}
	}
	return fmt.Errorf("%s did not happen in %s", what, readyLimit)
}
