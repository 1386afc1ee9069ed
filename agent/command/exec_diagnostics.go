package command

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"prlagent/agent/protocol"
)

// Diagnostics sends a support bundle to the portal (diagnostics). A bundle that is sent
// twice, as after a crash, is two bundles at the portal and no harm.
type Diagnostics struct {
	// Make makes a bundle in which secrets are hidden, of at most protocol.MaxBlob bytes.
	Make func(ctx context.Context) ([]byte, error)
	// Upload sends it to the portal, and gives its SHA-256 in hex.
	Upload func(ctx context.Context, bundle []byte) (sha256 string, err error)

	ended sync.Map // by command id: what was observed of an upload, or why there was none
}

// Prepare has nothing to look at.
func (d *Diagnostics) Prepare(context.Context, *Job) (*Readiness, error) { return &Readiness{}, nil }

// Act makes a bundle and sends it.
func (d *Diagnostics) Act(ctx context.Context, job *Job) error {
	observed, err := d.send(ctx)
	if err != nil {
		d.ended.Store(job.Command.CommandID, err)
		return err
	}
	d.ended.Store(job.Command.CommandID, observed)
	return nil
}

func (d *Diagnostics) send(ctx context.Context) (observed map[string]string, err error) {
	bundle, err := d.Make(ctx)
	if err != nil {
		return nil, fmt.Errorf("make a support bundle: %w", err)
	}
	if len(bundle) > protocol.MaxBlob {
		return nil, newCodeError(protocol.CodeReportTooLarge, "")
	}
	digest, err := d.Upload(ctx, bundle)
	if err != nil {
		return nil, fmt.Errorf("send a support bundle: %w", err)
	}
	return map[string]string{"sha256": digest, "size": strconv.Itoa(len(bundle))}, nil
}

// Verify says whether the portal has taken one.
func (d *Diagnostics) Verify(_ context.Context, job *Job) (*Outcome, error) {
	ended, _ := d.ended.Load(job.Command.CommandID)
	switch ended := ended.(type) {
	case map[string]string:
		return &Outcome{State: protocol.CommandSucceeded, Code: protocol.CodeCommandDone, Observed: ended}, nil
	case error:
		return &Outcome{Code: protocol.CodeNotDone, Message: protocol.CutText("No support bundle was taken by the portal: "+ended.Error(), protocol.MaxText)}, nil
	}
	return &Outcome{Code: protocol.CodeNotDone, Message: "No support bundle was taken by the portal."}, nil
}

// Forget forgets what became of a bundle for a command that has ended.
func (d *Diagnostics) Forget(commandID string) { d.ended.Delete(commandID) }
