package store_test

import (
	"testing"

	"prlagent/store"
)

func TestOpenCreatesThenOpens(t *testing.T) {
	t.Parallel()
	dir := newFolder(t)
	s, created := mustOpen(t, dir, store.Options{Collections: []string{rows.Name()}})
	if created.Outcome != store.OutcomeCreated || len(created.Epoch) != 32 || created.Reason != "" {
		t.Errorf("first open: %+v", created)
	}
	putRows(t, s, 0, 500)
	mustClose(t, s)
	s, opened := mustOpen(t, dir, store.Options{Collections: []string{rows.Name()}})
	if opened != (store.Report{Outcome: store.OutcomeOpened, Epoch: created.Epoch}) {
		t.Errorf("second open: %+v", opened)
	}
	if got := countRows(t, s); got != 500 {
		t.Errorf("rows after reopen: %d", got)
	}
	if s.Commits() != 0 {
		t.Errorf("opening committed %d times", s.Commits())
	}
}
