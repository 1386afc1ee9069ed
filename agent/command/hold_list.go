package command

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// The types of commands that a list of holds needs the Mac's consent to.
const (
	lockType   = "vm.lock"
	unlockType = "vm.unlock"
)

// signedHolds is a list of holds that at least one of the Mac's command keys signed,
// as protocol.HoldsParams or protocol.CheckinReply.Holds have it.
type signedHolds struct {
	list     protocol.HoldList
	envelope protocol.Envelope
	sha256   string // of the payload, hex
}

// openHolds reads a list that comes. How many keys it needs is known only once it is read.
// A machine that is named twice, be it in other letters, has no hold that is known.
func openHolds(envelope *protocol.Envelope, keys []protocol.TrustedKey) (*signedHolds, protocol.Code) {
	payload, err := envelope.Verify(protocol.PayloadHolds, keys, 1)
	if err != nil {
		return nil, protocol.CodeCommandSignature
	}
	signed, err := parseHolds(envelope, payload)
	if err != nil {
		return nil, protocol.CodeCommandInvalid
	}
	for i := range signed.list.Holds {
		if one := &signed.list.Holds[i]; holdIn(signed.list.Holds, one.VMKey) != one {
			return nil, protocol.CodeCommandInvalid
		}
	}
	return signed, ""
}

// parseHolds reads the payload of an envelope that was verified.
func parseHolds(envelope *protocol.Envelope, payload []byte) (*signedHolds, error) {
	list, err := protocol.ParseHoldList(payload)
	if err != nil {
		return nil, err
	}
	for i := range list.Holds {
		if id, err := prlctl.ParseID(list.Holds[i].ID); err == nil { // as the tools write it
			list.Holds[i].ID = id
		}
	}
	sum := sha256.Sum256(payload)
	return &signedHolds{list: list, envelope: *envelope, sha256: hex.EncodeToString(sum[:])}, nil
}

// refusedBy is why the list may not take the place of another; empty if it may, and
// also if it is the same. granted is how many keys are known to have signed it as a
// whole, as those of the command that carries it; its own signatures count as well.
func (s *signedHolds) refusedBy(current *signedHolds, now *Circumstances, granted int) protocol.Code {
	mac := &now.Target
	switch {
	case mac.DeviceID == "" || s.list.DeviceID != mac.DeviceID, mac.Serial == "" || !strings.EqualFold(s.list.MacSerial, mac.Serial):
		return protocol.CodeCommandOtherMac
	case s.sha256 == current.sha256:
		return ""
	case s.list.Version <= current.list.Version:
		return protocol.CodeHoldsOutdated
	}
	for _, kind := range changes(current.list.Holds, s.list.Holds, now.Clock.Trusted) {
		if !slices.Contains(now.Trust.Allowed, kind) {
			return protocol.CodeCommandUnlisted
		}
		needed := now.Trust.signatures(kind)
		if _, err := s.envelope.Verify(protocol.PayloadHolds, now.Trust.Keys, needed); needed < 1 || granted < needed && err != nil {
			return protocol.CodeCommandSignature
		}
	}
	return ""
}

// signatures is how many keys must have signed a command of a type; 0: it does not run.
func (t *Trust) signatures(kind string) int {
	if needed, set := t.Thresholds[kind]; set {
		return needed
	}
	return 1
}

// changes are the types of commands that would make one list of holds of the other: who may only
// lock cannot leave a machine out, nor have it end earlier. What is over may be left out
// by anybody: by the trusted time, since who signs can write any time into a list.
func changes(before, after []protocol.Hold, now time.Time) (kinds []string) {
	locks, unlocks := false, false
	for i := range after {
		hold := &after[i]
		old := holdIn(before, hold.VMKey)
		locks = locks || old == nil || !isSameHold(old, hold)
		unlocks = unlocks || old != nil && endsEarlier(hold.ExpiresAt, old.ExpiresAt)
	}
	for i := range before {
		left := holdIn(after, before[i].VMKey) == nil
		unlocks = unlocks || left && (before[i].ExpiresAt.IsZero() || now.Before(before[i].ExpiresAt))
	}
	if locks {
		kinds = append(kinds, lockType)
	}
	if unlocks {
		kinds = append(kinds, unlockType)
	}
	return kinds
}

// holdIn is the hold of a machine in a list; nil if there is none. Of several the last
// one counts.
func holdIn(holds []protocol.Hold, vm protocol.VMKey) *protocol.Hold {
	for i := len(holds) - 1; i >= 0; i-- {
		if holds[i].VMKey == vm {
			return &holds[i]
		}
	}
	return nil
}

func isSameHold(a, b *protocol.Hold) bool {
	return a.CommandID == b.CommandID && a.Since.Equal(b.Since) && a.ExpiresAt.Equal(b.ExpiresAt) && a.Force == b.Force
}

func endsEarlier(ends, than time.Time) bool {
	return !ends.IsZero() && (than.IsZero() || ends.Before(than))
}

// deniedBy is why nothing is held although a list says so: the Mac's configuration is
// what allows it, today as well. Empty if it does.
func (t *Trust) deniedBy() protocol.Code {
	switch {
	case !slices.Contains(t.Allowed, lockType):
		return protocol.CodeCommandUnlisted
	case t.Mode != protocol.ModeEnforce:
		return protocol.CodeCommandMonitor
	}
	return ""
}
