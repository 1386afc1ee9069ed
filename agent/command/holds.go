package command

import (
	"cmp"
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
	"prlagent/store"
)

// HoldTool is prlctl as one user, for what keeps a machine suspended. What a verb says
// is a hint; the state that is read afterwards is what counts.
type HoldTool interface {
	Get(ctx context.Context, id string) (prlctl.VM, error)
	Suspend(ctx context.Context, id string) error
	Pause(ctx context.Context, id string) error
	Kill(ctx context.Context, id string) error
	Set(ctx context.Context, id string, args ...string) error
}

// HoldOptions are what Holds need.
type HoldOptions struct {
	Store         *store.Store
	Commit        Commit
	Folder        string // of the copy of the list, as a path on this disk
	Circumstances func() *Circumstances
	Directory     Directory
	// UIDOnDisk is whose a user's processes are, which below a root is one account.
	UIDOnDisk func(platform.User) uint32
	Tool      func(*Account) HoldTool
	// Tell asks the Mac to show a user a text, if users are to be told at all.
	Tell func(ctx context.Context, user *platform.User, text string)
	// News is told that the portal should hear of something at once; it must not wait.
	News func()
	// Poll is how often the process table is looked at while anything is held; zero is
	// holdPoll, which is the most that there is.
	Poll time.Duration
	Log  zerolog.Logger
}

// Holds keep machines suspended, as the Mac's signed list of holds says (H27, H69).
//
// They have a goroutine of their own, which looks at the process table and runs nothing:
// a machine that runs is suspended by another one, at the same time as every other. So
// neither a user whose tools hang nor the loop, the event streams or the portal keep a
// machine from being asked to suspend within holdLimit of its start.
type Holds struct {
	options HoldOptions
	file    string
	wake    chan struct{}
	running sync.WaitGroup // suspensions
	hints   holdHints

	mu       sync.Mutex
	current  *signedHolds // never nil; an empty one if there is no list
	takenAt  time.Time
	holds    map[protocol.VMKey]*hold
	lent     map[protocol.VMKey]*holdRecord // not held any more, with an autostart that is to be put back
	returns  map[protocol.VMKey]*retry      // of what was lent
	accounts map[uint32]*Account            // as they were seen last
	turns    *turns                         // what may run for one user at the same time
	refusals refusalNotice
	looks    uint64                  // at the process table
	busy     map[protocol.VMKey]bool // somebody works on it, whatever lists came since
	setting  map[uint32]bool         // whose tool is asked to set autostart: one at a time
	restored bool                    // what the file has is known
	isCopied bool                    // the file has what is in force
	unkept   map[protocol.VMKey]bool
	untold   []protocol.Event
	keptAt   time.Time
}

// hold is one machine of the list, and what is known of it now.
type hold struct {
	protocol.Hold
	record holdRecord
	sight  holdSight
}

// Limits of holding.
const (
	// holdLimit is the longest that a machine may run before it was asked to suspend,
	// or is called unenforced (H27).
	holdLimit = 10 * time.Second
	// holdPoll is the longest from one look at the process table to the next: the rest of
	// holdLimit is for what a look brings about.
	holdPoll = 5 * time.Second
	// holdWrites is how often counts are written that grow with what a user does.
	holdWrites = time.Minute
	// holdNews is how often an event of one kind is told of one machine.
	holdNews = 10 * time.Minute
	// holdNotices is how often the user of a machine is told of it.
	holdNotices = time.Hour
)

