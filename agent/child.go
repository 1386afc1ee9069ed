package agent

import (
	"io"

	"prlagent/platform"
)

// Program is where the daemon's own program is on a Mac. Run as a user with
// LookCommand it is the child through which the daemon sees that user's files.
const (
	Program     = platform.Helper
	LookCommand = platform.HelperCommand
)

// AnswerLook is all that such a child does: see platform.AnswerFileQuestions.
func AnswerLook(in io.Reader, out io.Writer) error {
	return platform.AnswerFileQuestions(in, out)
}
