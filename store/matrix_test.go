package store_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"prlagent/store"
)

// damageRounds makes the random parts of the damage tests longer.
var damageRounds = flag.Int("damage.rounds", 1, "how many times as many seeds the damage matrix and the power cuts try")

// How many offsets a kind of damage is tried at: the kinds of DESIGN's damage
// matrix, and those that are ours.
const (
	seedsOfMatrix = 100
	seedsOfOurs   = 25
)

// damage changes the bytes of a healthy database.
type damage func(random *rand.Rand, content []byte) []byte

var pageSize = os.Getpagesize()

func pageOf(content []byte, id int) []byte { return content[id*pageSize : (id+1)*pageSize] }

// usedPages is the high water mark of a healthy file: behind it nothing counts.
func usedPages(content []byte) int {
	return int(max(binary.LittleEndian.Uint64(pageOf(content, 0)[16+40:]), binary.LittleEndian.Uint64(pageOf(content, 1)[16+40:])))
}

func randomPage(random *rand.Rand, content []byte) []byte {
	return pageOf(content, 2+random.IntN(usedPages(content)-2))
}

func randomize(random *rand.Rand, part []byte) {
	for i := range part {
		part[i] = byte(random.Uint32())
	}
}

// flip changes n bytes of a part.
func flip(random *rand.Rand, part []byte, n int) {
	for range n {
		part[random.IntN(len(part))] ^= byte(1 + random.IntN(255))
	}
}

func zeroMeta(ids ...int) damage {
	return func(_ *rand.Rand, content []byte) []byte {
		for _, id := range ids {
			clear(pageOf(content, id))
		}
		return content
	}
}

// harmMeta puts random bytes over some or all of the bytes that count.
func harmMeta(ids ...int) damage {
	return func(random *rand.Rand, content []byte) []byte {
		for _, id := range ids {
			fields := pageOf(content, id)[16 : 16+64]
			from := random.IntN(len(fields))
			part := fields[from : from+1+random.IntN(len(fields)-from)]
			before := slices.Clone(part)
			for slices.Equal(part, before) {
				randomize(random, part)
			}
		}
		return content
	}
}

func cutTo(size int) damage {
	return func(_ *rand.Rand, content []byte) []byte { return content[:size] }
}

func zeroedPage(random *rand.Rand, content []byte) []byte {
	clear(randomPage(random, content))
	return content
}

// zeroedRun is what a drive leaves that has forgotten a block of its own.
func zeroedRun(random *rand.Rand, content []byte) []byte {
	from := random.IntN(usedPages(content))
	clear(content[from*pageSize : min(len(content), (from+2+random.IntN(8))*pageSize)])
	return content
}

func randomBytesPage(random *rand.Rand, content []byte) []byte {
	randomize(random, randomPage(random, content))
	return content
}

func flippedHead(random *rand.Rand, content []byte) []byte {
	flip(random, randomPage(random, content)[:64], 16)
	return content
}

func flippedData(random *rand.Rand, content []byte) []byte {
	flip(random, randomPage(random, content)[64:], 16)
	return content
}

func flippedBit(random *rand.Rand, content []byte) []byte {
	content[random.IntN(usedPages(content)*pageSize)] ^= 1 << random.IntN(8)
	return content
}

func truncated(random *rand.Rand, content []byte) []byte {
	return content[:random.IntN(usedPages(content)*pageSize)]
}

func truncatedAtPage(random *rand.Rand, content []byte) []byte {
	return content[:random.IntN(usedPages(content))*pageSize]
}

func extended(random *rand.Rand, content []byte) []byte {
	tail := make([]byte, 1+random.IntN(3*pageSize))
	randomize(random, tail)
	return append(content, tail...)
}

// misdirected is a write that went to the wrong place.
func misdirected(random *rand.Rand, content []byte) []byte {
	copy(randomPage(random, content), randomPage(random, content))
	return content
}

// stalePage is a write that never reached the disk: one page is as it was before.
func stalePage(older []byte) damage {
	return func(random *rand.Rand, content []byte) []byte {
		id := 2 + random.IntN(len(older)/pageSize-2)
		copy(pageOf(content, id), pageOf(older, id))
		return content
	}
}

