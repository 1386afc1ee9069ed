package command

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
)

// memorySide is the engine with a disk in memory. What is written and not synced is
// lost with a crash; a fault leaves out one sync, one count or one check.
type memorySide struct {
	fault  string
	w      *world
	engine *engine

	disk   memoryDisk  // what a crash leaves
	cached *memoryDisk // with what was never synced, if the two differ
	saved  *memoryDisk // the backup of the journal
	before memoryDisk  // the last commit
	lines  []intent
	lost   []intent // written, and never synced
	pruned time.Time
	epochs int
	first  map[string]Trust // of the fault "check-once"
}

type memoryDisk struct {
	open, ended map[string]Record
	epoch       string
}

func (d memoryDisk) clone() memoryDisk {
	return memoryDisk{maps.Clone(d.open), maps.Clone(d.ended), d.epoch}
}

func newMemorySide(fault string) *memorySide {
	m := &memorySide{fault: fault, first: map[string]Trust{}}
	m.disk = memoryDisk{map[string]Record{}, map[string]Record{}, m.newEpoch()}
	return m
}

func (m *memorySide) newEpoch() string { m.epochs++; return fmt.Sprintf("epoch-%d", m.epochs) }

func (m *memorySide) start(w *world) {
	m.w, m.cached, m.lost = w, nil, nil
	w.opened()
	executors := map[string]Executor{}
	for _, row := range protocol.CommandTypes {
		executors[row.Type] = modelExecutor{w}
		if m.fault == "act again after a crash" {
			executors[row.Type] = forgetful{modelExecutor{w}}
		}
	}
	m.engine = &engine{
		journal: m, intents: m, executors: executors, circumstances: m.circumstances,
		verify: w.open, log: zerolog.Nop(),
	}
	if err := m.engine.recall(); err != nil {
		w.fail("%v", err)
	}
}

// forgetful does not look at what became of an attempt.
type forgetful struct{ modelExecutor }

func (forgetful) Verify(_ jobContext, _ *Job) (*Outcome, error) { return &Outcome{}, nil }

func (m *memorySide) circumstances() *Circumstances {
	now := m.w.circumstances()
	switch m.fault {
	case "no proof of time":
		now.Clock.Proven, now.Clock.Likely = true, now.Clock.Trusted
	case "trust of the start":
		now.Trust.Mode = protocol.ModeEnforce
	case "epoch of before":
		now.Target.Epoch = "epoch-1"
	}
	return now
}

func (m *memorySide) stop() {}

func (m *memorySide) take(cancel []string, orders []protocol.Envelope) {
	_ = m.engine.take(cancel, orders, 0)
}

func (m *memorySide) work() {
	for range 4 {
		lanes, _ := m.engine.due(m.w.wall())
		slices.SortFunc(lanes, func(a, b *dueLane) int { return strings.Compare(a.name, b.name) })
		for _, lane := range lanes {
			for _, id := range lane.ids {
				if !m.engine.isHeld(id) {
					m.engine.advance(m.w.ctx, id)
				}
			}
		}
	}
	if !m.w.mac.down {
		m.engine.look()
	}
}

func (m *memorySide) report() (open []protocol.OpenCommand, results []protocol.Result) {
	open, results = m.engine.report()
	if m.fault == "settled when it is sent" {
		for _, result := range results {
			m.settle([]string{result.CommandID})
		}
	}
	return open, results
}

func (m *memorySide) settle(ids []string) (kept bool) {
	if m.w.mayWrite() != nil {
		return false
	}
	m.before = m.disk.clone()
	for _, id := range ids {
		if r, found := m.disk.open[id]; found && r.hasEnded() {
			delete(m.disk.open, id)
			m.disk.ended[id] = r
		}
	}
	if m.cached != nil {
		m.disk, m.cached = m.cached.clone(), nil
	}
	if m.w.point() == nil {
		m.engine.settled(ids)
	}
	return true
}

func (m *memorySide) prune(now time.Time) {
	kept := protocol.CommandsKeptFor
	if m.fault == "forgotten at once" {
		kept = -400 * 24 * time.Hour
	}
	if m.w.mayWrite() != nil {
		return
	}
	m.pruned = later(m.pruned, now.Add(-protocol.CommandsKeptFor))
	m.lines = slices.DeleteFunc(m.lines, func(i intent) bool { return !i.Until.Add(kept - protocol.CommandsKeptFor).After(now) })
	if m.w.point() != nil {
		return
	}
	for id, r := range m.disk.ended {
		if !keptUntil(r.Command.ExpiresAt, r.ReceivedAt).Add(kept - protocol.CommandsKeptFor).After(now) {
			delete(m.disk.ended, id)
		}
	}
}

