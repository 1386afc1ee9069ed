package command

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

type jobContext = context.Context

// histories is how many are tried on the model, always the same ones; rapid's own
// -rapid.checks and -rapid.seed win.
const histories = 4_000

// For every id at most one effect; if the Mac comes back in time exactly one, or a
// failure that is true; and in the end the portal says what the Mac did: whatever
// crashes, is lost, doubled, restored or set.
func TestH22_H23_H26_H30_PROTOCOL10_Model(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("one goroutine, and nothing races")
	}
	for name, value := range map[string]string{"rapid.checks": fmt.Sprint(histories), "rapid.seed": "14"} {
		if given := flag.Lookup(name); given.Value.String() != given.DefValue {
			continue
		}
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	happened := counts{}
	rapid.Check(t, func(t *rapid.T) {
		history := drawHistory(t)
		happened.add(playHistory(newMemorySide(""), newModelPortal(""), history, func(format string, args ...any) {
			t.Fatalf(format+"\n%v", append(args, history)...)
		}))
	})
	t.Logf("%v", happened)
	happened.want(t, alsoHappens...)
}

// Each sync, count and check of the order of writes is needed: without it there is a
// history that fails, and goes well with it. These are the shortest that were found.
func TestH22_H23_H24_H30_H31_EveryStepIsNeeded(t *testing.T) {
	t.Parallel()
	for fault, history := range map[string]string{
		"acknowledged not synced":      "refresh:0 exchange:0",
		"running not synced":           "unlock:0",
		"intent not synced":            "unlock:0",
		"result not synced":            "delete:0",
		"settled when it is sent":      "clock-forward:0 delete:0 exchange:0 month:0 retire-lost:0 work:0 exchange:0",
		"intents not counted":          "blind:0 delete:0 exchange:0 work:0 mac-forget:0",
		"attempts not counted":         "refresh:0 exchange:0 crash:3 work:0",
		"limit not counted":            "limit:0 delete:0 deactivate:0 exchange:0 work:0",
		"act again after a crash":      "delete:0",
		"repeats not answered":         "lock:0 untrust:0 exchange:0 exchange:0 trust:0 replay:1",
		"forgotten at once":            "deactivate:0 exchange:0 work:0 twice:0 replay:1 prune:0",
		"no proof of time":             "refresh:0 exchange:0 reboot-far:0 work:0",
		"trust of the start":           "unlock:0 monitor:0 twice:0 work:0",
		"epoch of before":              "unlock:0 mac-restore:0",
		"sent before it is kept":       "refresh:0 exchange:0 monitor:0 work:0 lost-back:0 deactivate:0 portal-crash:2 exchange:0 exchange:0",
		"audit log not replayed":       "delete:0 portal-backup:0 cancel:0 portal-restore:0 exchange:0",
		"enrolled again, not withheld": "delete:0 reenroll:0 exchange:0",
		"ahead, and not frozen":        "portal-backup:0 exchange:0 portal-restore-all:0 delete:0 exchange:0",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			if failed := failureOf(fault, historyOf(history)); failed == "" {
				t.Error("it goes well without it")
			} else {
				t.Log(failed)
			}
			if failed := failureOf("", historyOf(history)); failed != "" {
				t.Error("it fails with it: " + failed)
			}
		})
	}
}

// Histories that the model found, each of which an agent or a portal before this one
// failed, or would fail without one check that few histories need.
func TestH22_H23_H30_H31_H69_HistoriesThatFailed(t *testing.T) {
	t.Parallel()
	for name, history := range map[string]string{
		"H30 done, lost by both sides, and cancelled by a portal that was put back":     "delete:16 portal-backup:22 exchange:12 work:4 mac-wipe:34 portal-restore:35",
		"H30 done, and cancelled before the Mac was heard of again":                     "delete:28 portal-backup:2 exchange:17 work:10 portal-restore:39 cancel:36 mac-restore:25",
		"H30 done, and expired before the Mac was heard of again":                       "delete:30 portal-backup:22 exchange:30 work:4 sleep:39 mac-restore:3 portal-restore-all:32",
		"H22 done, and refused by the journal that came after":                          "lost-back:30 deactivate:36 exchange:35 exchange:38 work:8 mac-wipe:7 replay:18 untrust:39 work:18",
		"H22 done, held again by the journal that came after, and expired there":        "restart:0 delete:28 twice:20 work:18 mac-wipe:1 lost-back:5 exchange:26 replay:13 crash:2 offline:15 lock:24 online:24 reenroll:4 restart:5 untrust:7 exchange:5 crash:29 crash:29 hour:34 month:11 crash:38 work:11",
		"H31 an attempt that was not made is not free of the limit":                     "delete:32 exchange:35 crash:1 work:11 deactivate:36 limit:21 delete:18 exchange:28 work:18",
		"H69 withheld for an enrollment, and let go with a freeze of something else":    "delete:25 reenroll:12 portal-crash:25 unlock:33",
		"H23 tried, not done, and cancelled meanwhile":                                  "silent:0 delete:0 exchange:0 crash:5 work:0 cancel:0 exchange:0 work:0",
		"H23 tried, not done, and not trusted any more":                                 "silent:0 delete:0 exchange:0 crash:5 work:0 untrust:0 work:0",
		"H22 done, and ordered again for an epoch that is over":                         "deactivate:0 exchange:0 work:0 erase:0 replay:7",
		"H30 done for a portal that was put back, which hears nothing of it":            "unlock:2 exchange:0 work:0 portal-backup:0 exchange:0 portal-restore-all:0 month:0",
		"H24 begun by a clock that was set back":                                        "clock-back:0 deactivate:2 exchange:0 crash:14 work:0 work:0",
		"H23 seen by a daemon that ends":                                                "deactivate:0 exchange:0 crash:1 work:0 stop-late:0 work:0",
		"H23 prepared by a daemon that ends":                                            "deactivate:0 exchange:0 stop-late:0 work:0",
		"PROTOCOL10 behind one of which nobody knows":                                   "delete:0 lock:0 exchange:0 blind:0 work:0",
		"H30 asked to cancel in an answer that was overtaken, and cancelled by silence": "lock:17 portal-backup:2 exchange:32 work:1 twice:25 lost-back:8 portal-restore-all:7 cancel:16",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if failed := failureOf("", historyOf(history)); failed != "" {
				t.Error(failed)
			}
		})
	}
}

// historyOf reads a history that is written down.
func historyOf(text string) (history []move) {
	for word := range strings.FieldsSeq(text) {
		kind, n, _ := strings.Cut(word, ":")
		number, _ := strconv.Atoi(n)
		history = append(history, move{kind, number})
	}
	return history
}

// failureOf plays a history with a fault, and gives the first failure.
func failureOf(fault string, history []move) (failed string) {
	type stopped struct{}
	defer func() {
		if r := recover(); r != nil {
			if _, is := r.(stopped); !is {
				panic(r)
			}
		}
	}()
	playHistory(newMemorySide(fault), newModelPortal(fault), history, func(format string, args ...any) {
		if failed == "" {
			failed = fmt.Sprintf(format, args...)
		}
		panic(stopped{})
	})
	return failed
}
