package storage_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

var issuedAt = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// commandFor is a command of that type for a machine, issued in epoch e1.
func commandFor(id, kind, vm string) storage.Command {
	return storage.Command{
		ID: id, Type: kind, Target: protocol.CommandTarget{DeviceID: "d", MacSerial: "C02", Epoch: "e1", UID: 501, VMID: vm},
		IssuedAt: issuedAt, ExpiresAt: issuedAt.Add(30 * 24 * time.Hour), IssuedBy: "alice", Signers: []storage.Signer{{KeyID: "k1", Person: "alice"}},
	}
}

// newLog has these commands, given as "type vm"; their ids are their places.
func newLog(t *testing.T, commands ...string) *storage.CommandLog {
	t.Helper()
	var log storage.CommandLog
	for i, words := range commands {
		kind, vm, _ := strings.Cut(words, " ")
		if err := log.Add(commandFor(idOf(i), kind, vm), 1, storage.By{At: issuedAt}); err != nil {
			t.Fatal(err)
		}
	}
	return &log
}

func idOf(i int) string { return fmt.Sprintf("01a207a2-3280-7d0a-9a55-%012d", i) }

// word is what the Mac says in epoch e1, unless it is changed.
func word(sequence uint64, open ...protocol.OpenCommand) storage.CommandWord {
	return storage.CommandWord{Epoch: "e1", Sequence: sequence, Open: open, At: issuedAt.Add(time.Duration(sequence) * time.Minute)}
}

func holding(id, state string) protocol.OpenCommand {
	return protocol.OpenCommand{CommandID: id, State: state, At: issuedAt}
}

func states(log *storage.CommandLog) (words []string) {
	for _, c := range log.Commands {
		words = append(words, c.State)
	}
	return words
}

func mustBe(t *testing.T, got, want any) {
	t.Helper()
	if difference := cmp.Diff(want, got); difference != "" {
		t.Fatalf("-want +got:\n%s", difference)
	}
}

// What the Mac does not hold is sent each time, at most eight, in the order in which it
// was issued.
func TestDeliveryIsLevelTriggered(t *testing.T) {
	t.Parallel()
	var commands []string
	for i := range 10 {
		commands = append(commands, fmt.Sprintf("vm.delete vm%d", i))
	}
	log := newLog(t, commands...)
	first := log.Deliver(word(1))
	mustBe(t, first.Commands, []string{idOf(0), idOf(1), idOf(2), idOf(3), idOf(4), idOf(5), idOf(6), idOf(7)})
	mustBe(t, log.Deliver(word(2)).Commands, first.Commands) // the answer was lost
	held := word(3, holding(idOf(0), protocol.CommandAcknowledged), holding(idOf(1), protocol.CommandDeferred))
	log.Hear(held)
	mustBe(t, log.Deliver(held).Commands, []string{idOf(2), idOf(3), idOf(4), idOf(5), idOf(6), idOf(7), idOf(8), idOf(9)})
	mustBe(t, states(log)[:3], []string{protocol.CommandAcknowledged, protocol.CommandDeferred, protocol.CommandDelivered})
}

// Protocol test 12: a Mac that lost its journal has another epoch. What cannot be done
// twice is not sent to it again; what says how things should be is.
func TestH22_PROTOCOL12_AfterAnEpochChangeNothingDestructiveIsSentAgain(t *testing.T) {
	t.Parallel()
	log := newLog(t, "vm.delete a", "vm.restart b", "vm.lock c", "inventory.refresh")
	log.Deliver(word(1))
	if err := log.Add(commandFor(idOf(9), "vm.delete", "d"), 1, storage.By{At: issuedAt}); err != nil {
		t.Fatal(err)
	}
	wiped := storage.CommandWord{Epoch: "e2", Sequence: 1, At: issuedAt.Add(time.Hour)}
	log.Hear(wiped)
	mustBe(t, states(log), []string{protocol.CommandUnknown, protocol.CommandUnknown, protocol.CommandDelivered, protocol.CommandDelivered, protocol.CommandPending})
	mustBe(t, log.Deliver(wiped).Commands, []string{idOf(2), idOf(3)})
	mustBe(t, log.Find(idOf(9)).Withheld.Because, storage.WithheldEpoch)
	if err := log.Confirm(idOf(9), storage.By{At: issuedAt}); !errors.Is(err, storage.ErrOldEpoch) {
		t.Errorf("confirm: %v", err)
	}
}

