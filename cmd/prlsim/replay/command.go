package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"prlagent/platform/text"
)

// exitError is an error that decides the exit code of prlsim.
type exitError struct {
	error
	code int
}

func (e exitError) ExitCode() int { return e.code }
func (e exitError) Unwrap() error { return e.error }

// Exit codes of `prlsim replay`, beside 0 where nothing differs.
const (
	exitDiffers = 1
	exitUsage   = 2 // also an archive that cannot be read
)

// Command is `prlsim replay`.
func Command() *cobra.Command {
	var asJSON, alone bool
	command := &cobra.Command{
		Use:   "replay ARCHIVE",
		Short: "Read what launchd/first-mac.sh captured on a real Mac, and tell what differs",
		Long: `replay feeds the outputs and files that launchd/first-mac.sh has captured on a Mac
through the client of the tools, and tells what it cannot read, what differs from
the facts, and what a simulated Mac of the same version and with the same virtual
machines does otherwise.

Exit codes: 0 nothing differs, 1 something differs, 2 wrong usage or an archive
that cannot be read.`,
		Example: "  prlsim replay first-mac-20261128-101500.tar.gz\n  prlsim replay --json first-mac-20261128-101500.tar.gz",
		RunE: func(command *cobra.Command, given []string) error {
			if len(given) != 1 {
				return exitError{fmt.Errorf("usage: %s", command.UseLine()), exitUsage}
			}
			var simulator simulator
			if !alone {
				executable, err := os.Executable()
				if err != nil {
					return fmt.Errorf("find own path: %w", err)
				}
				simulator = program(executable)
			}
			return run(command.Context(), command.OutOrStdout(), given[0], simulator, asJSON)
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	command.Flags().BoolVar(&alone, "without-simulator", false, "do not make a simulated Mac to compare with")
	return command
}

// run reads the archive and prints the report. Without a simulator only the
// client and the facts are asked.
func run(ctx context.Context, out io.Writer, path string, simulator simulator, asJSON bool) error {
	read, err := openArchive(path)
	if err != nil {
		return exitError{err, exitUsage}
	}
	reading := readByClient(ctx, read)
	reading.compareWithFacts()
	if simulator != nil {
		if err := reading.compareWithSimulator(ctx, simulator); err != nil {
			return err
		}
	}
	report := reading.report()
	if err := report.print(out, asJSON); err != nil {
		return err
	}
	if report.Differences > 0 {
		return exitError{errors.New("the Mac differs from what was thought"), exitDiffers}
	}
	return nil
}

func (p report) print(out io.Writer, asJSON bool) error {
	if !asJSON {
		return p.write(out)
	}
	encoded, err := text.EncodeJSON(p, "", "  ")
	if err != nil {
		return err
	}
	_, err = out.Write(append(encoded, '\n'))
	return err
}