// pointBranches sets the child of a random entry of every branch page, where
// target says to.
func pointBranches(target func(random *rand.Rand, self uint64, pages int) uint64) damage {
	return func(random *rand.Rand, content []byte) []byte {
		for id := 2; id < len(content)/pageSize; id++ {
			page := pageOf(content, id)
			if binary.LittleEndian.Uint16(page[8:]) != 1 || binary.LittleEndian.Uint16(page[10:]) == 0 {
				continue
			}
			entry := 16 + 16*random.IntN(int(binary.LittleEndian.Uint16(page[10:])))
			binary.LittleEndian.PutUint64(page[entry+8:], target(random, uint64(id), len(content)/pageSize))
		}
		return content
	}
}

// A branch page that is its own child: bbolt would follow it for ever.
func toItself(_ *rand.Rand, self uint64, _ int) uint64 { return self }

// A number of a page beyond the file: bbolt would fault.
func farAway(random *rand.Rand, _ uint64, pages int) uint64 {
	return uint64(pages) + random.Uint64N(1<<30)
}

func anywhere(random *rand.Rand, _ uint64, pages int) uint64 { return random.Uint64N(uint64(pages)) }

type damageKind struct {
	name  string
	seeds int
	harm  damage
	// want is the only outcome allowed; "" allows each that keeps the promise.
	want store.Outcome
}

func damageKinds(older []byte) []damageKind {
	many, some := seeds(seedsOfMatrix), seeds(seedsOfOurs)
	return []damageKind{
		{"zeroed page", many, zeroedPage, ""},
		{"run of zeroed pages", some, zeroedRun, ""},
		{"page of random bytes", many, randomBytesPage, ""},
		{"16 bytes in a page head", many, flippedHead, ""},
		{"16 bytes of data", many, flippedData, ""},
		{"one bit", some, flippedBit, ""},
		{"truncated", many, truncated, ""},
		{"truncated between pages", some, truncatedAtPage, ""},
		{"garbage behind the end", some, extended, store.OutcomeOpened},
		{"a page in the place of another", some, misdirected, ""},
		{"a page as it was before", some, stalePage(older), ""},
		{"first meta", many, harmMeta(0), store.OutcomeRepaired},
		{"second meta", many, harmMeta(1), store.OutcomeRepaired},
		{"both metas", many, harmMeta(0, 1), store.OutcomeRestored},
		{"a branch page that is its own child", many, pointBranches(toItself), store.OutcomeRestored},
		{"a branch that leads out of the file", some, pointBranches(farAway), store.OutcomeRestored},
		{"a branch that leads anywhere", some, pointBranches(anywhere), ""},
		{"first meta zeroed", 1, zeroMeta(0), store.OutcomeRepaired},
		{"second meta zeroed", 1, zeroMeta(1), store.OutcomeRepaired},
		{"both metas zeroed", 1, zeroMeta(0, 1), store.OutcomeRestored},
		{"size 0", 1, cutTo(0), store.OutcomeRestored},
		{"100 bytes", 1, cutTo(100), store.OutcomeRestored},
		{"one page", 1, cutTo(pageSize), store.OutcomeRestored},
	}
}

func seeds(of int) int {
	if underRace && *damageRounds == 1 {
		return of / 5
	}
	return of * *damageRounds
}

func seeded(seed int) *rand.Rand { return rand.New(rand.NewPCG(7, uint64(seed))) }

// TestDamage_IsRepairedOrRestored opens each damaged file in a child process: it
// must not crash or hang, and end with everything that was committed, or with
// the backup, the reason, a new epoch and the bad file kept.
func TestDamage_IsRepairedOrRestored(t *testing.T) {
	t.Parallel()
	good := goodFolder(t)
	_, original := openCopyOfContent(t, good["state.db"])
	for _, kind := range damageKinds(good["state.db.bak"]) {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			inspector := newBatch(t, "inspect")
			dir, ended := newFastFolder(t), map[store.Outcome]int{}
			for seed := range kind.seeds {
				harmed := kind.harm(seeded(seed), slices.Clone(good["state.db"]))
				refill(t, dir, map[string][]byte{"state.db": harmed, "state.db.bak": good["state.db.bak"]})
				got := inspector.play(dir)
				if kind.want != "" && got.Report.Outcome != kind.want {
					t.Errorf("seed %d: %+v, want %s", seed, got, kind.want)
				}
				if err := checkOutcome(dir, harmed, original.Epoch, got); err != nil {
					t.Errorf("seed %d: %v: %+v", seed, err, got)
				}
				ended[got.Report.Outcome]++
			}
			t.Log(ended)
		})
	}
}

