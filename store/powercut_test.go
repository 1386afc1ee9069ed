package store_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prlagent/store"
)

// stepsOfWork is how far the work goes. There is a backup after every fourth.
const stepsOfWork = 10

// workStep makes commit number n: rows of all sizes come, change and go, so that
// pages are freed and used again.
func workStep(tx *store.Tx, n int) error {
	err := rows.Put(tx, "step", &row{Count: n})
	for i := range 12 {
		err = errors.Join(err, rows.Put(tx, rowKey(n*12+i), new(goodRow(n))))
	}
	err = errors.Join(err, rows.Put(tx, rowKey(n*6), &row{Name: strings.Repeat("w", n*700), Count: n}))
	for i := range 5 {
		err = errors.Join(err, rows.Delete(tx, rowKey((n-3)*12+i)))
	}
	return err
}

// currentStep is the number of the last commit that is there.
func currentStep(s *store.Store) (n int, err error) {
	var last row
	_, err = rows.Load(s, "step", &last)
	return last.Count, err
}

// work opens the store and goes on with the steps. Of each that is committed it
// says the number and the epoch, as the agent tells the portal.
func work(dir string) (result childResult) {
	s, _, err := store.Open(context.Background(), dir, store.Options{})
	if err != nil {
		return result.failed(err)
	}
	n, err := currentStep(s)
	for ; err == nil; n++ {
		_, err = fmt.Fprintf(os.Stdout, "step %d %s\n", n, s.Epoch())
		if n == stepsOfWork || err != nil {
			break
		}
		if err = s.Update(func(tx *store.Tx) error { return workStep(tx, n+1) }); err == nil && (n+1)%4 == 0 {
			err = s.Backup()
		}
	}
	if err = errors.Join(err, s.Close()); err != nil {
		panic(err)
	}
	return result
}

// worked is a folder after some steps, and the digest after each step.
type worked struct {
	files   map[string][]byte
	epoch   string
	digests []string
}

func workInFolder(t testing.TB, steps int) worked {
	t.Helper()
	dir := newFastFolder(t)
	s, report, err := store.Open(context.Background(), dir, store.Options{})
	must(t, err)
	done := worked{epoch: report.Epoch}
	for n := range steps + 1 {
		if n > 0 {
			mustUpdate(t, s, func(tx *store.Tx) error { return workStep(tx, n) })
		}
		if n > 0 && n%4 == 0 {
			must(t, s.Backup())
		}
		sum := newDigest()
		must(t, s.View(func(tx *store.Tx) error {
			return rows.Each(tx, func(key string, content *row) error { sum.add(key, *content); return nil })
		}))
		done.digests = append(done.digests, sum.String())
	}
	mustClose(t, s)
	done.files = filesOf(t, dir)
	return done
}

func filesOf(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, entry := range entries {
		files[entry.Name()], err = os.ReadFile(filepath.Join(dir, entry.Name()))
		must(t, err)
	}
	return files
}

// outage is a course of events the power may fail in.
type outage struct {
	name    string
	files   map[string][]byte // at the beginning
	outcome store.Outcome     // of the first open
	step    int               // that it finds
}

func outages(done worked) []outage {
	harmed := zeroMeta(0, 1)(nil, slices.Clone(done.files["state.db"]))
	halfHarmed := zeroMeta(0)(nil, slices.Clone(done.files["state.db"]))
	return []outage{
		{"from nothing", nil, store.OutcomeCreated, 0},
		{"going on", map[string][]byte{"state.db": done.files["state.db"]}, store.OutcomeOpened, 8},
		{"repair", map[string][]byte{"state.db": halfHarmed}, store.OutcomeRepaired, 7},
		{"restore", map[string][]byte{"state.db": harmed, "state.db.bak": done.files["state.db.bak.1"]}, store.OutcomeRestored, 4},
		{"restore of a missing one", map[string][]byte{"state.db.bak": done.files["state.db.bak"]}, store.OutcomeRestored, 8},
		{"reset", map[string][]byte{"state.db": harmed, "state.db.bak": harmed}, store.OutcomeReset, 0},
	}
}

// recording is what the work did in an outage's folder.
func (o outage) recording(t *testing.T) []change {
	t.Helper()
	dir := newFolder(t)
	refill(t, dir, o.files)
	changes := recordRole(t, "work", dir)
	replayed := newDisk(o.files)
	for _, c := range changes {
		replayed.do(c)
	}
	if got := replayed.cut(len(replayed.pending), everything); !maps.EqualFunc(got, filesOf(t, dir), slices.Equal) {
		t.Fatal("the recording does not lead to the folder: something the store does is not recorded")
	}
	return changes
}

// known is what the outside knows when the power fails.
type known struct {
	said  bool
	step  int
	epoch string
}

