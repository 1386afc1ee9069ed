package storage_test

import (
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// A launch is the last one that a Mac told of. Since when each would have been told of is
// never earlier than the agent's presence shows (LIC-05: never a guess).
func TestLIC05_LaunchesAreKnownByTheMacsWord(t *testing.T) {
	t.Parallel()
	hour := func(n int) time.Time { return issuedAt.Add(time.Duration(n) * time.Hour) }
	device := storage.Device{}
	for _, step := range []struct {
		name     string
		at       int // hours
		epoch    string
		triggers []protocol.Trigger
		launched time.Time
		watched  time.Time
	}{
		{"the first check-in", 0, "e1", []protocol.Trigger{{Reason: "agent_start"}}, time.Time{}, hour(0)},
		{"a launch", 10, "e1", []protocol.Trigger{{Reason: "app_launch", LastAt: hour(9)}}, hour(9), hour(0)},
		{"an older launch, told late", 11, "e1", []protocol.Trigger{{Reason: "app_launch", LastAt: hour(5)}}, hour(9), hour(0)},
		{"a launch of tomorrow", 12, "e1", []protocol.Trigger{{Reason: "app_launch", LastAt: hour(40)}}, hour(12), hour(0)},
		{"a new agent at once", 13, "e1", []protocol.Trigger{{Reason: "agent_start"}}, hour(12), hour(0)},
		{"a silence: it was offline", 100, "e1", []protocol.Trigger{{Reason: "network_up"}}, hour(12), hour(0)},
		{"a silence, and the agent begins", 200, "e1", []protocol.Trigger{{Reason: "daily"}, {Reason: "agent_start"}}, hour(12), hour(200)},
		{"a lost state", 201, "e2", nil, hour(12), hour(201)},
		{"a launch without a time", 202, "e2", []protocol.Trigger{{Reason: "app_launch"}}, hour(202), hour(201)},
	} {
		before := device
		device.Epoch = step.epoch
		device.NoteLaunches(before, step.triggers, hour(step.at))
		device.LastCheckinAt = hour(step.at)
		if !device.LaunchedAt.Equal(step.launched) || !device.WatchedSince.Equal(step.watched) {
			t.Errorf("%s: launched %v, watched since %v", step.name, device.LaunchedAt, device.WatchedSince)
		}
	}
}
