package command

import (
	"fmt"
	"time"

	"prlagent/agent/protocol"
	"prlagent/store"
)

// The journal is two collections, so that what is read at a start is as long as
// what is left to do.
var (
	openRecords  = store.Collection[*Record]{Name: "commands_open"}  // until the portal has the result
	endedRecords = store.Collection[*Record]{Name: "commands_ended"} // to answer repeats from
)

// Collections names what this package keeps in the store.
func Collections() []string {
	return []string{openRecords.Name, endedRecords.Name, holdLists.Name, holdRecords.Name}
}

// Commit keeps a change in the store, in one commit with events of the Mac.
type Commit func(change func(*store.Tx) error, events ...protocol.Event) error

// journal is the record of commands in the store.
type journal struct {
	store  *store.Store
	commit Commit
}

// load gives the commands that are not settled, in no order.
func (j *journal) load() (records []*Record, err error) {
	err = openRecords.LoadEach(j.store, func(_ string, r *Record) error {
		if r.Envelope != nil {
			said, _, _ := claimed(r.Envelope)
			r.Command = *said
		}
		records = append(records, r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open journal of commands: %w", err)
	}
	return records, nil
}

// keep stores records in one commit.
func (j *journal) keep(events []protocol.Event, records ...*Record) error {
	err := j.commit(func(tx *store.Tx) error {
		for _, r := range records {
			kept := *r
			if r.Envelope != nil {
				kept.Command = protocol.Command{} // it is in the envelope
			}
			if err := openRecords.Put(tx, r.ID, &kept); err != nil {
				return err
			}
		}
		return nil
	}, events...)
	if err != nil {
		return fmt.Errorf("keep command: %w", err)
	}
	return nil
}

// ended finds the record of a command that the portal has the result of; nil if there
// is none.
func (j *journal) ended(id string) (found *Record, err error) {
	found = &Record{}
	known, err := endedRecords.Load(j.store, id, found)
	if err != nil || !known {
		return nil, err
	}
	return found, nil
}

// settle moves commands whose result the portal has to those that are only there to
// answer from, within a transaction of who knows of the acknowledgement.
func settle(tx *store.Tx, ids []string) error {
	for _, id := range ids {
		var r Record
		found, err := openRecords.Get(tx, id, &r)
		if err != nil {
			return err
		}
		if !found || !r.hasEnded() {
			continue
		}
		if r.Envelope != nil {
			said, _, _ := claimed(r.Envelope)
			r.Command = *said
		}
		r.Command.Params, r.Intent, r.Envelope = nil, nil, nil
		if err := openRecords.Delete(tx, id); err != nil {
			return err
		}
		if err := endedRecords.Put(tx, id, &r); err != nil {
			return err
		}
	}
	return nil
}

// due are the ids of settled commands that may be forgotten.
func (j *journal) due(now time.Time) (ids []string, err error) {
	err = endedRecords.LoadEach(j.store, func(id string, r *Record) error {
		if !keptUntil(r.Command.ExpiresAt, r.ReceivedAt).After(now) {
			ids = append(ids, id)
		}
		return nil
	})
	return ids, err
}

func (j *journal) forget(ids []string) error {
	return j.commit(func(tx *store.Tx) error {
		for _, id := range ids {
			if err := endedRecords.Delete(tx, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// settledCount is how many commands there are to answer from.
func (j *journal) settledCount() (count int) {
	_ = j.store.View(func(tx *store.Tx) error {
		count = endedRecords.Len(tx)
		return nil
	})
	return count
}

// all gives every record, oldest first by its id.
func (j *journal) all() (records []*Record, err error) {
	err = endedRecords.LoadEach(j.store, func(_ string, r *Record) error {
		r.Settled = true
		records = append(records, r)
		return nil
	})
	return records, err
}
