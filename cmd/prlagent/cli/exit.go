package cli

import (
	"cmp"
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

// exitError ends the program with a code. Its words, if it has any, are printed;
// without them the output has said everything already.
type exitError struct {
	code  int
	words *localapi.ErrorBody
}

// Error gives the words, or the code for want of them.
func (e *exitError) Error() string {
	if e.words == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.words.Text
}

// exitOf are the codes of errors that do not end in exitDegraded.
var exitOf = map[protocol.Code]int{
	protocol.CodeDaemonNotRunning: exitNotRunning,
	protocol.CodeDaemonSilent:     exitNotRunning,
	protocol.CodeDaemonMissing:    exitNotRunning,
	protocol.CodeNotAllowed:       exitRefused,
}

// exitFor turns an error of the client, or of a write, into an exit.
func exitFor(err error) error {
	var exit *exitError
	if errors.As(err, &exit) {
		return exit
	}
	if errors.Is(err, context.Canceled) {
		return &exitError{code: exitDegraded, words: &localapi.ErrorBody{Code: protocol.CodeInterrupted, Text: "Interrupted."}}
	}
	words := &localapi.ErrorBody{Code: protocol.CodeInternal, Text: err.Error()}
	if code := protocol.CodeOf(err); code != "" {
		words.Code, words.Remedy = code, code.Text().Remedy
	}
	var ofDaemon *localapi.Error
	if errors.As(err, &ofDaemon) {
		words.Text, words.Remedy, words.RetryAfterS = ofDaemon.Text, ofDaemon.Remedy, ofDaemon.RetryAfterS
	}
	return &exitError{code: cmp.Or(exitOf[words.Code], exitDegraded), words: words}
}

// explainExit prints the words of an exit: for people to stderr, for programs
// that asked for JSON to stdout too.
func (p *program) explainExit(e *exitError) {
	if e.words == nil {
		return
	}
	if p.json {
		p.printJSON(errorDocument{localapi.Schema, *e.words})
	}
	words := cleanDocument(*e.words)
	fmt.Fprintf(p.stderr, "prlagent: %s\n", words.Text)
	if words.Remedy != "" {
		fmt.Fprintf(p.stderr, "  → %s\n", words.Remedy)
	}
}
