package enforce

import "testing"

// What was planned for another document is not shown as what the one in force wants.
func TestViewIsOfTheDocumentInForce(t *testing.T) {
	inBubble(t, clipboard, func(l *lab) {
		l.converge()
		if view := l.enforcer.View(); view.At.IsZero() || len(view.Settings) == 0 {
			l.t.Fatalf("planned at %s, %d settings", view.At, len(view.Settings))
		}
		l.enforcer.Adopt(contentOf(`"no_tools_autoupdate": true`, 9))
		if view := l.enforcer.View(); !view.At.IsZero() || len(view.Settings) > 0 || view.Document == nil {
			l.t.Errorf("before the next plan: planned at %s, %d settings", view.At, len(view.Settings))
		}
	})
}
