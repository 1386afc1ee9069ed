package command

import (
	"sync"

	"prlagent/agent/protocol"
)

// holdHints are what events have said since the last look. They have a lock of their own,
// which nobody keeps while the disk is waited for: who reads a user's events must not
// wait, or the vendor's service would.
type holdHints struct {
	mu      sync.Mutex
	watched map[protocol.VMKey]bool // and whether an event says that it runs
}

// Hint is told what an event says of a machine. An empty id is all machines of the user,
// and 0 all users: then the process table is looked at. It does not wait.
func (h *Holds) Hint(uid uint32, vmID, state string) {
	if h.hints.note(uid, vmID, state == protocol.StateRunning) {
		h.awaken()
	}
}

// note reports whether a machine that is held is meant.
func (n *holdHints) note(uid uint32, vmID string, runs bool) (isMeant bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, known := range n.watched {
		if (vmID == "" || vmID == key.ID) && (uid == 0 || uid == key.UID) {
			n.watched[key] = known || vmID != "" && runs
			isMeant = true
		}
	}
	return isMeant
}

// takeHints takes over what was hinted, and says of which machines hints are wanted. With
// mu.
func (h *Holds) takeHints(watched []*hold) {
	next := make(map[protocol.VMKey]bool, len(watched))
	for _, one := range watched {
		next[one.VMKey] = false
	}
	h.hints.mu.Lock()
	hinted := h.hints.watched
	h.hints.watched = next
	h.hints.mu.Unlock()
	for _, one := range watched {
		one.sight.hinted = one.sight.hinted || hinted[one.VMKey]
	}
}
