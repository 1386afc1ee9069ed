package inventory

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
	"prlagent/store"
)

// record is what the store keeps of one virtual machine in one account, beside
// its description: what a look needs that cannot read everything anew. Nothing
// in it changes while nobody does anything.
type record struct {
	User         platform.User     `json:"user"`
	ID           string            `json:"id"`
	ConfigHash   string            `json:"config_hash,omitempty"` // which description belongs to it
	State        prlctl.State      `json:"state,omitempty"`
	Tools        prlctl.GuestTools `json:"tools,omitzero"`
	Bundle       string            `json:"bundle"` // Mac path
	Identity     protocol.Bundle   `json:"identity,omitzero"`
	BundleUID    *uint32           `json:"bundle_uid,omitempty"`
	Config       *prlctl.ConfigPVS `json:"config,omitempty"`
	Guest        prlctl.GuestOS    `json:"guest,omitzero"`
	InfoUnread   bool              `json:"info_unread,omitempty"`
	InfoPrivate  bool              `json:"info_private,omitempty"`
	Listed       string            `json:"listed"`
	FirstSeen    time.Time         `json:"first_seen,omitzero"`
	StartedAt    time.Time         `json:"last_used,omitzero"`
	WrittenAt    time.Time         `json:"written_at,omitzero"`
	Running      bool              `json:"running"`
	NeverStarted bool              `json:"never_started,omitempty"`
	Unreadable   protocol.Code     `json:"unreadable,omitempty"`
	SeenAt       time.Time         `json:"seen_at,omitzero"`

	// Older is the row that agents before this one kept in place of facts. Enough
	// of it is read to show it until a query by id answers.
	Older *olderRow `json:"row,omitempty"`
}

type olderRow struct {
	ID       string `json:"vm_id"`
	Name     string `json:"vm_name"`
	RawState string `json:"raw_state"`
	OS       string `json:"vm_os"`
	Edition  string `json:"vm_edition"`
	OSBuild  string `json:"vm_os_build"`
}

func recordOf(m *Machine) *record {
	return &record{
		User: m.User, ID: m.VM.ID, ConfigHash: m.ConfigHash, State: m.VM.State, Tools: m.VM.GuestTools,
		Bundle: m.Bundle.Path, Identity: m.Bundle.Identity, BundleUID: m.Bundle.Owner,
		Config: m.Config, Guest: m.Guest, InfoUnread: m.InfoUnread, InfoPrivate: m.InfoPrivate, Listed: m.listed,
		FirstSeen: m.FirstSeen, StartedAt: m.StartedAt, WrittenAt: m.WrittenAt, Running: m.running, NeverStarted: m.NeverStarted,
		Unreadable: m.Unreadable, SeenAt: m.SeenAt,
	}
}

// machine is what the record and its description say. One without its
// description is queried at the next look.
func (r *record) machine(known *description) *Machine {
	m := &Machine{
		User: r.User, ConfigHash: r.ConfigHash,
		Bundle: Bundle{Path: r.Bundle, Identity: r.Identity, Owner: r.BundleUID},
		Config: r.Config, Guest: r.Guest, InfoUnread: r.InfoUnread, InfoPrivate: r.InfoPrivate, listed: r.Listed,
		FirstSeen: r.FirstSeen, StartedAt: r.StartedAt, WrittenAt: r.WrittenAt, running: r.Running, NeverStarted: r.NeverStarted,
		Unreadable: r.Unreadable, SeenAt: r.SeenAt,
	}
	if known != nil {
		m.configChanged = known.configChanged
	}
	if prlctl.IsVersionText(m.Guest.Name) {
		m.Guest.Name = "" // agents before this one took the file's version for a name
	}
	switch {
	case r.Older != nil:
		m.VM, m.listed = *abridged(&prlctl.VM{ID: r.Older.ID, Name: r.Older.Name}), ""
		m.VM.State = prlctl.State(r.Older.RawState)
		m.Guest = prlctl.GuestOS{Name: r.Older.OS, Edition: r.Older.Edition, Build: r.Older.OSBuild}
		return m
	case known != nil && known.hash == r.ConfigHash && known.vm.ID != "":
		m.VM = known.vm
	default:
		m.VM, m.ConfigHash, m.listed = *abridged(&prlctl.VM{ID: r.ID}), "", ""
		m.Unreadable = cmp.Or(r.Unreadable, protocol.CodeNotLookedYet)
	}
	m.VM.State, m.VM.GuestTools = r.State, r.Tools
	return m
}

// description is what a query by id said of a virtual machine. It is larger than
// everything else that is known of it, changes rarely, and is read from the
// store once in the life of a process.
type description struct {
	hash string // of the configuration, before it was bounded
	vm   prlctl.VM
	// configChanged is as that of the machine. It is kept in the life of a process only.
	configChanged time.Time
}

// storedDescription is a description as it lies in the store, where one that
// this version cannot read spoils nothing.
type storedDescription struct {
	Hash string          `json:"hash"`
	VM   json.RawMessage `json:"vm"`
}

// Remembered and Described are the collections that a Collector keeps its memory
// in.
const (
	Remembered = "inventory"
	Described  = "inventory_vms"
)

var (
	records      = store.Collection[*record]{Name: Remembered}
	recordKeys   = store.Collection[*struct{}]{Name: Remembered} // the same, where the keys are enough
	descriptions = store.Collection[*storedDescription]{Name: Described}
)

// knownMachines are every machine, by uid of the account and id.
type knownMachines map[uint32]map[string]*Machine

