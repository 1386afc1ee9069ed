package command

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"prlagent/agent/protocol"
)

// The world of the model: a Mac that can crash at every write, a network that
// loses and doubles messages, a portal that is restored from old backups, and an
// admin. Which agent is in it is a side: one in memory, or the real parts.

// errCrashed is what every write says once the agent has crashed.
var errCrashed = errors.New("the agent has crashed")

// agentSide is an agent as the world drives it. A crash makes all of its writes
// fail; start begins the next one with what is on the disk.
type agentSide interface {
	start(w *world)
	stop()
	take(cancel []string, orders []protocol.Envelope)
	work() // everything goes on that can
	report() ([]protocol.OpenCommand, []protocol.Result)
	settle(ids []string)
	prune(now time.Time)

	onDisk(id string) (Record, bool) // as a restart would find it
	lastOnDisk(id string) int        // attempt, in the intent file
	epoch() string
	backUp()
	restore() // of the journal, from the last backup, with a new epoch
	forget()  // what the journal's last commit wrote, as by a disk that does not keep its word
	wipe()    // of the whole state
}

// portalOrder is a command at the portal.
type portalOrder struct {
	command  protocol.Command
	envelope protocol.Envelope
	state    string
	code     protocol.Code
	cancel   bool // an admin wants it cancelled
}

func (o portalOrder) open() bool { return !protocol.CommandEnded(o.state) }

type world struct {
	mu   sync.Mutex // of executors and circumstances, which the real parts use beside each other
	fail func(format string, args ...any)
	side agentSide

	now     time.Time // true
	offset  time.Duration
	seen    time.Time // last server time that was believed; kept by the Mac
	seenAt  time.Time // by the Mac's clock, then; zero: not since it started
	awake   time.Duration
	trust   Trust
	busy    bool // machines are in use
	blind   bool // nothing can be observed
	everBad bool // something was not observable at some time
	silent  bool // the tools do nothing and say that it worked
	broken  bool // the tools work and say that they failed

	crashIn int // points until the agent crashes; 0: it does not
	crashed bool
	cancel  context.CancelFunc
	ctx     context.Context

	effects map[string]int
	acts    map[string]int
	starts  []time.Time // of counted commands
	writes  map[string]int
	told    map[string]string // the last state that the agent has told of a command

	online bool
	orders map[string]*portalOrder
	names  []string
	backup map[string]portalOrder // of the portal
	device string                 // the epoch that the portal knows
	old    []reply                // answers that may come again
	frozen bool

	restored bool // the portal was, at some time
	forgot   bool // the Mac's disk did, at some time: then only what takes effect is held against it
}

type reply struct {
	cancel []string
	orders []protocol.Envelope
}

var modelStart = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

func newWorld(side agentSide, fail func(string, ...any)) *world {
	w := &world{
		fail: fail, side: side, now: modelStart, seen: modelStart, online: true,
		effects: map[string]int{}, acts: map[string]int{}, writes: map[string]int{}, told: map[string]string{},
		orders: map[string]*portalOrder{},
		trust:  Trust{Allowed: allListed(), Mode: protocol.ModeEnforce, Limit: 3, Window: 24 * time.Hour},
	}
	w.boot()
	w.device = side.epoch()
	return w
}

func allListed() []string {
	return protocol.CommandNames(func(protocol.CommandType) bool { return true })
}

// boot starts the agent, as after a crash.
func (w *world) boot() {
	w.crashed, w.crashIn, w.seenAt = false, 0, time.Time{}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.side.start(w)
}

// point is a place where the agent may crash.
func (w *world) point() error {
	if w.crashIn > 0 {
		if w.crashIn--; w.crashIn == 0 {
			w.crash()
		}
	}
	if w.crashed {
		return errCrashed
	}
	return nil
}

func (w *world) crash() {
	w.crashed = true
	w.cancel()
}

// then runs what the agent does; if it crashes, the next one begins.
func (w *world) then(do func()) {
	do()
	if w.crashed {
		w.restart()
	}
}