// TestDamage_OfBackupsToo damages the database and its newest backup: the next
// backup is taken.
func TestDamage_OfBackupsToo(t *testing.T) {
	t.Parallel()
	good := goodFolder(t)
	_, original := openCopyOfContent(t, good["state.db"])
	inspector := newBatch(t, "inspect")
	dir := newFastFolder(t)
	for _, kind := range damageKinds(good["state.db.bak"]) {
		for seed := range min(kind.seeds, 10) {
			random := seeded(seed)
			harmed := harmMeta(0, 1)(random, slices.Clone(good["state.db"]))
			refill(t, dir, map[string][]byte{
				"state.db":       harmed,
				"state.db.bak":   kind.harm(random, slices.Clone(good["state.db.bak"])),
				"state.db.bak.1": good["state.db.bak"],
			})
			got := inspector.play(dir)
			err := checkOutcome(dir, harmed, original.Epoch, got)
			if err != nil || got.Report.Outcome != store.OutcomeRestored || got.Report.PreviousEpoch != original.Epoch {
				t.Errorf("%s, seed %d: %v: %+v, want a restore from the epoch %s", kind.name, seed, err, got, original.Epoch)
			}
		}
	}
}

// newFastFolder is a folder in memory where there is such a thing: what is
// flushed makes no difference here, and thousands of flushes take time.
func newFastFolder(t testing.TB) string {
	t.Helper()
	parent, err := os.MkdirTemp("/dev/shm", "store-test-")
	if err != nil {
		return newFolder(t)
	}
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	return filepath.Join(parent, "state")
}

// refill makes the folder and its content anew.
func refill(t testing.TB, dir string, files map[string][]byte) {
	t.Helper()
	must(t, os.RemoveAll(dir))
	must(t, os.Mkdir(dir, 0o700))
	for name, content := range files {
		must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
}

// goodDigests has the digest of the first n rows of the good folder at n.
var goodDigests = sync.OnceValue(func() []string {
	digests, sum := []string{newDigest().String()}, newDigest()
	for i := range rowsCommitted {
		sum.add(rowKey(i), goodRow(i))
		digests = append(digests, sum.String())
	}
	return digests
})

// allowedRows says how many rows each outcome may end with.
var allowedRows = map[store.Outcome][]int{
	store.OutcomeOpened:   {rowsCommitted},
	store.OutcomeRepaired: {rowsCommitted, rowsCommitted - 1},
	store.OutcomeRestored: {rowsInBackup},
	store.OutcomeReset:    {0},
}

// checkOutcome says which promise of the package a case broke.
func checkOutcome(dir string, harmed []byte, epoch string, got childResult) error {
	report := got.Report
	if got.Died != "" || got.Error != "" {
		return fmt.Errorf("%s%s", got.Died, got.Error)
	}
	if !slices.Contains(allowedRows[report.Outcome], got.Rows) || got.Digest != goodDigests()[got.Rows] {
		return fmt.Errorf("wrong rows, want the first of %v", allowedRows[report.Outcome])
	}
	if sameEpoch := report.Epoch == epoch; sameEpoch != (report.Outcome == store.OutcomeOpened) {
		return fmt.Errorf("epoch was %s", epoch)
	}
	if said := report.Reason != ""; said == (report.Outcome == store.OutcomeOpened) {
		return fmt.Errorf("reason %q", report.Reason)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.new")); len(left) > 0 {
		return fmt.Errorf("left over: %v", left)
	}
	if report.Outcome != store.OutcomeRestored && report.Outcome != store.OutcomeReset {
		return nil
	}
	if kept, err := os.ReadFile(filepath.Join(dir, report.BadFile)); err != nil || string(kept) != string(harmed) {
		return fmt.Errorf("bad file %q has %d bytes: %w", report.BadFile, len(kept), err)
	}
	return nil
}
