package storage

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"prlagent/agent/protocol"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// However verdicts change, and however often more of them are forgotten than are
// kept: what is now, with the changes taken back, is what was; and no number is
// used twice or left out.
func TestChangesLeadBackToWhatWas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var kept Verdicts
		var base protocol.Baseline
		type moment struct {
			at    time.Time
			state map[string]string
		}
		var past []moment
		all := make(map[uint64]*VerdictChanges)
		var next uint64 = 1
		for step := range rapid.IntRange(1, 12).Draw(t, "reports") {
			now := noon.Add(time.Duration(step) * time.Hour)
			grouping := protocol.NewVerdictGrouping(rapid.SampledFrom([]string{"ab", "cd"}).Draw(t, "document"))
			for _, vm := range []protocol.VMKey{{}, {ID: "a", UID: 501}, {ID: "b", UID: 501}} {
				for _, path := range []string{"x", "y"} {
					if word := rapid.SampledFrom([]string{"", "", protocol.VerdictInPlace, protocol.VerdictFailed}).Draw(t, "verdict"); word != "" {
						grouping.Add(vm, &protocol.VerdictGroup{Path: path, Verdict: word, Since: now})
					}
				}
			}
			report := protocol.Report{Verdicts: grouping.Report}
			var request protocol.CheckinRequest
			after, err := report.Fill(&request, base)
			if err != nil {
				t.Fatal(err)
			}
			if base = after; request.Verdicts == nil {
				continue
			}
			changes, fits, err := kept.Take(request.Verdicts, now)
			if err != nil || !fits {
				t.Fatalf("fits %t, %v", fits, err)
			}
			if changes != nil {
				all[changes.First] = changes
				changes.Each(func(number uint64, _ protocol.VMKey, _ *VerdictChange) {
					if number != next {
						t.Fatalf("number %d comes after %d", number, next-1)
					}
					next++
				})
			}
			past = append(past, moment{now, flat(&kept.Report)})
		}
		state := flat(&kept.Report)
		for i := len(past) - 1; i >= 0; i-- {
			for len(kept.Kept) > 0 && kept.Kept[len(kept.Kept)-1].At.After(past[i].at) {
				last := kept.Kept[len(kept.Kept)-1]
				all[last.First].Each(func(_ uint64, vm protocol.VMKey, change *VerdictChange) {
					if state[vm.String()+change.Path] = change.Before.Verdict; change.Before.Verdict == "" {
						delete(state, vm.String()+change.Path)
					}
				})
				kept.Kept = kept.Kept[:len(kept.Kept)-1]
			}
			if diff := cmp.Diff(past[i].state, state); diff != "" {
				t.Fatalf("at report %d (-was +taken back):\n%s", i, diff)
			}
		}
	})
}

func flat(report *protocol.VerdictReport) map[string]string {
	state := make(map[string]string)
	report.Each(func(vm protocol.VMKey, group *protocol.VerdictGroup) { state[vm.String()+group.Path] = group.Verdict })
	return state
}

// What is kept of a device's changes has an end, in number, bytes and days.
func TestChangesHaveAnEnd(t *testing.T) {
	t.Parallel()
	var kept Verdicts
	big := make([]protocol.VerdictGroup, 400)
	for i := range big {
		big[i] = protocol.VerdictGroup{Path: fmt.Sprintf("%0255d", i)}
	}
	words := []string{protocol.VerdictInPlace, protocol.VerdictFailed}
	for step := range 20 {
		for i := range big {
			big[i].Verdict = words[step%2]
		}
		if _, fits, err := kept.Take(&protocol.VerdictReport{Full: true, Groups: big}, noon.Add(time.Duration(step)*time.Minute)); !fits || err != nil {
			t.Fatal(fits, err)
		}
	}
	size := 0
	for _, mark := range kept.Kept {
		size += mark.Bytes
	}
	if size > MaxChangesBytes || len(kept.Kept) >= 20 || kept.Covers(noon) {
		t.Errorf("%d check-ins with %d bytes are kept", len(kept.Kept), size)
	}
	one := []protocol.VerdictGroup{{Path: "x"}}
	for step := range maxKeptChanges + 5 {
		one[0].Verdict = words[step%2]
		if _, _, err := kept.Take(&protocol.VerdictReport{Full: true, Groups: one}, noon.Add(time.Duration(step)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if len(kept.Kept) != maxKeptChanges {
		t.Errorf("%d check-ins are kept", len(kept.Kept))
	}
	if _, err := kept.Clear(noon.Add(MaxChangesAge + 1000*time.Hour)); err != nil || len(kept.Kept) != 1 {
		t.Errorf("after 400 days %d check-ins are kept: %v", len(kept.Kept), err)
	}
}
