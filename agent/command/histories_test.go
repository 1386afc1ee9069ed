package command

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"prlagent/agent/protocol"
)

// move is one step of a history.
type move struct {
	kind string
	n    int
}

// moves are what can happen, each as often as it stands there.
var moves = strings.Fields(`
	delete delete delete delete restart restart restart lock unlock refresh deactivate
	exchange exchange exchange exchange exchange exchange exchange exchange lost-out lost-back twice replay
	work work work work work work work work
	crash crash crash crash crash crash kill kill
	offline online busy idle idle blind seeing seeing silent loud broken mended full stuck room room
	hour hour hour day sleep reboot-far month clock-back clock-forward clock-right clock-right
	untrust-late monitor-late stop-late forge
	approve approve approve approve cancel cancel confirm untrust trust trust monitor limit
	portal-crash portal-crash portal-crash portal-backup portal-backup portal-restore portal-restore-all thaw
	portal-full portal-stuck portal-room portal-room
	reenroll erase retire retire-lost revive
	mac-backup mac-backup mac-restore mac-forget mac-wipe prune`)

func drawHistory(t *rapid.T) (history []move) {
	for place, drawn := range rapid.SliceOfN(rapid.Uint32(), 20, 60).Draw(t, "history") {
		if drawn > 0 {
			mixed := rand.New(rand.NewPCG(uint64(drawn), uint64(place)))
			history = append(history, randomMove(mixed))
		}
	}
	return history
}

func randomMove(random *rand.Rand) move { return move{moves[random.IntN(len(moves))], random.IntN(40)} }

func randomHistory(seed uint64) []move {
	random := rand.New(rand.NewPCG(seed, 14))
	history := make([]move, 5+random.IntN(55))
	for i := range history {
		history[i] = randomMove(random)
	}
	return history
}

// playHistory plays a history to its end, and holds everything against it.
func playHistory(side agentSide, portal portalSide, history []move, fail func(string, ...any)) *world {
	w := newWorld(side, portal, fail)
	for _, next := range history {
		w.play(next)
	}
	w.wantTruth(w.heal())
	w.wantSoFar()
	side.stop()
	portal.stop()
	return w
}

// counts are what happened in many histories.
type counts map[string]int

func (c counts) add(w *world) {
	for what, count := range w.happened {
		c[what] += count
	}
	for _, count := range w.effects {
		c["effects"] += count
	}
	c["histories"]++
}

// want fails for everything that may happen and never did.
func (c counts) want(t *testing.T, besides ...string) {
	t.Helper()
	for _, kind := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(moves, besides)))) {
		if c[kind] == 0 {
			t.Errorf("it never happened: %s", kind)
		}
	}
}

// alsoHappens is what must come of the moves.
var alsoHappens = []string{
	"effects", "issued", "repeated", "portal crashed", "audit log replayed", "replayed order",
	"in the end succeeded", "in the end failed", "in the end cancelled", "in the end expired", "in the end rejected", "in the end unknown",
	"in the end " + string(protocol.CodeJournalLost), "in the end " + string(protocol.CodeOutcomeUnknown), "in the end " + string(protocol.CodeNotDone),
	"in the end " + string(protocol.CodePortalRestored), "in the end " + string(protocol.CodeEpochChanged),
}

const days = 24 * time.Hour

// play makes one move. It is counted if it did something.
func (w *world) play(m move) {
	w.pass(time.Second, false)
	switch m.kind {
	case "delete", "lock", "unlock":
		w.issue("vm."+m.kind, 30*days, m.n)
	case "restart":
		w.issue("vm.restart", days, m.n)
	case "refresh":
		w.issue("inventory.refresh", days, m.n)
	case "deactivate":
		w.issue("license.deactivate", 30*days, m.n)
	case "exchange":
		w.then(func() { w.exchange(route{}) })
	case "lost-out":
		w.then(func() { w.exchange(route{lostOut: true}) })
	case "lost-back":
		w.then(func() { w.exchange(route{lostBack: true}) })
	case "twice":
		w.then(func() { w.exchange(route{twice: true}) })
	case "work":
		w.then(w.side.work)
	case "crash":
		w.mac.in = 1 + m.n%14
	case "kill":
		w.restart()
	case "prune":
		w.then(func() { w.side.prune(w.clock().Trusted) })
	case "mac-backup":
		w.side.backUp()
	case "mac-restore", "mac-forget", "mac-wipe":
		w.lose(m.kind)
	default:
		w.playAtPortal(m)
		w.wantSoFar()
		return
	}
	w.happened[m.kind]++
	w.wantSoFar()
}

// playAtPortal makes a move that an admin or the portal makes.
func (w *world) playAtPortal(m move) {
	done := true
	switch m.kind {
	case "approve":
		w.decide(m.kind, m.n, w.portal.approve)
		return
	case "cancel":
		w.decide(m.kind, m.n, w.cancelOrder)
		return
	case "confirm":
		w.decide(m.kind, m.n, w.confirm)
		return
	case "thaw":
		w.atPortal(func() { done = w.thaw() })
	case "retire", "retire-lost":
		w.atPortal(func() { done = w.portal.retire(m.kind == "retire-lost") })
	case "revive":
		w.atPortal(func() { done = w.portal.revive() })
	case "reenroll":
		done = w.enroll(false)
	case "erase":
		w.lose(m.kind)
		done = w.enroll(true)
	case "portal-crash":
		w.server.in = 1 + m.n%6
	case "portal-backup":
		w.backUpPortal()
	case "portal-restore", "portal-restore-all":
		done = w.restorePortal(m.kind == "portal-restore-all")
	case "replay":
		w.replay(m.n)
		return
	case "forge":
		w.forge(m.n)
	default:
		w.setting(m)
	}
	if done {
		w.happened[m.kind]++
	}
}

// replay has an answer of before come again.
func (w *world) replay(n int) {
	if len(w.old) == 0 {
		return
	}
	again := w.old[n%len(w.old)]
	w.happened["replay"]++
	if len(again.Commands) > 0 {
		w.happened["replayed order"]++
	}
	w.then(func() { w.take(again.Cancel, again.Commands) })
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
	case "full", "stuck", "room":
		w.mac.full, w.mac.stuck = m.kind == "full", m.kind == "stuck"
	case "portal-full", "portal-stuck", "portal-room":
		w.server.full, w.server.stuck = m.kind == "portal-full", m.kind == "portal-stuck"
	case "hour":
		w.pass(time.Hour, false)
	case "day":
		w.pass(days, false)
	case "month":
		w.pass(31*days, false)
	case "sleep":
		w.pass(time.Duration(1+m.n%40)*days, true)
	case "reboot-far":
		w.pass(time.Duration(1+m.n%40)*days, true)
		w.restart()
	case "clock-back":
		w.offset = -365 * days
	case "clock-forward":
		w.offset = 20 * days
	case "clock-right":
		w.offset = 0
	case "untrust", "trust", "monitor":
		w.trust.Mode = map[string]string{"untrust": "", "trust": protocol.ModeEnforce, "monitor": protocol.ModeMonitor}[m.kind]
	case "stop":
		w.cancel()
	case "untrust-late", "monitor-late", "stop-late":
		w.late = strings.TrimSuffix(m.kind, "-late")
	case "limit":
		w.trust.Limit = 1 + m.n%4
	}
}
