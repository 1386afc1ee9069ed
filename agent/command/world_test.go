package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"prlagent/agent/protocol"
)

// The world of the model: a Mac that can crash at every write, a network that
// loses and doubles messages, a portal that can crash at every write as well and is
// restored from old backups, and an admin. Which agent is in it is one side, and
// which portal is the other: each in memory, or the real parts.

// errCrashed is what every write says once the agent, or the portal, has crashed.
var errCrashed = errors.New("it has crashed")

var errFull = errors.New("no space left on device")

// agentSide is an agent as the world drives it. A crash makes all of its writes
// fail; start begins the next one with what is on the disk.
type agentSide interface {
	start(w *world)
	stop()
	take(cancel []string, orders []protocol.Envelope)
	work() // everything goes on that can
	report() ([]protocol.OpenCommand, []protocol.Result)
	settle(ids []string) (kept bool)
	prune(now time.Time)

	onDisk(id string) (Record, bool) // as a restart would find it
	lastOnDisk(id string) int        // attempt, in the intent file
	epoch() string
	backUp()
	restore() // of the journal, from the last backup, with a new epoch
	forget()  // what the journal's last commit wrote, as by a disk that does not keep its word
	wipe()    // of the whole state
}

// disk is that of one side. It counts the writes until the side crashes.
type disk struct {
	in    int // 0: it does not
	down  bool
	full  bool // it takes nothing
	stuck bool // the second file on it takes nothing: the intent file, or the portal's audit log
}

// point is a place where the side may crash.
func (d *disk) point() error {
	if d.in > 0 {
		if d.in--; d.in == 0 {
			d.down = true
		}
	}
	if d.down {
		return errCrashed
	}
	return nil
}

// mayWrite is the point before a write, which the disk may have no room for.
func (d *disk) mayWrite() error {
	if err := d.point(); err != nil || !d.full {
		return err
	}
	return errFull
}

// mayWriteSecond is the point before a write to the second file.
func (d *disk) mayWriteSecond() error {
	if err := d.mayWrite(); err != nil || !d.stuck {
		return err
	}
	return errFull
}

// isTight reports whether the disk may refuse what is written.
func (d *disk) isTight() bool { return d.full || d.stuck }

// sealed is a report that the Mac has stored and sends until it has the answer.
type sealed struct {
	message
	at time.Time // by the Mac's clock
}

type world struct {
	mu     sync.Mutex // of executors and circumstances, which the real parts use beside each other
	fail   func(format string, args ...any)
	side   agentSide
	portal portalSide

	now    time.Time // true
	offset time.Duration
	seen   time.Time // last server time that was believed; kept by the Mac
	seenAt time.Time // by the Mac's clock, then; zero: not since it started
	awake  time.Duration
	trust  Trust
	sign   func(payload []byte) (protocol.Envelope, bool) // with the device's key; nil: nothing is signed
	open   opener                                         // how the Mac verifies envelopes
	busy   bool                                           // machines are in use
	blind  bool                                           // nothing can be observed
	silent bool                                           // the tools do nothing and say that it worked
	broken bool                                           // the tools work and say that they failed

	mac    disk
	server disk
	cancel context.CancelFunc
	ctx    context.Context

	effects map[string]int
	acts    map[string]int
	starts  []time.Time // of counted commands
	writes  map[string]int

	online   bool
	device   protocol.CommandTarget // of the Mac; its epoch is the one that the portal knows
	names    []string               // of all commands, in their order
	commands map[string]protocol.Command
	lists    map[string]protocol.HoldList // by the command that carries it
	sealed   *sealed
	counted  string // epoch of sequence
	sequence uint64
	requests int
	old      []protocol.CheckinReply // answers that may come again

	late    string          // what is set while an executor looks next
	stopped map[string]bool // the Mac was told that it is cancelled, before it acted
	forged  map[string]bool // orders that no admin gave

	// What an admin may rely on: see wantMaySend.
	cancelled map[string]bool // by a portal that knows of it
	confirmed map[string]bool
	enrolled  int     // how many commands there were when the Mac enrolled last
	backedUp  message // the newest report that a backed up portal can have
	isAhead   bool    // the Mac is ahead of the portal, and no admin has confirmed that

	everBad  bool // something was not observable at some time
	restored bool // the portal was, at some time
	epochs   int  // that the Mac began
	torn     bool // a line of the intent file is, so that it may be of other commands
	happened map[string]int

	// forgotten are the commands of which the Mac's disk once lost the newest that it had said
	// to have: no agent can tell the truth of these, and only that none takes effect twice is
	// held against it. before is what it had of all, while it loses.
	forgotten map[string]bool
	before    map[string]string

	// inEpoch is what happened in the epoch that the Mac is in. A command that says what is to
	// be can come again in each, where the journal that knew of it is gone.
	inEpoch map[string]tally
	journal string // the epoch
}