// Protocol test 16: what no Mac has is cancelled at once; the Mac answers for all else.
func TestPROTOCOL16_CancelBeforeAndAfterRunning(t *testing.T) {
	t.Parallel()
	log := newLog(t, "vm.delete a", "vm.delete b", "vm.delete c")
	by := storage.By{Admin: "op", At: issuedAt}
	if err := log.Cancel(idOf(0), by); err != nil {
		t.Fatal(err)
	}
	log.Deliver(word(1))
	mustBe(t, states(log), []string{protocol.CommandCancelled, protocol.CommandDelivered, protocol.CommandDelivered})
	running := word(2, holding(idOf(1), protocol.CommandRunning))
	log.Hear(running)
	for _, id := range []string{idOf(1), idOf(2)} {
		if err := log.Cancel(id, by); err != nil {
			t.Fatal(err)
		}
	}
	mustBe(t, states(log)[1], protocol.CommandRunning)
	next := word(3, holding(idOf(1), protocol.CommandRunning))
	log.Hear(next)
	delivery := log.Deliver(next)
	mustBe(t, delivery.Cancel, []string{idOf(1), idOf(2)})
	mustBe(t, len(delivery.Commands), 0) // what is cancelled is not sent again
	mustBe(t, states(log)[2], protocol.CommandDelivered)
	after := word(4)
	after.Results = []protocol.Result{{CommandID: idOf(1), State: protocol.CommandFailed, Code: protocol.CodeCommandTooLate, EndedAt: issuedAt}}
	log.Hear(after)
	mustBe(t, states(log), []string{protocol.CommandCancelled, protocol.CommandFailed, protocol.CommandCancelled})
	if err := log.Cancel(idOf(1), by); !errors.Is(err, storage.ErrCommandEnded) {
		t.Errorf("cancel of what has ended: %v", err)
	}
}

// A report that was made before its answer told the Mac of a command says nothing of that. It
// comes again as a new one where the device was retired and let in again in between: no
// silence of it is that the order has expired, or that the cancel was obeyed, while the
// answer may still be under way.
func TestH30_SilenceOfBeforeItWasToldEndsNothing(t *testing.T) {
	t.Parallel()
	at := func(told storage.CommandWord, when time.Time) storage.CommandWord {
		told.At = when
		return told
	}
	ordered, expired := newLog(t, "vm.delete a"), issuedAt.Add(60*24*time.Hour)
	ordered.Deliver(word(5))
	ordered.Hear(at(word(5), expired))
	mustBe(t, states(ordered), []string{protocol.CommandDelivered})
	ordered.Hear(at(word(6), expired))
	mustBe(t, states(ordered), []string{protocol.CommandExpired})

	cancelled := newLog(t, "vm.delete a")
	cancelled.Deliver(word(5))
	if err := cancelled.Cancel(idOf(0), storage.By{Admin: "op", At: issuedAt}); err != nil {
		t.Fatal(err)
	}
	cancelled.Deliver(word(6))
	cancelled.Hear(word(6))
	mustBe(t, states(cancelled), []string{protocol.CommandDelivered})
	cancelled.Hear(word(7))
	mustBe(t, states(cancelled), []string{protocol.CommandCancelled})
}

// Protocol test 11: a result that came is the result, whatever comes after it.
func TestAResultIsNeverOverwritten(t *testing.T) {
	t.Parallel()
	log := newLog(t, "vm.delete a")
	log.Deliver(word(1))
	said := word(2)
	said.Results = []protocol.Result{{CommandID: idOf(0), State: protocol.CommandFailed, Code: protocol.CodeNotDone, EndedAt: issuedAt}}
	mustBe(t, log.Hear(said).Changed, true)
	for i, state := range []string{protocol.CommandSucceeded, protocol.CommandFailed, "running", protocol.CommandUnknown} {
		again := word(uint64(3+i), holding(idOf(0), protocol.CommandRunning))
		again.Results = []protocol.Result{{CommandID: idOf(0), State: state, EndedAt: issuedAt}}
		mustBe(t, log.Hear(again).Changed, false)
		mustBe(t, log.Deliver(again).Commands, []string(nil))
	}
	mustBe(t, log.Commands[0].Code, protocol.CodeNotDone)
}

