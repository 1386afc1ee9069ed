package checkin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
	"prlagent/store"
)

func TestINV_34_UnchangedInventoryIsNotResent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	first := b.portal.wantSent("POST /v1/enroll", "POST /v1/checkin")[1].checkin(t)
	if !first.Inventory.Full || len(first.Inventory.VMs) != 2 || first.Host == nil || first.Product == nil {
		t.Errorf("the first report lacks something: %+v", first)
	}
	b.do("daily")
	second := b.portal.wantSent("POST /v1/checkin")[0].checkin(t)
	if diff := cmp.Diff(protocol.Inventory{Hash: first.Inventory.Hash}, second.Inventory); diff != "" {
		t.Error(diff)
	}
	if second.Agent != nil || second.Host != nil || second.Product != nil || second.Users != nil || second.Policy != nil {
		t.Errorf("parts that did not change: %+v", second)
	}
	b.report.VMs[1].State = protocol.StateRunning
	b.crash()
	b.do("vm_started")
	third := b.portal.wantSent("POST /v1/checkin")[0].checkin(t)
	if third.Inventory.Full || third.Inventory.Base != first.Inventory.Hash || len(third.Inventory.VMs) != 1 {
		t.Errorf("the delta: %+v", third.Inventory)
	}
}

func TestQuietCheckinIsOneRequestAndTwoCommits(t *testing.T) {
	t.Parallel()
	b := newContentBench(t)
	b.publish("staff", 1, 1)
	b.do("agent_start")
	b.portal.sent()
	for range 3 {
		commits := b.options.Store.Commits()
		outcome := b.do("daily")
		b.portal.wantSent("POST /v1/checkin")
		if got := b.options.Store.Commits() - commits; got > 2 {
			t.Errorf("%d commits, at most 2", got)
		}
		if outcome.Requests != 1 || outcome.Code != "" || outcome.NextCheckin != time.Hour {
			t.Errorf("outcome %+v", outcome)
		}
		if outcome.SentBytes > 450 {
			t.Errorf("%d bytes of body, at most 450", outcome.SentBytes)
		}
	}
}

func TestRequestIsWellFormed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	b.do("daily", "daily", "network_up")
	sent := b.portal.wantSent("POST /v1/enroll", "POST /v1/checkin", "POST /v1/checkin")
	first, second := sent[1].checkin(t), sent[2].checkin(t)
	if first.Sequence != 1 || second.Sequence != 2 || first.Epoch != b.options.Store.Epoch() || first.RequestID == second.RequestID {
		t.Errorf("numbers: %d %d, epoch %s", first.Sequence, second.Sequence, first.Epoch)
	}
	want := []protocol.Trigger{{Reason: "daily", Count: 2, FirstAt: b.now, LastAt: b.now}, {Reason: "network_up", Count: 1, FirstAt: b.now, LastAt: b.now}}
	if diff := cmp.Diff(want, second.Triggers); diff != "" {
		t.Error(diff)
	}
	header := sent[2].header
	if header.Get("Content-Encoding") != "gzip" || header.Get("Accept-Encoding") != "gzip" || header.Get("Content-Type") != "application/json" {
		t.Errorf("header %v", header)
	}
}

// protocol.md 2.14 test 9, from the agent's side.
func TestProtocol9_ALostReplyIsAskedForAgain(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %t", restart), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.do("agent_start")
			b.portal.sent()
			b.report.VMs[0].State = protocol.StateRunning
			b.portal.set(func(f *fakePortal) { f.loseNext = 1 })
			b.fails(protocol.CodePortalUnreachable)
			if !b.client.State().Unanswered {
				t.Error("nothing waits for its acknowledgement")
			}
			if restart {
				b.crash()
			}
			b.do()
			sent := b.portal.wantSent("POST /v1/checkin", "POST /v1/checkin")
			if !bytes.Equal(sent[0].body, sent[1].body) {
				t.Errorf("another body:\n%s\n%s", sent[0].body, sent[1].body)
			}
			if b.portal.rows != 2 {
				t.Errorf("%d inventory rows, want 2", b.portal.rows)
			}
			b.do("daily")
			if quiet := b.portal.wantSent("POST /v1/checkin")[0].checkin(t); len(quiet.Inventory.VMs) != 0 || quiet.Sequence != 3 {
				t.Errorf("after that: %+v", quiet)
			}
		})
	}
}

