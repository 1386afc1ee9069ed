package prlctl

import (
	"bytes"
	"errors"
)

// Listing is what one call of `prlctl list -i --json` said. VMs keep the
// tool's order.
type Listing struct {
	VMs        []VM
	Unreadable []Unreadable // objects that cannot be trusted; they do not sink their neighbors
	Notes      []string     // oddities of the output, see the Note constants
}

// Unreadable is a virtual machine whose object cannot be read.
type Unreadable struct {
	ID   string // as in VM.ID; empty if it is not known for sure
	Code string // duplicate_key, duplicate_id, no_id, invalid_vm_id or wrong_type
}

// Notes on output that was read all the same.
const (
	NoteTextAroundJSON = "text_around_json" // words before or behind the JSON
	NoteEditionNotice  = "edition_notice"   // the edition gate's sentence before the JSON
	NoteControlBytes   = "control_bytes"    // raw control bytes dropped from strings
	NoteInvalidUTF8    = "invalid_utf8"     // bytes that are no text were replaced
)

// readListing reads the output of `list -i --json`: an array of objects. {}
// and [] are no virtual machines; no JSON at all is an error, since taking
// silence for an empty Mac would report every machine as removed.
func readListing(output []byte) (Listing, error) {
	doc, before, err := openJSON(output)
	if err != nil {
		return Listing{}, err
	}
	var listing Listing
	if doc.peekToken() == '{' {
		err = listing.readOnly(doc)
	} else {
		err = listing.readArray(doc)
	}
	if err != nil {
		return Listing{}, outputError(err)
	}
	listing.dropSharedIDs()
	listing.Notes = doc.outputNotes(before)
	return listing, nil
}

// readArray reads the objects one by one, so that the tree of only one of them
// is in memory.
func (l *Listing) readArray(doc *document) error {
	more, err := doc.openContainer('[', ']')
	for ; more && err == nil; more, err = doc.nextItem(']') {
		object, err := doc.readValue()
		if err != nil {
			return err
		}
		if len(l.VMs)+len(l.Unreadable) == maxObjects {
			return errSize
		}
		l.addObject(object)
	}
	return err
}

// readOnly reads a single object that stands without an array.
func (l *Listing) readOnly(doc *document) error {
	object, err := doc.readValue()
	if err == nil && len(object.fields()) > 0 {
		l.addObject(object)
	}
	return err
}

func (l *Listing) addObject(object element) {
	vm, broken := readVM(object)
	if broken != nil {
		l.Unreadable = append(l.Unreadable, *broken)
		return
	}
	l.VMs = append(l.VMs, vm)
}

// dropSharedIDs takes out virtual machines that carry one ID: which of them is
// the real one cannot be told.
func (l *Listing) dropSharedIDs() {
	count := make(map[string]int, len(l.VMs))
	for _, vm := range l.VMs {
		count[vm.ID]++
	}
	if len(count) == len(l.VMs) {
		return
	}
	kept := l.VMs[:0]
	for _, vm := range l.VMs {
		switch {
		case count[vm.ID] == 1:
			kept = append(kept, vm)
		case count[vm.ID] > 1:
			l.Unreadable = append(l.Unreadable, Unreadable{ID: vm.ID, Code: CodeDuplicateID})
			count[vm.ID] = 0
		}
	}
	clear(l.VMs[len(kept):])
	l.VMs = kept
}

// onlyVM returns the one virtual machine that was asked for.
func (l Listing) onlyVM(id string) (VM, error) {
	switch {
	case len(l.Unreadable) > 0:
		return VM{}, &Error{Code: l.Unreadable[0].Code}
	case len(l.VMs) == 0:
		return VM{}, &Error{Code: CodeVMNotFound}
	case len(l.VMs) > 1 || l.VMs[0].ID != id:
		return VM{}, &Error{Code: CodeOutputInvalid, Err: errOtherVM}
	}
	return l.VMs[0], nil
}

var (
	errOtherVM = errors.New("the answer is about another virtual machine")
	errNoJSON  = errors.New("no JSON in the output")
)

// openJSON checks the size of an output and finds where its JSON starts.
func openJSON(output []byte) (doc *document, before []byte, err error) {
	if len(output) > maxOutput {
		return nil, nil, &Error{Code: CodeOutputTooLarge}
	}
	before, rest := splitJSON(output)
	if len(rest) == 0 {
		return nil, nil, &Error{Code: CodeOutputInvalid, Err: errNoJSON}
	}
	return &document{source: rest}, before, nil
}

// splitJSON cuts an output where its JSON starts: at the first bracket that
// can open an answer of the tools, which "[warning]" in a message cannot.
func splitJSON(output []byte) (before, rest []byte) {
	for at, c := range output {
		if c != '[' && c != '{' {
			continue
		}
		switch inner := firstByte(output[at+1:]); {
		case c == '[' && (inner == '{' || inner == ']'),
			c == '{' && (inner == '"' || inner == '}'):
			return output[:at], output[at:]
		}
	}
	return output, nil
}

// firstByte returns the first byte that is not blank, 0 if there is none.
func firstByte(text []byte) byte {
	for _, c := range text {
		if c > ' ' {
			return c
		}
	}
	return 0
}

// outputNotes lists the oddities once all JSON is read. The edition gate's sentence
// counts only before the JSON (H14).
func (d *document) outputNotes(before []byte) []string {
	var notes []string
	lower := bytes.ToLower(cappedMessage(before))
	if bytes.Contains(lower, []byte(editionText)) {
		notes = append(notes, NoteEditionNotice)
	}
	if firstByte(before) != 0 || d.peekToken() != 0 {
		notes = append(notes, NoteTextAroundJSON)
	}
	if d.dropped {
		notes = append(notes, NoteControlBytes)
	}
	if d.replaced {
		notes = append(notes, NoteInvalidUTF8)
	}
	return notes
}

// outputError gives broken JSON its code. It never quotes the output.
func outputError(err error) *Error {
	switch {
	case errors.Is(err, errDepth):
		return &Error{Code: CodeOutputTooDeep, Err: err}
	case errors.Is(err, errSize):
		return &Error{Code: CodeOutputTooLarge, Err: err}
	}
	return &Error{Code: CodeOutputInvalid, Err: err}
}
