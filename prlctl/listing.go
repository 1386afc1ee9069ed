package prlctl

import (
	"errors"

	"prlagent/platform/tool"
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
// silence for an empty Mac would report every machine as removed. With words
// around it more is asked of an answer: some object must have an ID, and where
// there are none the words must not be those of a failure.
func readListing(output []byte) (Listing, error) {
	answer, err := readList(output, readObjects)
	if err != nil {
		return Listing{}, err
	}
	listing, _ := answer.content.(*Listing)
	if listing == nil {
		listing = new(Listing)
	}
	if answer.words && len(listing.VMs) == 0 {
		if err := listing.doubt(output); err != nil {
			return Listing{}, err
		}
	}
	listing.dropSharedIDs()
	listing.Notes = answer.notes
	return *listing, nil
}

// doubt is why a listing with words around it, and without a machine that can be
// read, is no answer.
func (l *Listing) doubt(output []byte) error {
	if len(l.Unreadable) == 0 {
		failure, known := knownFailure(&tool.Result{Stdout: output})
		if known && failure.Code != CodeEdition { // which lists all the same
			return failure
		}
		return nil
	}
	for _, broken := range l.Unreadable {
		if broken.ID != "" {
			return nil
		}
	}
	return outputError(errOtherForm)
}

// readObjects is the contentReader of a *Listing: of an array of objects, or of one
// object that stands without an array.
func readObjects(doc *document) (any, error) {
	listing := new(Listing)
	if doc.peekToken() == '{' {
		return listing, listing.readOnly(doc)
	}
	return listing, listing.readArray(doc)
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
	l.VMs = append(l.VMs, *vm)
}

// dropSharedIDs takes out virtual machines that carry one ID, with one that
// cannot be read or among themselves: which of them is the real one cannot be
// told.
func (l *Listing) dropSharedIDs() {
	count := make(map[string]int, len(l.VMs))
	for i := range l.VMs {
		count[l.VMs[i].ID]++
	}
	for _, broken := range l.Unreadable {
		if count[broken.ID] > 0 {
			count[broken.ID]++
		}
	}
	kept := l.VMs[:0]
	for i := range l.VMs {
		vm := &l.VMs[i]
		switch {
		case count[vm.ID] == 1:
			kept = append(kept, *vm)
		case count[vm.ID] > 1:
			l.Unreadable = append(l.Unreadable, Unreadable{ID: vm.ID, Code: CodeDuplicateID})
			count[vm.ID] = 0
		}
	}
	clear(l.VMs[len(kept):])
	l.VMs = kept
}

// onlyVM returns the one virtual machine that was asked for.
func (l *Listing) onlyVM(id string) (VM, error) {
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

var errOtherVM = errors.New("the answer is about another virtual machine")
