package adminapi_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/portaltest"
)

// slowDatabase waits before it cannot be read.
type slowDatabase struct{ begun, fail chan struct{} }

func (d slowDatabase) WriteSnapshot(ctx context.Context, _ io.Writer) error {
	close(d.begun)
	select {
	case <-d.fail:
		return errors.New("no space left")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A backup costs a copy of the database: there is one at a time, and one that
// broke off is recorded as that.
func TestBackupsAreTakenOneAtATime(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	database := slowDatabase{make(chan struct{}), make(chan struct{})}
	portal.Database = database
	portal.Start(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, portal.Web.URL+"/v1/admin/backup", nil)
		if err != nil {
			t.Error(err)
			return
		}
		request.Header.Set("Authorization", "Bearer "+portal.AdminToken)
		if answer, err := portal.Web.Client().Do(request); err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
	}()
	<-database.begun
	if got := portal.Admin(t, http.MethodGet, "/v1/admin/backup", nil); got.Problem(t) != protocol.ProblemUnavailable {
		t.Errorf("a second one: %d %s", got.Status, got.Body)
	}
	if done := countDone(t, portal, audit.ActionBackup); done != 1 {
		t.Errorf("%d backups are recorded while one is taken", done)
	}
	close(database.fail)
	<-ended
	if done := countDone(t, portal, audit.ActionBackup); done != 0 {
		t.Errorf("%d backups are recorded as taken, after one broke off", done)
	}
}
