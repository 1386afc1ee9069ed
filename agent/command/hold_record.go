package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform/safefile"
	"prlagent/store"
)

// What is kept of holds: the signed list, and how each machine of it stands.
var (
	holdLists   = store.Collection[*keptList]{Name: "hold_list"} // one, under holdListKey
	holdRecords = store.Collection[*holdRecord]{Name: "holds"}   // by VMKey.String
)

const holdListKey = "list"

// keptList is the list in force, as it was signed. How many keys it needed was judged
// when it came.
type keptList struct {
	Envelope protocol.Envelope `json:"envelope"`
	TakenAt  time.Time         `json:"taken_at"`
}

// holdRecord is what is kept of one machine.
type holdRecord struct {
	protocol.HoldState
	ReleasedBy string          `json:"released_by,omitempty"`
	ReleasedAt time.Time       `json:"released_at,omitzero"`
	Bundle     protocol.Bundle `json:"bundle,omitzero"` // as it was seen last
	// Autostart is how the machine started by itself before the agent turned that off;
	// it is put back once the machine is not held any more. Empty: nothing was changed.
	Autostart string `json:"autostart,omitempty"`
}

// isAbout reports whether the record is of this hold, and not of one before it. A lock is
// its command: the clocks of two operators say nothing of which of theirs is the later.
func (r *holdRecord) isAbout(hold *protocol.Hold) bool { return r.CommandID == hold.CommandID }

// takeOver has the record say what was signed.
func (r *holdRecord) takeOver(hold *protocol.Hold) {
	r.VMKey, r.CommandID, r.LockedAt, r.ExpiresAt, r.Force = hold.VMKey, hold.CommandID, hold.Since, hold.ExpiresAt, hold.Force
}

// isOver reports whether the hold has ended on this Mac.
func (r *holdRecord) isOver() bool {
	return r.State == protocol.HoldReleased || r.State == protocol.HoldEnded
}

// loadHolds gives what the store has.
func loadHolds(state *store.Store) (list *keptList, found bool, records map[protocol.VMKey]*holdRecord, err error) {
	list, records = &keptList{}, make(map[protocol.VMKey]*holdRecord)
	err = state.View(func(tx *store.Tx) (err error) {
		if found, err = holdLists.Get(tx, holdListKey, list); err != nil {
			return err
		}
		return holdRecords.Each(tx, func(_ string, record *holdRecord) error {
			records[record.VMKey] = record
			return nil
		})
	})
	if err != nil {
		return nil, false, nil, fmt.Errorf("open holds: %w", err)
	}
	return list, found, records, nil
}

// HoldsFile is the name of the copy of the list beside the store.
const HoldsFile = "holds.json"

// holdsCopy is the list once more, outside of the store: whatever becomes of that, what
// is signed stays held, what is over stays over, and what was changed is put back (H22,
// H29). It is written only when one of these changes.
type holdsCopy struct {
	List    keptList     `json:"list"`
	Records []holdRecord `json:"records,omitempty"` // of what is over or has an autostart to be put back
}

// maxHoldsCopy is for a list and as many records as it can have holds.
const maxHoldsCopy = 2 * protocol.MaxPolicy

func readHoldsCopy(path string) (copied *holdsCopy, found bool, err error) {
	copied = &holdsCopy{}
	data, err := safefile.ReadTrustedFile(path, uint32(os.Geteuid()), maxHoldsCopy)
	if errors.Is(err, fs.ErrNotExist) {
		return copied, false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, copied)
	}
	if err != nil {
		return copied, false, fmt.Errorf("read copy of holds: %w", err)
	}
	return copied, true, nil
}

// equals reports whether another copy would be written the same.
func (c *holdsCopy) equals(other *holdsCopy) bool {
	one, err := json.Marshal(c)
	another, failed := json.Marshal(other)
	return err == nil && failed == nil && bytes.Equal(one, another)
}

func (c *holdsCopy) write(path string) error {
	data, err := json.Marshal(c)
	if err == nil {
		err = inFolderOf(path, func(folder *safefile.Folder, name string) error { return folder.WriteFile(name, data, 0o600, -1) })
	}
	if err != nil {
		return fmt.Errorf("write copy of holds: %w", err)
	}
	return nil
}

