package sim

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"
)

// scriptError is a script that ended with another code than 0.
type scriptError struct {
	file string
	code int
}

func (e *scriptError) Error() string { return fmt.Sprintf("%s ended with %d", e.file, e.code) }
func (e *scriptError) ExitCode() int { return e.code }

func macScriptCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "script FILE [ARGUMENT]…", Short: "Run a shell script on the Mac as root, as an admin or an MDM does", Args: argumentCount(1, -1),
		Long: `Run a script for sh on the Mac as root, as an admin or an MDM does. The shell is this
machine's: paths of the Mac in the script's text are put below the Mac's folder, and the
Mac's tools come before this machine's.`,
		Example: "  prlsim mac script uninstall.sh --purge",
		RunE: func(command *cobra.Command, given []string) error {
			mac, err := macOf(command)
			if err != nil {
				return err
			}
			state, err := mac.Load()
			if err != nil {
				return err
			}
			return mac.runScript(state, command, given[0], given[1:])
		},
	}
	command.Flags().SetInterspersed(false) // what stands behind the file is the script's
	return command
}

func (m Mac) runScript(state *State, command *cobra.Command, file string, arguments []string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read script: %w", err)
	}
	folder, err := os.MkdirTemp(m.markerPath(""), "script-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(folder)
	process, err := shellScript{mac: m, text: text, arguments: arguments, folder: folder, output: command.OutOrStdout(), errors: command.ErrOrStderr()}.
		command(state, filepath.Base(file))
	if err != nil {
		return err
	}
	err = process.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return &scriptError{filepath.Base(file), ended.ExitCode()}
	}
	return err
}
