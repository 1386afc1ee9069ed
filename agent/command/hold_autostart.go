package command

import (
	"context"
	"errors"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
	"prlagent/store"
)

// A held machine does not start by itself. What it did before is on record before that
// is turned off, and is put back once the machine is not held any more, unless somebody
// has changed it meanwhile.

// autostartShown is where a description shows it, and autostartWords are the words of
// the tool beside autostartOff (facts/prlctl.md 1.5).
const (
	autostartShown = "Startup and Shutdown/Autostart"
	autostartFlag  = "--autostart="
	autostartOff   = "off"
)

var autostartWords = []string{"open-window", "start-app", "start-host", "user-login", "on", "auto"}

// retry says when something is tried again.
type retry struct {
	done     bool
	failures int
	next     time.Time
}

// The pauses before autostart is set again: the tool may refuse it while the machine is
// suspended (facts/acting.md 1, inferred).
const (
	firstAutostartPause = time.Minute
	lastAutostartPause  = time.Hour
)

func (r *retry) later() {
	pause := min(firstAutostartPause<<min(r.failures, 10), lastAutostartPause)
	r.failures++
	r.next = time.Now().Add(pause)
}

func (r *retry) isDue() bool { return !r.done && !time.Now().Before(r.next) }

// startAutostartOff has somebody turn autostart off, beside whoever suspends the machine.
// It is looked at once by each daemon, and after each time that the machine ran. With mu.
func (h *Holds) startAutostartOff(ctx context.Context, one *hold) {
	key, before := one.VMKey, one.sight.autostart
	h.startSetting(key.UID, func() { h.turnOffAutostart(ctx, key, before) })
}

// startSetting begins work on autostart. A user's tool does it for one machine at a time:
// there can be hundreds. With mu.
func (h *Holds) startSetting(uid uint32, work func()) {
	h.setting[uid] = true
	h.running.Go(func() {
		work()
		h.mu.Lock()
		delete(h.setting, uid)
		h.mu.Unlock()
		h.awaken()
	})
}

// setAutostart sets autostart if that is not as it should be, and gives what it was.
func (h *Holds) setAutostart(ctx context.Context, account *Account, id string, decide func(shown string) (to string, err error)) (done bool, code protocol.Code) {
	limited, cancel := context.WithTimeout(ctx, prlctl.SetLimit+2*holdLookLimit)
	defer cancel()
	tool := h.options.Tool(account)
	shown, err := autostartOf(limited, tool, id)
	if err != nil {
		return false, protocol.CodeOf(err)
	}
	to, err := decide(shown)
	if err != nil || to == "" || to == shown {
		return err == nil, protocol.CodeOf(err)
	}
	said := tool.Set(limited, id, autostartFlag+to)
	if shown, err = autostartOf(limited, tool, id); err == nil && shown == to {
		return true, ""
	}
	return false, reasonOr(protocol.CodeOf(said), protocol.CodeNotVerified)
}

func autostartOf(ctx context.Context, tool HoldTool, id string) (string, error) {
	vm, err := tool.Get(ctx, id)
	if err != nil {
		return "", err
	}
	return prlctl.NewPaths(autostartShown).Read(&vm, nil)[0], nil
}

// turnOffAutostart turns it off for a machine that is held. If the machine has run since
// before, its user may have set it when that was read already: it is looked at again.
func (h *Holds) turnOffAutostart(ctx context.Context, key protocol.VMKey, before retry) {
	account, err := h.account(ctx, key.UID)
	changed, done, code := false, false, protocol.CodeOf(err)
	if account != nil {
		done, code = h.setAutostart(ctx, account, key.ID, func(shown string) (string, error) {
			if shown == "" || shown == autostartOff {
				return "", nil
			}
			changed = true
			return autostartOff, h.lend(key, shown)
		})
	}
	if ctx.Err() != nil {
		return
	}
	h.of(key, func(one *hold) {
		off := &one.sight.autostart
		switch {
		case *off != before:
		case done:
			off.done = true
		default:
			off.later()
		}
		if changed && (done || off.failures == 1) {
			h.tell(one, eventHoldAutostart, code)
		}
	})
}