// NewHolds opens what is kept of holds.
func NewHolds(options *HoldOptions) (*Holds, error) {
	h := &Holds{options: *options, file: filepath.Join(options.Folder, HoldsFile), wake: make(chan struct{}, 1), busy: make(map[protocol.VMKey]bool), setting: make(map[uint32]bool)}
	if options.Poll <= 0 || options.Poll > holdPoll {
		h.options.Poll = holdPoll
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h, h.recall()
}

// recall begins with what is kept. With mu.
func (h *Holds) recall() error {
	kept, found, records, err := loadHolds(h.options.Store)
	if err != nil {
		return err
	}
	h.current, h.takenAt = &signedHolds{}, time.Time{}
	h.holds, h.lent = make(map[protocol.VMKey]*hold), make(map[protocol.VMKey]*holdRecord)
	h.accounts, h.turns, h.unkept = make(map[uint32]*Account), &turns{atOnce: maxHoldRuns}, make(map[protocol.VMKey]bool)
	h.restored, h.isCopied, h.returns, h.untold = false, false, make(map[protocol.VMKey]*retry), nil
	if found {
		signed, err := keptHolds(&kept.Envelope)
		if err != nil {
			return err
		}
		h.current, h.takenAt = signed, kept.TakenAt
	}
	for i := range h.current.list.Holds {
		signed := &h.current.list.Holds[i]
		one := &hold{Hold: *signed}
		if record := records[signed.VMKey]; record != nil && record.isAbout(signed) {
			one.record = *record
			one.record.takeOver(signed)
		} else {
			h.place(&one.record, signed, record)
		}
		delete(records, signed.VMKey)
		h.holds[signed.VMKey] = one
	}
	for key, record := range records {
		h.lent[key] = record
	}
	return nil
}

// keptHolds reads a list that was verified when it came.
func keptHolds(envelope *protocol.Envelope) (*signedHolds, error) {
	payload, err := envelope.Unverified()
	if err != nil {
		return nil, err
	}
	return parseHolds(envelope, payload)
}

// place makes the record of a hold that begins; before is that of one before it.
func (h *Holds) place(record *holdRecord, signed *protocol.Hold, before *holdRecord) {
	now := h.options.Circumstances().Clock.Wall
	*record = holdRecord{HoldState: protocol.HoldState{State: protocol.HoldUnenforced, Code: protocol.CodeNotLookedYet, Since: seconds(now)}}
	record.takeOver(signed)
	if before != nil {
		record.Autostart, record.Bundle = before.Autostart, before.Bundle
	}
}

// Recall begins anew after the store was erased: what was held on another Mac is not
// held here (H02).
func (h *Holds) Recall() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := removeHoldsCopy(h.file); err != nil {
		h.options.Log.Error().Err(err).Msg("forget the holds of another Mac")
	}
	if err := h.recall(); err != nil {
		h.options.Log.Error().Err(err).Msg("recall the holds")
	}
	h.awaken()
}

// Take takes in a list that came with an answer of the portal.
func (h *Holds) Take(envelope *protocol.Envelope) {
	if code := h.take(envelope, 0); code != "" {
		h.options.Log.Warn().Str("code", string(code)).Msg("a list of holds is refused")
	}
}

// take takes in a list, and says why it does not. What it says is on the disk when it
// returns. The same list again is no news.
func (h *Holds) take(envelope *protocol.Envelope, granted int) protocol.Code {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.options.Circumstances()
	h.restore(now) // an older list is refused also after the store was lost
	came, code := openHolds(envelope, now.Trust.Keys)
	if code == "" {
		code = came.refusedBy(h.current, now, granted)
	}
	switch {
	case code != "":
		h.noteRefusal(code, now.Clock.Wall)
		return code
	case came.sha256 == h.current.sha256:
		return ""
	}
	if err := h.replace(came, now); err != nil {
		h.options.Log.Error().Err(err).Msg("a list of holds is not kept; it comes again")
		return cmp.Or(protocol.CodeOf(err), protocol.CodeInternal)
	}
	h.awaken()
	h.news()
	return ""
}

// refusalNotice is the refused list that was told last: the portal sends it again with
// every answer.
type refusalNotice struct {
	code protocol.Code
	at   time.Time
}

