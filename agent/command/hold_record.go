package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform/safefile"
	"prlagent/store"
)

// What is kept of holds: the signed list, and how each machine of it stands.
var (
	holdLists   = store.NewCollection[keptList]("hold_list") // one, under holdListKey
	holdRecords = store.NewCollection[holdRecord]("holds")   // by VMKey.String
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
	CommandID  string          `json:"command_id"` // of the hold that this is about
	HeldSince  time.Time       `json:"held_since"` // its Since
	ReleasedBy string          `json:"released_by,omitempty"`
	ReleasedAt time.Time       `json:"released_at,omitzero"`
	Bundle     protocol.Bundle `json:"bundle,omitzero"` // as it was seen last
	// Autostart is how the machine started by itself before the agent turned that off;
	// it is put back once the machine is not held any more. Empty: nothing was changed.
	Autostart string `json:"autostart,omitempty"`
}

// isAbout reports whether the record is of this hold, and not of one before it.
func (r *holdRecord) isAbout(hold protocol.Hold) bool {
	return r.CommandID == hold.CommandID || !hold.Since.After(r.HeldSince)
}

// isOver reports whether the hold has ended on this Mac.
func (r *holdRecord) isOver() bool {
	return r.State == protocol.HoldReleased || r.State == protocol.HoldEnded
}

// loadHolds gives what the store has.
func loadHolds(state *store.Store) (list keptList, found bool, records map[protocol.VMKey]*holdRecord, err error) {
	records = make(map[protocol.VMKey]*holdRecord)
	err = state.View(func(tx *store.Tx) (err error) {
		if list, found, err = holdLists.Get(tx, holdListKey); err != nil {
			return err
		}
		return holdRecords.Each(tx, func(_ string, record holdRecord) error {
			records[record.VMKey] = &record
			return nil
		})
	})
	if err != nil {
		return keptList{}, false, nil, fmt.Errorf("open holds: %w", err)
	}
	return list, found, records, nil
}

// HoldsFile is the name of the copy of the list beside the store.
const HoldsFile = "holds.json"

// holdsCopy is the list once more, outside of the store: whatever becomes of that, what
// is signed stays held, and what was released stays released (H22, H29). It is written
// only when one of the two changes.
type holdsCopy struct {
	List     keptList     `json:"list"`
	Released []holdRecord `json:"released,omitempty"`
}

// maxHoldsCopy is for a list and as many records as it can have holds.
const maxHoldsCopy = 2 * protocol.MaxPolicy

func readHoldsCopy(path string) (copied holdsCopy, found bool, err error) {
	data, err := safefile.ReadTrustedFile(path, uint32(os.Geteuid()), maxHoldsCopy)
	if errors.Is(err, fs.ErrNotExist) {
		return holdsCopy{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &copied)
	}
	if err != nil {
		return holdsCopy{}, false, fmt.Errorf("read copy of holds: %w", err)
	}
	return copied, true, nil
}

func (c holdsCopy) write(path string) error {
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
