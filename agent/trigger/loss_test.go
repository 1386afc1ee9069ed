package trigger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

// lossyMac is a model of a Mac whose streams of events cannot be relied upon.
type lossyMac struct {
	*simulation
	random  *rand.Rand
	vms     []protocol.VM            // the truth
	listed  map[string][]protocol.VM // by account: what the last good list said
	late    map[string]bool          // accounts whose tools do not answer now
	deaf    map[string]time.Time     // accounts whose stream is dead until then
	down    time.Time                // the service is, until then
	unclear bool                     // the tool says a word that nobody knows of one VM
	created int
	coming  []fleetEvent // events on their way
}

func newLossyMac(t testing.TB, seed uint64) *lossyMac {
	m := &lossyMac{
		random: rand.New(rand.NewPCG(seed, 28)),
		listed: make(map[string][]protocol.VM), late: make(map[string]bool), deaf: make(map[string]time.Time),
	}
	for range 4 {
		m.create()
	}
	m.simulation = lived(t, valid, slices.Clone(m.vms)...)
	m.show()
	return m
}

func (m *lossyMac) create() {
	m.created++
	owner := []string{"alice", "bob"}[m.random.IntN(2)]
	m.vms = append(m.vms, vmRow(owner, fmt.Sprintf("vm-%d", m.created), protocol.StateStopped, "0"))
}

// chance is true as often as the share says.
func (m *lossyMac) chance(share float64) bool { return m.random.Float64() < share }

// act changes one thing on the Mac, and says it, more or less.
func (m *lossyMac) act(nth int) {
	if len(m.vms) == 0 || len(m.vms) < 8 && m.chance(0.1) {
		m.create()
		m.say(m.vms[len(m.vms)-1], "")
		return
	}
	place := m.random.IntN(len(m.vms))
	vm := m.vms[place]
	m.vms = slices.Clone(m.vms)
	switch action := m.random.Float64(); {
	case action < 0.08:
		m.vms = slices.Delete(m.vms, place, place+1)
		m.say(vm, "")
	case action < 0.25:
		m.vms[place].ConfigHash = fmt.Sprint(nth)
		m.say(vm, "")
	default:
		state := []string{protocol.StateStopped, protocol.StateRunning, protocol.StateSuspended}[m.random.IntN(3)]
		words := map[string][]string{
			protocol.StateStopped: {"stopping", "stopped"}, protocol.StateRunning: {"starting", "running"}, protocol.StateSuspended: {"suspending", "suspended"},
		}
		m.vms[place].State = state
		m.say(vm, words[state]...)
	}
}

// say sends events on their way: some are lost, some come late, some twice.
func (m *lossyMac) say(vm protocol.VM, words ...string) {
	for _, word := range words {
		if m.now.Before(m.deaf[vm.Owner]) || m.now.Before(m.down) || m.chance(0.3) {
			continue
		}
		for range 1 + m.random.IntN(2) {
			at := m.now.Add(time.Duration(m.random.Int64N(int64(3 * time.Second))))
			m.coming = append(m.coming, fleetEvent{at, SourceEvent{UID: vm.UID, VMID: vm.ID, State: word}})
		}
	}
	slices.SortStableFunc(m.coming, func(a, b fleetEvent) int { return a.at.Compare(b.at) })
}

// break disturbs the streams and the tools.
func (m *lossyMac) disturb() {
	for user := range lossyUsersInOrder {
		owner := []string{"alice", "bob"}[user]
		if m.chance(0.05) { // the stream is killed, and starts again after a while
			m.deaf[owner] = m.now.Add(time.Duration(m.random.Int64N(int64(10 * time.Minute))))
			if m.chance(0.5) { // of which, for once, nobody is told
				m.coming = append(m.coming, fleetEvent{m.deaf[owner], SourceEvent{UID: uids[owner]}})
			}
		}
		m.late[owner] = m.chance(0.1)
	}
	m.unclear = m.chance(0.1)
	if m.down.IsZero() && m.chance(0.01) {
		m.down = m.now.Add(time.Hour)
	}
	m.blind = m.chance(0.05)
}

const lossyUsersInOrder = 2

// show lets the next look see what the tools say now.
func (m *lossyMac) show() {
	m.sees.VMs = nil
	for user := range lossyUsersInOrder {
		owner := []string{"alice", "bob"}[user]
		if m.late[owner] || m.now.Before(m.down) {
			for _, row := range m.listed[owner] {
				row.Stale = protocol.CodeServiceDown
				m.sees.VMs = append(m.sees.VMs, row)
			}
			continue
		}
		var rows []protocol.VM
		for _, vm := range m.vms {
			if vm.Owner != owner {
				continue
			}
			if m.unclear && len(rows) == 0 {
				vm.State = protocol.StateUnknown
			}
			rows = append(rows, vm)
		}
		m.listed[owner] = rows
		m.sees.VMs = append(m.sees.VMs, rows...)
	}
}

// run lets time pass, with what is on its way.
func (m *lossyMac) run(wait time.Duration) {
	end := m.now.Add(wait)
	for len(m.coming) > 0 && !m.coming[0].at.After(end) {
		m.until(m.coming[0].at)
		what := m.coming[0].what
		m.coming = m.coming[1:]
		m.tell(what)
	}
	m.until(end)
}

// lossBound is how long the portal may be wrong after everything is quiet. A
// look comes within SafetyNet of the one before, which may just have missed the
// last change. Its exchange waits for a token, if changes have used them up; the
// gap is shorter. Two seconds for a pass, twice.
var lossBound = protocol.DefaultTiming().SafetyNet + protocol.DefaultTiming().BucketRefill + 4*time.Second

// Whatever events are lost, late or doubled, whichever streams die, and while
// the service is down or the tools are late: when it is over, the portal has the
// truth within one safety net.
func TestThePortalIsRightWithinOneSafetyNet(t *testing.T) {
	t.Parallel()
	runs := uint64(300)
	if testing.Short() {
		runs = 60
	}
	var slowest time.Duration
	for seed := range runs {
		m := newLossyMac(t, seed)
		m.ticks = false // nothing here hangs on a tick
		m.lossyHours(3 * time.Hour)
		m.late, m.unclear, m.blind, m.down = make(map[string]bool), false, false, time.Time{}
		m.show()
		quiet := m.now
		for !isTold(m.has, m.picture()) {
			if m.run(time.Second); m.now.Sub(quiet) > lossBound {
				t.Fatalf("seed %d: %s after the last change the portal has\n%+v\ntrue is\n%+v", seed, lossBound, m.has.VMs, m.sees.VMs)
			}
		}
		slowest = max(slowest, m.now.Sub(quiet))
		m.run(time.Hour)
		if !isTold(m.has, m.picture()) {
			t.Fatalf("seed %d: an hour later the portal has\n%+v\ntrue is\n%+v", seed, m.has.VMs, m.sees.VMs)
		}
	}
	t.Logf("%d Macs: right again after %s at most, the bound is %s", runs, slowest, lossBound)
}

// lossyHours is a busy and bad time.
func (m *lossyMac) lossyHours(length time.Duration) {
	end := m.now.Add(length)
	for nth := 1; m.now.Before(end); nth++ {
		m.disturb()
		m.act(nth)
		m.show()
		m.run(time.Duration(m.random.ExpFloat64() * float64(2*time.Minute)))
		m.show() // the service may be back
	}
}
