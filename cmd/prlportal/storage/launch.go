package storage

import (
	"time"

	"prlagent/agent/protocol"
)

// Reasons of check-ins that say something of the launches of Parallels Desktop
// (DESIGN 5).
const (
	reasonAppLaunch  = "app_launch"
	reasonAgentStart = "agent_start"
)

// watchGap is how long a Mac that is on may be silent: the guide's daily check-in, and a
// day more.
const watchGap = 48 * time.Hour

// NoteLaunches takes in what a check-in says of launches. LaunchedAt is the last one that
// the Mac told of. WatchedSince is since when it would have told of each: the agent was
// there all the time, as far as its check-ins show. Where it began anew after a silence,
// with another state or for the first time, launches before that may not have been seen.
func (d *Device) NoteLaunches(before Device, triggers []protocol.Trigger, now time.Time) {
	hasBegun := before.Epoch != d.Epoch
	for _, trigger := range triggers {
		switch trigger.Reason {
		case reasonAppLaunch:
			at := trigger.LastAt
			if at.IsZero() || at.After(now) { // by a clock that goes ahead
				at = now
			}
			d.LaunchedAt = latest(d.LaunchedAt, at)
		case reasonAgentStart:
			hasBegun = hasBegun || now.Sub(before.LastCheckinAt) > watchGap
		}
	}
	if hasBegun || d.WatchedSince.IsZero() {
		d.WatchedSince = now
	}
}
