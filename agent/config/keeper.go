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
// what it held stays in force; afterwards only what holds the Mac to the policy
// that it has: there is nobody to exchange with, and no command runs. A file
// that can be read decides at once, whatever it says, and so does a profile that
// comes in place of config.plist. One that is there and cannot be read, whole or
// in part, decides nothing: what was in force stays for as long as that lasts.
//
// Both the first missing read and what the file held are in the store, so that
// a restart forgets neither. Only what may be secret is not, and lacks after
// it: a Mac that is enrolled does without. A Keeper is safe for concurrent use.
type Keeper struct {
	store *store.Store

	mutex   sync.Mutex
	loaded  bool
	kept    keptProfile
	values  map[string]any // of the file in force, with all secrets
	decoded decodedFiles   // when it was read last
	stored  bool           // kept is in the store
}

// AwakeTime is how long a Mac has been awake since a boot. How long a file is
// missed is counted by it, because neither a clock that is set nor a Mac that
// sleeps makes it longer, and a restart of this process not shorter. What passed
// before another boot cannot be told, and does not count.
type AwakeTime struct {
	Boot  string        `json:"boot"` // tells boots apart; empty = not known, as another one
	Awake time.Duration `json:"awake"`
}

// keptProfile is what must be known of the file in force when it is not there.
type keptProfile struct {
	Source   Source    `json:"source"`             // of the trust keys; empty = there never were any
	Values   []byte    `json:"values,omitempty"`   // the file as a property list, without secrets
	MissedAt time.Time `json:"missed_at,omitzero"` // first read that did not find it; zero = it is there
	Missed   AwakeTime `json:"missed,omitzero"`    // first read of this boot that did not find it
	Removed  bool      `json:"removed,omitempty"`  // believed
}

var keptProfiles = store.Collection[*keptProfile]{Name: "config_kept"}

// Collections names what this package keeps in the store.
func Collections() []string { return []string{keptProfiles.Name} }

// NewKeeper makes a Keeper that remembers in the given store.
func NewKeeper(state *store.Store) *Keeper {
	return &Keeper{store: state, decoded: make(decodedFiles)}
}

// Load is the configuration in force at a time of day: what the files say, or
// what the file held that was there before. A Problem says where the two differ
// (profile_missing, config_unreadable), and that there was a configuration once
// (profile_removed).
func (k *Keeper) Load(paths Paths, now time.Time, awake AwakeTime) *Config {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	recalled := k.loadKept(awake)
	found := k.recall(readFiles(paths, k.decoded))
	held := found.withValues(k.kept.Source, k.values).buildConfig(paths)
	next, hold := k.kept.afterRead(found, k.kept.patientTime(now, awake), held.Timing.ProfileGrace)
	if next.MissedAt != k.kept.MissedAt {
		next.Missed = awake
	}
	inForce := held
	if !hold {
		inForce = found.buildConfig(paths)
	}
	next, values := k.holdValues(next, found)
	if next.Removed {
		inForce.takeStaying(values)
	}
	if problem, is := next.missingProblem(); is {
		inForce.Problems = append(inForce.Problems, problem)
	}
	for _, err := range []error{recalled, k.saveKept(next, values)} {
		if err != nil {
			inForce.Problems = append(inForce.Problems, stateProblem(err))
		}
	}
	return inForce
}

// recall gives each file that cannot be read what it held before. A profile that
// came beside a config.plist in force, and was never read, takes nothing from it.
func (k *Keeper) recall(found configFiles) configFiles {
	for _, file := range []struct {
		source Source
		*configFile
	}{{SourceManaged, &found.managed}, {SourceLocal, &found.local}} {
		before := k.decoded[file.source].file.values
		switch {
		case file.problem == nil:
		case k.kept.Removed && file.source == k.kept.Source: // it stays removed until it can be read
		case file.source == k.kept.Source:
			file.values = k.values
		case before != nil:
			file.values = before
		case file.source == SourceManaged && k.kept.Source == SourceLocal && !k.kept.Removed:
			file.values = map[string]any{}
		}
	}
	return found
}

// patientTime is the time of day by a clock that began with the first read that
// missed the file, and counts what the Mac was awake since.
func (p keptProfile) patientTime(now time.Time, awake AwakeTime) time.Time {
	if p.MissedAt.IsZero() {
		return now
	}
	return p.MissedAt.Add(max(0, awake.Awake-p.Missed.Awake))
}