// tally is what happened of one command.
type tally struct {
	acts, effects int
	told          string // the last state that the portal has heard
}

var modelStart = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

func newWorld(side agentSide, portal portalSide, fail func(string, ...any)) *world {
	w := &world{
		fail: fail, side: side, portal: portal, now: modelStart, seen: modelStart, online: true,
		effects: map[string]int{}, acts: map[string]int{}, writes: map[string]int{},
		commands: map[string]protocol.Command{}, lists: map[string]protocol.HoldList{}, stopped: map[string]bool{}, forged: map[string]bool{}, forgotten: map[string]bool{}, inEpoch: map[string]tally{}, cancelled: map[string]bool{}, confirmed: map[string]bool{}, happened: map[string]int{},
		trust: Trust{Allowed: slices.DeleteFunc(allListed(), func(kind string) bool { return kind == notAllowedHere }), Thresholds: map[string]int{twoKeys: 2}, Mode: protocol.ModeEnforce, Limit: 3, Window: 24 * time.Hour},
	}
	portal.start(w)
	w.boot()
	w.enroll(false)
	w.exchange(route{})
	return w
}

func allListed() []string {
	return protocol.CommandNames(func(*protocol.CommandType) bool { return true })
}

// boot starts the agent, as after a crash.
func (w *world) boot() {
	w.mac.in, w.mac.down, w.seenAt = 0, false, time.Time{}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.side.start(w)
	for id := range w.stopped { // what was not kept comes again
		if r, found := w.side.onDisk(id); !found || !r.hasEnded() {
			delete(w.stopped, id)
		}
	}
	if w.isDown() { // it was told to end at once
		w.restart()
	}
}

// happenLate sets what changes while an executor looks. It reports whether the daemon is told
// to end meanwhile: its tools are killed, and what is seen then says anything.
func (w *world) happenLate() (ends bool) {
	if w.late != "" {
		w.setting(move{w.late, 0})
		w.late = ""
	}
	return w.ctx.Err() != nil
}

// point is a place where the agent may crash.
func (w *world) point() error {
	defer w.endIfDown()
	return w.mac.point()
}

func (w *world) endIfDown() {
	if w.mac.down {
		w.cancel()
	}
}

// mayWrite is the point before a write of the agent.
func (w *world) mayWrite() error {
	defer w.endIfDown()
	return w.mac.mayWrite()
}

// mayWriteIntent is the point before a write to the intent file.
func (w *world) mayWriteIntent() error {
	defer w.endIfDown()
	return w.mac.mayWriteSecond()
}

func (w *world) crash() {
	w.mac.down = true
	w.cancel()
}

// then runs what the agent does; if it crashes or ends, the next one begins.
func (w *world) then(do func()) {
	do()
	if w.isDown() {
		w.restart()
	}
}

func (w *world) isDown() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mac.down || w.ctx.Err() != nil
}

// restart has the next agent begin. One that was not told to end has crashed.
func (w *world) restart() {
	if !w.isDown() {
		w.mu.Lock()
		w.crash()
		w.mu.Unlock()
	}
	w.side.stop()
	w.boot()
}

// atPortal runs what the portal does; if it crashes, the next one begins.
func (w *world) atPortal(do func()) {
	do()
	if w.server.down {
		w.server.in, w.server.down = 0, false
		w.portal.restart()
		w.happened["portal crashed"]++
	}
}

func (w *world) wall() time.Time { return w.now.Add(w.offset) }

