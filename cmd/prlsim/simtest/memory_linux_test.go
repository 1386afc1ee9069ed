package simtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestUseMemory(t *testing.T) {
	t.Setenv("TMPDIR", "")
	end := UseMemory()
	folder := os.TempDir()
	if !strings.HasPrefix(folder, memoryFolder) {
		t.Skip("this machine has no room in " + memoryFolder)
	}
	if err := os.WriteFile(filepath.Join(folder, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	end()
	if _, err := os.Lstat(folder); !os.IsNotExist(err) {
		t.Errorf("the folder is left: %v", err)
	}
}

func TestUseMemoryLeavesAFolderThatWasChosen(t *testing.T) {
	chosen := t.TempDir()
	t.Setenv("TMPDIR", chosen)
	if UseMemory()(); os.TempDir() != chosen {
		t.Errorf("temporary folders are in %s", os.TempDir())
	}
}

// What tests left that were killed goes with the next ones; what others use stays.
func TestRemoveOld(t *testing.T) {
	t.Parallel()
	ended := exec.Command("/bin/true")
	if err := ended.Run(); err != nil {
		t.Skip(err)
	}
	folder := t.TempDir()
	kept := map[string]bool{
		fmt.Sprint(memoryPrefix, ended.Process.Pid): false, fmt.Sprint(memoryPrefix, os.Getpid()): true,
		memoryPrefix + "-notes": true, fmt.Sprint("other-", ended.Process.Pid): true,
	}
	for name := range kept {
		if err := os.MkdirAll(filepath.Join(folder, name, "macs"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	removeOld(folder)
	for name, want := range kept {
		if _, err := os.Lstat(filepath.Join(folder, name)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
}