func TestAReportThatChangedMeanwhileFollows(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	b.portal.sent()
	b.line.down = true
	b.fails(protocol.CodePortalUnreachable)
	b.report.VMs[0].State = protocol.StateRunning
	b.line.down = false
	b.crash()
	b.do("network_up")
	sent := b.portal.wantSent("POST /v1/checkin", "POST /v1/checkin")
	if first := sent[0].checkin(t); first.Triggers[0].Reason != "daily" || len(first.Inventory.VMs) != 0 {
		t.Errorf("first: %+v", first)
	}
	if second := sent[1].checkin(t); second.Triggers[0].Reason != "network_up" || len(second.Inventory.VMs) != 1 || second.Sequence != 3 {
		t.Errorf("second: %+v", second)
	}
}

func TestTriggersThatCameMeanwhileAreNotLost(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	b.line.down = true
	b.fails(protocol.CodePortalUnreachable)
	b.line.down = false
	b.portal.sent()
	b.do("network_up", "manual") // the report of before goes first, and has none of them
	sent := b.portal.wantSent("POST /v1/checkin", "POST /v1/checkin")
	var reasons []string
	for _, trigger := range sent[1].checkin(t).Triggers {
		reasons = append(reasons, trigger.Reason)
	}
	if diff := cmp.Diff([]string{"manual", "network_up"}, reasons); diff != "" {
		t.Error(diff)
	}
	if left := b.outbox.Carried(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

func TestResultsAndEventsThatCameMeanwhileFollow(t *testing.T) {
	t.Parallel()
	event := func(seq uint64) protocol.Event { return protocol.Event{Seq: seq, Type: "x"} }
	result := func(id string) protocol.Result { return protocol.Result{CommandID: id, State: "succeeded"} }
	before := Extra{Results: []protocol.Result{result("a")}}
	cases := []struct {
		name   string
		events uint64 // that there are by then
		now    Extra
		sends  int
		acks   []protocol.Ack
	}{
		{"nothing new", 2, before, 1, []protocol.Ack{{CommandID: "a"}}},
		{"a new event", 3, before, 2, []protocol.Ack{{CommandID: "a"}, {CommandID: "a"}}},
		{"a new result", 2, Extra{Results: []protocol.Result{result("a"), result("b")}}, 2, []protocol.Ack{{CommandID: "a"}, {CommandID: "a"}, {CommandID: "b"}}},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.do("agent_start")
			b.line.down = true
			b.events.all = []protocol.Event{event(1), event(2)}
			if _, err := b.client.Do(context.Background(), &b.report, before); err == nil {
				t.Fatal("the portal is down")
			}
			b.line.down = false
			b.portal.sent()
			if test.events > 2 {
				b.events.all = append(b.events.all, event(3))
			}
			outcome, err := b.client.Do(context.Background(), &b.report, test.now)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(b.portal.sent()); got != test.sends {
				t.Errorf("%d requests, want %d", got, test.sends)
			}
			if diff := cmp.Diff(test.acks, outcome.Reply.Acks); diff != "" {
				t.Error(diff)
			}
			if sent := b.sentEvents(); sent != test.events {
				t.Errorf("events sent up to %d, want %d", sent, test.events)
			}
		})
	}
}

func TestAnOldUnansweredReportIsNotRepeated(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	b.portal.sent()
	b.portal.set(func(f *fakePortal) { f.loseNext = 1 })
	b.fails(protocol.CodePortalUnreachable)
	b.now = b.now.Add(25 * time.Hour)
	b.do("wake")
	sent := b.portal.wantSent("POST /v1/checkin", "POST /v1/checkin")
	old, fresh := sent[0].checkin(t), sent[1].checkin(t)
	if old.RequestID == fresh.RequestID || fresh.Sequence != old.Sequence+1 || len(fresh.Triggers) != 2 {
		t.Errorf("fresh: %+v", fresh)
	}
}

func TestStateOfAnotherEpochIsNotContinued(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	b.portal.set(func(f *fakePortal) { f.sequence = 0 }) // a portal counts per epoch
	b.line.down = true
	b.fails(protocol.CodePortalUnreachable)
	b.line.down = false
	b.portal.sent()
	epoch, err := b.options.Store.NewEpoch()
	if err != nil {
		t.Fatal(err)
	}
	b.do("daily")
	request := b.portal.wantSent("POST /v1/checkin")[0].checkin(t)
	if request.Epoch != epoch || request.Sequence != 1 || !request.Inventory.Full || request.Triggers[0].Count != 2 {
		t.Errorf("%+v", request)
	}
}