func (w *world) restart() {
	w.crash()
	w.side.stop()
	w.boot()
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

func (w *world) circumstances() Circumstances {
	return Circumstances{Clock: w.clock(), Trust: w.trust, Target: Target{
		DeviceID: "device-1", Serial: "SERIAL", Epoch: w.side.epoch(),
	}}
}

// pass lets time go by; asleep, no other clock than the wall's does.
func (w *world) pass(d time.Duration, asleep bool) {
	w.now = w.now.Add(d)
	if !asleep {
		w.awake += d
	}
}

// issue is an admin's command.
func (w *world) issue(kind string, lifetime time.Duration) {
	n := len(w.names)
	command := protocol.Command{
		CommandID: fmt.Sprintf("%08x-0000-7000-8000-%012x", n, n), Type: kind, IssuedAt: w.now, ExpiresAt: w.now.Add(lifetime),
		Target: protocol.CommandTarget{DeviceID: "device-1", MacSerial: "SERIAL", Epoch: w.device},
	}
	if row, _ := protocol.CommandTypeOf(kind); row.OnVM {
		command.Target.VMID, command.Target.UID = fmt.Sprintf("vm-%d", n%3), 501
	}
	payload, _ := json.Marshal(command)
	w.names = append(w.names, command.CommandID)
	w.orders[command.CommandID] = &portalOrder{command: command, state: protocol.CommandPending, envelope: protocol.Envelope{
		PayloadType: protocol.PayloadCommand, Payload: base64.StdEncoding.EncodeToString(payload),
	}}
}

// openModel believes every envelope: signatures have tests of their own.
func openModel(envelope protocol.Envelope, trust Trust) (protocol.Command, error) {
	command, _, _ := claimed(envelope)
	if trust.Mode == "" { // the model's word for a key that is trusted no more
		return command, protocol.ErrSignature
	}
	return command, nil
}

// exchange is one check-in, which can be lost on its way out or back, or arrive
// twice.
func (w *world) exchange(lostOut, lostBack, twice bool) {
	if !w.online || w.crashed {
		return
	}
	epoch := w.side.epoch()
	open, results := w.side.report()
	w.wantOnDisk(open, results)
	if lostOut {
		return
	}
	answer, acks := w.serve(epoch, open, results)
	if twice {
		answer, acks = w.serve(epoch, open, results)
	}
	w.old = append(w.old, answer)
	if lostBack {
		return
	}
	w.seen, w.awake, w.seenAt = w.now, 0, w.wall()
	w.side.settle(acks)
	w.side.take(answer.cancel, answer.orders)
}

// wantOnDisk: what the Mac tells is on its disk, whatever happens to it next.
func (w *world) wantOnDisk(open []protocol.OpenCommand, results []protocol.Result) {
	for _, one := range open {
		r, found := w.side.onDisk(one.CommandID)
		if !found || one.State == protocol.CommandRunning && r.State != protocol.CommandRunning {
			w.fail("%s is told as %s, and is on the disk as %q", one.CommandID, one.State, r.State)
		}
	}
	for _, one := range results {
		if r, found := w.side.onDisk(one.CommandID); !found || r.State != one.State {
			w.fail("%s is told as %s, and is on the disk as %q", one.CommandID, one.State, r.State)
		}
	}
}

// serve is the portal's part of a check-in.
func (w *world) serve(epoch string, open []protocol.OpenCommand, results []protocol.Result) (answer reply, acks []string) {
	w.device = epoch
	for _, order := range w.orders { // what is of another epoch may have been done in it
		if order.open() && order.command.Target.Epoch != epoch {
			order.state = protocol.CommandUnknown
		}
	}
	has := map[string]bool{}
	for _, result := range results {
		acks = append(acks, result.CommandID)
		isSeen := result.State == protocol.CommandSucceeded || result.State == protocol.CommandFailed
		if order := w.orders[result.CommandID]; order != nil && (order.open() || order.state == protocol.CommandUnknown && isSeen) {
			order.state, order.code = result.State, result.Code
			w.told[result.CommandID] = result.State
		}
	}
	for _, one := range open {
		has[one.CommandID] = true
		if order := w.orders[one.CommandID]; order != nil && order.open() {
			order.state, order.code = one.State, one.Code
		}
	}
	w.wantTold(epoch)
	for _, name := range w.names {
		order := w.orders[name]
		switch {
		case order == nil || !order.open():
		case order.cancel && order.state != protocol.CommandPending:
			answer.cancel = append(answer.cancel, name)
		case order.state == protocol.CommandPending && !w.now.Before(order.command.ExpiresAt):
			order.state = protocol.CommandExpired
		case !has[name] && !w.frozen && len(answer.orders) < protocol.MaxCommandReply:
			answer.orders = append(answer.orders, order.envelope)
			order.state = protocol.CommandDelivered
		}
	}
	return answer, acks
}

// wantTold: every check-in has all results that the portal does not have.
func (w *world) wantTold(epoch string) {
	for id, order := range w.orders {
		if r, found := w.side.onDisk(id); found && r.hasEnded() && r.Epoch == epoch && order.open() && !w.restored && !w.forgot {
			w.fail("%s is %s on the Mac, and a check-in does not say so", id, r.State)
		}
	}
}

// cancelOrder is an admin's change of mind. What was never sent ends at once.
func (w *world) cancelOrder(n int) {
	if len(w.names) == 0 {
		return
	}
	order := w.orders[w.names[n%len(w.names)]]
	if order == nil || !order.open() {
		return
	}
	order.cancel = true
	if order.state == protocol.CommandPending {
		order.state = protocol.CommandCancelled
	}
}

func (w *world) backUpPortal() {
	w.backup = map[string]portalOrder{}
	for name, order := range w.orders {
		w.backup[name] = *order
	}
}

// restorePortal puts the portal back to its backup, and replays its audit log: what
// was ordered and cancelled since is known again, but not what became of it. What
// may have been sent counts as sent (H30).
func (w *world) restorePortal(frozen bool) {
	if w.backup == nil {
		return
	}
	for _, name := range w.names {
		now := w.orders[name]
		was, had := w.backup[name]
		if !had {
			was = portalOrder{command: now.command, envelope: now.envelope, state: protocol.CommandPending}
		}
		was.cancel = now.cancel
		if was.state == protocol.CommandPending {
			was.state = protocol.CommandDelivered
		}
		w.orders[name] = &was
	}
	w.frozen, w.restored = frozen, true
}

// modelExecutor does commands in the world.
type modelExecutor struct{ w *world }

func (x modelExecutor) Prepare(_ context.Context, job Job) (Readiness, error) {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	if x.w.busy {
		return Readiness{State: protocol.CommandDeferred, Code: protocol.CodeWaitsForStop}, nil
	}
	return Readiness{Intent: json.RawMessage(`{"id":"` + job.Command.CommandID + `"}`)}, nil
}

func (x modelExecutor) Act(_ context.Context, job Job) error {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	w, id := x.w, job.Command.CommandID
	if w.point() != nil {
		return errCrashed
	}
	w.wantMayAct(job)
	w.acts[id]++
	if !w.silent {
		w.effects[id]++
	}
	if err := w.point(); err != nil || w.broken {
		return errors.New("exit status 255")
	}
	return nil
}

func (x modelExecutor) Verify(_ context.Context, job Job) (Outcome, error) {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	w, id := x.w, job.Command.CommandID
	if w.point() != nil {
		return Outcome{}, errCrashed
	}
	row, _ := protocol.CommandTypeOf(job.Command.Type)
	if w.blind || row.Once && w.acts[id] > 0 && w.seenAt.IsZero() { // a restart that another daemon began
		w.everBad = true
		return Outcome{}, errors.New("the owner cannot be listed")
	}
	if w.effects[id] > 0 {
		return Outcome{State: protocol.CommandSucceeded, Code: protocol.CodeCommandDone}, nil
	}
	return Outcome{}, nil
}

// wantMayAct holds an act, at its moment, against everything that must be so.
func (w *world) wantMayAct(job Job) {
	command, id := job.Command, job.Command.CommandID
	row, _ := protocol.CommandTypeOf(command.Type)
	now := w.circumstances()
	if r, found := w.side.onDisk(id); !found || r.State != protocol.CommandRunning || r.Attempts != job.Attempt {
		w.fail("%s: attempt %d is made, and the disk has %q with %d", id, job.Attempt, r.State, r.Attempts)
	} else if r.Epoch != w.side.epoch() {
		w.fail("%s: it is from another epoch", id)
	}
	if row.Changes && w.side.lastOnDisk(id) < job.Attempt {
		w.fail("%s: attempt %d is made, and is not in the intent file", id, job.Attempt)
	}
	if _, refused := check(openModel, w.orders[id].envelope, now, time.Time{}); refused.State != "" {
		w.fail("%s: an attempt is made although %s", id, refused.Code)
	}
	if !now.Clock.Likely.Before(command.ExpiresAt) || row.Destructive && !now.Clock.Proven {
		w.fail("%s: an attempt is made without proof of the time", id)
	}
	if w.told[id] == protocol.CommandCancelled && !w.forgot {
		w.fail("%s: an attempt is made after it was cancelled", id)
	}
	if row.Counted && w.acts[id] == 0 {
		w.starts = append(w.starts, w.clock().Trusted)
		if recent := slices.DeleteFunc(slices.Clone(w.starts), func(at time.Time) bool {
			return !at.After(w.clock().Trusted.Add(-w.trust.Window))
		}); len(recent) > w.trust.Limit {
			w.fail("%s: it is destructive command %d of the window", id, len(recent))
		}
	}
}

// wantSoFar holds at every moment.
func (w *world) wantSoFar() {
	for id, count := range w.effects {
		row, _ := protocol.CommandTypeOf(w.orders[id].command.Type)
		if count > 1 && (row.Changes || !w.forgot) { // what only looks is not in the intent file
			w.fail("%s has taken effect %d times", id, count)
		}
		if w.acts[id] > maxAttempts && row.Changes || row.Once && w.acts[id] > 1 {
			w.fail("%s was tried %d times", id, w.acts[id])
		}
	}
}

// unseenCodes say that nobody knows what became of a command.
var unseenCodes = []protocol.Code{protocol.CodeOutcomeUnknown, protocol.CodeNotObservable}

// heal lets everything be well again, and the world go on until every command has
// ended one way or another. It says which could still have been done in time.
func (w *world) heal() (inTime map[string]bool) {
	w.online, w.busy, w.blind, w.silent, w.broken, w.offset, w.frozen, w.crashIn = true, false, false, false, false, 0, false, 0
	w.trust.Mode, w.trust.Limit = protocol.ModeEnforce, 100
	inTime = map[string]bool{}
	for id, order := range w.orders {
		inTime[id] = w.now.Add(time.Hour).Before(order.command.ExpiresAt)
	}
	settle := func(rounds int) {
		for range rounds {
			w.then(func() { w.exchange(false, false, false) })
			w.then(w.side.work)
			w.pass(lastPause, false)
		}
	}
	settle(6)
	w.pass(91*24*time.Hour, false)
	settle(6)
	return inTime
}

// wantTruth holds the portal's word against the Mac, at the end.
func (w *world) wantTruth(inTime map[string]bool) {
	for _, id := range w.names {
		order := w.orders[id]
		row, _ := protocol.CommandTypeOf(order.command.Type)
		effects := w.effects[id]
		isUnseen := slices.Contains(unseenCodes, order.code) || (order.code == protocol.CodeJournalLost || order.code == protocol.CodeCommandOtherEpoch) && (row.Once || w.everBad)
		switch {
		case order.open():
			w.fail("%s (%s) is %s %q for ever", id, order.command.Type, order.state, order.code)
		case order.state == protocol.CommandUnknown, isUnseen, w.forgot:
		case order.state == protocol.CommandSucceeded && effects != 1, order.state != protocol.CommandSucceeded && effects != 0:
			w.fail("%s (%s) is %s %q at the portal, with %d effects", id, order.command.Type, order.state, order.code, effects)
		case order.state == protocol.CommandExpired && inTime[id]:
			w.fail("%s (%s) has expired although the Mac came back in time", id, order.command.Type)
		}
		if r, found := w.side.onDisk(id); found && r.hasEnded() && r.Epoch == order.command.Target.Epoch && r.Epoch == w.side.epoch() && !w.forgot && order.state != r.State && order.state != protocol.CommandUnknown {
			w.fail("%s is %s at the portal, and %s on the Mac", id, order.state, r.State)
		}
	}
}

// move is one step of a history.
type move struct {
	kind string
	n    int
}

// moves are what can happen, each as often as it stands there.
var moves = strings.Fields(`
	order order order restart lock refresh
	exchange exchange exchange exchange exchange lost-out lost-back twice replay
	work work work work work
	crash crash crash crash crash kill
	offline online busy idle blind seeing silent loud broken mended
	hour hour day sleep reboot-far month clock-back clock-forward clock-right
	cancel cancel untrust trust monitor limit
	portal-backup portal-backup portal-restore portal-thaw mac-backup mac-backup mac-restore mac-forget mac-wipe prune`)

// play makes one move.
func (w *world) play(m move) {
	switch m.kind {
	case "order":
		w.issue("vm.delete", 30*24*time.Hour)
	case "restart":
		w.issue("vm.restart", 24*time.Hour)
	case "lock":
		w.issue("vm.lock", 30*24*time.Hour)
	case "refresh":
		w.issue("inventory.refresh", 24*time.Hour)
	case "exchange":
		w.then(func() { w.exchange(false, false, false) })
	case "lost-out":
		w.then(func() { w.exchange(true, false, false) })
	case "lost-back":
		w.then(func() { w.exchange(false, true, false) })
	case "twice":
		w.then(func() { w.exchange(false, false, true) })
	case "replay":
		if len(w.old) > 0 {
			again := w.old[m.n%len(w.old)]
			w.then(func() { w.side.take(again.cancel, again.orders) })
		}
	case "work":
		w.then(w.side.work)
	case "crash":
		w.crashIn = 1 + m.n%12
	case "kill":
		w.restart()
	case "prune":
		w.then(func() { w.side.prune(w.clock().Trusted) })
	case "mac-backup":
		w.side.backUp()
	case "mac-restore", "mac-forget", "mac-wipe":
		w.crash()
		w.side.stop()
		w.lose(m.kind)
		w.boot()
	case "cancel":
		w.cancelOrder(m.n)
	case "portal-backup":
		w.backUpPortal()
	case "portal-restore":
		w.restorePortal(m.n%2 == 0)
	case "portal-thaw":
		w.frozen = false
	default:
		w.setting(m)
	}
	w.wantSoFar()
}

// lose takes from the Mac what it has on its disk.
func (w *world) lose(how string) {
	switch how {
	case "mac-restore":
		w.side.restore()
	case "mac-forget":
		w.side.forget()
		w.forgot = true
	case "mac-wipe":
		w.side.wipe()
		w.seen, w.awake, w.starts = modelStart, 0, nil
	}
}

// setting makes a move that only changes how things are.
func (w *world) setting(m move) {
	switch m.kind {
	case "offline", "online":
		w.online = m.kind == "online"
	case "busy", "idle":
		w.busy = m.kind == "busy"
	case "blind", "seeing":
		w.blind = m.kind == "blind"
	case "silent", "loud":
		w.silent = m.kind == "silent"
	case "broken", "mended":
		w.broken = m.kind == "broken"
	case "hour":
		w.pass(time.Hour, false)
	case "day":
		w.pass(24*time.Hour, false)
	case "month":
		w.pass(31*24*time.Hour, false)
	case "sleep":
		w.pass(time.Duration(1+m.n%40)*24*time.Hour, true)
	case "reboot-far":
		w.pass(time.Duration(1+m.n%40)*24*time.Hour, true)
		w.restart()
	case "clock-back":
		w.offset = -365 * 24 * time.Hour
	case "clock-forward":
		w.offset = 20 * 24 * time.Hour
	case "clock-right":
		w.offset = 0
	case "untrust", "trust", "monitor":
		w.trust.Mode = map[string]string{"untrust": "", "trust": protocol.ModeEnforce, "monitor": protocol.ModeMonitor}[m.kind]
	case "limit":
		w.trust.Limit = 1 + m.n%4
	}
}

// sortedIDs makes what a history does independent of the order of maps.
func sortedIDs[T any](of map[string]T) []string { return slices.Sorted(maps.Keys(of)) }
