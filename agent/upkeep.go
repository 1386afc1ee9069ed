package agent

import "time"

const (
	// backupEvery is how old the newest backup of the state may get.
	backupEvery = 24 * time.Hour
	// backupPause lies between two of them, however many commands end.
	backupPause = time.Minute
)

// backUp keeps a verified copy of the state: after the first pass, daily, and once
// commands have ended, so that a journal which is restored knows of them (DESIGN 9).
func (l *loop) backUp() {
	now, endings := wallClock(), l.agent.commands.runner.Endings()
	isDue := endings != l.endings.backedUp || now.Sub(l.backedUp).Abs() >= backupEvery
	if l.backingUp || !isDue || now.Sub(l.backupTried).Abs() < backupPause {
		return
	}
	l.backingUp, l.backupTried, l.endings.seen = true, now, endings
	state, log, backups := l.agent.store, l.agent.parts.log, l.backups
	go func() {
		if err := state.Backup(); err != nil {
			log.Error().Err(err).Msg("back up the state") // it is tried again in a minute
			backups <- time.Time{}
			return
		}
		backups <- wallClock()
	}()
}

func (l *loop) onBackup(at time.Time) {
	if l.backingUp = false; !at.IsZero() {
		l.backedUp, l.endings.backedUp = at, l.endings.seen
		l.publish()
	}
}

// isBusy reports whether something runs that needs memory.
func (l *loop) isBusy() bool {
	return l.looking != nil || l.exchanging != nil || l.planning != nil
}

// noteIdle tells that nothing goes on: the next look may be a quarter of an hour away.
func (l *loop) noteIdle() {
	if l.idle = !l.isBusy(); l.idle {
		l.tellIdle()
	}
}

// noteBusy tells once that this has ended.
func (l *loop) noteBusy() {
	if l.idle && l.isBusy() {
		l.idle = false
		l.tellIdle()
	}
}

func (l *loop) tellIdle() {
	if told := l.agent.parts.onIdle; told != nil {
		told(l.idle)
	}
}
