package checkin

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"prlagent/agent/protocol"
)

// gibberish is a text that does not compress.
func gibberish(random *rand.Rand) string {
	text := make([]byte, 1024)
	for i := range text {
		text[i] = byte('!' + random.IntN(94))
	}
	return string(text)
}

// hogged is a bench with a policy and a user without rights who has 160 virtual
// machines, each with 1,024 random characters in everything that a guest says.
func hogged(t *testing.T) *bench {
	t.Helper()
	b := settled(t)
	random := rand.New(rand.NewPCG(51, 51))
	for i := range 160 {
		b.report.VMs = append(b.report.VMs, protocol.VM{
			VMKey: protocol.VMKey{ID: fmt.Sprintf("66666666-0000-0000-0000-%012d", i), UID: 666}, Owner: "mallory", State: protocol.StateStopped,
			Name: gibberish(random), OS: gibberish(random), Edition: gibberish(random), OSBuild: gibberish(random), Serial: gibberish(random),
			ToolsVersion: gibberish(random), ToolsState: gibberish(random), RawState: gibberish(random), Source: protocol.SourceOther})
	}
	b.report.Users = append(b.report.Users, protocol.UserLook{Name: "mallory", UID: 666, Count: 160})
	return b
}

func hasEvent(events []protocol.Event, code protocol.Code) bool {
	return slices.ContainsFunc(events, func(event protocol.Event) bool { return event.Code == code })
}

// One user's texts silence nobody: another's start reaches the portal, policies
// are fetched, and the rest follows with the next report.
func TestH51_AUserWith160LongMachinesSilencesNobody(t *testing.T) {
	skipLarge(t)
	t.Parallel()
	b := hogged(t)
	b.publish("staff", 6, 4)
	b.report.VMs[0].State = protocol.StateRunning
	outcome := b.do("vm_started")
	sent := b.portal.sent()
	request := sent[0].checkin(t)
	if at := slices.IndexFunc(request.Inventory.VMs, func(vm protocol.VM) bool { return vm.VMKey == b.report.VMs[0].VMKey }); at < 0 ||
		request.Inventory.VMs[at].State != protocol.StateRunning || request.Inventory.VMs[at].OS != "Windows 11" {
		t.Errorf("alice's start is not in it: %.2000s", sent[0].body)
	}
	if len(request.Inventory.VMs) != 161 || request.Inventory.Truncated || sent[0].received > protocol.MaxRequestGzip {
		t.Errorf("%d rows in %d bytes", len(request.Inventory.VMs), sent[0].received)
	}
	b.wantPolicy(protocol.PolicyFetched, "", 6, 4)
	state := b.client.State()
	if outcome.Code != protocol.CodeReportTrimmed || state.LastCode != protocol.CodeReportTrimmed || !strings.Contains(state.LastError, " cells wait") ||
		!hasEvent(outcome.Events, protocol.CodeReportTrimmed) {
		t.Errorf("%q %q, status %q %q, events %+v", outcome.Code, outcome.Detail, state.LastCode, state.LastError, outcome.Events)
	}
	if b.client.Acknowledged(&b.report) {
		t.Error("what waits counts as acknowledged")
	}
	if outcome = b.do("daily"); outcome.Code != "" || len(outcome.Events) != 0 || !b.client.Acknowledged(&b.report) {
		t.Errorf("afterwards: %q %+v, acknowledged %t", outcome.Code, outcome.Events, b.client.Acknowledged(&b.report))
	}
	for _, vm := range b.portal.sent()[0].checkin(t).Inventory.VMs {
		if vm.UID != 666 || len(vm.OS) != protocol.MaxName || len(vm.Gaps) != 0 {
			t.Errorf("the second report brings %+v", vm)
		}
	}
}

