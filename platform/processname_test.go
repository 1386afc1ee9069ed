package platform

import (
	"os"
	"path/filepath"
	"testing"
)

func TestProcessName(t *testing.T) {
	t.Parallel()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	want := filepath.Base(executable)
	if name, uid, err := ProcessName(os.Getpid()); err != nil || name != want[:min(len(want), 15)] || int(uid) != os.Geteuid() {
		t.Errorf("%q of %d, %v; want %q", name, uid, err, want)
	}
	if name, _, err := ProcessName(1 << 30); err == nil {
		t.Errorf("a process that is not there is called %q", name)
	}
}
