package checkin

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/store"
)

// settler is the journal of commands, as an exchange knows it.
type settler struct {
	settled, told []string
	err           error
}

func (s *settler) Settle(_ *store.Tx, ids []string) error {
	s.settled = append(s.settled, ids...)
	return s.err
}

func (s *settler) Settled(ids []string) { s.told = append(s.told, ids...) }

func (b *bench) exchangeOf(extra Extra) (*Outcome, error) {
	b.outbox.Carry(b.triggers("command_result"))
	return b.client.Do(context.Background(), &b.report, extra)
}

func resultsOf(ids ...string) (results []protocol.Result) {
	for _, id := range ids {
		results = append(results, protocol.Result{CommandID: id, State: protocol.CommandSucceeded, Code: protocol.CodeCommandDone, EndedAt: time.Unix(0, 0).UTC()})
	}
	return results
}

// A result is settled in the commit that settles the report which carried it, and
// only by an acknowledgement of that.
func TestResultsAreSettledByTheirAcknowledgement(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("daily")
	journal := &settler{}
	b.portal.reply.Acks = []protocol.Ack{{CommandID: "never-sent"}} // beside those of what it was told
	extra := Extra{
		Results: resultsOf("one", "two"), Settler: journal, Holds: &protocol.HoldReport{Version: 3},
		OpenCommands: []protocol.OpenCommand{{CommandID: "three", State: protocol.CommandDeferred, Code: protocol.CodeWaitsForStop, At: b.now}},
	}
	if _, err := b.exchangeOf(extra); err != nil {
		t.Fatal(err)
	}
	if want := []string{"one", "two"}; !slices.Equal(journal.settled, want) || !slices.Equal(journal.told, want) {
		t.Errorf("settled %q, told %q", journal.settled, journal.told)
	}
	sent := b.portal.sent()
	request := sent[len(sent)-1].checkin(t)
	if len(request.Results) != 2 || len(request.OpenCommands) != 1 || request.Holds == nil || request.Holds.Version != 3 {
		t.Errorf("%+v", request)
	}
}

// A reply that is lost settles nothing; the same report, sent again, does.
func TestPROTOCOL09_LostReplySettlesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("daily")
	journal := &settler{}
	b.portal.reply.Acks = []protocol.Ack{{CommandID: "one"}}
	b.portal.loseNext = 10
	extra := Extra{Results: resultsOf("one"), Settler: journal}
	if _, err := b.exchangeOf(extra); err == nil || len(journal.settled) != 0 {
		t.Fatalf("%v, settled %q", err, journal.settled)
	}
	b.portal.loseNext = 0
	b.crash()
	if _, err := b.exchangeOf(extra); err != nil || !slices.Contains(journal.settled, "one") {
		t.Errorf("%v, settled %q", err, journal.settled)
	}
}

// A journal that cannot settle keeps the report unanswered: both are in one commit.
func TestFailedSettlingKeepsTheReport(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("daily")
	b.portal.reply.Acks = []protocol.Ack{{CommandID: "one"}}
	journal := &settler{err: errors.New("no space")}
	if _, err := b.exchangeOf(Extra{Results: resultsOf("one"), Settler: journal}); err == nil {
		t.Fatal("the failure is not told")
	}
	if !b.client.State().Unanswered || len(journal.told) != 0 {
		t.Errorf("told %q, %+v", journal.told, b.client.State())
	}
}

// What is known of the time of day, after an answer of the portal and what happened
// to the Mac's clocks since (H24).
func TestH24_Clock(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		restarted       bool
		asleep, awake   time.Duration // since the answer
		set             time.Duration // by how much the wall clock was set
		trusted, likely time.Duration // since the answer
		proven          bool
	}{
		"an hour later":                          {awake: time.Hour, trusted: time.Hour, likely: time.Hour, proven: true},
		"after a sleep":                          {asleep: 40 * 24 * time.Hour, likely: 40 * 24 * time.Hour, proven: true},
		"the clock was set back":                 {awake: time.Hour, set: -year, trusted: time.Hour, likely: time.Hour, proven: true},
		"set forward":                            {awake: time.Hour, set: year, trusted: time.Hour, likely: year + time.Hour, proven: true},
		"another daemon":                         {restarted: true, awake: time.Hour, trusted: time.Hour, likely: time.Hour, proven: true},
		"another daemon, the clock was set back": {restarted: true, awake: time.Hour, set: -year, trusted: time.Hour, likely: time.Hour, proven: false},
		"another daemon, after a sleep":          {restarted: true, asleep: 40 * 24 * time.Hour, likely: 40 * 24 * time.Hour, proven: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			var slept time.Duration
			began := b.now
			elapsed := func() time.Duration { return b.now.Sub(began) - slept }
			b.options.Elapsed = elapsed
			b.configure()
			b.do("daily")
			answered := b.now
			if c.restarted {
				b.configure()
			}
			b.now = b.now.Add(c.asleep + c.awake)
			slept += c.asleep
			b.now, slept = b.now.Add(c.set), slept+c.set
			trusted, likely, proven := b.client.Clock()
			if got := trusted.Sub(answered); got != c.trusted {
				t.Errorf("trusted %s later, want %s", got, c.trusted)
			}
			if got := likely.Sub(answered); got != c.likely || proven != c.proven {
				t.Errorf("likely %s later, proven %t; want %s, %t", got, proven, c.likely, c.proven)
			}
		})
	}
	b := newBench(t)
	if trusted, likely, proven := b.client.Clock(); proven || !trusted.Equal(b.now) || !likely.Equal(b.now) {
		t.Errorf("without any answer: %s, %s, proven %t", trusted, likely, proven)
	}
}

