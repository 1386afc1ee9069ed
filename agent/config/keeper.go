package config

import (
	"cmp"
	"fmt"
	"reflect"
	"sync"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform/plist"
	"prlagent/store"
)

// Keeper reads the configuration again and again, and does not take the first
// missing file for the last word (H06): MDM replaces a profile by removing it
// for a moment, and a file that is gone must not end the exchange at once.
//
// The file that the trust keys come from is believed to be removed when two
// reads, ten minutes apart, missed it and none in between found it. Until then
// what it held stays in force; afterwards only what upholds the policy that the
// Mac has: there is nobody to exchange with, and no command runs. A file that is there decides at once, whatever it
// says, and so does a profile that comes in place of config.plist.
//
// Both the first missing read and what the file held are in the store, so that a
// restart forgets neither. Only what may be secret is not, and lacks after it:
// a Mac that is enrolled does without. A Keeper is safe for concurrent use.
type Keeper struct {
	store *store.Store

	mutex  sync.Mutex
	loaded bool
	kept   custody
	values map[string]any // of the file in force, with all secrets
	stored bool           // kept is in the store
}

// custody is what must be known of the file in force when it is not there.
type custody struct {
	Source   Source    `json:"source"`             // of the trust keys; empty = there never were any
	Values   []byte    `json:"values,omitempty"`   // the file as a property list, without secrets
	MissedAt time.Time `json:"missed_at,omitzero"` // first read that did not find it; zero = it is there
	Removed  bool      `json:"removed,omitempty"`  // believed
}

var custodies = store.NewCollection[custody]("config_kept")

// Collections names what this package keeps in the store.
func Collections() []string { return []string{custodies.Name()} }

// NewKeeper makes a Keeper that remembers in the given store.
func NewKeeper(state *store.Store) *Keeper { return &Keeper{store: state} }

// Load is the configuration in force at a time of day: what Load gives, or what
// the file held that was there before. A Problem says where the two differ
// (profile_missing), and that there was a configuration once (profile_removed).
func (k *Keeper) Load(paths Paths, now time.Time) Config {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	recalled := k.recall()
	found := read(paths)
	held := found.with(k.kept.Source, k.values).assemble(paths)
	next, hold := k.kept.judge(found, now, held.Timing.ProfileGrace)
	inForce := held
	if !hold {
		inForce = found.assemble(paths)
	}
	next, values := k.update(next, found)
	if next.Removed {
		inForce.uphold(values)
	}
	if problem, is := next.problem(); is {
		inForce.Problems = append(inForce.Problems, problem)
	}
	for _, err := range []error{recalled, k.remember(next, values)} {
		if err != nil {
			inForce.Problems = append(inForce.Problems, stateProblem(err))
		}
	}
	return inForce
}

// judge decides what a read means: what is known from now on, and whether the
// file of before stays in force. It has no clock and no memory but its
// arguments.
func (c custody) judge(found files, now time.Time, grace time.Duration) (next custody, hold bool) {
	_, source := found.trust()
	switch {
	case c.Source == "", source == SourceManaged, !found.of(c.Source).missing:
		return c.present(found, source), false
	case c.Removed && source == SourceNone:
		return c, false
	case c.Removed:
		return custody{Source: source}, false
	case c.MissedAt.IsZero() || now.Before(c.MissedAt): // a clock that was set back proves nothing
		c.MissedAt = now.UTC().Truncate(time.Second)
		return c, true
	case now.Sub(c.MissedAt) < grace:
		return c, true
	case source != SourceNone: // config.plist takes over from the profile
		return custody{Source: source}, false
	}
	return custody{Source: c.Source, MissedAt: c.MissedAt, Removed: true}, false
}

// present is what is known once a file is there. One that has no trust keys any
// more ends what was; one that cannot be read does not.
func (c custody) present(found files, source Source) custody {
	unreadable := c.Source != "" && found.of(c.Source).problem != nil
	switch {
	case source != SourceNone:
		return custody{Source: source}
	case unreadable:
		return custody{Source: c.Source, Values: c.Values}
	}
	return custody{}
}

// update adds to a decision what the file in force holds.
func (k *Keeper) update(next custody, found files) (custody, map[string]any) {
	values, _ := found.trust()
	switch {
	case next.Source == "":
		return next, nil
	case next.Removed && !k.kept.Removed:
		values = selected(k.values, func(key keyRow) bool { return key.stays })
	case !next.MissedAt.IsZero(), next.Values != nil:
		return next, k.values
	case next.Source == k.kept.Source && k.kept.Values != nil && reflect.DeepEqual(values, k.values):
		next.Values = k.kept.Values
		return next, k.values
	}
	encoded, err := plist.EncodeXML(selected(values, func(key keyRow) bool { return !key.secret }))
	if err != nil { // it was a property list a moment ago
		return next, values
	}
	next.Values = encoded
	return next, values
}

// selected are the values of some of our keys.
func selected(values map[string]any, wanted func(keyRow) bool) map[string]any {
	some := make(map[string]any, len(values))
	for _, key := range keys {
		if value, present := values[key.Name]; present && wanted(key) {
			some[key.Name] = value
		}
	}
	return some
}

// uphold takes over what a removed file leaves behind.
func (c *Config) uphold(values map[string]any) {
	for _, key := range keys {
		if key.stays {
			c.take(key, values)
		}
	}
}

// recall reads once what was known before a restart.
func (k *Keeper) recall() error {
	if k.loaded {
		return nil
	}
	err := k.store.View(func(tx *store.Tx) (err error) {
		k.kept, _, err = custodies.Get(tx, onlyKey)
		return err
	})
	if err != nil {
		return fmt.Errorf("recall configuration: %w", err)
	}
	k.loaded = true
	if k.kept.Values != nil {
		if k.values, err = plist.DecodeDict(k.kept.Values); err != nil {
			return fmt.Errorf("recall configuration: %w", err)
		}
	}
	return nil
}

const onlyKey = "current"

// remember writes what has changed, and nothing else.
func (k *Keeper) remember(next custody, values map[string]any) error {
	if k.stored && reflect.DeepEqual(next, k.kept) {
		k.values = values
		return nil
	}
	k.kept, k.values = next, values
	err := k.store.Update(func(tx *store.Tx) error { return custodies.Put(tx, onlyKey, next) })
	if err != nil {
		k.stored = false
		return fmt.Errorf("keep configuration: %w", err)
	}
	k.stored = true
	return nil
}

// problem says what a person should know of a file that is not there.
func (c custody) problem() (Problem, bool) {
	name := sourceNames[c.Source]
	switch {
	case c.Removed:
		return Problem{Key: name, Code: protocol.CodeProfileRemoved, Text: "missed since " + c.MissedAt.UTC().Format(time.RFC3339)}, true
	case !c.MissedAt.IsZero():
		return Problem{Key: name, Code: protocol.CodeProfileMissing, Text: "missed since " + c.MissedAt.UTC().Format(time.RFC3339)}, true
	}
	return Problem{}, false
}

// sourceNames are what people call the files.
var sourceNames = map[Source]string{SourceManaged: "profile", SourceLocal: "config.plist"}

func stateProblem(err error) Problem {
	return Problem{Key: "state", Code: cmp.Or(protocol.CodeOf(err), protocol.CodeInternal), Text: err.Error()}
}
