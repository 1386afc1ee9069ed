package agent

import (
	"time"

	"prlagent/agent/config"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/store"
)

// lifeRecord is what a daemon leaves for the next one, so that this can tell that no
// agent ran for a while (SEC-26): root can always stop it, and is not kept from it.
type lifeRecord struct {
	Clock   config.AwakeTime `json:"clock"`
	At      time.Time        `json:"at"`
	Version string           `json:"version"`
	Stopped bool             `json:"stopped"` // in order; else it began, and left no word since
}

var lifeRecords = store.Collection[*lifeRecord]{Name: "agent_life"}

const lifeKey = "last"

// shortAbsence is how long a restart may take.
const shortAbsence = time.Minute

// keepLife keeps that the daemon began, or stopped, with the events that say so.
func (a *agent) keepLife(stopped bool, events ...protocol.Event) {
	version, _ := localapi.BuildVersion()
	record := &lifeRecord{Clock: a.clock(), At: wallClock(), Version: version, Stopped: stopped}
	a.eventLog.addWith(func(tx *store.Tx) error { return lifeRecords.Put(tx, lifeKey, record) }, events...)
}

func (a *agent) clock() config.AwakeTime {
	if a.parts.awake == nil {
		return config.AwakeTime{}
	}
	return a.parts.awake()
}

// noteAbsence puts into the event of the start that no agent ran while the Mac was on.
// After a boot nobody can tell; a new version has to end the one before.
func (a *agent) noteAbsence(started *protocol.Event, endedUnseen bool) {
	var before lifeRecord
	found, err := lifeRecords.Load(a.store, lifeKey, &before)
	now := a.clock()
	if err != nil || !found || now.Boot == "" || before.Clock.Boot != now.Boot {
		return
	}
	switch absence := now.Awake - before.Clock.Awake; {
	case endedUnseen && !before.Stopped:
		if before.Version != started.Data["version"] {
			return
		}
		started.Data["reason"] = "the daemon before this one did not stop by itself, and the Mac was on: it was killed or crashed"
	case before.Stopped && absence >= shortAbsence:
		started.Data["reason"] = "the daemon before this one was stopped, and the Mac was on"
		started.Data["since"], started.Data["lasted"] = before.At.UTC().Format(time.RFC3339), absence.Truncate(time.Second).String()
	default:
		return
	}
	started.Code = protocol.CodeAgentWasOff
}
