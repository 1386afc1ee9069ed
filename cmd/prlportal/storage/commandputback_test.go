package storage_test

import (
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// H30: what a portal that was put back has not sent, the one before it may have. Only the
// Mac's own word says that it was not done: neither a cancel nor the time nor a change of
// the epoch does.
func TestH30_WhatMayHaveBeenSentIsNotCalledUndone(t *testing.T) {
	t.Parallel()
	by := storage.By{Admin: "op", At: issuedAt}
	for name, test := range map[string]struct {
		decide func(log *storage.CommandLog) error
		word   storage.CommandWord
		want   string
	}{
		"it is cancelled, and the Mac is asked": {
			func(log *storage.CommandLog) error { return log.Cancel(idOf(0), by) }, word(2), protocol.CommandPending,
		},
		"it is cancelled, and the Mac has done it": {
			func(log *storage.CommandLog) error { return log.Cancel(idOf(0), by) },
			withResult(word(2), protocol.Result{CommandID: idOf(0), State: protocol.CommandSucceeded, EndedAt: issuedAt}), protocol.CommandSucceeded,
		},
		"it is cancelled, and two reports say nothing": {
			func(log *storage.CommandLog) error {
				err := log.Cancel(idOf(0), by)
				for number := range uint64(2) {
					log.Hear(word(2 + number))
					log.Deliver(word(2 + number))
				}
				return err
			}, word(4), protocol.CommandPending,
		},
		"it expires": {
			func(*storage.CommandLog) error { return nil }, storage.CommandWord{Epoch: "e1", Sequence: 2, At: issuedAt.Add(40 * 24 * time.Hour)}, protocol.CommandUnknown,
		},
		"the Mac has another journal": {
			func(*storage.CommandLog) error { return nil }, storage.CommandWord{Epoch: "e2", Sequence: 1, At: issuedAt.Add(time.Hour)}, protocol.CommandUnknown,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := newLog(t, "vm.delete a")
			log.PutBack(issuedAt.Add(time.Second), issuedAt.Add(time.Second))
			if err := test.decide(log); err != nil {
				t.Fatal(err)
			}
			log.Expire(test.word.At)
			log.Hear(test.word)
			mustBe(t, states(log), []string{test.want})
		})
	}
}

func withResult(word storage.CommandWord, result protocol.Result) storage.CommandWord {
	word.Results = []protocol.Result{result}
	return word
}

// H30: nor does the silence of a Mac that was asked to cancel what it was sent: the answer
// that asks it can be lost.
func TestH30_SilenceDoesNotCancelWhatMayBeDone(t *testing.T) {
	t.Parallel()
	log := newLog(t, "vm.delete a")
	log.Deliver(word(1))
	log.PutBack(issuedAt.Add(time.Second), issuedAt.Add(time.Second))
	if err := log.Cancel(idOf(0), storage.By{Admin: "op", At: issuedAt}); err != nil {
		t.Fatal(err)
	}
	for number := range uint64(3) {
		log.Hear(word(2 + number))
		mustBe(t, log.Deliver(word(2+number)).Cancel, []string{idOf(0)})
	}
	mustBe(t, states(log), []string{protocol.CommandDelivered})
}

// H30: approvals that a backup does not have may have been given since.
func TestH30_ACancelledCommandThatAwaitedApprovalIsUnknown(t *testing.T) {
	t.Parallel()
	var log storage.CommandLog
	if err := log.Add(commandFor(idOf(0), "vm.delete", "a"), 2, storage.By{At: issuedAt}); err != nil {
		t.Fatal(err)
	}
	log.PutBack(issuedAt.Add(time.Second), issuedAt.Add(time.Second))
	if err := log.Cancel(idOf(0), storage.By{Admin: "op", At: issuedAt}); err != nil {
		t.Fatal(err)
	}
	mustBe(t, states(&log), []string{protocol.CommandUnknown})
}

// H22: a Mac whose journal began anew cannot know that a command of before was not done.
func TestH22_AResultOfAnotherJournalThatNothingWasDoneIsNone(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]string{
		protocol.CommandRejected: protocol.CommandUnknown, protocol.CommandExpired: protocol.CommandUnknown, protocol.CommandCancelled: protocol.CommandUnknown,
		protocol.CommandSucceeded: protocol.CommandSucceeded, protocol.CommandFailed: protocol.CommandFailed,
	} {
		log := newLog(t, "vm.delete a")
		log.Deliver(word(1))
		log.Hear(withResult(storage.CommandWord{Epoch: "e2", Sequence: 1, At: issuedAt.Add(time.Hour)}, protocol.Result{CommandID: idOf(0), State: state, EndedAt: issuedAt}))
		mustBe(t, states(log), []string{want})
	}
}

// H22: nor does it, once it has told that it holds such a command, and then does not.
func TestH22_ACommandOfAnotherJournalThatIsHeldAndGoneIsUnknown(t *testing.T) {
	t.Parallel()
	log := newLog(t, "vm.delete a")
	log.Deliver(word(1))
	log.Hear(storage.CommandWord{Epoch: "e2", Sequence: 1, At: issuedAt.Add(time.Hour), Open: []protocol.OpenCommand{holding(idOf(0), protocol.CommandAcknowledged)}})
	log.Hear(storage.CommandWord{Epoch: "e2", Sequence: 2, At: issuedAt.Add(40 * 24 * time.Hour)})
	mustBe(t, states(log), []string{protocol.CommandUnknown})
}