func (k *known) hear(t *testing.T, c change) {
	if c.Op != opSaid || !strings.HasPrefix(c.Name, "step ") {
		return
	}
	if _, err := fmt.Sscanf(c.Name, "step %d %s", &k.step, &k.epoch); err != nil {
		t.Fatalf("the work says %q: %v", c.Name, err)
	}
	k.said = true
}

// cutter opens what power failures leave.
type cutter struct {
	t         *testing.T
	outage    outage
	done      worked
	inspector *batch
	dir       string
	seen      map[[sha256.Size]byte]bool
	ended     map[store.Outcome]int
}

func newCutter(t *testing.T, o outage, done worked) *cutter {
	return &cutter{
		t: t, outage: o, done: done, inspector: newBatch(t, "inspect"), dir: newFastFolder(t),
		seen: map[[sha256.Size]byte]bool{}, ended: map[store.Outcome]int{},
	}
}

// try opens what a power failure left, unless the same was tried already.
func (c *cutter) try(left map[string][]byte, knows known, check func(*cutter, childResult, known) error) {
	c.t.Helper()
	sum := sha256.New()
	fmt.Fprintln(sum, knows)
	for _, name := range slices.Sorted(maps.Keys(left)) {
		fmt.Fprintln(sum, name, len(left[name]))
		_, _ = sum.Write(left[name])
	}
	state := [sha256.Size]byte(sum.Sum(nil))
	if c.seen[state] {
		return
	}
	c.seen[state] = true
	if underRace && *damageRounds == 1 && len(c.seen)%4 != 0 {
		return
	}
	refill(c.t, c.dir, left)
	got := c.inspector.play(c.dir)
	c.ended[got.Report.Outcome]++
	if err := errors.Join(check(c, got, knows), c.badFileKept(got)); err != nil {
		c.t.Errorf("known: %+v: %v: %+v", knows, err, got)
	}
}

// badFileKept checks that the damaged file there was at the beginning is
// somewhere.
func (c *cutter) badFileKept(got childResult) error {
	harmed := c.outage.files["state.db"]
	if harmed == nil || c.outage.outcome != store.OutcomeRestored && c.outage.outcome != store.OutcomeReset {
		return nil
	}
	bad, err := filepath.Glob(filepath.Join(c.dir, "state.db.bad-*"))
	for _, name := range bad {
		if content, err := os.ReadFile(name); err == nil && slices.Equal(content, harmed) {
			return nil
		}
	}
	return fmt.Errorf("the damaged file is lost, there is %v, %v", bad, err)
}

// honest checks what holds on any disk: nothing invented, and what may have lost
// a commit says so.
func honest(c *cutter, got childResult, knows known, steps ...int) error {
	at := slices.Index(c.done.digests, got.Digest)
	silent := got.Report.Outcome == store.OutcomeOpened || got.Report.Outcome == store.OutcomeCreated
	switch {
	case got.Died != "" || got.Error != "":
		return fmt.Errorf("%s%s", got.Died, got.Error)
	case at < 0:
		return errors.New("a state that was never committed")
	case !slices.Contains(steps, at):
		return fmt.Errorf("step %d, want one of %v", at, steps)
	case silent == (got.Report.Reason != ""):
		return fmt.Errorf("reason %q", got.Report.Reason)
	case silent && knows.said && got.Report.Epoch != knows.epoch:
		return errors.New("another epoch without a reason")
	case !silent && !c.toldAgain(got, knows) && got.Report.Epoch == knows.epoch:
		return errors.New("the same epoch")
	case !knows.said && c.outage.outcome != store.OutcomeOpened && got.Report.Epoch == c.done.epoch:
		return errors.New("the epoch of before the damage")
	}
	return nil
}

// toldAgain: nothing was committed since the first open, whose report is repeated.
func (c *cutter) toldAgain(got childResult, knows known) bool {
	return got.Report.Outcome == c.outage.outcome && knows.step == c.outage.step
}

// lastOrNext checks what holds on a disk that keeps its word: the last commit, or
// the one that was being made; never a restore but the one that was under way.
func lastOrNext(c *cutter, got childResult, knows known) error {
	allowed := []store.Outcome{store.OutcomeOpened, store.OutcomeRepaired}
	if knows.step == c.outage.step {
		allowed = append(allowed, c.outage.outcome)
	}
	loud := c.outage.outcome != store.OutcomeOpened && c.outage.outcome != store.OutcomeCreated
	if loud && got.Digest == c.done.digests[c.outage.step] {
		allowed = []store.Outcome{store.OutcomeRepaired, c.outage.outcome} // or nobody has been told
	}
	if !slices.Contains(allowed, got.Report.Outcome) {
		return fmt.Errorf("want one of %v", allowed)
	}
	return honest(c, got, knows, knows.step, knows.step+1)
}