// A refresh has the next report carry everything, and the policy asked for, once.
func TestRefreshesAreAboutTheNextExchange(t *testing.T) {
	t.Parallel()
	b := newContentBench(t)
	b.publish("staff", 1, 1)
	b.do("daily")
	b.do("daily")
	b.portal.sent()
	b.client.TellAll()
	b.client.AskForPolicy()
	b.do("command_result")
	sent := b.portal.wantSent("POST /v1/checkin", "GET /v1/content/heads/staff.dsse.json")
	if request := sent[0].checkin(t); !request.Inventory.Full {
		t.Errorf("the report is %+v", request.Inventory)
	}
	b.do("daily")
	sent = b.portal.wantSent("POST /v1/checkin")
	if request := sent[0].checkin(t); request.Inventory.Full {
		t.Error("everything is told again")
	}
}

// A receipt is signed with the device's key, and with no key there is none.
func TestReceiptsAreSignedByTheDevice(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("daily")
	signed, ok := b.client.SignReceipt([]byte("{}"))
	if !ok {
		t.Fatal("not signed")
	}
	key := b.portal.device
	if _, err := signed.Verify(protocol.PayloadReceipt, []protocol.TrustedKey{{ID: protocol.KeyID(key), Key: key}}, 1); err != nil {
		t.Error(err)
	}
	b.options.ServerURL = nil
	b.configure()
	if _, ok := b.client.SignReceipt([]byte("{}")); ok {
		t.Error("signed without an identity")
	}
}

// during calls something in the middle of each request.
type during struct {
	next http.RoundTripper
	call func(*http.Request)
}

func (d during) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := d.next.RoundTrip(r)
	d.call(r)
	return response, err
}

// What is asked for while an exchange runs, which has its report by then and may be about
// to have the head, is done by the next one.
func TestARefreshThatIsAskedForDuringAnExchange(t *testing.T) {
	t.Parallel()
	b := newContentBench(t)
	b.publish("staff", 1, 1)
	b.do("daily")
	asked := make(map[string]bool)
	b.options.Transport = during{b.options.Transport, func(r *http.Request) {
		switch {
		case asked[r.Method]:
		case r.Method == http.MethodGet:
			b.client.AskForPolicy()
		default:
			b.client.TellAll()
		}
		asked[r.Method] = true
	}}
	b.configure()
	b.publish("staff", 2, 2) // which is fetched
	b.do("daily")
	b.portal.sent()
	b.do("command_result")
	sent := b.portal.wantSent("POST /v1/checkin", "GET /v1/content/heads/staff.dsse.json")
	if request := sent[0].checkin(t); !request.Inventory.Full {
		t.Errorf("the report is %+v", request.Inventory)
	}
}

// Everything is told, though a report of before is delivered first that told what changed.
func TestEverythingIsToldBehindAnUnansweredReport(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("daily")
	b.report.Product.Version = "27.0.0"
	b.portal.set(func(f *fakePortal) { f.loseNext = 100 })
	if _, err := b.try("daily"); err == nil {
		t.Fatal("an answer")
	}
	b.portal.set(func(f *fakePortal) { f.loseNext = 0 })
	b.portal.sent()
	b.client.TellAll()
	b.do()
	sent := b.portal.wantSent("POST /v1/checkin", "POST /v1/checkin")
	if request := sent[1].checkin(t); !request.Inventory.Full {
		t.Errorf("the report is %+v", request.Inventory)
	}
}