func (m *memorySide) onDisk(id string) (Record, bool) {
	if r, found := m.disk.open[id]; found {
		return r, true
	}
	r, found := m.disk.ended[id]
	return r, found
}

func (m *memorySide) lastOnDisk(id string) int { return lastOf(m.lines, id) }

// lastOf is the last attempt that lines have of a command.
func lastOf(lines []intent, id string) (last int) {
	for _, line := range lines {
		if line.ID == id {
			last = max(last, line.Attempt)
		}
	}
	return last
}

func (m *memorySide) epoch() string { return m.disk.epoch }
func (m *memorySide) backUp()       { saved := m.disk.clone(); m.saved = &saved }

func (m *memorySide) restore() {
	m.disk = memoryDisk{map[string]Record{}, map[string]Record{}, ""}
	if m.saved != nil {
		m.disk = m.saved.clone()
	}
	m.disk.epoch = m.newEpoch()
}

func (m *memorySide) forget() {
	if m.before.epoch == m.disk.epoch {
		m.disk = m.before.clone()
	}
}

func (m *memorySide) wipe() {
	m.saved, m.lines, m.pruned = nil, nil, time.Time{}
	m.restore()
}

// The journal.

func (m *memorySide) load() ([]*Record, error) {
	var all []*Record
	for _, id := range sortedIDs(m.disk.open) {
		r := m.disk.open[id]
		r.notDone, r.stumbles, r.waits, r.retryAt = false, 0, false, time.Time{}
		if m.fault == "attempts not counted" {
			r.Attempts = 0
			r.State = protocol.CommandAcknowledged
		}
		all = append(all, &r)
	}
	slices.SortFunc(all, func(a, b *Record) int { return int(a.Arrival) - int(b.Arrival) })
	return all, nil
}

// unsynced are the faults that leave out a sync of the journal, and whether a record
// is of the write that they are about.
var unsynced = map[string]func(*Record) bool{
	"acknowledged not synced": func(r *Record) bool { return r.Attempts == 0 && !r.hasEnded() },
	"running not synced":      func(r *Record) bool { return r.Attempts > 0 && !r.hasEnded() },
	"result not synced":       func(r *Record) bool { return r.hasEnded() },
}

func (m *memorySide) keep(_ []protocol.Event, records ...*Record) error {
	if err := m.w.mayWrite(); err != nil {
		return err
	}
	m.before = m.disk.clone()
	into := m.disk
	if isLeftOut := unsynced[m.fault]; isLeftOut != nil && isLeftOut(records[0]) {
		if m.cached == nil {
			copied := m.disk.clone()
			m.cached = &copied
		}
		into = *m.cached
	} else if m.cached != nil {
		m.disk, m.cached = m.cached.clone(), nil
		into = m.disk
	}
	for _, r := range records {
		into.open[r.ID] = *r
	}
	for _, r := range records {
		m.w.writes[r.ID]++
	}
	return m.w.point()
}

func (m *memorySide) ended(id string) (*Record, error) {
	if m.fault == "repeats not answered" {
		return nil, nil
	}
	r, found := m.disk.ended[id]
	if !found {
		return nil, nil
	}
	return &r, nil
}

// The intent file.

func (m *memorySide) written(id string, _ time.Time) (int, error) {
	if m.fault == "intents not counted" {
		return 0, nil
	}
	return max(lastOf(m.lines, id), lastOf(m.lost, id)), nil
}

func (m *memorySide) append(line *intent) error {
	if err := m.w.mayWriteIntent(); err != nil {
		return err
	}
	if m.fault == "intent not synced" {
		m.lost = append(m.lost, *line)
	} else {
		m.lines = append(m.lines, *line)
	}
	m.w.writes[line.ID]++
	return m.w.point()
}

func (m *memorySide) started(since time.Time, except string) []time.Time {
	if m.fault == "limit not counted" {
		return nil
	}
	return startedIn(slices.Concat(m.lines, m.lost), since, except)
}

func (m *memorySide) prunedTo() time.Time { return m.pruned }
