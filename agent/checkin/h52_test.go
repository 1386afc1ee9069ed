package checkin

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/store"
)

// A number that cannot be does not end check-ins: a new epoch begins, and the
// agent says so. The portal is honest afterwards.
func TestH52_AnAbsurdSequenceNumberBeginsANewEpoch(t *testing.T) {
	t.Parallel()
	for _, name := range []string{protocol.ProblemSequenceConflict, protocol.ProblemDuplicateIdentity} {
		for _, expected := range []uint64{math.MaxUint64, math.MaxUint64 - 1, 1 << 63, protocol.MaxVersion + 1, 1<<20 + 3} {
			t.Run(fmt.Sprint(name, expected), func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				b.do("agent_start")
				epoch := b.options.Store.Epoch()
				b.portal.sent()
				conflict := protocol.NewProblem(name, "")
				conflict.Expected = expected
				b.portal.on(checkin, func(w http.ResponseWriter) { conflict.Write(w) })
				b.portal.set(func(f *fakePortal) { f.sequence = 0 }) // a portal counts per epoch
				outcome, _ := b.try("vm_started")
				if !hasEvent(outcome.Events, protocol.CodeEpochRenewed) || b.options.Store.Epoch() == epoch {
					t.Errorf("outcome %+v", outcome)
				}
				if name == protocol.ProblemSequenceConflict && b.client.State().LastCode != protocol.CodeEpochRenewed {
					t.Errorf("status %+v", b.client.State())
				}
				b.do("daily")
				b.crash()
				b.do("daily")
				heard := 0
				for _, sent := range b.portal.sent()[1:] {
					request := sent.checkin(t)
					if request.Epoch == epoch || request.Sequence > 5 {
						t.Errorf("epoch %s, number %d", request.Epoch, request.Sequence)
					}
					for _, trigger := range request.Triggers {
						if trigger.Reason == "vm_started" {
							heard++
						}
					}
				}
				if heard != 1 {
					t.Errorf("the portal heard of the start %d times", heard)
				}
			})
		}
	}
}

func TestH52_ALargeJumpWithinBoundsIsFollowed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("agent_start")
	epoch := b.options.Store.Epoch()
	conflict := protocol.NewProblem(protocol.ProblemSequenceConflict, "")
	conflict.Expected = 2 + protocol.MaxSequenceJump
	b.portal.on(checkin, func(w http.ResponseWriter) { conflict.Write(w) })
	b.do("daily")
	sent := b.portal.sent()
	if last := sent[len(sent)-1].checkin(t); last.Sequence != 2+protocol.MaxSequenceJump || last.Epoch != epoch {
		t.Errorf("number %d", last.Sequence)
	}
}

// A Mac that believed such a number before, as agents did, gets out of it.
func TestH52_TheEndOfTheRangeBeginsANewEpoch(t *testing.T) {
	t.Parallel()
	for _, last := range []uint64{protocol.MaxVersion, math.MaxUint64 - 1, math.MaxUint64} {
		b := newBench(t)
		b.do("agent_start")
		epoch := b.options.Store.Epoch()
		err := b.options.Store.Update(func(tx *store.Tx) error {
			var record exchangeRecord
			_, err := exchangeRecords.Get(tx, onlyKey, &record)
			if err != nil {
				return err
			}
			record.Sequence = last
			return exchangeRecords.Put(tx, onlyKey, &record)
		})
		if err != nil {
			t.Fatal(err)
		}
		b.portal.set(func(f *fakePortal) { f.sequence = 0 })
		outcome := b.do("daily")
		if b.options.Store.Epoch() == epoch || !hasEvent(outcome.Events, protocol.CodeEpochRenewed) || b.client.State().Sequence != 1 {
			t.Errorf("%d: state %+v, outcome %+v", last, b.client.State(), outcome)
		}
		b.do("daily")
	}
}

// answerPaths are the paths of all numbers and times of an answer.
func answerPaths(of reflect.Type, path []string) (paths [][]string) {
	switch of.Kind() {
	case reflect.Pointer:
		return answerPaths(of.Elem(), path)
	case reflect.Int, reflect.Uint64, reflect.Uint32, reflect.Int64, reflect.Float64:
		return [][]string{path}
	case reflect.Struct:
		if of == reflect.TypeFor[time.Time]() {
			return [][]string{path}
		}
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			paths = append(paths, answerPaths(of.Field(i).Type, append(path[:len(path):len(path)], name))...)
		}
	}
	return paths
}

