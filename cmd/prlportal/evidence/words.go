package evidence

import (
	"fmt"
	"time"

	"prlagent/cmd/prlportal/audit"
)

func (v *verifying) show(format string, values ...any) {
	v.proof.Shown = append(v.proof.Shown, fmt.Sprintf(format, values...))
}

func (v *verifying) tell(format string, values ...any) {
	v.proof.Told = append(v.proof.Told, fmt.Sprintf(format, values...))
}

func (v *verifying) not(format string, values ...any) {
	v.proof.NotShown = append(v.proof.NotShown, fmt.Sprintf(format, values...))
}

// conclude adds what the portal tells, and what no file of this kind can show.
func (v *verifying) conclude() {
	for _, step := range v.bundle.Record.Steps {
		what := step.What
		if what == "" {
			what = step.State
		}
		words := timeWords(step.At) + " " + what
		if step.Code != "" {
			words += " (" + string(step.Code) + ")"
		}
		if !step.MacAt.IsZero() {
			words += ", on the Mac " + timeWords(step.MacAt)
		}
		v.tell("%s", words)
	}
	v.tell("%d of %d signatures that were needed.", len(v.bundle.Order.Signatures), v.bundle.Record.Needed)
	if v.command.Type == "vm.delete" {
		v.not("That no copy is left: backups, snapshots and copies elsewhere are not looked for, and nothing is wiped.")
	}
	v.not("That nobody else had the Mac's key: whoever is root on the Mac can read it, and sign anything with it.")
	v.not("When it was: the times of the result are by the Mac's clock, those of the order by the operator's, all others by the portal's.")
	if v.proof.Told == nil {
		v.proof.Told = []string{}
	}
}

func entryWords(entry audit.Entry) string {
	words := timeWords(entry.At) + " " + entry.Action
	if entry.Outcome != audit.OutcomeDecided {
		words += " (" + entry.Outcome + ")"
	}
	for _, part := range [][2]string{{" by ", entry.By}, {", uploaded by ", entry.Admin}, {", because: ", entry.Reason}} {
		if part[1] != "" {
			words += part[0] + part[1]
		}
	}
	return words
}

func timeWords(at time.Time) string {
	if at.IsZero() {
		return "at a time that is not known"
	}
	return at.UTC().Format(time.RFC3339)
}