// afterRead decides what a read means: what is kept from now on, and whether the
// file of before stays in force. It has no clock and no memory but its
// arguments.
func (p keptProfile) afterRead(found configFiles, now time.Time, grace time.Duration) (next keptProfile, hold bool) {
	_, source := found.trustValues()
	switch {
	case p.Source != "" && source == SourceNone && found.isHidden(p.Source):
		return p, !p.Removed
	case p.Source == "", source == SourceManaged, !found.fileOf(p.Source).missing:
		return p.whenFound(source), false
	case p.Removed && source == SourceNone:
		return p, false
	case p.Removed:
		return keptProfile{Source: source}, false
	case p.MissedAt.IsZero() || now.Before(p.MissedAt): // a clock that was set back proves nothing
		p.MissedAt = now.UTC().Truncate(time.Second)
		return p, true
	case now.Sub(p.MissedAt) < grace:
		return p, true
	case source != SourceNone: // config.plist takes over from the profile
		return keptProfile{Source: source}, false
	}
	return keptProfile{Source: p.Source, MissedAt: p.MissedAt, Missed: p.Missed, Removed: true}, false
}

// whenFound is what is kept once a file is there. One that has no trust keys any
// more ends what was.
func (p keptProfile) whenFound(source Source) keptProfile {
	if source == SourceNone {
		return keptProfile{}
	}
	return keptProfile{Source: source}
}

// holdValues adds to a decision what the file in force holds.
func (k *Keeper) holdValues(next keptProfile, found configFiles) (keptProfile, map[string]any) {
	values, _ := found.trustValues()
	switch {
	case next.Source == "":
		return next, nil
	case next.Removed && !k.kept.Removed:
		values = selectValues(k.values, func(key *keyRow) bool { return key.staysAfterRemoval })
	case !next.MissedAt.IsZero(), next.Values != nil:
		return next, k.values
	case next.Source == k.kept.Source && k.kept.Values != nil && reflect.DeepEqual(values, k.values):
		next.Values = k.kept.Values
		return next, k.values
	}
	encoded, err := plist.EncodeXML(selectValues(values, func(key *keyRow) bool { return !key.secret }))
	if err != nil { // it was a property list a moment ago
		return next, values
	}
	next.Values = encoded
	return next, values
}

// selectValues are the values of some of our keys.
func selectValues(values map[string]any, wanted func(*keyRow) bool) map[string]any {
	some := make(map[string]any, len(values))
	for i := range keyTable {
		key := &keyTable[i]
		if value, present := values[key.name]; present && wanted(key) {
			some[key.name] = value
		}
	}
	return some
}

// takeStaying reads the keys that stay in force after their file was removed.
func (c *Config) takeStaying(values map[string]any) {
	for i := range keyTable {
		key := &keyTable[i]
		if key.staysAfterRemoval {
			c.takeKey(key, values)
		}
	}
}

// loadKept reads once what was known before a restart.
func (k *Keeper) loadKept(awake AwakeTime) error {
	if k.loaded {
		return nil
	}
	var kept keptProfile // of one that cannot be read, no part counts
	_, err := keptProfiles.Load(k.store, onlyKey, &kept)
	if err != nil {
		return fmt.Errorf("recall configuration: %w", err)
	}
	k.kept, k.loaded = kept, true
	if !k.kept.MissedAt.IsZero() && (awake.Boot == "" || awake.Boot != k.kept.Missed.Boot) {
		k.kept.Missed = awake
	}
	if k.kept.Values != nil {
		if k.values, err = plist.DecodeDict(k.kept.Values); err != nil {
			return fmt.Errorf("recall configuration: %w", err)
		}
	}
	return nil
}

const onlyKey = "current"

// saveKept writes what has changed, and nothing else.
func (k *Keeper) saveKept(next keptProfile, values map[string]any) error {
	if k.stored && reflect.DeepEqual(next, k.kept) {
		k.values = values
		return nil
	}
	k.kept, k.values = next, values
	err := k.store.Update(func(tx *store.Tx) error { return keptProfiles.Put(tx, onlyKey, &k.kept) })
	if err != nil {
		k.stored = false
		return fmt.Errorf("keep configuration: %w", err)
	}
	k.stored = true
	return nil
}

// missingProblem says what a person should know of a file that is not there.
func (p keptProfile) missingProblem() (Problem, bool) {
	name := p.Source.fileName()
	switch {
	case p.Removed:
		return Problem{Key: name, Code: protocol.CodeProfileRemoved, Text: "missed since " + p.MissedAt.UTC().Format(time.RFC3339)}, true
	case !p.MissedAt.IsZero():
		return Problem{Key: name, Code: protocol.CodeProfileMissing, Text: "missed since " + p.MissedAt.UTC().Format(time.RFC3339)}, true
	}
	return Problem{}, false
}

// fileName is what people call the file of a source.
func (s Source) fileName() string {
	switch s {
	case SourceManaged:
		return "profile"
	case SourceLocal:
		return "config.plist"
	}
	return ""
}

func stateProblem(err error) Problem {
	return Problem{Key: "state", Code: cmp.Or(protocol.CodeOf(err), protocol.CodeInternal), Text: err.Error()}
}