func TestSequenceConflictGoesOnAsThePortalExpects(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	b.portal.sent()
	b.portal.set(func(f *fakePortal) { f.sequence = 40 })
	b.do("daily")
	sent := b.portal.wantSent("POST /v1/checkin", "POST /v1/checkin")
	request := sent[1].checkin(t)
	if request.Sequence != 50 || !request.Inventory.Full || request.Triggers[0].Reason != "daily" {
		t.Errorf("%+v", request)
	}
	b.do("daily")
	if got := b.portal.wantSent("POST /v1/checkin")[0].checkin(t).Sequence; got != 51 {
		t.Errorf("next number %d", got)
	}
}

func TestH02_ADuplicateIdentityIsSaidAndGoesOnLater(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	b.portal.sent()
	duplicate := protocol.NewProblem(protocol.ProblemDuplicateIdentity, "")
	duplicate.Expected = 7
	b.portal.on("POST /v1/checkin", func(w http.ResponseWriter) { duplicate.Write(w) })
	if outcome := b.fails(protocol.CodeDuplicateIdentity); outcome.Requests != 1 {
		t.Errorf("%d requests at once", outcome.Requests)
	}
	b.do("daily")
	request := b.portal.wantSent("POST /v1/checkin", "POST /v1/checkin")[1].checkin(t)
	if request.Sequence != 7 || !request.Inventory.Full || request.Triggers[0].Count != 2 {
		t.Errorf("%+v", request)
	}
}

func TestSendFullFollowsAtOnceAndOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	b.portal.sent()
	b.portal.set(func(f *fakePortal) { f.held = "something else" })
	outcome := b.do("daily")
	sent := b.portal.wantSent("POST /v1/checkin", "POST /v1/checkin")
	if !outcome.SendFull || !sent[1].checkin(t).Inventory.Full {
		t.Errorf("outcome %+v", outcome)
	}
	full := protocol.CheckinReply{ServerTime: b.now, Inventory: protocol.InventorySendFull}
	for range 2 {
		b.portal.on("POST /v1/checkin", func(w http.ResponseWriter) { answerJSON(w, http.StatusOK, full) })
	}
	b.do("daily")
	b.portal.wantSent("POST /v1/checkin", "POST /v1/checkin")
}

// The sizes of DESIGN 11, of a body as it goes out.
func TestBodyOfAQuietCheckin(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.report = sampleReport(protocol.MaxVMs)
	b.do("agent_start")
	full := b.portal.wantSent("POST /v1/enroll", "POST /v1/checkin")[1]
	b.do("network_up", "wake", "daily")
	quiet := b.portal.wantSent("POST /v1/checkin")[0]
	t.Logf("200 VMs: %d B as JSON, %d B sent; quiet: %d B as JSON, %d B sent", len(full.body), full.received, len(quiet.body), quiet.received)
	if quiet.received > 450 {
		t.Errorf("%d bytes, at most 450", quiet.received)
	}
}

// A pass may be stopped after any of its commits; the next start goes on with
// the same bytes, and the portal has every report once.
func TestStopAfterEachCommit(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	b.portal.sent()
	b.report.VMs[0].Name = "renamed"

	e := &exchange{client: b.client, ctx: context.Background(), report: &b.report, reacted: map[string]bool{}}
	found, _, err := readStoredState(b.options.Store, originOf(b.options.ServerURL), protocol.Privacy{}, b.now)
	if err != nil {
		t.Fatal(err)
	}
	e.record, e.baseline = found.record, found.baseline
	stored, err := e.prepareReport(protocol.MaxEvents) // the first commit; then the power fails
	if err != nil {
		t.Fatal(err)
	}
	b.crash()
	b.do()
	sent := b.portal.wantSent("POST /v1/checkin")
	if !bytes.Equal(sent[0].body, stored.Body) {
		t.Errorf("other bytes:\n%s\n%s", sent[0].body, stored.Body)
	}
	b.crash() // after the second commit
	if b.client.State().Unanswered {
		t.Error("an acknowledged report waits")
	}
	b.do("daily")
	if request := b.portal.wantSent("POST /v1/checkin")[0].checkin(t); len(request.Inventory.VMs) != 0 || b.portal.rows != 3 {
		t.Errorf("%+v, %d rows", request.Inventory, b.portal.rows)
	}
}

