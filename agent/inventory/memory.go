package inventory

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/store"
)

// record is what is remembered of one virtual machine in one account.
type record struct {
	User       platform.User   `json:"user"`
	Bundle     string          `json:"bundle"` // Mac path; empty if the tool did not say
	Identity   protocol.Bundle `json:"identity,omitzero"`
	BundleUID  *uint32         `json:"bundle_uid,omitempty"` // owner of the bundle as the user's process saw it; set with Identity
	Listed     string          `json:"listed"`               // configuration hash of the bulk list: unchanged, nothing is read again
	Row        protocol.VM     `json:"row"`
	LastUsedAt time.Time       `json:"last_used,omitzero"`
	Running    bool            `json:"running"`
	Windows    bool            `json:"windows"`
	// NeverStarted stays true until the VM has an uptime or has shown its tools.
	NeverStarted bool       `json:"never_started,omitempty"`
	SeenAt       *time.Time `json:"seen_at,omitempty"` // set while stale: when it was last seen
}

// markStale notes, once, when the row was last known to be true.
func (r *record) markStale(at time.Time) {
	if r.SeenAt == nil && !at.IsZero() {
		r.SeenAt = &at
	}
}

// copied makes records that another goroutine may change.
func copied(entries map[string]*record) map[string]*record {
	out := make(map[string]*record, len(entries))
	for id, entry := range entries {
		another := *entry
		another.Row.Gaps, another.Row.SeenBy = maps.Clone(entry.Row.Gaps), slices.Clone(entry.Row.SeenBy)
		out[id] = &another
	}
	return out
}

// Remembered is the collection that a Collector keeps its memory in.
const Remembered = "inventory"

var remembered = store.NewCollection[record](Remembered)

// memory is every record, by account and id.
type memory map[string]map[string]*record

func (c *Collector) remember() (memory, error) {
	known := make(memory)
	err := c.store.View(func(tx *store.Tx) error {
		return remembered.Each(tx, func(_ string, entry record) error {
			known.put(entry.User.Name, &entry)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("recall inventory: %w", err)
	}
	return known, nil
}

// keep writes what changed; a look that found nothing new commits nothing.
func (c *Collector) keep(known memory) error {
	err := c.store.Update(func(tx *store.Tx) error {
		wanted := make(map[string]*record)
		for name, entries := range known {
			for id, entry := range entries {
				wanted[name+"/"+id] = entry
			}
		}
		var gone []string
		err := remembered.Each(tx, func(key string, _ record) error {
			if wanted[key] == nil {
				gone = append(gone, key)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, key := range gone {
			if err := remembered.Delete(tx, key); err != nil {
				return err
			}
		}
		for _, key := range slices.Sorted(maps.Keys(wanted)) {
			if err := remembered.Put(tx, key, *wanted[key]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keep inventory: %w", err)
	}
	return nil
}

func (m memory) put(user string, entry *record) {
	if m[user] == nil {
		m[user] = make(map[string]*record)
	}
	m[user][entry.Row.ID] = entry
}

func (m memory) of(user string) map[string]*record                  { return m[user] }
func (m memory) knows(user string) bool                             { return len(m[user]) > 0 }
func (m memory) set(user platform.User, entries map[string]*record) { m[user.Name] = entries }

// keepOnly forgets accounts that the Mac no longer has.
func (m memory) keepOnly(users []platform.User) {
	for name := range m {
		if !slices.ContainsFunc(users, func(user platform.User) bool { return user.Name == name }) {
			delete(m, name)
		}
	}
}

// users are the accounts that had virtual machines, for a look at which the
// directory does not answer.
func (m memory) users() []platform.User {
	var users []platform.User
	for _, entries := range m {
		for _, entry := range entries {
			users = append(users, entry.User)
			break
		}
	}
	slices.SortFunc(users, func(a, b platform.User) int { return int(a.UID) - int(b.UID) })
	return users
}
