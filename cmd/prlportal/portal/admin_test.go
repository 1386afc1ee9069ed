package portal

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// fullStore saves nothing.
type fullStore struct{ store }

func (fullStore) Save(context.Context, storage.Change) error { return errors.New("no space left") }

// An approval that could not be saved must not be taken for one.
func TestH01_ApprovalThatCannotBeSaved(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	clone := *m
	m.checkin(t)
	request, _ := clone.next(t)
	wantProblem(t, clone.send(t, request), protocol.ProblemDuplicateIdentity)

	works := portal.store
	portal.store = fullStore{works}
	portal.start(t)
	got := portal.admin(t, http.MethodPost, "/v1/admin/devices/"+m.deviceID+"/approve", []byte(`{}`))
	if got.status != http.StatusInternalServerError {
		t.Errorf("approve answered %d %s", got.status, got.body)
	}
	portal.store = works
	portal.start(t)
	if view := portal.device(t); view.State != deviceDuplicate {
		t.Errorf("the device is %s, want it as it was", view.State)
	}
}

func TestH01_ApprovalThatCannotBeRead(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	approve := func(body []byte, encoding string) answer {
		return portal.call(t, http.MethodPost, "/v1/admin/devices/"+m.deviceID+"/approve", body,
			"Authorization", "Bearer "+portal.adminToken, "Content-Encoding", encoding)
	}
	wantProblem(t, approve(make([]byte, maxSmallBody+1), ""), protocol.ProblemTooLarge)
	wantProblem(t, approve([]byte(`{}`), "br"), protocol.ProblemEncoding)
	wantProblem(t, approve([]byte(`{}`), "gzip"), protocol.ProblemInvalidRequest)
}
