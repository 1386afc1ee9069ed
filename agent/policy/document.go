package policy

import (
	"errors"
	"slices"
	"time"
)

// documentSchema is the version of the document's form that this code reads.
const documentSchema = 1

// Document is one policy as published (protocol.md 2.8).
type Document struct {
	PolicyID    string
	Revision    uint64
	Name        string
	Description string
	Groups      []string // none: not in force anywhere
	Requires    []string // features that must be understood

	GoldenImage *GoldenImage // nil: none is offered
	VMSettings  VMSettings
	Product     Product
	Adopt       Adopt

	SecurityControls SecurityControls
	// NotCarriedOut are the paths of what the document asks for and this version
	// does not do: members of windows_updates, and controls that it does not know; at
	// most 256.
	NotCarriedOut []string
	// Ignored are members that this version does not know. Who reads a policy
	// obeys the rest, so that a newer policy does not release an older agent;
	// who publishes one refuses them.
	Ignored []*Error
}

// VMSettings is the section of that name.
type VMSettings struct {
	GoldenImage Scope // of machines from the organization's golden images
	Other       Scope // of all others

	// BeyondGuide: settings that the guide rules out for macOS guests are set
	// there all the same, where the tools take them.
	BeyondGuide bool
	// OnUnsupported says what becomes of a value that cannot be set.
	OnUnsupported OnUnsupported
	// MaxWait is how long a change that interrupts somebody, or needs the machine
	// shut down, waits before it is overdue; 0: without end. At its end a change
	// that interrupts is made; no machine is ever shut down for a setting.
	MaxWait time.Duration
	// RemindEvery is how often, at most, a user is reminded of a machine that has
	// to be shut down; 0: never.
	RemindEvery time.Duration
}

// OnUnsupported is one of the words below.
type OnUnsupported string

// Words of OnUnsupported.
const (
	Leave    OnUnsupported = "leave"    // the value stays as it is, and is reported
	Stricter OnUnsupported = "stricter" // the next stricter value is set, where there is one
)

// Scope are the settings of one kind of machines. A setting that is not in it is
// not managed; one that is false is managed.
type Scope struct {
	Managed  bool             // the scope is in the document
	Settings map[string]Value // by the settings' names
	Unknown  []string         // names that the catalogue does not have, in order; at most 64
}

// Adopt names machines that count as from a golden image although the agent did
// not provision them (H42): those in VMIDs, and those that were first seen
// before a day. What a user can write, the bundle's name, only narrows the
// latter.
type Adopt struct {
	VMIDs           []string  // in lower case and in order
	FirstSeenBefore time.Time // by the agent's own record; zero: none
	BundleNames     []string  // patterns of path.Match for the bundle's last name; empty: any
}

// GoldenImage is what new machines are made from.
type GoldenImage struct {
	ID          string
	Name        string
	Description string
	Images      []Image // in the order of the document, at most one for each architecture
	// RolloutPercent is the share of Macs that are offered it.
	RolloutPercent int
	MaxKBps        int    // of a download; 0: no limit
	Window         string // of the day, for downloads; empty: any time
}

// Image is a golden image for one architecture.
type Image struct {
	Architecture string // arm64 or x86_64
	URL          string
	SHA256       string // lower-case hex
	Size         int64  // bytes; 0: not said
	Mirrors      []string
	Format       string // pvmp, zip or tgz
}

// knownFeatures are the names that a document may list in requires.
var knownFeatures = []string{}

// Parse reads a document of at most protocol.MaxPolicy bytes. The error is a
// join of *Error; a document with one is not to be obeyed at all. A null
// anywhere is refused: absent means "not managed", and null is how people unset
// by accident. An unknown setting is kept by its name, and an unknown name in
// requires refuses the whole document.
func Parse(data []byte) (*Document, error) {
	document, problems := Check(data)
	if len(problems) > 0 {
		joined := make([]error, len(problems))
		for i, problem := range problems {
			joined[i] = problem
		}
		return nil, errors.Join(joined...)
	}
	return document, nil
}

// Check reads a document as Parse does, and says everything that is wrong with
// it: at most 64 errors in the order of the document.
func Check(data []byte) (*Document, []*Error) {
	root, problem := readTree(data)
	if problem != nil {
		return &Document{}, []*Error{problem}
	}
	reader := &documentReader{document: &Document{}}
	reader.readDocument(root)
	return reader.document, reader.problems
}

// scopeOf gives the scope of a machine and the path of it.
func (d *Document) scopeOf(m *Machine) (*Scope, string) {
	if m.Origin == OriginGolden || d.Adopt.matches(m) {
		return &d.VMSettings.GoldenImage, "vm_settings.golden_image"
	}
	return &d.VMSettings.Other, "vm_settings.other"
}

// InGroup reports whether the document names the group.
func (d *Document) InGroup(group string) bool { return slices.Contains(d.Groups, group) }

// Bounds of members of vm_settings.
const (
	MaxWaitHours   = 24 * 365
	MaxRemindWeeks = 52
)

const week = 7 * 24 * time.Hour
