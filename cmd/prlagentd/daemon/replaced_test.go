package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// An installer that dies before its last script leaves a new program and the old daemon:
// that one ends, and launchd starts the new one. Nothing less than a whole program that
// stays ends it.
func TestPKG_12_ADaemonWhoseProgramWasReplaced(t *testing.T) {
	t.Parallel()
	fresh := func(program string, mode os.FileMode) error {
		return errors.Join(os.WriteFile(program+".new", []byte("the next version"), 0o600), os.Chmod(program+".new", mode), os.Rename(program+".new", program))
	}
	for name, c := range map[string]struct {
		change func(program string) error
		ends   bool
	}{
		"nothing happened":   {func(string) error { return nil }, false},
		"another program":    {func(program string) error { return fresh(program, 0o755) }, true},
		"written in place":   {func(program string) error { return os.WriteFile(program, []byte("the next version"), 0o755) }, true},
		"another name of it": {func(program string) error { return os.Link(program, program+".link") }, false},
		"gone":               {os.Remove, false},
		"not to be run":      {func(program string) error { return fresh(program, 0o644) }, false},
		"others can change":  {func(program string) error { return fresh(program, 0o777) }, false},
		"empty":              {func(program string) error { return errors.Join(os.Remove(program), os.WriteFile(program, nil, 0o755)) }, false},
		"a link": {func(program string) error {
			return errors.Join(os.Rename(program, program+".old"), os.Symlink(program+".old", program))
		}, false},
	} {
		program := filepath.Join(t.TempDir(), "prlagentd")
		errorsAreFatal(t, os.WriteFile(program, []byte("this version"), 0o755))
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			ended := make(chan bool, 1)
			go func() { ended <- awaitReplacement(ctx, program) }()
			time.Sleep(90 * time.Second)
			errorsAreFatal(t, c.change(program))
			begun := time.Now()
			if got := <-ended; got != c.ends {
				t.Errorf("%s: ends %v", name, got)
			}
			if took := time.Since(begun); c.ends && (took < replacementPoll || took > 3*replacementPoll) {
				t.Errorf("%s: it took %s", name, took)
			}
		})
	}
	if !errors.Is(replacedError{}, context.Canceled) {
		t.Error("it is no orderly end")
	}
}

// While the file changes, an installer is at work.
func TestADaemonWhoseProgramIsBeingReplaced(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "prlagentd")
	errorsAreFatal(t, os.WriteFile(program, []byte("this version"), 0o755))
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan bool, 1)
		go func() { ended <- awaitReplacement(t.Context(), program) }()
		for size := range 20 {
			errorsAreFatal(t, os.WriteFile(program, make([]byte, 100+size), 0o755))
			time.Sleep(replacementPoll * 2 / 3)
			select {
			case <-ended:
				t.Fatal("it has ended")
			default:
			}
		}
		if !<-ended {
			t.Error("it goes on")
		}
	})
}
