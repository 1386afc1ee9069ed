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

// result is how a program ended that the demo waited for.
type result struct {
	output []byte
	errors string
	code   int
}

// call runs one of our programs to its end and shows the command line.
func (s *show) call(program string, args ...string) (result, error) {
	s.narrator.command(program, s.shortened(program, args))
	return s.quietly(program, args...)
}

// quietly is call without showing it.
func (s *show) quietly(program string, args ...string) (result, error) {
	ctx, cancel := context.WithTimeout(s.ctx, commandLimit)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...)
	command.Env = s.environment()
	var output, complaints bytes.Buffer
	command.Stdout, command.Stderr = &output, &complaints
	err := command.Run()
	ended := result{output.Bytes(), strings.TrimSpace(complaints.String()), command.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return ended, fmt.Errorf("run %s: %w", program, err)
	}
	return ended, nil
}

// must is call for a program that has to end well.
func (s *show) must(program string, args ...string) ([]byte, error) {
	ended, err := s.call(program, args...)
	return ended.output, orExit(ended, err, program)
}

// ask runs a program that prints JSON, without showing it, and reads that.
func (s *show) ask(into any, program string, args ...string) error {
	ended, err := s.quietly(program, args...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(ended.output, into); err != nil {
		return fmt.Errorf("%s %s printed no JSON: %w; %s", program, args[0], err, ended.errors)
	}
	return nil
}

func orExit(ended result, err error, program string) error {
	if err == nil && ended.code != 0 {
		err = fmt.Errorf("%s ended with %d: %s", program, ended.code, ended.errors)
	}
	return err
}

// environment gives the programs the Mac's folder, as the demo tells its user
// to do.
func (s *show) environment() []string {
	return append(os.Environ(), "PRLAGENT_ROOT="+s.mac, "NO_COLOR=1")
}

// shortened leaves out of a shown command line what the environment says.
func (s *show) shortened(program string, args []string) []string {
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

// process is a program that runs beside the demo.
type process struct {
	command *exec.Cmd
	ended   chan struct{}
}

func (p *process) pid() int { return p.command.Process.Pid }

// start runs a program in the background, with its output in a log.
func (s *show) start(program string, args ...string) error {
	s.narrator.command(program, append(s.shortened(program, args), "&"))
	log, err := os.OpenFile(filepath.Join(s.folder, program+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	command := exec.Command(filepath.Join(s.bin, program), args...)
	command.Env, command.Stdout, command.Stderr = s.environment(), log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is the demo's to handle
	if err := command.Start(); err != nil {
		return fmt.Errorf("start %s: %w", program, err)
	}
	started := &process{command: command, ended: make(chan struct{})}
	go func() {
		_ = command.Wait()
		close(started.ended)
	}()
	s.running[program] = started
	return nil
}

// stop signals a program and waits for its end.
func (s *show) stop(program string, how syscall.Signal) error {
	running, is := s.running[program]
	if !is {
		return nil
	}
	delete(s.running, program)
	_ = running.command.Process.Signal(how)
	select {
	case <-running.ended:
		return nil
	case <-time.After(readyLimit):
		_ = running.command.Process.Kill()
		return fmt.Errorf("%s did not stop", program)
	}
}

// until waits for something that another program is about to do.
func (s *show) until(what string, ready func() bool) error {
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
