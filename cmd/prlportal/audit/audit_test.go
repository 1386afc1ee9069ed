package audit_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prlagent/cmd/prlportal/audit"
)

func TestH55_TheAuditLogIsOnlyAddedTo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte(`{"action":"approve"}`+"\n"+`{"action":"rej`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, reason := range []string{"first", "second\nline"} {
		log, err := audit.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Append(audit.Entry{Action: audit.ActionRetire, Reason: reason}); err != nil {
			t.Fatal(err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if len(lines) != 4 || lines[0] != `{"action":"approve"}` || lines[1] != `{"action":"rej` ||
		!strings.Contains(lines[2], `"first"`) || !strings.Contains(lines[3], `"second\nline"`) {
		t.Errorf("lines are %q", lines)
	}
}

func TestH55_TheAuditLogIsNoLink(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := os.Symlink(filepath.Join(folder, "elsewhere"), filepath.Join(folder, "audit.log")); err != nil {
		t.Fatal(err)
	}
	if log, err := audit.Open(filepath.Join(folder, "audit.log")); err == nil {
		t.Error("a link was followed")
		log.Close()
	}
}
