package inventory

import (
	"testing"
	"time"

	"prlagent/platform"
)

// ENC-10: what a bundle takes is asked only for machines of which a policy needs it,
// and is known as it was when nobody can look.
func TestENC_10_SpaceIsAskedWhereAPolicyNeedsIt(t *testing.T) {
	t.Parallel()
	m := &Machine{Bundle: Bundle{Path: "/Users/alice/a.pvm"}, NeverStarted: true}
	if m.fileQuestions()[0].Space {
		t.Error("it is asked, and nobody needs it")
	}
	m.needsSpace = true
	if questions := m.fileQuestions(); !questions[0].Space || questions[1].Space {
		t.Errorf("asked %+v", questions)
	}
	answers := []platform.FileAnswer{{Folder: true, Space: platform.Space{Used: 10, Free: 5}}, {}}
	m.takeFiles(answers, time.Time{})
	if m.Space != (platform.Space{Used: 10, Free: 5}) {
		t.Errorf("%+v", m.Space)
	}
}

// What is remembered of a machine holds nothing of the answers of its account, which
// has the contents of all its files.
func TestH21_TheOwnerIsNoPartOfTheAnswer(t *testing.T) {
	t.Parallel()
	m := &Machine{Bundle: Bundle{Path: "/Users/alice/a.pvm"}, NeverStarted: true}
	answers := []platform.FileAnswer{{Folder: true, UID: 501}, {}}
	m.takeFiles(answers, time.Time{})
	clear(answers)
	if m.Bundle.Owner == nil || *m.Bundle.Owner != 501 {
		t.Error("the owner went with the answers")
	}
}