// clock is as the check-in's: see checkin.Client.Clock.
func (w *world) clock() Clock {
	c := Clock{Wall: w.wall(), Trusted: w.seen.Add(w.awake)}
	if w.seenAt.IsZero() {
		c.Proven = !c.Wall.Before(c.Trusted)
		c.Likely = later(c.Trusted, c.Wall)
		return c
	}
	c.Proven = true
	c.Likely = later(c.Trusted, w.seen.Add(c.Wall.Sub(w.seenAt)))
	return c
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (w *world) circumstances() *Circumstances {
	return &Circumstances{Clock: w.clock(), Trust: w.trust, Target: Target{
		DeviceID: w.device.DeviceID, Serial: w.device.MacSerial, Epoch: w.side.epoch(),
		Owners: func(string) []uint32 { return []uint32{worldUID} },
	}}
}

// pass lets time go by; asleep, no other clock than the wall's does.
func (w *world) pass(d time.Duration, asleep bool) {
	w.now = w.now.Add(d)
	if !asleep {
		w.awake += d
	}
}

// modelExecutor does commands in the world.
type modelExecutor struct{ w *world }

func (x modelExecutor) Prepare(_ context.Context, job *Job) (*Readiness, error) {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	w, id := x.w, job.Command.CommandID
	switch ends := w.happenLate(); {
	case ends:
		return &Readiness{State: protocol.CommandSucceeded, Code: protocol.CodeCommandDone}, nil
	case protocol.ChangesHolds(job.Command.Type) && w.effects[id] > 0: // a list that is in force already
		return &Readiness{State: protocol.CommandSucceeded, Code: protocol.CodeCommandDone}, nil
	case w.busy:
		return &Readiness{State: protocol.CommandDeferred, Code: protocol.CodeWaitsForStop}, nil
	}
	return &Readiness{Intent: json.RawMessage(`{"id":"` + id + `"}`)}, nil
}

func (x modelExecutor) Act(_ context.Context, job *Job) error {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	w, id := x.w, job.Command.CommandID
	if w.point() != nil {
		return errCrashed
	}
	w.wantMayAct(job)
	now := w.inEpoch[id]
	w.acts[id]++
	now.acts++
	if !w.silent {
		w.effects[id]++
		now.effects++
	}
	w.inEpoch[id] = now
	if err := w.point(); err != nil || w.broken {
		return errors.New("exit status 255")
	}
	return nil
}

func (x modelExecutor) Verify(_ context.Context, job *Job) (*Outcome, error) {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	w, id := x.w, job.Command.CommandID
	if w.point() != nil {
		return nil, errCrashed
	}
	isDone := w.effects[id] > 0
	if w.happenLate() {
		isDone = !isDone
	}
	row, _ := protocol.CommandTypeOf(job.Command.Type)
	if w.blind || row.Once && w.acts[id] > 0 && w.seenAt.IsZero() { // a restart that another daemon began
		w.everBad = true
		return nil, errors.New("the owner cannot be listed")
	}
	if isDone {
		return &Outcome{State: protocol.CommandSucceeded, Code: protocol.CodeCommandDone}, nil
	}
	return &Outcome{}, nil
}

// lose takes from the Mac what it has on its disk.
func (w *world) lose(how string) {
	if how == "mac-forget" {
		w.before = w.recordsOnDisk()
	}
	w.crash()
	w.side.stop()
	switch how {
	case "mac-restore":
		w.side.restore()
	case "mac-forget":
		w.side.forget()
	default:
		w.side.wipe()
		w.seen, w.awake, w.starts, w.sealed = modelStart, 0, nil, nil
	}
	w.boot()
}

// recordsOnDisk says how far each command is on the Mac's disk.
func (w *world) recordsOnDisk() map[string]string {
	all := make(map[string]string, len(w.commands))
	for id := range w.commands {
		r, _ := w.side.onDisk(id)
		all[id] = fmt.Sprint(r.State, r.Attempts, r.CancelAsked, r.Epoch)
	}
	return all
}

// opened follows once an agent has opened its journal, and has done nothing yet.
func (w *world) opened() {
	if epoch := w.side.epoch(); w.journal != epoch {
		w.journal = epoch
		w.epochs++
		clear(w.inEpoch)
	}
	if w.before == nil {
		return
	}
	for id, now := range w.recordsOnDisk() {
		if now == w.before[id] {
			continue
		}
		w.forgotten[id] = true
		if row, _ := protocol.CommandTypeOf(w.commands[id].Type); !row.Changes { // no intent file knows of it
			delete(w.inEpoch, id)
		}
	}
	w.before = nil
}

// sortedIDs makes what a history does independent of the order of maps.
func sortedIDs[T any](of map[string]T) []string { return slices.Sorted(maps.Keys(of)) }

// commandID is the id of the nth command: a UUID of version 7, and the same in every
// run.
func commandID(at time.Time, n int) string {
	ms := at.UnixMilli()
	return fmt.Sprintf("%08x-%04x-7000-8000-%012x", ms>>16, ms&0xffff, n)
}
