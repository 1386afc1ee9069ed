package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// hiddenLine reads a line from a terminal that does not show it. The terminal is as it
// was when this returns, also when ctx ends first.
func hiddenLine(ctx context.Context, terminal *os.File) (string, error) {
	descriptor := int(terminal.Fd())
	before, err := unix.IoctlGetTermios(descriptor, getTerminal)
	if err != nil {
		return "", fmt.Errorf("read the terminal's settings: %w", err)
	}
	hidden := *before
	hidden.Lflag &^= unix.ECHO | unix.ECHONL
	hidden.Lflag |= unix.ICANON | unix.ISIG
	hidden.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(descriptor, setTerminal, &hidden); err != nil {
		return "", fmt.Errorf("hide what is typed: %w", err)
	}
	defer func() { _ = unix.IoctlSetTermios(descriptor, setTerminal, before) }()

	type answer struct {
		line string
		err  error
	}
	read := make(chan answer, 1)
	go func() { // it ends with the program where nothing is typed any more
		buffer := make([]byte, maxPasswordInput) // a terminal gives a line at a time
		n, err := terminal.Read(buffer)
		read <- answer{string(buffer[:n]), err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case got := <-read:
		return strings.TrimRight(got.line, "\r\n"), got.err
	}
}
