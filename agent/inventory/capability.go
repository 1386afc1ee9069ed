package inventory

import (
	"context"
	"fmt"

	"prlagent/prlctl"
	"prlagent/store"
)

// Probed is the collection that keeps what a version of the product can do.
const Probed = "capabilities"

var probed = store.Collection[*prlctl.Capabilities]{Name: Probed}

// Prober is prlctl as one user.
type Prober interface {
	Probe(context.Context, prlctl.Flags) (prlctl.Capabilities, error)
}

// Capabilities says which of the flags the installed version has, and what else
// it can do (H43): as it was kept under this version, else by a probe, which
// takes about twenty runs of the tools. Only a whole answer about this very
// version is kept, and it replaces those of others; any other answer is good
// for now and is asked for again. With an error of the store the answer is good
// all the same. There always is one, if perhaps an empty one.
func Capabilities(ctx context.Context, state *store.Store, version prlctl.Version, prober Prober, flags prlctl.Flags) (*prlctl.Capabilities, error) {
	key := version.String()
	kept := &prlctl.Capabilities{}
	var others []string
	err := probed.LoadEach(state, func(name string, found *prlctl.Capabilities) error {
		if name == key {
			kept = found
		} else {
			others = append(others, name)
		}
		return nil
	})
	if err != nil {
		return &prlctl.Capabilities{}, fmt.Errorf("recall capabilities: %w", err)
	}
	if kept.Complete(flags) && kept.Version == version {
		return kept, nil
	}
	fresh, err := prober.Probe(ctx, flags)
	if err != nil {
		return &prlctl.Capabilities{}, fmt.Errorf("probe capabilities: %w", err)
	}
	if kept.Version == fresh.Version { // what was refused stays so
		fresh.Refused, fresh.HostRefused = kept.Refused, kept.HostRefused
	}
	if !fresh.Complete(flags) || fresh.Version != version {
		return &fresh, nil
	}
	err = state.Update(func(tx *store.Tx) error {
		for _, name := range others {
			if err := probed.Delete(tx, name); err != nil {
				return err
			}
		}
		return probed.Put(tx, key, &fresh)
	})
	if err != nil {
		return &fresh, fmt.Errorf("keep capabilities: %w", err)
	}
	return &fresh, nil
}

// Refuse keeps that this version's `prlctl set`, or `prlsrvctl set` if host, did
// not recognize a flag, whatever its help says: Capabilities give it as not
// supported from then on, until the product is updated.
func Refuse(state *store.Store, version prlctl.Version, host bool, flag string) error {
	key := version.String()
	err := state.Update(func(tx *store.Tx) error {
		var kept prlctl.Capabilities
		found, err := probed.Get(tx, key, &kept)
		if err != nil {
			return err
		}
		if !found {
			kept = prlctl.Capabilities{Version: version}
		}
		if !kept.Refuse(host, flag) {
			return nil
		}
		return probed.Put(tx, key, &kept)
	})
	if err != nil {
		return fmt.Errorf("keep refused flag: %w", err)
	}
	return nil
}
