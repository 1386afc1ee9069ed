// Package plisttest has a second parser read the property lists that we write: one
// that shares no code with the library of platform/plist. It is for tests.
package plisttest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"prlagent/platform/plist"
)

// requireVariable is set where a machine without the second parser has the tests
// fail that need it, as .ci/run does. Elsewhere they are skipped.
const requireVariable = "REQUIRE_PLISTUTIL"

// Parser is plistutil of libplist.
type Parser struct{ path string }

// Find is the second parser of this machine. Where there is none, the test is
// skipped.
func Find(t testing.TB) Parser {
	t.Helper()
	required := os.Getenv(requireVariable) != "" // asked always, so that no cached result of another answer stands for this one
	path, err := exec.LookPath("plistutil")
	if err == nil {
		return Parser{path}
	}
	if required {
		t.Fatalf("no second parser, although %s is set: %v", requireVariable, err)
	}
	t.Skip("no plistutil (libplist): what we write is not read by a second parser")
	return Parser{}
}

// Agrees returns nil if the parser finds in an XML or binary property list what
// platform/plist does: of the same types, and nothing else.
func (p Parser) Agrees(data []byte) error {
	ours, err := plist.Decode(data)
	if err != nil {
		return err
	}
	format := "bin" // another one than that of the data, so that all of it is understood
	if bytes.HasPrefix(data, []byte("bplist")) {
		format = "xml"
	}
	var complaints bytes.Buffer
	command := exec.Command(p.path, "-i", "-", "-o", "-", "-f", format)
	command.Stdin, command.Stderr = bytes.NewReader(data), &complaints
	converted, err := command.Output()
	if err != nil {
		return fmt.Errorf("plistutil: %w: %s", err, &complaints)
	}
	theirs, err := plist.Decode(converted)
	if err != nil {
		return fmt.Errorf("read what plistutil wrote: %w", err)
	}
	if !plist.Equal(ours, theirs) {
		return fmt.Errorf("we read %v, plistutil %v", ours, theirs)
	}
	return nil
}