func removeHoldsCopy(path string) error {
	err := inFolderOf(path, func(folder *safefile.Folder, name string) error { return folder.Remove(name) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove copy of holds: %w", err)
	}
	return nil
}

func inFolderOf(path string, do func(folder *safefile.Folder, name string) error) error {
	folder, err := safefile.OpenFolder(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	return do(folder, filepath.Base(path))
}

// copy writes the list beside the store. That it cannot is no reason to hold nothing:
// it is tried again. With mu.
func (h *Holds) copy() {
	err := h.copied().write(h.file)
	if err != nil {
		h.options.Log.Error().Err(err).Msg("what is held is only in the store")
	}
	h.isCopied = err == nil
}

// copied is what the copy is to have. With mu.
func (h *Holds) copied() *holdsCopy {
	copied := &holdsCopy{List: keptList{Envelope: h.current.envelope, TakenAt: h.takenAt}}
	for _, one := range h.inOrder() {
		if one.record.isOver() || one.record.Autostart != "" {
			copied.Records = append(copied.Records, one.record)
		}
	}
	for _, record := range h.lent {
		copied.Records = append(copied.Records, *record)
	}
	return copied
}

// restore takes the list from its copy where the store knows of none, or of an older
// one, as after it was damaged. Its signature must be good today. Where it is not known
// yet which Mac this is, it is believed to be the one that it was: what turns out to be
// another Mac's is discarded with the rest (H02). With mu.
func (h *Holds) restore(now *Circumstances) {
	if h.restored {
		if !h.isCopied {
			h.copy()
		}
		return
	}
	copied, found, err := readHoldsCopy(h.file)
	if err != nil {
		h.options.Log.Error().Err(err).Msg("the copy of the list of holds cannot be used")
	}
	if !found {
		if h.restored = err == nil || h.current.list.Version > 0; h.restored {
			h.isCopied = h.current.list.Version == 0
		}
		return
	}
	if copied.List.Envelope.PayloadType == "" || len(now.Trust.Keys) == 0 {
		return // it is not known yet whom this Mac trusts
	}
	came, code := openHolds(&copied.List.Envelope, now.Trust.Keys)
	isOthers := code == "" && now.Target.Serial != "" && !strings.EqualFold(came.list.MacSerial, now.Target.Serial)
	switch {
	case isOthers, code != "" && h.current.list.Version == 0:
		return // nothing to put in its place
	case code == "" && came.list.Version > h.current.list.Version:
		if err := h.replace(came, now); err != nil {
			h.options.Log.Error().Err(err).Msg("restore the list of holds")
			return
		}
	case code != "" || came.list.Version < h.current.list.Version:
		h.restored, h.isCopied = true, false
		return
	}
	h.restoreRecords(copied.Records)
	h.restored, h.isCopied = true, copied.equals(h.copied())
}

// restoreRecords takes over what the store has lost of holds that are over, and of what
// is to be put back. With mu.
func (h *Holds) restoreRecords(copied []holdRecord) {
	for i := range copied {
		record := &copied[i]
		one := h.holds[record.VMKey]
		switch {
		case one == nil && h.lent[record.VMKey] == nil && record.Autostart != "":
			h.lent[record.VMKey] = record
		case one == nil:
			continue
		case record.isAbout(&one.Hold) && record.isOver() && !one.record.isOver():
			one.record = *record
		case one.record.Autostart == "" && record.Autostart != "":
			one.record.Autostart = record.Autostart
		default:
			continue
		}
		h.unkept[record.VMKey] = true
	}
	h.keep()
}

// maxUntold is how many events wait for a disk that takes nothing.
const maxUntold = 4 * protocol.MaxHolds

// keepNews writes what has changed, if there is an event about it, or it has waited for
// long. With mu.
func (h *Holds) keepNews() {
	isNews := len(h.untold) > 0
	if isNews || len(h.unkept) > 0 && time.Since(h.keptAt) >= holdWrites {
		h.keep()
	}
	if isNews {
		h.news()
	}
}

// keep writes what has changed, with the events about it. With mu.
func (h *Holds) keep() {
	if len(h.unkept) == 0 && len(h.untold) == 0 {
		return
	}
	err := h.options.Commit(func(tx *store.Tx) error {
		for key := range h.unkept {
			record := h.lent[key]
			if one := h.holds[key]; one != nil {
				record = &one.record
			}
			if record == nil {
				continue
			}
			if err := holdRecords.Put(tx, key.String(), record); err != nil {
				return err
			}
		}
		return nil
	}, h.untold...)
	h.keptAt = time.Now()
	if err != nil {
		h.options.Log.Error().Err(err).Msg("keep how holds stand")
		return
	}
	clear(h.unkept)
	h.untold = nil
}
