package sim

import (
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"prlagent/platform/plist/plisttest"
)

// The files of the simulated cfprefsd, which are binary, and what `defaults export`
// prints of them are property lists to a second parser as well.
func TestDomainsReadByPlistutil(t *testing.T) {
	t.Parallel()
	parser := plisttest.Find(t)
	content, err := encodeBinary(map[string]any{
		"": "", "long": strings.Repeat("x", 300), "unicode": "Zoë \U0001F468", "numbers": []any{uint64(0), uint64(math.MaxUint64), int64(math.MinInt64), -0.1, true, false},
		"date": time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC), "data": []byte{0, 0xff}, "nested": map[string]any{"a.b {c}": []any{map[string]any{}}},
	})
	if err == nil {
		err = parser.Agrees(content)
	}
	if err != nil {
		t.Error(err)
	}

	mac := newMac(t, standardMac())
	for key, arguments := range map[string][]string{
		"Application preferences.Check for updates": {"-int", "2"}, "SupportRequestUrl": {"<string>https://x.example/?a&amp;b</string>"},
		"{f11d8098-10fe-40d9-871e-27af1e66161e}.0": {"<array><string>a</string></array>"}, "real": {"-float", "1.5"}, "data": {"-data", "00ff"},
	} {
		checkOutcome(t, defaultsOf(t, mac, "alice", append([]string{"write", productDomain, key}, arguments...)...), outcome{})
	}
	if err := parser.Agrees([]byte(defaultsOf(t, mac, "alice", "export", productDomain, "-").stdout)); err != nil {
		t.Error(err)
	}
	file, err := os.ReadFile(mac.Path("/Users/alice/Library/Preferences/" + productDomain + ".plist"))
	if err == nil {
		err = parser.Agrees(file)
	}
	if err != nil {
		t.Error(err)
	}
}