func TestStateIsReadableWhileACheckinRuns(t *testing.T) {
	t.Parallel()
	b := newContentBench(t)
	b.publish("staff", 1, 1)
	var during *State
	b.portal.on("POST /v1/checkin", func(w http.ResponseWriter) {
		during = b.client.State() // would wait for ever if Do kept it locked
		_ = b.client.Content()
		problem(protocol.ProblemInvalidRequest)(w)
	})
	b.fails(protocol.CodePortalRefused)
	if during.Enrollment != EnrollmentDone || !during.Unanswered {
		t.Errorf("during: %+v", during)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() { _, _ = b.client.Do(context.Background(), &b.report, Extra{}) })
		group.Go(func() { _, _ = b.client.State(), b.client.Content() })
	}
	group.Wait()
	if got := b.client.State(); got.Unanswered || got.Sequence != 4 {
		t.Errorf("after: %+v", got)
	}
}

// What State shows is written under its lock: read without it, the race detector
// sees it here.
func TestStateIsConsistentWhileCheckinsCome(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	ended := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			state := b.client.State()
			if (state.LastCode == "") != (state.LastError == "") {
				t.Errorf("code %q and error %q do not belong together", state.LastCode, state.LastError)
			}
			select {
			case <-ended:
				return
			default:
			}
		}
	})
	for i := range 60 {
		b.portal.set(func(f *fakePortal) { f.loseNext = i % 2 })
		_, _ = b.try("daily")
	}
	close(ended)
	reading.Wait()
}

// A store that cannot say where the exchange stands ends it before a report is
// made: one made from nothing would have a number that was used before.
func TestH02_NoReportWithoutItsStanding(t *testing.T) {
	t.Parallel()
	for _, collection := range []string{exchangeRecords.Name, baselineRecords.Name, pendingRecords.Name} {
		t.Run(collection, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.do("agent_start")
			b.portal.sent()
			damaged := store.Collection[*string]{Name: collection}
			if err := b.options.Store.Update(func(tx *store.Tx) error { return damaged.Put(tx, onlyKey, new("damaged")) }); err != nil {
				t.Fatal(err)
			}
			if outcome, err := b.try("daily"); err == nil || outcome.Code == "" || len(b.outbox.Carried()) != 1 {
				t.Errorf("%v, outcome %+v", err, outcome)
			}
			b.portal.wantSent()
		})
	}
}

func TestSecretsAreShownNowhere(t *testing.T) {
	t.Parallel()
	b := newContentBench(t)
	b.options.Log = b.options.Log.Level(-1)
	b.configure()
	b.publish("staff", 1, 1)
	var shown strings.Builder
	look := func(outcome *Outcome, err error) {
		state, _ := json.Marshal(b.client.State())
		who := b.client.currentIdentity()
		text, _ := json.Marshal(who)
		ofCopy, _ := json.Marshal(*who)
		fmt.Fprintf(&shown, "%+v %#v %v %s %s %s %v %+v %#v %d %+v %#v %d\n", outcome, outcome, err, state, text, ofCopy,
			b.client.Content(), who, who, who, *who, *who, *who)
	}
	look(b.try("agent_start"))
	for _, answer := range []scripted{
		problem(protocol.ProblemDeviceUnknown), problem(protocol.ProblemDeviceRetired), plainAnswer(500, "text/plain", "x"),
		plainAnswer(200, "text/html", "<html>"), plainAnswer(302, "text/html", ""),
	} {
		b.portal.on("POST /v1/checkin", answer)
		look(b.try("daily"))
	}
	b.line.down = true
	look(b.try("daily"))
	seed := b.client.currentIdentity().key.Seed()
	shown.WriteString(b.log.String())
	for _, leak := range []string{"canary", fmt.Sprint(seed), fmt.Sprintf("%x", seed), fmt.Sprintf("%#v", seed)} {
		if strings.Contains(shown.String(), leak) {
			t.Errorf("%s is shown", leak)
		}
	}
	if !strings.Contains(b.log.String(), "check-in") {
		t.Error("nothing was logged")
	}
}

// What the portal has acknowledged is told; anything else is not, a report that
// it did not answer among it.
func TestToldIsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if b.client.Acknowledged(&b.report) {
		t.Error("told before the first check-in")
	}
	b.do("agent_start")
	if !b.client.Acknowledged(&b.report) {
		t.Error("not told after it")
	}
	b.report.VMs[0].ToolsVersion = "27.0.0"
	if b.client.Acknowledged(&b.report) {
		t.Error("a change of a row is told before it was")
	}
	b.portal.set(func(f *fakePortal) { f.loseNext = 1 })
	b.fails(protocol.CodePortalUnreachable)
	if b.client.Acknowledged(&b.report) {
		t.Error("told although nobody answered")
	}
	b.do()
	if !b.client.Acknowledged(&b.report) {
		t.Error("not told after the report was repeated")
	}
}
