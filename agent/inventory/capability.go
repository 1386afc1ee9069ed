package inventory

import (
	"context"
	"fmt"

	"prlagent/prlctl"
	"prlagent/store"
)

// Probed is the collection that keeps what a version of the product can do.
const Probed = "capabilities"

var probed = store.NewCollection[prlctl.Capabilities](Probed)

// Prober is prlctl as one user.
type Prober interface {
	Probe(context.Context, prlctl.Flags) (prlctl.Capabilities, error)
}

// Capabilities says which of the flags the installed version has, and what else
// it can do (H43): as it was kept under this version, else by a probe, which
// takes about twenty runs of the tools. Only a whole answer about this very
// version is kept, and it replaces those of others; any other answer is good
// for now and is asked for again. With an error of the store the answer is good
// all the same.
func Capabilities(ctx context.Context, state *store.Store, version prlctl.Version, prober Prober, flags prlctl.Flags) (prlctl.Capabilities, error) {
	key := version.String()
	var kept prlctl.Capabilities
	var others []string
	err := state.View(func(tx *store.Tx) error {
		return probed.Each(tx, func(name string, found prlctl.Capabilities) error {
			if name == key {
				kept = found
			} else {
				others = append(others, name)
			}
			return nil
		})
	})
	if err != nil {
		return prlctl.Capabilities{}, fmt.Errorf("recall capabilities: %w", err)
	}
	if kept.Complete(flags) && kept.Version == version {
		return kept, nil
	}
	fresh, err := prober.Probe(ctx, flags)
	if err != nil {
		return prlctl.Capabilities{}, fmt.Errorf("probe capabilities: %w", err)
	}
	if !fresh.Complete(flags) || fresh.Version != version {
		return fresh, nil
	}
	err = state.Update(func(tx *store.Tx) error {
		for _, name := range others {
			if err := probed.Delete(tx, name); err != nil {
				return err
			}
		}
		return probed.Put(tx, key, fresh)
	})
	if err != nil {
		return fresh, fmt.Errorf("keep capabilities: %w", err)
	}
	return fresh, nil
}