// Two commands of one type on one machine could both be obeyed: the second is refused.
func TestH69_OneOpenCommandForEachKindAndVM(t *testing.T) {
	t.Parallel()
	log := newLog(t, "vm.delete a", "vm.delete b", "vm.lock a")
	for kind, want := range map[string]error{"vm.delete": storage.ErrCommandOpen, "vm.restart": nil} {
		if err := log.Add(commandFor(idOf(len(kind)), kind, "a"), 1, storage.By{At: issuedAt}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", kind, err, want)
		}
	}
	other := commandFor(idOf(70), "vm.delete", "a")
	other.Target.UID = 502 // the same id in another account (H21)
	if err := log.Add(other, 1, storage.By{At: issuedAt}); err != nil {
		t.Errorf("the same id in another account: %v", err)
	}
}

// A Mac that enrolls again gets nothing by itself, also nothing harmless.
func TestH69_AKnownDeviceThatEnrollsAgainGetsNoOldCommand(t *testing.T) {
	t.Parallel()
	log := newLog(t, "vm.delete a", "vm.lock b")
	log.Deliver(word(1))
	log.Reenrolled(issuedAt)
	mustBe(t, log.Deliver(word(2)).Commands, []string(nil))
	if err := log.Confirm(idOf(1), storage.By{At: issuedAt}); err != nil {
		t.Fatal(err)
	}
	mustBe(t, log.Deliver(word(3)).Commands, []string{idOf(1)})
}

// A portal that was put back to before it sent a command, or to before one was issued,
// sees that the Mac is ahead, and sends nothing destructive until it is confirmed.
func TestH30_ADeviceThatIsAheadIsFrozen(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]protocol.OpenCommand{
		"it has what was not sent": holding(idOf(0), protocol.CommandAcknowledged), "it has what nobody knows": holding(idOf(5), protocol.CommandAcknowledged),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := newLog(t, "vm.delete a", "vm.delete b", "vm.lock c")
			ahead := word(9, open)
			ahead.At = issuedAt.Add(time.Hour)
			log.Hear(ahead)
			mustBe(t, log.Frozen != nil, true)
			mustBe(t, log.Deliver(ahead).Commands, []string{idOf(2)})
			if err := log.Add(commandFor(idOf(7), "vm.delete", "new"), 1, storage.By{At: issuedAt}); err != nil {
				t.Fatal(err)
			}
			mustBe(t, log.Deliver(word(10, open)).Commands, []string{idOf(2)})
			log.Thaw(storage.By{At: issuedAt})
			mustBe(t, len(log.Deliver(word(11, open)).Commands) >= 3, true)
		})
	}
}

// What is of another device is not this one's to speak of, and is not kept.
func TestAMacSpeaksOfItsOwnCommandsOnly(t *testing.T) {
	t.Parallel()
	log := newLog(t, "vm.delete a")
	foreign := word(1, holding(idOf(4), protocol.CommandRunning))
	foreign.Foreign = map[string]bool{idOf(4): true}
	foreign.Results = []protocol.Result{{CommandID: idOf(4), State: protocol.CommandSucceeded, EndedAt: issuedAt}}
	mustBe(t, log.Hear(foreign).Receipts, []storage.CommandEnvelopes(nil))
	mustBe(t, len(log.Commands), 1)
	mustBe(t, log.Frozen == nil, true)
}

// The issuer, the issuer's other key and the same key twice are one person.
func TestTwoPersonsSignWhatNeedsTwo(t *testing.T) {
	t.Parallel()
	var log storage.CommandLog
	if err := log.Add(commandFor(idOf(0), "vm.delete", "a"), 2, storage.By{At: issuedAt}); err != nil {
		t.Fatal(err)
	}
	mustBe(t, log.Deliver(word(1)).Commands, []string(nil))
	for _, signer := range []storage.Signer{{KeyID: "k1", Person: "bob"}, {KeyID: "k2", Person: "alice"}} {
		if err := log.Approve(idOf(0), signer); !errors.Is(err, storage.ErrSameSigner) {
			t.Errorf("%v: %v", signer, err)
		}
	}
	if err := log.Approve(idOf(0), storage.Signer{KeyID: "k2", Person: "bob"}); err != nil {
		t.Fatal(err)
	}
	mustBe(t, log.Deliver(word(2)).Commands, []string{idOf(0)})
}