// A policy is fetched also when the portal does not take the report.
func TestH51_APolicyIsFetchedWithoutAReport(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]protocol.Code{
		protocol.ProblemTooLarge: protocol.CodeReportTooLarge, protocol.ProblemInvalidRequest: protocol.CodePortalRefused,
		protocol.ProblemInternal: protocol.CodePortalOutage, protocol.ProblemSequenceConflict: protocol.CodeSequenceConflict,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := settled(t)
			b.publish("staff", 6, 4)
			for range 4 {
				b.portal.on(checkin, problem(name))
			}
			if outcome, err := b.try("daily"); err == nil || outcome.Code != code || !outcome.ContentChanged {
				t.Errorf("%v, outcome %+v", err, outcome)
			}
			b.wantPolicy(protocol.PolicyFetched, "", 6, 4)
			if got := b.client.State().LastCode; got != code {
				t.Errorf("status %q", got)
			}
		})
	}
}

// What stands before the portal and takes offence at a text in a report, as a
// scanner for viruses does, keeps no policy away, however it says so.
func TestH51_APolicyIsFetchedAroundWhatIsBeforeThePortal(t *testing.T) {
	t.Parallel()
	for code, answer := range map[protocol.Code]scripted{
		protocol.CodePortalOutage:        plainAnswer(403, "text/html", "blocked"),
		protocol.CodePortalInterrupted:   func(http.ResponseWriter) { panic(syscall.ECONNRESET) },
		protocol.CodePortalTimeout:       func(http.ResponseWriter) { panic(context.DeadlineExceeded) },
		protocol.CodePortalWebPage:       plainAnswer(200, "text/html", "blocked"),
		protocol.CodePortalReplyInvalid:  plainAnswer(200, "application/json", "blocked"),
		protocol.CodePortalReplyTooLarge: plainAnswer(200, "application/json", strings.Repeat(" ", protocol.MaxReply+1)),
		protocol.CodePortalRedirect:      plainAnswer(302, "text/html", "blocked"),
	} {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			b := settled(t)
			b.publish("staff", 6, 4)
			b.portal.on(checkin, answer)
			if outcome, err := b.try("daily"); err == nil || outcome.Code != code || !outcome.ContentChanged {
				t.Errorf("%v, outcome %+v", err, outcome)
			}
			b.wantPolicy(protocol.PolicyFetched, "", 6, 4)
		})
	}
}

// A head that is refused without a report is said as with one; one that is not
// served is not: the report's failure is the news.
func TestH51_ContentWithoutAReportIsJudgedAsEver(t *testing.T) {
	t.Parallel()
	b := settled(t)
	b.publish("staff", 4, 2)
	b.portal.on(checkin, problem(protocol.ProblemInternal))
	b.portal.on(checkin, problem(protocol.ProblemInternal))
	if outcome, err := b.try("daily"); err == nil || !hasEvent(outcome.Events, protocol.CodeRollbackDetected) {
		t.Errorf("%v, events %+v", err, outcome.Events)
	}
	b.keeps(protocol.CodeRollbackDetected)
	b = settled(t)
	for range 4 {
		b.portal.on(checkin, problem(protocol.ProblemInternal))
	}
	b.portal.on(staffHead, func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) })
	if outcome, err := b.try("daily"); err == nil || len(outcome.Events) != 0 || outcome.Code != protocol.CodePortalOutage {
		t.Errorf("%v, outcome %+v", err, outcome)
	}
	b.keeps("")
}

// Events that nobody will hear of are counted, and the count is told.
func TestH51_LostEventsAreCounted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.events.all = []protocol.Event{{Seq: 1, Type: "x"}}
	b.do("agent_start")
	b.events.all = []protocol.Event{{Seq: 40, Type: "security"}, {Seq: 101, Type: "x"}, {Seq: 102, Type: "x"}} // the ring has flushed the others
	outcome := b.do("daily")
	at := slices.IndexFunc(outcome.Events, func(event protocol.Event) bool { return event.Code == protocol.CodeEventsDropped })
	if at < 0 || outcome.Events[at].Data["count"] != "98" {
		t.Errorf("events %+v", outcome.Events)
	}
	if outcome = b.do("daily"); hasEvent(outcome.Events, protocol.CodeEventsDropped) {
		t.Error("told twice")
	}
	b.events.all = append(b.events.all, protocol.Event{Seq: 103, Type: "x"}, protocol.Event{Seq: 104, Type: "x"})
	b.portal.on(checkin, problem(protocol.ProblemInvalidRequest))
	outcome = b.do("daily")
	if at := slices.IndexFunc(outcome.Events, func(event protocol.Event) bool { return event.Code == protocol.CodeEventsDropped }); at < 0 || outcome.Events[at].Data["count"] != "2" {
		t.Errorf("events that the portal refuses: %+v", outcome.Events)
	}
}

