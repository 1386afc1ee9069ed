package command

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

func testIntent(id string, attempt int) *intent {
	return &intent{ID: id, Type: "vm.delete", Attempt: attempt, At: testNow, Until: testNow.Add(200 * 24 * time.Hour)}
}

const (
	firstID  = "0195500a-0000-7000-8000-00000000000a"
	secondID = "0195500b-0000-7000-8000-00000000000b"
)

// written is what another daemon finds in the file.
func writtenIn(t *testing.T, path, id string) int {
	t.Helper()
	last, err := OpenIntents(path, nil, testNow).written(id, testNow)
	if err != nil {
		t.Fatal(err)
	}
	return last
}

func TestH22_IntentsOutliveTheDaemon(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), IntentFile)
	intents := OpenIntents(path, nil, testNow)
	for _, line := range []*intent{testIntent(firstID, 1), testIntent(secondID, 1), testIntent(firstID, 2)} {
		if err := intents.append(line); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[string]int{firstID: 2, secondID: 1, "other": 0} {
		if got := writtenIn(t, path, id); got != want {
			t.Errorf("%s: attempt %d, want %d", id, got, want)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() > 3*120 {
		t.Errorf("%v, %v", info, err)
	}
}

// A line that is cut off anywhere counts for its own id and for none that it cannot
// be; and what is written after it is whole.
func TestH22_CutLinesCount(t *testing.T) {
	t.Parallel()
	whole := testIntent(firstID, 1).text()
	for cut := 1; cut < len(whole); cut++ {
		path := filepath.Join(t.TempDir(), IntentFile)
		if err := os.WriteFile(path, []byte(whole[:cut]), 0o600); err != nil {
			t.Fatal(err)
		}
		intents := OpenIntents(path, nil, testNow)
		if last, err := intents.written(firstID, testNow); last != 1 || err != nil {
			t.Errorf("cut at %d: attempt %d, %v", cut, last, err)
		}
		if last, _ := intents.written(secondID, testNow); last != 0 && !strings.HasPrefix(secondID, whole[:cut]) {
			t.Errorf("cut at %d: another id counts", cut)
		}
		if err := intents.append(testIntent(secondID, 1)); err != nil {
			t.Fatal(err)
		}
		if first, second := writtenIn(t, path, firstID), writtenIn(t, path, secondID); first != 1 || second < 1 {
			t.Errorf("cut at %d, then written: %d and %d", cut, first, second)
		}
	}
}

// When a line that is cut off was noticed stands in a line of its own, and is read again by
// the next daemon: what is signed later is doubted by none of them.
func TestH22_DamageIsNoticedOnce(t *testing.T) {
	t.Parallel()
	whole, later := testIntent(firstID, 1).text(), testNow.Add(2*clockSlack)
	for cut := 1; cut < len(whole); cut++ {
		path := filepath.Join(t.TempDir(), IntentFile)
		if err := os.WriteFile(path, []byte(whole[:cut]), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, start := range []time.Time{testNow, later} {
			last, err := OpenIntents(path, nil, start).written(secondID, later)
			if last != 0 || err != nil {
				t.Errorf("cut at %d: attempt %d of what was signed later, %v", cut, last, err)
			}
		}
	}
}

// A byte that is changed anywhere takes no id out of the file: the line may have
// been of anybody, until what is signed after it was noticed.
func TestH22_DamagedLinesCountForAllBefore(t *testing.T) {
	t.Parallel()
	whole := testIntent(firstID, 1).text() + testIntent(secondID, 1).text()
	for at := range len(whole) {
		path := filepath.Join(t.TempDir(), IntentFile)
		damaged := []byte(whole)
		damaged[at] ^= 0x10
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if first, second := writtenIn(t, path, firstID), writtenIn(t, path, secondID); first < 1 || second < 1 {
			t.Fatalf("byte %d: %d and %d", at, first, second)
		}
		last, _ := OpenIntents(path, nil, testNow.Add(time.Hour)).written("signed-later", testNow.Add(2*clockSlack))
		if last != 0 {
			t.Fatalf("byte %d: what was signed later is doubted", at)
		}
	}
}

// A file that cannot be read, or was exchanged for a link, is no empty one.
func TestH22_UnreadableIntentsAreAnError(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(path string) error{
		"a link":   func(path string) error { return os.Symlink("/dev/null", path) },
		"a folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"too large": func(path string) error {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(path, maxIntents+1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), IntentFile)
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			intents := OpenIntents(path, nil, testNow)
			if _, err := intents.written(firstID, testNow); err == nil {
				t.Error("it is taken for an empty one")
			}
			if err := intents.append(testIntent(firstID, 1)); err == nil {
				t.Error("it is written")
			}
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			intents.Reopen(testNow)
			if _, err := intents.written(firstID, testNow); err != nil {
				t.Errorf("it is mended, and not used: %v", err)
			}
		})
	}
	r := received(&protocol.Envelope{}, new(goodCommand()), "", new(goodCircumstances()))
	got := decide(r, &situation{clock: goodCircumstances().Clock, epoch: "epoch-1", executes: true, noIntents: protocol.CodeIntentsUnreadable})
	if got.action != doWait || got.Code != protocol.CodeIntentsUnreadable {
		t.Errorf("without intents: %+v", got)
	}
}

// A failed flush leaves nobody knowing what is on the disk: the attempt is not made,
// and the file is read again before it is used.
func TestH22_FailedFlush(t *testing.T) {
	t.Parallel()
	fails := true
	path := filepath.Join(t.TempDir(), IntentFile)
	intents := OpenIntents(path, func(file *os.File) error {
		if fails {
			return fmt.Errorf("no space")
		}
		return file.Sync()
	}, testNow)
	if err := intents.append(testIntent(firstID, 1)); err == nil {
		t.Fatal("the failure is not told")
	}
	if last, err := intents.written(firstID, testNow); last != 1 || err == nil {
		t.Errorf("attempt %d, %v", last, err)
	}
	fails = false
	intents.Reopen(testNow)
	if last, err := intents.written(firstID, testNow); last != 1 || err != nil {
		t.Errorf("attempt %d, %v", last, err)
	}
}

// Lines are forgotten 180 days after the expiry of their command, with up to when
// on record, and not before.
func TestH24_IntentsArePruned(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), IntentFile)
	intents := OpenIntents(path, nil, testNow)
	late := testIntent(secondID, 1)
	late.Until = late.Until.Add(24 * time.Hour)
	for _, line := range []*intent{testIntent(firstID, 1), late} {
		if err := intents.append(line); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := os.ReadFile(path)
	until := testIntent(firstID, 1).Until
	if err := intents.prune(until.Add(-time.Second), false); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("it is written though nothing is over")
	}
	if err := intents.prune(until, false); err != nil {
		t.Fatal(err)
	}
	again := OpenIntents(path, nil, until)
	if first, _ := again.written(firstID, testNow); first != 0 {
		t.Error("it is not forgotten")
	}
	if second, _ := again.written(secondID, testNow); second != 1 {
		t.Error("too much is forgotten")
	}
	if want := until.Add(-protocol.CommandsKeptFor); !again.prunedTo().Equal(want) {
		t.Errorf("pruned to %s, want %s", again.prunedTo(), want)
	}
}

// The limit counts what was begun within the window, each command once, at its last attempt.
func TestH31_OnlyTheWindowCounts(t *testing.T) {
	t.Parallel()
	at := func(hour int) time.Time { return time.Date(2026, 3, 1, hour, 0, 0, 0, time.UTC) }
	lines := []intent{
		{ID: "old", Type: "vm.delete", Attempt: 1, At: at(1)},
		{ID: "again", Type: "vm.delete", Attempt: 1, At: at(2)},
		{ID: "again", Type: "vm.delete", Attempt: 2, At: at(5)},
		{ID: "new", Type: "license.deactivate", Attempt: 1, At: at(4)},
		{ID: "not counted", Type: "vm.lock", Attempt: 1, At: at(4)},
		{ID: "itself", Type: "vm.delete", Attempt: 1, At: at(4)},
	}
	if got, want := startedIn(lines, at(3), "itself"), []time.Time{at(4), at(5)}; !slices.EqualFunc(got, want, time.Time.Equal) {
		t.Errorf("started at %v, want %v", got, want)
	}
}
