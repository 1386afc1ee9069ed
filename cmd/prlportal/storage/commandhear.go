package storage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"prlagent/agent/protocol"
)

// CommandWord is what one check-in says of commands and holds. It counts for the
// commands of its device only.
type CommandWord struct {
	Device   Device // as it was before; whose word it is
	Epoch    string // in which the Mac says it
	Sequence uint64
	Open     []protocol.OpenCommand
	Results  []protocol.Result
	Holds    *protocol.HoldReport
	Foreign  map[string]bool // ids of commands of other devices
	At       time.Time
}

// Heard is what a word leads to, beside the log that it changes.
type Heard struct {
	Receipts []CommandEnvelopes // of results that are new
	Changed  bool
}

// Hear takes in what the Mac says: its results first, then what it holds, then what it
// does not hold any more.
func (l *CommandLog) Hear(word CommandWord) (heard Heard) {
	before := l.fingerprint()
	for _, result := range word.Results {
		if l.hearResult(result, word) && result.Receipt != nil && isKeptWhole(result.Receipt) {
			heard.Receipts = append(heard.Receipts, CommandEnvelopes{CommandID: result.CommandID, Receipt: result.Receipt})
		}
	}
	listed := make(map[string]bool, len(word.Open))
	for _, open := range word.Open {
		listed[open.CommandID] = true
		l.hearOpen(open, word)
	}
	for i := range l.Commands {
		if c := &l.Commands[i]; c.IsOpen() && !listed[c.ID] {
			c.hearSilence(word)
		}
	}
	l.hearHolds(word)
	heard.Changed = before != l.fingerprint()
	return heard
}

// fingerprint changes with everything that Hear and Deliver change.
func (l *CommandLog) fingerprint() string {
	var print strings.Builder
	fmt.Fprint(&print, len(l.Commands), l.Holds, l.ReportedAt, l.HighestHolds, l.AheadHolds, l.Frozen != nil)
	for i := range l.Commands {
		c := &l.Commands[i]
		fmt.Fprint(&print, c.State, c.Code, len(c.Steps), c.Steps[len(c.Steps)-1].At.UnixNano(), c.Epoch, c.Sequence, c.CancelSent, c.DeliveredAt.IsZero(), c.Withheld != nil)
	}
	return print.String()
}

// hearResult reports whether the result is news. A result that the Mac gave is final:
// another one of the same id changes nothing, unless the Mac's own key has signed it, and
// had not signed the one before: whoever has the Mac's token can say anything first. What
// the portal itself called ended was never more than that it had not heard.
func (l *CommandLog) hearResult(result protocol.Result, word CommandWord) (isNew bool) {
	command := l.Find(result.CommandID)
	if command == nil {
		command = l.adopt(result.CommandID, word)
	}
	if command == nil || command.Receipt.isVerified() || !isEndOfMac(result.State) {
		return false
	}
	receipt := word.checkReceipt(command, result)
	if command.Result != nil && !receipt.isVerified() {
		return false
	}
	l.judgeAhead(command, word)
	if command.isOfLostJournal(result, word) {
		return false
	}
	kept := result
	kept.Receipt = nil
	command.Result, command.Receipt = &kept, receipt
	command.Epoch, command.Withheld = word.Epoch, nil
	command.become(result.State, CommandStep{At: word.At, Code: result.Code, MacAt: result.EndedAt, Epoch: word.Epoch})
	if result.State == protocol.CommandSucceeded {
		l.takeForce(command)
	}
	return true
}

// isOfLostJournal reports whether the result says that nothing was done, and the Mac cannot
// know: the command was for the epoch before, and may have been done in it (H22).
func (c *Command) isOfLostJournal(result protocol.Result, word CommandWord) bool {
	wasSent := !c.DeliveredAt.IsZero() || c.MaybeSent || c.Orphan
	isSeen := result.State == protocol.CommandSucceeded || result.State == protocol.CommandFailed
	return wasSent && !isSeen && c.IsHazardous() && c.Target.Epoch != word.Epoch
}

// isEndOfMac reports whether the state is an end that a Mac can tell of.
func isEndOfMac(state string) bool {
	return protocol.CommandEnded(state) && state != protocol.CommandUnknown
}

func (l *CommandLog) hearOpen(open protocol.OpenCommand, word CommandWord) {
	command := l.Find(open.CommandID)
	if command == nil {
		command = l.adopt(open.CommandID, word)
	}
	if command == nil || command.Result != nil || !slices.Contains(statesOfMac, open.State) {
		return
	}
	l.judgeAhead(command, word)
	if command.State == open.State && command.Code == open.Code && command.Epoch == word.Epoch {
		return
	}
	command.Epoch, command.MaybeSent = word.Epoch, false
	command.become(open.State, CommandStep{At: word.At, Code: open.Code, MacAt: open.At, Epoch: word.Epoch})
}

// statesOfMac are those of a command that a Mac holds.
var statesOfMac = []string{protocol.CommandAcknowledged, protocol.CommandDeferred, protocol.CommandRunning}

