package sim

import (
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
)

// xargs plays the one use that an agent makes of it: xargs -0 PROGRAM ARGS…, which
// starts the program once, with what stands on the standard input as further arguments,
// and with nothing to read. Its exit code is 0 or 1 (man xargs of macOS).
func xargs(in *invocation) int {
	if len(in.args) < 2 || in.args[0] != "-0" || !strings.HasPrefix(in.args[1], "/") {
		return in.failf(1, "usage: xargs -0 utility [argument ...]")
	}
	input, err := io.ReadAll(in.stdin)
	if err != nil {
		return in.failf(1, "xargs: %v", err)
	}
	var read []string
	if text := strings.TrimSuffix(string(input), "\x00"); text != "" {
		read = strings.Split(text, "\x00")
	}
	program := exec.Command(in.mac.Path(in.args[1]), append(in.args[2:len(in.args):len(in.args)], read...)...)
	program.Stdout, program.Stderr = in.stdout, in.stderr
	err = program.Run()
	var ended *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &ended):
		return in.failf(127, "xargs: %s: No such file or directory", in.args[1])
	case ended.ExitCode() == 255:
		return in.failf(1, "xargs: %s: exited with status 255; aborting", filepath.Base(in.args[1]))
	}
	return 1
}