// mutated is an honest answer but for one field.
func mutated(t *testing.T, honest any, path []string, literal string) string {
	t.Helper()
	data, err := json.Marshal(honest)
	if err != nil {
		t.Fatal(err)
	}
	var whole map[string]any
	if err := json.Unmarshal(data, &whole); err != nil {
		t.Fatal(err)
	}
	at := whole
	for _, name := range path[:len(path)-1] {
		inner, _ := at[name].(map[string]any)
		if inner == nil {
			inner = map[string]any{}
			at[name] = inner
		}
		at = inner
	}
	at[path[len(path)-1]] = json.RawMessage(literal)
	if data, err = json.Marshal(whole); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// absurd are values that a number or a time can have on the wire.
var absurd = []string{
	"-9223372036854775808", "-1", "0", "1", "9223372036854775807", "18446744073709551615", "18446744073709551616", "1e300", "0.5", "null",
	`"0001-01-01T00:00:00Z"`, `"9999-12-31T23:59:59Z"`, `"2027-11-23T08:00:00+23:59"`,
}

// Every number in every answer takes every absurd value; whatever the Mac
// believes of it, its waits stay within a day, its time within a day of its clock,
// and an honest portal gets its reports again, also after a restart.
func TestH52_NoNumberInAnyAnswerEndsCheckins(t *testing.T) {
	t.Parallel()
	skipLarge(t)
	conflict := protocol.NewProblem(protocol.ProblemSequenceConflict, "")
	cases := []struct {
		what        string
		status      int
		contentType string
		honest      any
		enroll      bool
	}{
		{"reply", 200, "application/json", protocol.CheckinReply{Inventory: protocol.InventoryOK, Group: protocol.Group{ID: "staff"}}, false},
		{"problem", 409, protocol.ProblemContentType, conflict, false},
		{"enrollment", 202, "application/json", protocol.EnrollReply{State: protocol.EnrollPending, DeviceID: "d"}, true},
	}
	for _, test := range cases {
		paths := answerPaths(reflect.TypeOf(test.honest), nil)
		if len(paths) < 2 {
			t.Fatalf("%s has %d numbers", test.what, len(paths))
		}
		for _, path := range paths {
			t.Run(test.what+"."+strings.Join(path, "."), func(t *testing.T) {
				t.Parallel()
				for _, literal := range absurd {
					b := newContentBench(t)
					what := "POST /v1/enroll"
					if !test.enroll {
						b.do("agent_start")
						what = checkin
					}
					b.portal.set(func(f *fakePortal) { f.sequence = 0 }) // a portal counts per epoch
					body := mutated(t, test.honest, path, literal)
					b.portal.on(what, plainAnswer(test.status, test.contentType, body))
					outcome, _ := b.try("vm_started")
					wantSane(t, b, outcome, body)
					b.do("daily")
					b.crash()
					wantSane(t, b, b.do("daily"), body)
				}
			})
		}
	}
}

// wantSane holds what a Mac believes after an answer against its bounds.
func wantSane(t *testing.T, b *bench, outcome *Outcome, body string) {
	t.Helper()
	state := b.client.State()
	day := 24 * time.Hour
	for what, wait := range map[string]time.Duration{"cadence": outcome.NextCheckin, "stored cadence": state.NextCheckin, "splay": outcome.Splay, "retry": outcome.RetryAfter * 2 / 3} {
		if wait < 0 || wait > day {
			t.Errorf("after %s the %s is %s", body, what, wait)
		}
	}
	if state.Sequence > protocol.MaxVersion || state.TrustedTime.Sub(b.now) > day {
		t.Errorf("after %s the Mac believes %+v", body, state)
	}
}

// A validator of one answer that no later request can be made with, because
// servers refuse headers that long, keeps no later head away.
func TestH52_AValidatorThatNobodyTakesIsNotKept(t *testing.T) {
	t.Parallel()
	b := settled(t)
	b.publish("staff", 6, 4)
	next := b.portal.content["heads/staff.dsse.json"]
	b.portal.on(staffHead, func(w http.ResponseWriter) {
		w.Header().Set("ETag", strconv.Quote(strings.Repeat("e", 60<<10)))
		_, _ = w.Write(next)
	})
	b.do("daily")
	b.wantPolicy(protocol.PolicyFetched, "", 6, 4)
	b.crash()
	b.portal.sent()
	b.publish("staff", 7, 5)
	b.do("daily")
	if sent := b.portal.sent(); len(sent[1].header.Get("If-None-Match")) > protocol.MaxName {
		t.Errorf("%s has a validator of %d bytes", sent[1].what, len(sent[1].header.Get("If-None-Match")))
	}
	b.wantPolicy(protocol.PolicyFetched, "", 7, 5)
}