// noteRefusal tells that a list is refused, once an hour for one reason. With mu.
func (h *Holds) noteRefusal(code protocol.Code, wall time.Time) {
	if h.refusals.code == code && wall.Sub(h.refusals.at).Abs() < holdNotices {
		return
	}
	h.refusals = refusalNotice{code, wall}
	event := protocol.Event{At: seconds(wall), Type: eventHoldsRefused, Code: code}
	if err := h.options.Commit(func(*store.Tx) error { return nil }, event); err != nil {
		h.options.Log.Error().Err(err).Msg("keep an event of holds")
	}
}

// replace puts a list in the place of the one in force. With mu.
func (h *Holds) replace(came *signedHolds, now *Circumstances) error {
	next, lent, events := h.following(came, now)
	kept := keptList{Envelope: came.envelope, TakenAt: seconds(now.Clock.Wall)}
	err := h.options.Commit(func(tx *store.Tx) error {
		if err := holdLists.Put(tx, holdListKey, &kept); err != nil {
			return err
		}
		for key, one := range next {
			if err := holdRecords.Put(tx, key.String(), &one.record); err != nil {
				return err
			}
		}
		for key := range h.holds {
			if err := h.forget(tx, key, next, lent); err != nil {
				return err
			}
		}
		for key, record := range lent {
			if err := holdRecords.Put(tx, key.String(), record); err != nil {
				return err
			}
		}
		return nil
	}, events...)
	if err != nil {
		return err
	}
	h.current, h.takenAt, h.holds, h.lent = came, kept.TakenAt, next, lent
	clear(h.unkept)
	h.copy()
	return nil
}

// forget deletes the record of a machine that nothing is to be done for any more.
func (h *Holds) forget(tx *store.Tx, key protocol.VMKey, next map[protocol.VMKey]*hold, lent map[protocol.VMKey]*holdRecord) error {
	if next[key] != nil || lent[key] != nil {
		return nil
	}
	return holdRecords.Delete(tx, key.String())
}

// following is what follows from a new list: the holds of it, the machines that get
// their autostart back, and the events. With mu.
func (h *Holds) following(came *signedHolds, now *Circumstances) (next map[protocol.VMKey]*hold, lent map[protocol.VMKey]*holdRecord, events []protocol.Event) {
	next, lent = make(map[protocol.VMKey]*hold), make(map[protocol.VMKey]*holdRecord)
	for key, record := range h.lent {
		lent[key] = record
	}
	for i := range came.list.Holds {
		signed := &came.list.Holds[i]
		old := h.holds[signed.VMKey]
		one := &hold{Hold: *signed}
		switch before := lent[signed.VMKey]; {
		case old != nil && old.record.isAbout(signed):
			one.record, one.sight = old.record, old.sight
			one.record.takeOver(signed)
			one.reopen(&now.Clock)
		case old != nil:
			h.place(&one.record, signed, &old.record)
			if !old.record.isOver() { // and so it was watched until now
				one.sight = old.sight
				one.sight.autostart = retry{}
			}
			events = h.addEvent(events, eventHoldPlaced, &one.record, protocol.CodeHoldPlaced)
		default:
			h.place(&one.record, signed, before)
			events = h.addEvent(events, eventHoldPlaced, &one.record, protocol.CodeHoldPlaced)
		}
		delete(lent, signed.VMKey)
		next[signed.VMKey] = one
	}
	for key, old := range h.holds {
		if next[key] != nil {
			continue
		}
		events = h.addEvent(events, eventHoldLifted, &old.record, protocol.CodeHoldLifted)
		if old.record.Autostart != "" {
			record := old.record
			lent[key] = &record
		}
	}
	return next, lent, events
}

// reopen lets a hold that has ended go on if a list lets it last longer.
func (one *hold) reopen(clock *Clock) {
	if one.record.State == protocol.HoldEnded && !one.isExpired(clock) {
		one.record.State, one.record.Code, one.record.Since = protocol.HoldUnenforced, protocol.CodeNotLookedYet, seconds(clock.Wall)
		one.sight = holdSight{} // it may have been used since
	}
}

func (h *Holds) news() {
	if h.options.News != nil {
		h.options.News()
	}
}

func (h *Holds) awaken() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}
