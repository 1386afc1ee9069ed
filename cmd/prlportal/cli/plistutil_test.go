package cli

import (
	"path/filepath"
	"testing"

	"prlagent/platform/plist/plisttest"
	"prlagent/platform/safefile"
)

func TestProfilesReadByPlistutil(t *testing.T) {
	t.Parallel()
	parser, dir := plisttest.Find(t), fixedSite(t)
	for name, flags := range map[string][]string{
		"profile":     {"--group", "finance", "--mode", "enforce", "--url", "https://other.example"},
		"preferences": {"--format", "plist"},
	} {
		output := filepath.Join(dir, name)
		mustRun(t, append([]string{"profile", "--dir", dir, "-o", output}, flags...)...)
		data, err := safefile.ReadFile(output, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if err := parser.Agrees(data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