func (c *Collector) loadKnown() (knownMachines, error) {
	known := make(knownMachines)
	err := c.store.View(func(tx *store.Tx) error {
		if err := c.loadDescriptions(tx); err != nil {
			return err
		}
		recorded := make(map[string]bool, len(c.descriptions))
		err := records.Each(tx, func(key string, kept *record) error {
			recorded[key] = true
			if m := kept.machine(c.descriptions[key]); m.VM.ID != "" {
				known.add(m)
			}
			return nil
		})
		for key := range c.descriptions {
			if !recorded[key] { // as when the store was erased: what is in it is not known
				c.descriptions[key] = &description{}
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("recall inventory: %w", err)
	}
	return known, nil
}

// loadDescriptions reads the descriptions for the first look of a process.
func (c *Collector) loadDescriptions(tx *store.Tx) error {
	if c.descriptions != nil {
		return nil
	}
	found := make(map[string]*description)
	err := descriptions.Each(tx, func(key string, kept *storedDescription) error {
		read := &description{hash: kept.Hash}
		if err := read.vm.UnmarshalJSON(kept.VM); err != nil || read.vm.ID == "" {
			read = &description{} // the next query replaces it
		}
		found[key] = read
		return nil
	})
	if err == nil {
		c.descriptions = found
	}
	return err
}

// saveKnown writes what changed; a look that found nothing new commits nothing.
func (c *Collector) saveKnown(known knownMachines) error {
	wanted := make(map[string]*Machine)
	var keys []string
	for uid, machines := range known {
		for id, m := range machines {
			key := recordKey(uid, id)
			wanted[key], keys = m, append(keys, key)
		}
	}
	slices.Sort(keys)
	err := c.store.Update(func(tx *store.Tx) error {
		if err := deleteGone(tx, wanted); err != nil {
			return err
		}
		for _, key := range keys {
			if err := records.Put(tx, key, recordOf(wanted[key])); err != nil {
				return err
			}
		}
		return c.saveDescriptions(tx, wanted)
	})
	if err != nil {
		return fmt.Errorf("keep inventory: %w", err)
	}
	for key := range c.descriptions {
		if wanted[key] == nil {
			delete(c.descriptions, key)
		}
	}
	for key, m := range wanted {
		if c.descriptions[key] == nil {
			c.descriptions[key] = &description{}
		}
		*c.descriptions[key] = description{m.ConfigHash, m.VM, m.configChanged}
	}
	return nil
}

// recordKey is where the record of a machine lies. Agents before this one had
// the account's name in it: theirs are read, and go with the next look, which
// finds nobody's machine under their key.
func recordKey(uid uint32, id string) string { return fmt.Sprintf("%d/%s", uid, id) }

// deleteGone deletes the records of machines that are not known any more.
func deleteGone(tx *store.Tx, wanted map[string]*Machine) error {
	var gone []string
	err := recordKeys.Each(tx, func(key string, _ *struct{}) error {
		if wanted[key] == nil {
			gone = append(gone, key)
		}
		return nil
	})
	for _, key := range gone {
		err = errors.Join(err, records.Delete(tx, key))
	}
	return err
}

// saveDescriptions brings the descriptions in the store up to date.
func (c *Collector) saveDescriptions(tx *store.Tx, wanted map[string]*Machine) error {
	var err error
	for key := range c.descriptions {
		if wanted[key] == nil {
			err = errors.Join(err, descriptions.Delete(tx, key))
		}
	}
	for key, m := range wanted {
		if m.ConfigHash != "" && (c.descriptions[key] == nil || m.ConfigHash != c.descriptions[key].hash) {
			err = errors.Join(err, descriptions.Put(tx, key, &storedDescription{m.ConfigHash, m.VM.Raw}))
		}
	}
	return err
}

// copyMachines makes machines that another goroutine may change.
func copyMachines(machines map[string]*Machine) map[string]*Machine {
	out := make(map[string]*Machine, len(machines))
	for id, m := range machines {
		another := *m
		out[id] = &another
	}
	return out
}

func (k knownMachines) add(machine *Machine) {
	uid := machine.User.UID
	if k[uid] == nil {
		k[uid] = make(map[string]*Machine)
	}
	k[uid][machine.VM.ID] = machine
}

func (k knownMachines) ofUser(uid uint32) map[string]*Machine { return k[uid] }
func (k knownMachines) hasUser(uid uint32) bool               { return len(k[uid]) > 0 }

// setUser keeps an account's machines, under what the account is called now.
func (k knownMachines) setUser(user platform.User, machines map[string]*Machine) {
	for _, m := range machines {
		m.User = user
	}
	k[user.UID] = machines
}

// keepOnly forgets accounts that the Mac no longer has.
func (k knownMachines) keepOnly(users []platform.User) {
	for uid := range k {
		if findUser(users, uid) == nil {
			delete(k, uid)
		}
	}
}

// findUser is the account with this uid; nil if there is none.
func findUser(users []platform.User, uid uint32) *platform.User {
	for i := range users {
		if users[i].UID == uid {
			return &users[i]
		}
	}
	return nil
}

// users are the accounts that had virtual machines, for a look at which the
// directory does not answer.
func (k knownMachines) users() []platform.User {
	users := make([]platform.User, 0, len(k))
	var uids []uint32
	for uid := range k {
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	for _, uid := range uids {
		for _, machine := range k[uid] {
			users = append(users, machine.User)
			break
		}
	}
	return users
}
