package adminapi_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/storage"
)

// fullStore saves nothing.
type fullStore struct{ fleet.Store }

func (fullStore) Save(context.Context, storage.Change) error { return errors.New("no space left") }

// An approval that could not be saved must not be taken for one.
func TestH01_ApprovalThatCannotBeSaved(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	clone := *m
	m.Checkin(t)
	request, _ := clone.Next(t)
	portaltest.WantProblem(t, clone.Send(t, request), protocol.ProblemDuplicateIdentity)

	works := portal.Store
	portal.Store = fullStore{works}
	portal.Start(t)
	got := portal.Admin(t, http.MethodPost, "/v1/admin/devices/"+m.DeviceID+"/approve", []byte(`{}`))
	if got.Status != http.StatusInternalServerError {
		t.Errorf("approve answered %d %s", got.Status, got.Body)
	}
	portal.Store = works
	portal.Start(t)
	if view := portal.Device(t); view.State != fleet.StateDuplicate {
		t.Errorf("the device is %s, want it as it was", view.State)
	}
}

func TestH01_ApprovalThatCannotBeRead(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	approve := func(body []byte, encoding string) portaltest.Answer {
		return portal.Call(t, http.MethodPost, "/v1/admin/devices/"+m.DeviceID+"/approve", body,
			"Authorization", "Bearer "+portal.AdminToken, "Content-Encoding", encoding)
	}
	portaltest.WantProblem(t, approve(make([]byte, httpapi.MaxSmallBody+1), ""), protocol.ProblemTooLarge)
	portaltest.WantProblem(t, approve([]byte(`{}`), "br"), protocol.ProblemEncoding)
	portaltest.WantProblem(t, approve([]byte(`{}`), "gzip"), protocol.ProblemInvalidRequest)
}
