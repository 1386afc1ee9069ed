package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// narrator tells the demo: one paragraph for each step, with the commands a
// user would type and what was checked.
type narrator struct {
	out    io.Writer
	color  bool
	hidden string // a long path that is shown as $DEMO
}

func newNarrator(out io.Writer) *narrator {
	file, isFile := out.(*os.File)
	color := false
	if isFile && os.Getenv("NO_COLOR") == "" {
		_, err := unix.IoctlGetTermios(int(file.Fd()), termiosRequest)
		color = err == nil
	}
	return &narrator{out: out, color: color}
}

// Styles of a terminal (ECMA-48, select graphic rendition).
const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
)

func (n *narrator) paint(style, text string) string {
	if !n.color {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (n *narrator) hide(path string) { n.hidden = path }

func (n *narrator) print(format string, args ...any) {
	fmt.Fprintf(n.out, format+"\n", args...)
}

func (n *narrator) headline(text string) {
	n.print("\n%s\n%s", n.paint(bold, text), n.paint(dim, "$DEMO is "+n.hidden))
}

func (n *narrator) begin(number int, title string) {
	n.print("\n%s %s", n.paint(bold, fmt.Sprintf("%2d", number)), n.paint(bold, title))
}

// command shows a command line as a user would type it.
func (n *narrator) command(program string, args []string) {
	words := []string{program}
	for _, arg := range args {
		arg = strings.ReplaceAll(arg, n.hidden, "$DEMO")
		if strings.ContainsAny(arg, " ()") {
			arg = `"` + arg + `"`
		}
		words = append(words, arg)
	}
	n.print("   %s", n.paint(dim, "$ "+strings.Join(words, " ")))
}

func (n *narrator) done(proof string, took time.Duration) {
	for i, line := range strings.Split(proof, "\n") {
		mark := "  "
		if i == 0 {
			mark = n.paint(green, "✓ ")
			line += n.paint(dim, fmt.Sprintf("  (%.1f s)", took.Seconds()))
		}
		n.print("   %s%s", mark, line)
	}
}

func (n *narrator) failed(err error) { n.print("   %s %v", n.paint(red, "✗"), err) }

func (n *narrator) note(text string) { n.print("   %s", n.paint(dim, text)) }

// quote shows a program's output as it is.
func (n *narrator) quote(output []byte) {
	n.print("")
	for line := range strings.Lines(strings.ReplaceAll(string(output), n.hidden, "$DEMO")) {
		n.print("   %s", strings.TrimRight(line, "\n"))
	}
}

func (n *narrator) success(steps int, took time.Duration) {
	n.print("\n%s\n", n.paint(green, fmt.Sprintf("All %d steps held, in %.1f s.", steps, took.Seconds())))
}

// howToPlay ends a demo that keeps running.
func (n *narrator) howToPlay(s *show) {
	n.print("It keeps running. Play with it:\n")
	for _, line := range []string{
		"export DEMO=" + s.folder + " PATH=" + s.bin + ":$PATH PRLAGENT_ROOT=" + s.mac,
		"prlsim vm start macOS --mac $DEMO/mac",
		"prlagent checkin --wait && prlagent vms",
		"prlportal vms --dir $DEMO/portal",
		"prlsim fault set service_down --mac $DEMO/mac; prlagent checkin --wait; prlagent status",
		"prlagent events --follow",
	} {
		n.print("  %s", line)
	}
	n.print("\nStop it and clean up:\n\n  kill %d %d; rm -rf $DEMO\n", s.running["prlagentd"].pid(), s.running["prlportal"].pid())
}