// lend keeps what autostart was before the agent turns it off; it is an error if there is
// no reason any more to do so.
func (h *Holds) lend(key protocol.VMKey, was string) error {
	if isHeld, _ := h.wants(key); !isHeld {
		return errNotHeld
	}
	err := errNotHeld
	h.of(key, func(one *hold) {
		if err = nil; one.record.Autostart != "" {
			return // as it was before the first time
		}
		record := one.record
		record.Autostart = was
		err = h.options.Commit(func(tx *store.Tx) error { return holdRecords.Put(tx, key.String(), &record) })
		if err == nil {
			one.record = record
			h.copy()
		}
	})
	return err
}

// giveBack begins to put back the autostart of machines that are not held any more, and
// says when to look again, if any is left. With mu.
func (h *Holds) giveBack(ctx context.Context) (pause time.Duration, any bool) {
	pause = lastAutostartPause
	for _, key := range h.owing() {
		back := h.returns[key]
		if back == nil {
			back = &retry{}
			h.returns[key] = back
		}
		any = true
		switch {
		case h.setting[key.UID]:
		case back.isDue():
			h.startSetting(key.UID, func() { h.giveBackOne(ctx, key) })
		default:
			pause = min(pause, max(time.Until(back.next), time.Millisecond))
		}
	}
	return pause, any
}

// owing are the machines whose autostart is to be put back. With mu.
func (h *Holds) owing() (keys []protocol.VMKey) {
	for key := range h.lent {
		keys = append(keys, key)
	}
	for key, one := range h.holds {
		if h.lent[key] == nil && one.owes() {
			keys = append(keys, key)
		}
	}
	return keys
}

// owed is the autostart that is to be put back; empty if there is none. With mu.
func (h *Holds) owed(key protocol.VMKey) string {
	if one := h.holds[key]; one != nil && one.owes() {
		return one.record.Autostart
	}
	if record := h.lent[key]; record != nil {
		return record.Autostart
	}
	return ""
}

func (one *hold) owes() bool { return one.record.isOver() && one.record.Autostart != "" }

// giveBackOne puts autostart back. Where it is not off, that must be seen twice before what
// it was is forgotten: a call that turns it off goes on where its tool was killed, as with
// the last daemon.
func (h *Holds) giveBackOne(ctx context.Context, key protocol.VMKey) {
	account, err := h.account(ctx, key.UID)
	done, code := err == nil && account == nil, protocol.CodeOf(err) // an account that is gone has no machines
	if account != nil {
		done, code = h.setAutostart(ctx, account, key.ID, func(shown string) (string, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			was, back := h.owed(key), h.returns[key]
			switch {
			case was == "":
				return "", errHeldAgain
			case shown == autostartOff && slices.Contains(autostartWords, was):
				return was, nil
			case shown != autostartOff && back != nil && back.failures == 0:
				return "", errMayBeOff
			}
			return "", nil
		})
	}
	if done = done || code == protocol.CodeVMNotFound; ctx.Err() != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	back := h.returns[key]
	switch {
	case back == nil:
	case h.owed(key) == "":
		delete(h.returns, key)
	case done && h.returned(key):
		delete(h.returns, key)
	default:
		if back.later(); back.failures == 1 {
			back.next = time.Now().Add(prlctl.SetLimit)
		}
		h.options.Log.Warn().Str("code", string(code)).Str("vm", key.String()).Msg("autostart is not put back yet")
	}
}

// Why autostart is not put back.
var (
	errHeldAgain = errors.New("it is held again")
	errMayBeOff  = errors.New("it may be turned off yet")
)

// returned forgets what was lent, and reports whether that is on the disk. With mu.
func (h *Holds) returned(key protocol.VMKey) bool {
	err := h.options.Commit(func(tx *store.Tx) error {
		if one := h.holds[key]; one != nil && one.record.isOver() {
			record := one.record
			record.Autostart = ""
			return holdRecords.Put(tx, key.String(), &record)
		}
		return holdRecords.Delete(tx, key.String())
	})
	if err != nil {
		h.options.Log.Error().Err(err).Msg("forget an autostart that was put back")
		return false
	}
	if one := h.holds[key]; one != nil && one.record.isOver() {
		one.record.Autostart = ""
	}
	delete(h.lent, key)
	h.copy()
	return true
}
