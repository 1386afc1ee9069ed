package policy

import (
	"time"
)

// SecurityControls is the section of that name.
type SecurityControls struct {
	// Set has each control that is in the document. One that is false is managed:
	// what the agent placed for it is lifted.
	Set         map[string]bool
	OnViolation OnViolation
	// Grace is how long the owner of a machine that is against a control has until
	// it is suspended.
	Grace time.Duration
}

// OnViolation is one of the words below.
type OnViolation string

// Words of OnViolation.
const (
	ReportOnly OnViolation = "report"
	Suspend    OnViolation = "suspend" // after the grace period
)

// Bounds of grace_s, and what it is where the document does not say.
const (
	MinGraceSeconds     = 1
	MaxGraceSeconds     = 7 * 24 * 60 * 60
	DefaultGraceSeconds = 15 * 60
)

// ManagesControls reports whether the policy has a security control.
func (d *Document) ManagesControls() bool { return len(d.SecurityControls.Set) > 0 }

// securityControls reads the section: the controls of the catalogue, and what is
// done about a violation.
func (r *documentReader) securityControls(n *node) {
	controls := &r.document.SecurityControls
	controls.Set = make(map[string]bool)
	for _, m := range r.members(n) {
		switch {
		case m.name == "on_violation":
			controls.OnViolation = OnViolation(r.oneOf(m, string(ReportOnly), string(Suspend)))
		case m.name == "grace_s":
			seconds, _ := r.number(m, MinGraceSeconds, MaxGraceSeconds)
			controls.Grace = time.Duration(seconds) * time.Second
		case FindControl(m.name) != nil:
			controls.Set[m.name] = r.truth(m)
		default:
			r.noteNotCarriedOut(m.path)
		}
	}
}
