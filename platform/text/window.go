package text

import "golang.org/x/sys/unix"

// WindowWidth is how many columns the terminal has that a program writes to; 0
// if it writes to something else, as to a pipe or a file.
func WindowWidth(out any) int {
	file, is := out.(interface{ Fd() uintptr })
	if !is {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	const usual = 80 // of a terminal that does not say
	if size.Col == 0 {
		return usual
	}
	return int(size.Col)
}