// TestPowerLoss_AtEveryStep cuts the power before and after everything the store
// did, at every flush and between: of what was not flushed anything may be lost,
// torn or garbled.
func TestPowerLoss_AtEveryStep(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("one goroutine, again and again, which takes the race detector long")
	}
	done := workInFolder(t, stepsOfWork)
	before := workInFolder(t, 8)
	done.files, done.epoch = before.files, before.epoch
	for _, o := range outages(done) {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			cutter := newCutter(t, o, done)
			now, knows, changes := newDisk(o.files), known{step: o.step}, o.recording(t)
			for i, c := range changes {
				now.do(c)
				knows.hear(t, c)
				if c.Op == opWrite && changes[i+1].Op == opWrite && *damageRounds == 1 {
					// What may be lost here may be lost after the last write too.
					cutter.try(now.cut(len(now.pending), everything), knows, lastOrNext)
					continue
				}
				for _, left := range now.cuts(seeded(i), *damageRounds) {
					cutter.try(left, knows, lastOrNext)
				}
			}
			t.Log(len(cutter.seen), "states:", cutter.ended)
		})
	}
}

// TestPowerLoss_OfADiskThatLies is about a disk that says it has flushed one
// commit and has not: that commit may be gone, with the backup that was made of
// it, but what is left is a state that was committed, or a restore that says so.
func TestPowerLoss_OfADiskThatLies(t *testing.T) {
	t.Parallel()
	done := workInFolder(t, stepsOfWork)
	o := outage{name: "from nothing", outcome: store.OutcomeCreated}
	changes := o.recording(t)
	cutter := newCutter(t, o, done)
	var windows []int // where the work said something
	for i, c := range changes {
		if c.Op == opSaid {
			windows = append(windows, i)
		}
	}
	for n := range len(windows) - 1 {
		now, knows := newDisk(nil), known{}
		for i, c := range changes[:windows[n+1]+1] {
			now.lies = i > windows[n]
			now.do(c)
			knows.hear(t, c)
			if i >= windows[n+1]-1 || now.lies && *damageRounds > 1 {
				for _, left := range now.cuts(seeded(i), *damageRounds) {
					cutter.try(left, knows, lastFewOrRestored)
				}
			}
		}
	}
	t.Log(len(cutter.seen), "states:", cutter.ended)
}

func lastFewOrRestored(c *cutter, got childResult, knows known) error {
	switch got.Report.Outcome {
	case store.OutcomeRestored:
		backup := knows.step / 4 * 4
		return honest(c, got, knows, backup, backup-4, knows.step+1)
	case store.OutcomeReset:
		return honest(c, got, knows, 0)
	}
	return honest(c, got, knows, knows.step-1, knows.step, knows.step+1)
}

// TestPowerLoss_BackupsAreThere damages the database after the power failed: the
// last backup that was made before is there, or one that was being made.
func TestPowerLoss_BackupsAreThere(t *testing.T) {
	t.Parallel()
	done := workInFolder(t, stepsOfWork)
	o := outage{name: "from nothing", outcome: store.OutcomeCreated}
	cutter := newCutter(t, o, done)
	now, knows := newDisk(nil), known{}
	for _, c := range o.recording(t) {
		now.do(c)
		knows.hear(t, c)
		all := len(now.pending)
		for _, left := range []map[string][]byte{now.cut(0, nothing), now.cut(all, nothing), now.cut(all, everything)} {
			if knows.step >= 4 {
				left["state.db"] = []byte("damaged")
				cutter.try(left, knows, lastBackup)
			}
		}
	}
	t.Log(len(cutter.seen), "states:", cutter.ended)
}

func lastBackup(c *cutter, got childResult, knows known) error {
	if got.Report.Outcome != store.OutcomeRestored {
		return errors.New("want it restored")
	}
	last := knows.step / 4 * 4
	return honest(c, got, knows, last, last+4)
}

// TestPowerLoss_MetaWithoutItsPages: of a commit only the meta reached the disk.
// bbolt writes into the pages of the commit before last, so that the meta leads to
// what that one left: whole, but old.
func TestPowerLoss_MetaWithoutItsPages(t *testing.T) {
	t.Parallel()
	dir := newFastFolder(t)
	s, _ := mustOpen(t, dir, store.Options{})
	path, before := filepath.Join(dir, "state.db"), []byte(nil)
	for count := range 12 {
		mustUpdate(t, s, func(tx *store.Tx) error { return rows.Put(tx, "a", &row{Count: count}) })
		after, err := os.ReadFile(path)
		must(t, err)
		if count > 1 {
			checkMetaWithoutPages(t, before, after, count)
		}
		before = after
	}
}

func checkMetaWithoutPages(t *testing.T, before, after []byte, count int) {
	t.Helper()
	left := slices.Clone(before)
	copy(left[:2*pageSize], after[:2*pageSize])
	s, report := openCopyOfContent(t, left)
	found := row{}
	must(t, s.View(func(tx *store.Tx) (err error) { _, err = rows.Get(tx, "a", &found); return err }))
	if report.Outcome == store.OutcomeOpened && found.Count < count-1 {
		t.Errorf("opened with commit %d of %d: %+v", found.Count, count, report)
	}
}
