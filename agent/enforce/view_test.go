package enforce

import (
	"slices"
	"sync"
	"testing"
)

// What was planned for another document is not shown as what the one in force wants.
func TestViewIsOfTheDocumentInForce(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		l.converge()
		if view := l.enforcer.View(); view.At.IsZero() || len(view.Settings) == 0 {
			l.t.Fatalf("planned at %s, %d settings", view.At, len(view.Settings))
		}
		next := contentOf(`"no_tools_autoupdate": true`, 9)
		l.enforcer.Adopt(&next)
		if view := l.enforcer.View(); !view.At.IsZero() || len(view.Settings) > 0 || view.Document == nil {
			l.t.Errorf("before the next plan: planned at %s, %d settings", view.At, len(view.Settings))
		}
	})
}

// A plan that is made while a machine is set, or preferences are read, has nothing for
// them: what goes on there is shown on, beside its verdicts.
func TestViewKeepsWhatGoesOn(t *testing.T) {
	t.Run("machines", func(t *testing.T) {
		inBubble(t, clipboard, func(l *lab) {
			var shown []int
			l.answer = func(uid uint32, _ []string) (bool, error) {
				if uid != alice.UID {
					return true, nil
				}
				for range 2 { // to the second one, the first is the plan before
					l.plan()
					shown = append(shown, l.stepsShownOf(uid))
				}
				return true, nil
			}
			l.converge()
			if !slices.Equal(shown, []int{1, 1}) || l.stepsShownOf(alice.UID) != 0 {
				t.Errorf("%v steps were shown at work, then %d", shown, l.stepsShownOf(alice.UID))
			}
		})
	})
	t.Run("preferences", func(t *testing.T) {
		d := newDesk(t, noUpdates)
		d.monitor = true
		d.settle()
		planned := len(d.enforcer.View().PreferenceSteps)
		var once sync.Once
		d.before = func(uint32, string) {
			once.Do(func() {
				if _, err := d.enforcer.Plan(d.situation()); err != nil {
					t.Error(err)
				}
				if shown := len(d.enforcer.View().PreferenceSteps); shown != planned || planned == 0 {
					t.Errorf("%d steps are shown at work, want %d", shown, planned)
				}
			})
		}
		d.retry = true
		d.settle()
	})
}

func (l *lab) stepsShownOf(uid uint32) (count int) {
	for _, step := range l.enforcer.View().Steps {
		if step.VM.UID == uid {
			count++
		}
	}
	return count
}
