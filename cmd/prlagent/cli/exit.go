package cli

import (
	"context"
	"errors"
	"fmt"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

// Exit codes (DESIGN 4).
const (
	exitHealthy    = 0
	exitDegraded   = 1
	exitUsage      = 2
	exitNotRunning = 3
	exitRefused    = 4
)

// exit ends the program with a code. Its words, if it has any, are printed;
// without them the output has said everything already.
type exit struct {
	code  int
	words *localapi.ErrorBody
}

// Error gives the words, or the code for want of them.
func (e *exit) Error() string {
	if e.words == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.words.Text
}

// exitOf are the codes of errors that do not end in exitDegraded.
var exitOf = map[protocol.Code]int{
	protocol.CodeDaemonNotRunning: exitNotRunning,
	protocol.CodeNotAllowed:       exitRefused,
}

// failed turns an error of the client, or of a write, into an exit.
func failed(err error) error {
	var known *localapi.Error
	switch {
	case errors.Is(err, context.Canceled):
		return &exit{code: exitDegraded, words: &localapi.ErrorBody{Code: protocol.CodeOperationCanceled, Text: "Interrupted."}}
	case !errors.As(err, &known):
		return &exit{code: exitDegraded, words: &localapi.ErrorBody{Code: protocol.CodeInternal, Text: err.Error()}}
	}
	code, ok := exitOf[known.Code]
	if !ok {
		code = exitDegraded
	}
	return &exit{code: code, words: &localapi.ErrorBody{Code: known.Code, Text: known.Text, Remedy: known.Remedy}}
}

// explain prints the words of an exit: for people to stderr, for programs that
// asked for JSON to stdout too.
func (p *program) explain(e *exit) {
	if e.words == nil {
		return
	}
	if p.json {
		p.printJSON(e.words)
	}
	words := clean(*e.words)
	fmt.Fprintf(p.stderr, "prlagent: %s\n", words.Text)
	if words.Remedy != "" {
		fmt.Fprintf(p.stderr, "  → %s\n", words.Remedy)
	}
}
