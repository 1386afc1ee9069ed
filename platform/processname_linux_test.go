package platform

import (
	"io"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAProcessThatHasEndedHasNoName(t *testing.T) {
	t.Parallel()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(executable, "-test.run=^$")
	output, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(output); err != nil { // the kernel closes it at the end
		t.Fatal(err)
	}
	var ended unix.Siginfo
	if err := unix.Waitid(unix.P_PID, child.Process.Pid, &ended, unix.WEXITED|unix.WNOWAIT, nil); err != nil { // and nobody has taken it away yet
		t.Fatal(err)
	}
	if name, _, err := ProcessName(child.Process.Pid); err == nil {
		t.Errorf("it is called %q", name)
	}
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
}
