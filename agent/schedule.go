package agent

import (
	"github.com/rs/zerolog"

	"prlagent/agent/outbox"
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
	"prlagent/store"
)

var schedules = store.Collection[*trigger.State]{Name: "schedule"}

const scheduleKey = "loop"

// lasts reports whether a reason must survive a restart.
func lasts(entry protocol.Trigger) bool { return !trigger.Reason(entry.Reason).Recurs() }

// scheduleKeeper keeps what must outlive the daemon of the loop's state, with as
// few commits as possible, in one commit with the reasons in the outbox.
type scheduleKeeper struct {
	store  *store.Store
	outbox *outbox.Outbox
	log    *zerolog.Logger
	kept   trigger.State // what is on the disk
}

// load gives the state of before, with the reasons that nobody was told; a new
// one where there is none, or it cannot be read.
func (k *scheduleKeeper) load() trigger.State {
	var state trigger.State
	_, err := schedules.Load(k.store, scheduleKey, &state)
	if err != nil {
		k.log.Error().Err(err).Msg("recall the schedule")
		return trigger.State{}
	}
	k.kept = state
	reasons, err := k.outbox.Load()
	if err != nil {
		k.log.Error().Err(err).Msg("recall the reasons")
	}
	state.Reports.Unreported = trigger.SetOf(reasons)
	return state
}

// note takes the loop's state in, and keeps it if a crash would lose something.
// Without a portal no reasons are kept.
func (k *scheduleKeeper) note(state *trigger.State) {
	var waiting []protocol.Trigger
	if state.Portal {
		waiting = state.Reports.Idle().Triggers()
	}
	noted := *state // which the outbox may store later, beside the loop
	kept, err := k.outbox.Wait(waiting, state.Worth(&k.kept), func(tx *store.Tx) error {
		return schedules.Put(tx, scheduleKey, &noted)
	})
	if err != nil {
		k.log.Error().Err(err).Msg("keep the schedule") // the next event tries again
		return
	}
	if kept {
		k.kept = noted
	}
}
