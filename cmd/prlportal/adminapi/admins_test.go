package adminapi_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/portaltest"
)

// Of those who do one thing at the same time one does it, and the record says so.
func TestH55_TheRecordOfThoseWhoActAtOnce(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	const callers = 8
	for _, act := range []struct{ action, path, body string }{
		{audit.ActionAddAdmin, "/v1/admin/admins", `{"name":"alice","role":"viewer"}`},
		{audit.ActionRevokeAdmin, "/v1/admin/admins/alice/revoke", ""},
	} {
		var all sync.WaitGroup
		statuses := make([]int, callers)
		for i := range callers {
			all.Go(func() { statuses[i] = portal.Admin(t, http.MethodPost, act.path, []byte(act.body)).Status })
		}
		all.Wait()
		done := 0
		for _, status := range statuses {
			if status == http.StatusOK {
				done++
			}
		}
		if recorded := countDone(t, portal, act.action); done != 1 || recorded != 1 {
			t.Errorf("%s: done %d times, and %d times by the record", act.action, done, recorded)
		}
	}
}

// countDone is how many decisions of that kind the record has that were kept.
func countDone(t *testing.T, portal *portaltest.Portal, action string) (count int) {
	t.Helper()
	data, err := os.ReadFile(portal.AuditPath())
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var entry audit.Entry
		if err := json.Unmarshal(line, &entry); err != nil {
			t.Fatal(err)
		}
		switch {
		case entry.Action != action:
		case entry.Outcome == audit.OutcomeDecided:
			count++
		case entry.Outcome == audit.OutcomeFailed:
			count--
		}
	}
	return count
}

// Who was retired is not unwell: nobody asks it any more.
func TestH70_ARetiredMacHasNoHealth(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Unwell(t, portal)
	if got := portal.Admin(t, http.MethodPost, "/v1/admin/devices/"+m.DeviceID+"/retire", []byte(`{}`)); got.Status != http.StatusOK {
		t.Fatalf("retire: %d %s", got.Status, got.Body)
	}
	if got := portal.Device(t); got.Health != "" {
		t.Errorf("it is %q", got.Health)
	}
	portal.Clock.Advance(1000 * time.Hour)
	if got := portal.Device(t); got.Health != "" {
		t.Errorf("later it is %q", got.Health)
	}
}
