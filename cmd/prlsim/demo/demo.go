// Package demo is `prlsim demo`: a portal, a simulated Mac and the daemon as
// separate programs on loopback, in a temporary folder, and a narrated run
// through what the agent does. Every step checks what it shows; the demo ends
// with 0 only if all of them held.
//
// It knows the other programs by their command lines and their JSON alone.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// Command is `prlsim demo`.
func Command() *cobra.Command {
	var bin string
	var keep bool
	command := &cobra.Command{
		Use:   "demo",
		Short: "Run the agent against a simulated Mac and a portal, and check every step",
		Long: `demo builds prlagentd, prlagent, prlportal and prlsim, makes a simulated Mac in a
temporary folder, and runs the daemon and a portal against each other on loopback.
It shows what it does, checks each step, and cleans up. It needs no root.`,
		Example: "  go run ./cmd/prlsim demo\n" +
			"  go run ./cmd/prlsim demo --keep          # leave it running to play with\n" +
			"  prlsim demo --bin /path/to/the/programs  # without building",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(command.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return runDemo(ctx, command.OutOrStdout(), bin, keep)
		},
	}
	command.Flags().StringVar(&bin, "bin", "", "folder of the programs; built with 'go build ./cmd/...' if not given")
	command.Flags().BoolVar(&keep, "keep", false, "leave the Mac, the portal and the daemon running")
	return command
}

// demoRun is the state of one demo.
type demoRun struct {
	ctx          context.Context
	narrator     *narrator
	folder       string // everything is in here
	binFolder    string
	macFolder    string // the simulated Mac
	portalFolder string // the portal's folder
	portalURL    string
	programs     map[string]*childProcess
	vm           demoVM
	deletion     string // id of the command that deletes a machine
}

// demoVM is the virtual machine that the demo works with.
type demoVM struct {
	id    string
	owner string
}

func runDemo(ctx context.Context, out io.Writer, bin string, keep bool) error {
	folder, err := os.MkdirTemp("", "prlagent-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	s := &demoRun{
		ctx: ctx, narrator: newNarrator(out), folder: folder, binFolder: bin,
		macFolder: filepath.Join(folder, "mac"), portalFolder: filepath.Join(folder, "portal"),
		programs: make(map[string]*childProcess),
	}
	s.narrator.hidePath(folder)
	s.narrator.printTitle("prlagent: a Mac with Parallels Desktop, its agent and a portal, all on this machine")
	began := time.Now()
	err = s.runSteps()
	if err == nil {
		s.narrator.allStepsDone(len(demoSteps), time.Since(began))
	}
	if keep && err == nil {
		s.narrator.printNextSteps(s)
		return nil
	}
	return errors.Join(err, s.cleanUp(err != nil))
}

// runSteps runs the steps in their order and stops at the first that fails.
func (s *demoRun) runSteps() error {
	for number, step := range demoSteps {
		began := time.Now()
		s.narrator.beginStep(number+1, step.title)
		proof, err := step.run(s)
		if err == nil {
			err = s.ctx.Err()
		}
		if err != nil {
			s.narrator.stepFailed(err)
			return fmt.Errorf("step %d (%s): %w", number+1, strings.ToLower(step.title), err)
		}
		s.narrator.stepDone(proof, time.Since(began))
	}
	return nil
}

// cleanUp stops what runs and removes the folder; after a failure the folder
// stays, for a look at the logs.
func (s *demoRun) cleanUp(failed bool) error {
	err := errors.Join(s.stopProgram("prlagentd", syscall.SIGTERM), s.stopProgram("prlportal", syscall.SIGTERM))
	if failed {
		s.narrator.printNote("the folder is kept: " + s.folder)
		return err
	}
	return errors.Join(err, os.RemoveAll(s.folder))
}
