package agent

import (
	"runtime/debug"
	"time"
)

// backupEvery is how old the newest backup of the state may get.
const backupEvery = 24 * time.Hour

// backUp keeps a verified copy of the state, after the first pass and daily.
func (l *loop) backUp() {
	if l.backingUp || wallClock().Sub(l.backedUp).Abs() < backupEvery {
		return
	}
	l.backingUp = true
	state, log, backups := l.agent.store, l.agent.parts.log, l.backups
	go func() {
		if err := state.Backup(); err != nil {
			log.Error().Err(err).Msg("back up the state") // the next pass tries again
			backups <- time.Time{}
			return
		}
		backups <- wallClock()
	}()
}

func (l *loop) onBackup(at time.Time) {
	if l.backingUp = false; !at.IsZero() {
		l.backedUp = at
		l.publish()
	}
}

// freeMemory gives back what a pass has needed, once nothing goes on: the next
// look may be a quarter of an hour away. What is pooled outlives one collection.
func (l *loop) freeMemory() {
	if l.holding && l.looking == nil && l.exchanging == nil && l.planning == nil {
		l.holding = false
		for range 2 {
			debug.FreeOSMemory()
		}
	}
}
