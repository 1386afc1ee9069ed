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
	out        io.Writer
	color      bool
	hiddenPath string // a long path that is shown as $DEMO
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

func (n *narrator) inStyle(style, text string) string {
	if !n.color {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (n *narrator) hidePath(path string) { n.hiddenPath = path }

func (n *narrator) printLinef(format string, args ...any) {
	fmt.Fprintf(n.out, format+"\n", args...)
}

func (n *narrator) printTitle(text string) {
	n.printLinef("\n%s\n%s", n.inStyle(bold, text), n.inStyle(dim, "$DEMO is "+n.hiddenPath))
}

func (n *narrator) beginStep(number int, title string) {
	n.printLinef("\n%s %s", n.inStyle(bold, fmt.Sprintf("%2d", number)), n.inStyle(bold, title))
}

// printCommand shows a command line as a user would type it.
func (n *narrator) printCommand(program string, args []string) {
	words := []string{program}
	for _, arg := range args {
		arg = strings.ReplaceAll(arg, n.hiddenPath, "$DEMO")
		if strings.ContainsAny(arg, " ()") {
			arg = `"` + arg + `"`
		}
		words = append(words, arg)
	}
	n.printLinef("   %s", n.inStyle(dim, "$ "+strings.Join(words, " ")))
}

func (n *narrator) stepDone(proof string, took time.Duration) {
	for i, line := range strings.Split(proof, "\n") {
		mark := "  "
		if i == 0 {
			mark = n.inStyle(green, "✓ ")
			line += n.inStyle(dim, fmt.Sprintf("  (%.1f s)", took.Seconds()))
		}
		n.printLinef("   %s%s", mark, line)
	}
}

func (n *narrator) stepFailed(err error) { n.printLinef("   %s %v", n.inStyle(red, "✗"), err) }

func (n *narrator) printNote(text string) { n.printLinef("   %s", n.inStyle(dim, text)) }

// printOutput shows a program's output as it is.
func (n *narrator) printOutput(output []byte) {
	n.printLinef("")
	for line := range strings.Lines(strings.ReplaceAll(string(output), n.hiddenPath, "$DEMO")) {
		n.printLinef("   %s", strings.TrimRight(line, "\n"))
	}
}

func (n *narrator) allStepsDone(steps int, took time.Duration) {
	n.printLinef("\n%s\n", n.inStyle(green, fmt.Sprintf("All %d steps held, in %.1f s.", steps, took.Seconds())))
}

// printNextSteps ends a demo that keeps running.
func (n *narrator) printNextSteps(s *demoRun) {
	n.printLinef("It keeps running. Play with it:\n")
	for _, line := range []string{
		"export DEMO=" + s.folder + " PATH=" + s.binFolder + ":$PATH PRLAGENT_ROOT=" + s.macFolder,
		"prlsim vm start macOS --mac $DEMO/mac",
		"prlagent checkin --wait && prlagent vms",
		"prlportal vms --dir $DEMO/portal",
		"prlsim fault set service_down --mac $DEMO/mac; prlagent checkin --wait; prlagent status",
		"prlportal devices --dir $DEMO/portal; prlportal events --dir $DEMO/portal",
		"prlportal command vm.lock --vm macOS --reason \"to try it\" --dir $DEMO/portal   # type macOS; then prlagent checkin --wait",
		"prlagent commands; prlportal commands --dir $DEMO/portal; prlsim effects --mac $DEMO/mac",
		"prlagent events --follow",
	} {
		n.printLinef("  %s", line)
	}
	n.printLinef("\nStop it and clean up:\n\n  kill %d %d; rm -rf $DEMO\n", s.programs["prlagentd"].pid(), s.programs["prlportal"].pid())
}
