package platform

import (
	"testing"

	"pgregory.net/rapid"

	"prlagent/platform/plist/plisttest"
)

// Whatever is written to a key, a second parser reads the fragment that defaults is
// given as we do.
func TestUPD_08_FragmentsReadByPlistutil(t *testing.T) {
	t.Parallel()
	parser := plisttest.Find(t)
	rapid.Check(t, func(r *rapid.T) {
		value := rapid.OneOf(
			rapid.Map(rapid.StringMatching(`[ -~é\n\t]{0,40}`), func(v string) any { return v }),
			rapid.Map(rapid.Bool(), func(v bool) any { return v }),
			rapid.Map(rapid.Int(), func(v int) any { return v }),
		).Draw(r, "value")
		runner := &recordingRunner{}
		if err := NewPreferences(runner, testDomain).Write(t.Context(), "key", value); err != nil {
			r.Fatal(err)
		}
		fragment := runner.asked[0].Args[3]
		if err := parser.Agrees([]byte(`<plist version="1.0">` + fragment + `</plist>`)); err != nil {
			r.Fatalf("%s: %v", fragment, err)
		}
	})
}
