package command

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
)

// The result names the bundle that the portal has; one that it did not take is none.
func TestCMD_DiagnosticsAreSentByDigest(t *testing.T) {
	t.Parallel()
	m := newTestMac(t)
	lost, sent := 1, 0
	executor := &Diagnostics{
		Make: func(context.Context) ([]byte, error) { return []byte("zip"), nil },
		Upload: func(_ context.Context, bundle []byte) (string, error) {
			if sent++; sent <= lost {
				return "", errors.New("offline")
			}
			return "digest of " + string(bundle), nil
		},
	}
	_, seen, err := carryOut(t, executor, m.command("diagnostics", protocol.NoParams{}))
	want := &Outcome{State: protocol.CommandSucceeded, Code: protocol.CodeCommandDone, Observed: map[string]string{"sha256": "digest of zip", "size": "3"}}
	if diff := cmp.Diff(want, seen); diff != "" || err != nil || sent != 2 {
		t.Errorf("sent %d times, %v (-want +got):\n%s", sent, err, diff)
	}
	lost, sent = 2, 0
	ready, seen, err := carryOut(t, executor, m.command("diagnostics", protocol.NoParams{}))
	if err != nil || seen.Code != protocol.CodeNotDone || sent != 2 {
		t.Errorf("got %+v, %+v, %v", ready, seen, err)
	}
	executor.Make = func(context.Context) ([]byte, error) { return make([]byte, protocol.MaxBlob+1), nil }
	if err := executor.Act(t.Context(), &Job{}); protocol.CodeOf(err) != protocol.CodeReportTooLarge || sent != 2 {
		t.Errorf("too large: %v", err)
	}
}
