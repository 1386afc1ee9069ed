package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/rs/zerolog"

	"prlagent/agent/command"
	"prlagent/agent/enforce"
	"prlagent/agent/localapi"
	"prlagent/platform"
	"prlagent/store"
)

// Placed is what this agent has placed on the Mac and would leave behind (H29, H47).
func (a *agent) Placed() (localapi.Placed, error) { return placedIn(a.store) }

// ErrForgotten is that the store was damaged and began anew.
var ErrForgotten = errors.New("the state was damaged and began anew, so what was placed before is not known")

// Placed is the same of a Mac whose daemon does not run, by its store; root is as of
// Options. Without a store nothing was placed; of one that
// began anew after damage nobody knows, until a daemon has run with it (ErrForgotten).
func Placed(ctx context.Context, root string, log zerolog.Logger) (localapi.Placed, error) {
	folder := platform.New(root, nil).Path(StateFolder)
	if _, err := os.Lstat(folder); errors.Is(err, fs.ErrNotExist) {
		return localapi.Placed{Schema: localapi.Schema}, nil
	}
	state, report, err := store.Open(ctx, folder, store.Options{Log: log, LockWait: storeLockWait, Collections: allCollections()})
	if err != nil {
		return localapi.Placed{}, fmt.Errorf("open state: %w", err)
	}
	defer closeStore(state, &log)
	if report.Outcome == store.OutcomeReset {
		return localapi.Placed{}, ErrForgotten
	}
	return placedIn(state)
}

func placedIn(state *store.Store) (localapi.Placed, error) {
	placed := localapi.Placed{Schema: localapi.Schema}
	err := state.View(func(tx *store.Tx) (err error) {
		if placed.Holds, placed.Autostarts, err = command.PlacedIn(tx); err != nil {
			return err
		}
		enforced, err := enforce.PlacedIn(tx)
		placed.Locks, placed.Switches, placed.Leases = enforced.Locks, enforced.Switches, enforced.Leases
		return err
	})
	if err != nil {
		return localapi.Placed{}, fmt.Errorf("recall what was placed: %w", err)
	}
	return placed, nil
}