// fillTexts puts another long random text into every text of a structure.
func fillTexts[T any](structure *T, text func() string) {
	value := reflect.ValueOf(structure).Elem()
	for i := range value.NumField() {
		if field := value.Field(i); field.Kind() == reflect.String {
			field.SetString(text())
		}
	}
}

// Everything that a report has is at its limit at the same time, in signs that
// JSON makes six bytes of or that do not compress: it still fits and tells the
// state of a machine.
func TestH51_EverythingAtItsLimit(t *testing.T) {
	skipLarge(t)
	t.Parallel()
	for name, sign := range map[string]func(*rand.Rand) byte{
		"gibberish":          func(random *rand.Rand) byte { return byte('!' + random.IntN(94)) },
		"control characters": func(random *rand.Rand) byte { return byte(random.IntN(0x20)) },
		"no UTF-8":           func(random *rand.Rand) byte { return byte(0x80 + random.IntN(0x80)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(51, 10))
			text := func() string {
				text := make([]byte, protocol.MaxName+1)
				for i := range text {
					text[i] = sign(random)
				}
				return string(text)
			}
			b := settled(t)
			fillTexts(&b.report.Host, text)
			fillTexts(&b.report.Agent, text)
			fillTexts(&b.report.Product, text)
			fillTexts(&b.report.Policy, text)
			for i := range uint32(protocol.MaxUsers) {
				look := protocol.UserLook{UID: 501 + i}
				fillTexts(&look, text)
				b.report.Users = append(b.report.Users, look)
			}
			for i := len(b.report.VMs); i < protocol.MaxVMs; i++ {
				vm := protocol.VM{VMKey: protocol.VMKey{ID: fmt.Sprintf("66666666-0000-0000-0000-%012d", i), UID: 600 + uint32(i)%50}}
				fillTexts(&vm, text)
				b.report.VMs = append(b.report.VMs, vm)
			}
			grouping := protocol.NewVerdictGrouping(text())
			for i := range protocol.MaxVerdictGroups / 4 { // all would tell no more
				var verdict protocol.VerdictGroup
				fillTexts(&verdict, text)
				grouping.Add(b.report.VMs[i%protocol.MaxVMs].VMKey, &verdict)
			}
			b.report.Verdicts = grouping.Report
			b.report.VMs[0].State = protocol.StateRunning
			b.portal.on(checkin, func(w http.ResponseWriter) {
				answerJSON(w, http.StatusOK, protocol.CheckinReply{Inventory: protocol.InventoryOK})
			})
			outcome, err := b.try("vm_started")
			sent := b.portal.sent()
			if err != nil || len(sent) == 0 {
				t.Fatalf("%q %v, %d requests", outcome.Code, err, len(sent))
			}
			request := sent[0].checkin(t)
			if !slices.ContainsFunc(request.Inventory.VMs, func(vm protocol.VM) bool {
				return vm.VMKey == b.report.VMs[0].VMKey && vm.State == protocol.StateRunning
			}) {
				t.Errorf("the start is not among %d rows", len(request.Inventory.VMs))
			}
		})
	}
}

// The best compression of a text of few signs costs seconds for each megabyte,
// which any user could have root's daemon spend again and again. gzip says in its
// header how thorough it was (RFC 1952, XFL).
func TestH51_LargeBodiesAreNotCompressedAtAnyPrice(t *testing.T) {
	t.Parallel()
	const thorough = 2
	for size, want := range map[int]bool{1 << 10: true, mostThorough: true, mostThorough + 1: false, protocol.MaxRequest: false} {
		packed, smaller := compressBody(bytes.Repeat([]byte("a"), size))
		if !smaller || packed[8] == thorough != want {
			t.Errorf("%d bytes: header % x", size, packed[:10])
		}
	}
}
