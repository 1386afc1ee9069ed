package platform

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"prlagent/platform/tool"
)

// A mount in the application's place that does not answer costs each caller its
// time and nothing else; only a few of its calls are under way, and all goes on
// when it lives again.
func TestADeadMountInTheApplicationsPlaceStopsNothing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	place(t, root, prlctlPath, "program")
	synctest.Test(t, func(t *testing.T) {
		machine := New(root, &fakeRunner{answers: map[string]answer{codesignLine: {}, applicationLine: {}}})
		revive := make(chan struct{})
		var held atomic.Int64
		machine.lstat = func(path string, stat *unix.Stat_t) error {
			held.Add(1)
			<-revive
			return unix.Lstat(path, stat)
		}
		for call := range 2 * maxFileCalls {
			begun := time.Now()
			err := machine.Trusted(t.Context(), prlctlPath)
			requireCode(t, err, tool.CodeTimeout)
			if took := time.Since(begun); took != fileCallLimit {
				t.Errorf("call %d took %s", call, took)
			}
		}
		if held.Load() != maxFileCalls {
			t.Errorf("%d calls are held, want %d", held.Load(), maxFileCalls)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := machine.Trusted(ctx, prlctlPath); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
		close(revive)
		synctest.Wait()
		if err := machine.Trusted(t.Context(), prlctlPath); err != nil {
			t.Errorf("once it lives again: %v", err)
		}
	})
}