// judgeAhead freezes a device that has a command which this portal never sent it: the
// portal is older than the Mac (H30). That is news once: it was sent, by whomever.
func (l *CommandLog) judgeAhead(command *Command, word CommandWord) {
	if command.DeliveredAt.IsZero() && !command.Orphan {
		command.DeliveredAt = word.At
		l.Freeze(fmt.Sprintf("it has command %s, which this portal has not sent it", command.ID), word.At)
	}
}

// adopt makes a record of a command that only the Mac knows. One that is older than any
// record is kept is no wonder, and nothing is kept of it.
func (l *CommandLog) adopt(id string, word CommandWord) *Command {
	made, err := protocol.ParseRequestID(id)
	if err != nil || word.Foreign[id] || word.At.Sub(made.Time()) > protocol.CommandsKeptFor || l.orphans() >= maxOrphans {
		return nil
	}
	orphan := Command{
		ID: id, Type: "unknown", Orphan: true, Epoch: word.Epoch, Needed: 1,
		IssuedAt: made.Time(), ExpiresAt: made.Time().Add(protocol.MaxCommandLifetime),
	}
	orphan.become(protocol.CommandDelivered, CommandStep{At: word.At, Code: protocol.CodePortalRestored, Epoch: word.Epoch})
	l.Commands = append(l.Commands, orphan)
	l.Freeze(fmt.Sprintf("it has command %s, which this portal never had", id), word.At)
	return l.Find(id)
}

// hearSilence judges a command that the Mac does not hold and gives no result of.
func (c *Command) hearSilence(word CommandWord) {
	switch c.State {
	case protocol.CommandAwaitingApproval:
		return
	case protocol.CommandPending:
		switch isOver := c.IsHazardous() && c.Target.Epoch != word.Epoch; {
		case isOver && c.MaybeSent:
			c.Epoch = word.Epoch
			c.become(protocol.CommandUnknown, CommandStep{At: word.At, Code: protocol.CodeEpochChanged, Epoch: word.Epoch})
			return
		case isOver:
			c.withhold(WithheldEpoch, word.At)
		}
		return
	}
	switch sameEpoch := c.Epoch == word.Epoch; {
	case c.Orphan && sameEpoch:
		c.become(protocol.CommandUnknown, CommandStep{At: word.At, Code: protocol.CodePortalRestored, Epoch: word.Epoch})
	case c.Orphan, c.IsHazardous() && c.Target.Epoch != word.Epoch:
		c.Epoch = word.Epoch
		c.become(protocol.CommandUnknown, CommandStep{At: word.At, Code: protocol.CodeEpochChanged, Epoch: word.Epoch})
	case sameEpoch && word.Sequence <= c.Sequence: // of before it was sent
	case !c.CancelAsked.IsZero() && sameEpoch && c.CancelSent > 0 && word.Sequence > c.CancelSent && !c.MaybeSent:
		// It was told to forget it, and does not have it: nothing of it can come any more,
		// because nothing is sent of it since. Where the Mac may have done it for this portal
		// as it was before, only the Mac's own word ends it.
		c.become(protocol.CommandCancelled, CommandStep{At: word.At, Code: protocol.CodeCommandCancelled, Epoch: word.Epoch})
	case !word.At.Before(c.ExpiresAt.Add(expiryMargin)) && c.MaybeSent:
		c.become(protocol.CommandUnknown, CommandStep{At: word.At, Code: protocol.CodePortalRestored, Epoch: word.Epoch})
	case !word.At.Before(c.ExpiresAt.Add(expiryMargin)):
		c.become(protocol.CommandExpired, CommandStep{At: word.At, Code: protocol.CodeCommandExpired, Epoch: word.Epoch})
	}
}

// expiryMargin is how far behind a Mac's trusted time may be when it judges an expiry.
const expiryMargin = 24 * time.Hour

// takeForce notes that the Mac has the list of holds of a command. One that fewer have
// signed than must is nothing to build upon, whatever the Mac says.
func (l *CommandLog) takeForce(command *Command) {
	if command.isSigned() && command.HoldsVersion > l.Holds.Version {
		l.Holds = HoldsMark{Version: command.HoldsVersion, CommandID: command.ID, Held: command.Held}
	}
}

// maxHoldsJump is how far ahead of this portal's a list of holds can be: what counts
// further would leave no number for the next one (H52).
const maxHoldsJump = protocol.MaxSequenceJump

// hearHolds keeps what the Mac says of its holds, and notes which list it has.
func (l *CommandLog) hearHolds(word CommandWord) {
	if word.Holds == nil {
		return
	}
	known := max(l.HighestHolds, l.Holds.Version)
	if word.Holds.Version > known+maxHoldsJump {
		l.Freeze(fmt.Sprintf("it names version %d of its list of holds, which no list has", word.Holds.Version), word.At)
		return
	}
	if !sameHolds(l.Reported, word.Holds) {
		l.Reported, l.ReportedAt = word.Holds, word.At
	}
	version := word.Holds.Version
	for i := range l.Commands {
		if c := &l.Commands[i]; version != 0 && c.HoldsVersion == version {
			l.judgeAhead(c, word)
			l.takeForce(c)
		}
	}
	if version > max(known, l.AheadHolds) {
		l.AheadHolds = version
		l.Freeze(fmt.Sprintf("it has version %d of its list of holds, which this portal never had", version), word.At)
	}
}