// What no Mac has ends by its time; what was sent ends when the Mac says that it does not
// have it, after the time in which its clock could still start it.
func TestCMD06_CommandsExpire(t *testing.T) {
	t.Parallel()
	log := newLog(t, "vm.delete a", "vm.delete b")
	log.Commands[1].State = protocol.CommandAwaitingApproval
	log.Deliver(word(1))
	late := word(2)
	late.At = issuedAt.Add(30 * 24 * time.Hour)
	mustBe(t, log.Expire(late.At), true)
	log.Hear(late)
	mustBe(t, states(log), []string{protocol.CommandDelivered, protocol.CommandExpired})
	mustBe(t, log.Deliver(late).Commands, []string(nil))
	late.Sequence, late.At = 3, late.At.Add(25*time.Hour)
	log.Hear(late)
	mustBe(t, states(log), []string{protocol.CommandExpired, protocol.CommandExpired})
}

// The list that the Mac lacks is sent again; a list that it refused is not in force.
func TestH69_TheListOfHoldsThatIsInForce(t *testing.T) {
	t.Parallel()
	lock := func(i int, vm string, version uint64) storage.Command {
		command := commandFor(idOf(i), "vm.lock", vm)
		command.HoldsVersion, command.Held = version, i+1
		return command
	}
	var log storage.CommandLog
	if err := log.Add(lock(0, "a", 1), 1, storage.By{At: issuedAt}); err != nil {
		t.Fatal(err)
	}
	mustBe(t, log.Deliver(word(1)).Holds, "") // the command carries it
	done := word(2)
	done.Holds = &protocol.HoldReport{Version: 1}
	done.Results = []protocol.Result{{CommandID: idOf(0), State: protocol.CommandSucceeded, EndedAt: issuedAt}}
	log.Hear(done)
	mustBe(t, log.Deliver(done).Holds, "")
	mustBe(t, log.Deliver(storage.CommandWord{Epoch: "e2", Sequence: 1, At: issuedAt}).Holds, idOf(0)) // it lost its state
	if err := log.Add(lock(1, "b", 2), 1, storage.By{At: issuedAt}); err != nil {
		t.Fatal(err)
	}
	log.Deliver(word(3))
	refused := word(4)
	refused.Holds = done.Holds
	refused.Results = []protocol.Result{{CommandID: idOf(1), State: protocol.CommandRejected, EndedAt: issuedAt}}
	log.Hear(refused)
	mustBe(t, log.Base(), storage.HoldsMark{Version: 1, CommandID: idOf(0), Held: 1})
	mustBe(t, log.NextHolds(), uint64(3)) // no version is used twice
	mustBe(t, len(log.ReasonsNotToRetire(issuedAt)), 1)
}

// H30, H69: each reason is lifted by whoever knows of it. To confirm a device that is ahead
// sends nothing that waits because the Mac enrolled again, and to confirm that does not end
// the freeze.
func TestH69_AConfirmLiftsNoOtherReason(t *testing.T) {
	t.Parallel()
	for name, happen := range map[string]func(*storage.CommandLog){
		"frozen first":   func(l *storage.CommandLog) { l.Freeze("ahead", issuedAt); l.Reenrolled(issuedAt) },
		"enrolled first": func(l *storage.CommandLog) { l.Reenrolled(issuedAt); l.Freeze("ahead", issuedAt) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			by := storage.By{At: issuedAt}
			log := newLog(t, "vm.delete a", "vm.delete b")
			happen(log)
			if err := log.Confirm(idOf(0), by); err != nil {
				t.Fatal(err)
			}
			mustBe(t, log.Deliver(word(1)).Commands, []string(nil))
			log.Thaw(by)
			mustBe(t, log.Deliver(word(2)).Commands, []string{idOf(0)})
			if err := log.Confirm(idOf(1), by); err != nil {
				t.Fatal(err)
			}
			mustBe(t, log.Deliver(word(3)).Commands, []string{idOf(0), idOf(1)})
		})
	}
}

// H30: what shows that a Mac is ahead is news once. A device that an administrator confirmed
// is not frozen again by the command that the Mac still has, or by the list that it still has.
func TestH30_AConfirmedDeviceStaysConfirmed(t *testing.T) {
	t.Parallel()
	log := newLog(t, "vm.delete a", "vm.delete b")
	ahead := func(sequence uint64) storage.CommandWord {
		said := word(sequence, holding(idOf(0), protocol.CommandDeferred))
		said.Holds = &protocol.HoldReport{Version: 9}
		return said
	}
	log.Hear(ahead(1))
	mustBe(t, log.Frozen != nil, true)
	log.Thaw(storage.By{At: issuedAt})
	log.Hear(ahead(2))
	mustBe(t, log.Frozen == nil, true)
	mustBe(t, log.Deliver(ahead(2)).Commands, []string{idOf(1)})
}

