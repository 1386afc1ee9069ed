package watch

import (
	"testing"
	"testing/synctest"
	"time"
)

// How a stream is follows its life: open while it runs, and how many ended in a
// row.
func TestStateOfAStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		account := newAccount(501, VMEventsOptions{RetryBase: time.Second, RetryCap: time.Minute})
		if got := account.streamState(); got.Open || !got.Since.IsZero() || got.UID != 501 {
			t.Errorf("before: %+v", got)
		}
		account.onStreamStart(time.Now())
		if got := account.streamState(); !got.Open || got.Since.IsZero() {
			t.Errorf("while it runs: %+v", got)
		}
		account.onStreamFailed(time.Now(), 0)
		account.onStreamStart(time.Now())
		account.onStreamFailed(time.Now(), 0)
		if got := account.streamState(); got.Open || got.Failures != 2 {
			t.Errorf("after two failures: %+v", got)
		}
		account.onStreamInterrupted()
		if got := account.streamState(); got.Open || got.Failures != 0 {
			t.Errorf("after an interruption: %+v", got)
		}
	})
}