func sameHolds(a, b *protocol.HoldReport) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Version == b.Version && slices.EqualFunc(a.Holds, b.Holds, func(a, b protocol.HoldState) bool {
		return a.VMKey == b.VMKey && a.CommandID == b.CommandID && a.ExpiresAt.Equal(b.ExpiresAt) && a.Force == b.Force &&
			a.State == b.State && a.Code == b.Code && a.Paused == b.Paused && a.Violations == b.Violations && a.Since.Equal(b.Since)
	})
}

// Expire ends what no Mac has and is not to be started any more. It reports whether
// there was any.
func (l *CommandLog) Expire(now time.Time) (changed bool) {
	for i := range l.Commands {
		c := &l.Commands[i]
		if state := c.StateAt(now); state != c.State {
			code := protocol.CodeCommandExpired
			if state == protocol.CommandUnknown {
				code = protocol.CodePortalRestored
			}
			c.become(state, CommandStep{At: now, Code: code})
			changed = true
		}
	}
	return changed
}

// StateAt is the state as a person is to read it: what no Mac has expires by itself.
func (c *Command) StateAt(now time.Time) string {
	waits := c.State == protocol.CommandPending || c.State == protocol.CommandAwaitingApproval
	switch {
	case !waits || now.Before(c.ExpiresAt):
		return c.State
	case c.MaybeSent:
		return protocol.CommandUnknown
	}
	return protocol.CommandExpired
}

// Delivery is what an answer says of commands.
type Delivery struct {
	Commands []string // ids, in their order
	Cancel   []string
	// Holds is the command that carried the list of holds that the Mac lacks; empty where
	// it has it, or gets a newer one with a command.
	Holds   string
	Changed bool // the log was marked, and is to be kept before anything is sent
}

// Deliver says what is sent to the Mac as its word leaves the log: everything that it
// does not hold, at most as many as fit, in the order in which they were issued. What is
// sent is marked first.
func (l *CommandLog) Deliver(word CommandWord) (sent Delivery) {
	before := l.fingerprint()
	listed := make(map[string]bool, len(word.Open))
	for _, open := range word.Open {
		listed[open.CommandID] = true
	}
	carried, isFull, bytes := false, false, 0
	for i := range l.Commands {
		c := &l.Commands[i]
		if !c.isDue(word) {
			continue
		}
		if !c.CancelAsked.IsZero() {
			if len(sent.Cancel) < MaxOpenCommands {
				sent.Cancel = append(sent.Cancel, c.ID)
				c.markCancelSent(word)
			}
			continue
		}
		if listed[c.ID] || isFull {
			continue
		}
		bytes += cmp.Or(c.Bytes, protocol.MaxCommand)
		if isFull = len(sent.Commands) == protocol.MaxCommandReply || bytes > protocol.MaxCommandReplyBytes; isFull {
			continue // cancels go on
		}
		sent.Commands = append(sent.Commands, c.ID)
		carried = carried || c.HoldsVersion > 0
		c.markSent(word)
	}
	var reported uint64
	if word.Holds != nil {
		reported = word.Holds.Version
	}
	if l.Holds.Version > reported && !carried {
		sent.Holds = l.Holds.CommandID
	}
	sent.Changed = before != l.fingerprint()
	return sent
}

// isDue reports whether an answer says anything of the command.
func (c *Command) isDue(word CommandWord) bool {
	switch {
	case !c.IsOpen() || c.State == protocol.CommandAwaitingApproval:
		return false
	case !c.CancelAsked.IsZero():
		return true
	case c.Orphan || c.Withheld != nil:
		return false
	}
	return word.At.Before(c.ExpiresAt)
}

func (c *Command) markSent(word CommandWord) {
	if c.State == protocol.CommandPending {
		c.DeliveredAt, c.Epoch, c.Sequence = word.At, word.Epoch, word.Sequence
		c.become(protocol.CommandDelivered, CommandStep{At: word.At, Epoch: word.Epoch})
		return
	}
	if c.Epoch != word.Epoch { // and is harmless: it begins anew there
		c.Epoch, c.Sequence, c.CancelSent = word.Epoch, word.Sequence, 0
		c.become(protocol.CommandDelivered, CommandStep{At: word.At, Epoch: word.Epoch})
	}
}

func (c *Command) markCancelSent(word CommandWord) {
	if c.CancelSent == 0 || c.Epoch != word.Epoch {
		c.Epoch, c.CancelSent = word.Epoch, max(word.Sequence, 1)
	}
}
