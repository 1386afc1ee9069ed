package agentapi

import (
	"slices"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/limit"
	"prlagent/cmd/prlportal/storage"
)

// Who may fill the list of keys that wait for a person: anybody who has read the
// secret. So no network gets more than a share of it, and keys that do not ask
// again make room first (H55).
const (
	// pendingRetrySecs is when a Mac that waits for approval should ask again.
	pendingRetrySecs = 600
	// silentAfter is how long a key that is still wanted does not stay silent.
	silentAfter = 3 * pendingRetrySecs * time.Second
	// maxPendingPerNetwork is how many of a device's waiting keys are from one
	// network.
	maxPendingPerNetwork = 3
)

// addPending notes that another key wants to be this device. The error says that
// the list is full, that a person rejected the key, or that the request is a
// replay.
func (e enrollAttempt) addPending(device *storage.Device) error {
	id := protocol.KeyID(e.request.DeviceKey)
	if _, rejected := storage.FindKey(device.Rejected, id); rejected {
		return protocol.NewProblem(protocol.ProblemEnrollmentDenied, "")
	}
	at := slices.IndexFunc(device.Pending, func(p storage.PendingKey) bool { return p.Key.Equal(e.request.DeviceKey) })
	if at < 0 {
		return e.addNewPending(device)
	}
	known := &device.Pending[at]
	if err := checkNewer(e.id, known.LastRequest); err != nil {
		return err
	}
	known.LastAskedAt, known.LastRequest, known.AgentVersion = e.now, e.id.String(), e.request.AgentVersion
	return nil
}

func (e enrollAttempt) addNewPending(device *storage.Device) error {
	kept, fits := makeRoom(device.Pending, e.source, e.now)
	if !fits {
		return protocol.NewProblem(protocol.ProblemPendingFull, "")
	}
	added := storage.PendingKey{
		Key: e.request.DeviceKey, AskedAt: e.now, LastAskedAt: e.now, LastRequest: e.id.String(),
		AgentVersion: e.request.AgentVersion, Source: e.source,
	}
	if !isSameMac(*device, e.request) {
		added.HardwareUUID = e.request.HardwareUUID
	}
	device.Pending, device.ChangedAt = append(kept, added), e.now
	return nil
}

// makeRoom gives the keys that stay beside a new one from source. What waits and
// keeps asking is never pushed out by its own network; a network that holds more
// than one place gives its newest to a network that has none.
func makeRoom(keys []storage.PendingKey, source string, now time.Time) (kept []storage.PendingKey, fits bool) {
	network := limit.Network(source)
	if countFrom(keys, network) >= maxPendingPerNetwork {
		return withoutSilent(keys, now, network)
	}
	if len(keys) < storage.MaxPending {
		return keys, true
	}
	if kept, fits = withoutSilent(keys, now, ""); fits {
		return kept, true
	}
	greediest := slices.MaxFunc(keys, func(a, b storage.PendingKey) int {
		return countFrom(keys, limit.Network(a.Source)) - countFrom(keys, limit.Network(b.Source))
	})
	taken := limit.Network(greediest.Source)
	if countFrom(keys, network) > 0 || countFrom(keys, taken) < 2 {
		return keys, false
	}
	newest := -1
	for i, key := range keys {
		if limit.Network(key.Source) == taken {
			newest = i
		}
	}
	return slices.Delete(slices.Clone(keys), newest, newest+1), true
}

// withoutSilent leaves out the key, of one network or of any, that was silent
// longest, if one was for as long as no waiting Mac is.
func withoutSilent(keys []storage.PendingKey, now time.Time, network string) ([]storage.PendingKey, bool) {
	silent := -1
	for i, key := range keys {
		wanted := network == "" || limit.Network(key.Source) == network
		if wanted && now.Sub(key.HeardAt()) > silentAfter && (silent < 0 || key.HeardAt().Before(keys[silent].HeardAt())) {
			silent = i
		}
	}
	if silent < 0 {
		return keys, false
	}
	return slices.Delete(slices.Clone(keys), silent, silent+1), true
}

func countFrom(keys []storage.PendingKey, network string) int {
	count := 0
	for _, key := range keys {
		if limit.Network(key.Source) == network {
			count++
		}
	}
	return count
}

// identityDiffers says which Mac a report names, if it is not the one that
// enrolled (H57). What either side does not know differs from nothing.
func identityDiffers(device storage.Device, host *protocol.Host) (reported string, differs bool) {
	if host == nil {
		return "", false
	}
	same := func(enrolled, reported string) bool {
		return enrolled == "" || reported == "" || strings.EqualFold(enrolled, reported)
	}
	if same(device.Serial, host.Serial) && same(device.HardwareUUID, host.HardwareUUID) {
		return "", false
	}
	return strings.TrimSpace(host.Serial + " " + host.HardwareUUID), true
}
