package agent

import (
	"os"

	"prlagent/platform"
	"prlagent/prlctl"
)

// Program is where the daemon's own program is on a Mac. Run as a user with
// LookCommand it is the child through which the daemon sees that user's files.
// CommandLine, beside it, is the program for people.
const (
	Program     = platform.Helper
	CommandLine = platform.CommandLine
	LookCommand = platform.HelperCommand
)

// ErrNotDaemon is AnswerLook's error for everybody but the daemon.
var ErrNotDaemon = platform.ErrNotDaemon

// AnswerLook is all that such a child does: see platform.AnswerFileQuestions.
func AnswerLook(input *os.File) error {
	readers := make(map[string]platform.FileReader)
	for name, read := range prlctl.FileReaders() {
		readers[name] = platform.FileReader{Max: prlctl.MaxFile, Read: read}
	}
	return platform.AnswerFileQuestions(input, readers)
}
