package prlctl

import (
	"errors"
	"strings"
)

// maxEventLine caps one line of the event stream in bytes (H13). A real one has
// some 200.
const maxEventLine = 64 << 10

// maxEventWord caps the name of an event and of a state; the longest that is
// known has 25 letters.
const maxEventWord = 64

// Event is one line of `prlctl monitor-events --json` (facts/prlctl.md 3). The
// zero Event is a line that says nothing but that something happened. Words are
// in lower case, and empty where the line has none or has something else than a
// short word of letters, digits and underscores.
type Event struct {
	VMID  string // lower case, no braces; empty if absent or no UUID
	Name  string // for example vm_state_changed
	State string // "Vm state name", for example running; empty but for a change of state
}

// parseEvent reads one line. Keys that are not known are passed over, and so is
// a value of a wrong type. An error is an *Error: output_too_large,
// output_too_deep, output_invalid for what is not exactly one JSON object, and
// duplicate_key (H14).
func parseEvent(line []byte) (Event, error) {
	if len(line) > maxEventLine {
		return Event{}, &Error{Code: CodeOutputTooLarge}
	}
	doc := document{source: line, text: make([]byte, 0, len(line)), nodes: make([]node, 0, 8)}
	object, err := doc.readValue()
	switch {
	case err != nil:
		return Event{}, outputError(err)
	case object.node().kind != kindObject:
		return Event{}, &Error{Code: CodeOutputInvalid, Err: errNoJSON}
	case doc.peekToken() != 0:
		return Event{}, &Error{Code: CodeOutputInvalid, Err: errBehindEvent}
	case doc.repeated:
		return Event{}, &Error{Code: CodeDuplicateKey}
	}
	event := Event{
		Name:  eventWord(object.field("Event name").text()),
		State: eventWord(object.at("Additional info", "Vm state name").text()),
	}
	if id, err := ParseID(object.field("VM ID").text()); err == nil {
		event.VMID = id
	}
	return event, nil
}

var errBehindEvent = errors.New("text behind the event")

// eventWord returns a word in lower case, and nothing for what is no word.
func eventWord(text string) string {
	if len(text) > maxEventWord {
		return ""
	}
	word := strings.ToLower(text)
	for i := range len(word) {
		if c := word[i]; c != '_' && !isLowerOrDigit(c) {
			return ""
		}
	}
	return word
}