// H69: an unlock that a second person has not approved is in no list that the next one is
// built upon, although the Mac says that it has it; and a list to come is not built upon one
// that is being cancelled, or the cancel would be undone by it.
func TestH69_WhatTheNextListOfHoldsIsBuiltUpon(t *testing.T) {
	t.Parallel()
	locking := func(log *storage.CommandLog, i int, kind, vm string, needed int) {
		t.Helper()
		command := commandFor(idOf(i), kind, vm)
		command.HoldsVersion, command.Held = log.NextHolds(), 1
		if err := log.Add(command, needed, storage.By{At: issuedAt}); err != nil {
			t.Fatal(err)
		}
	}
	var log storage.CommandLog
	locking(&log, 0, "vm.lock", "a", 1)
	log.Deliver(word(1))
	done := word(2)
	done.Results = []protocol.Result{{CommandID: idOf(0), State: protocol.CommandSucceeded, EndedAt: issuedAt}}
	log.Hear(done)
	locking(&log, 1, "vm.unlock", "a", 2)
	lie := word(3)
	lie.Holds = &protocol.HoldReport{Version: 2}
	log.Hear(lie)
	mustBe(t, log.Base().CommandID, idOf(0))
	mustBe(t, log.Frozen != nil, true)
	lie = word(4)
	lie.Results = []protocol.Result{{CommandID: idOf(1), State: protocol.CommandSucceeded, EndedAt: issuedAt}}
	log.Hear(lie)
	mustBe(t, log.Base().CommandID, idOf(0))

	locking(&log, 2, "vm.lock", "b", 1)
	log.Deliver(word(5))
	if err := log.Cancel(idOf(2), storage.By{At: issuedAt}); err != nil {
		t.Fatal(err)
	}
	mustBe(t, log.Base().CommandID, idOf(0))
}

// H52: a version that no list can have leaves the numbers of the next ones alone.
func TestH52_AMacCannotUseUpTheVersionsOfItsHolds(t *testing.T) {
	t.Parallel()
	log := newLog(t, "vm.delete a")
	for _, version := range []uint64{1 << 21, protocol.MaxVersion, 1<<64 - 1} {
		said := word(1)
		said.Holds = &protocol.HoldReport{Version: version}
		log.Hear(said)
		mustBe(t, log.NextHolds(), uint64(1))
		mustBe(t, log.Frozen != nil, true)
	}
}

// An answer has as many commands as a Mac reads, by their bytes too; what does not fit comes
// in its turn, and nothing that was issued later comes before it.
func TestWhatDoesNotFitIntoAnAnswerComesInItsTurn(t *testing.T) {
	t.Parallel()
	log := newLog(t, "vm.lock a", "vm.lock b", "vm.delete b", "vm.lock c")
	for i := range log.Commands {
		if log.Commands[i].Type == "vm.lock" {
			log.Commands[i].Bytes = 200 << 10
		}
	}
	mustBe(t, log.Deliver(word(1)).Commands, []string{idOf(0)})
	second := word(2, holding(idOf(0), protocol.CommandAcknowledged))
	log.Hear(second)
	mustBe(t, log.Deliver(second).Commands, []string{idOf(1), idOf(2)})
	third := word(3, holding(idOf(0), protocol.CommandAcknowledged), holding(idOf(1), protocol.CommandAcknowledged), holding(idOf(2), protocol.CommandAcknowledged))
	log.Hear(third)
	mustBe(t, log.Deliver(third).Commands, []string{idOf(3)})
	if most := protocol.MaxCommandReplyBytes/3*4 + protocol.MaxPolicy/3*4; most > protocol.MaxReply*9/10 {
		t.Errorf("an answer can have %d bytes", most)
	}
}

// H30: of a backup a lock goes on, and what only looks; what destroys, restarts or lets go
// waits, and is judged once.
func TestH30_WhatABackupMaySendByItself(t *testing.T) {
	t.Parallel()
	log := newLog(t, "vm.lock a", "vm.unlock b", "vm.restart c", "inventory.refresh", "vm.delete d")
	mustBe(t, log.PutBack(issuedAt, issuedAt), false)
	mustBe(t, log.Deliver(word(1)).Commands, []string{idOf(0), idOf(3)})
	log.Thaw(storage.By{At: issuedAt})
	mustBe(t, log.PutBack(issuedAt, issuedAt), true)
	mustBe(t, len(log.Deliver(word(2)).Commands), 5)
}
