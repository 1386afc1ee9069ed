package adminapi_test

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
)

// What people type is understood, or refused with the reason; nothing is quietly
// left out. The command line has the same test.
func TestINV_29_INV_30_INV_31_AsPeopleType(t *testing.T) {
	t.Parallel()
	portal := portaltest.AccentedMacs(t)
	for _, asked := range portaltest.TypedQueries {
		values := url.Values{asked.Parameter: {asked.Typed}}
		if asked.Refused == "" {
			if rows := portal.ListAsTyped(t, "vms", values); names(rows) != asked.Shows {
				t.Errorf("%s %+q shows %+q, want %+q", asked.Parameter, asked.Typed, names(rows), asked.Shows)
			}
			continue
		}
		got := portal.AskAsTyped(t, "vms", values)
		problem, ours := protocol.ParseProblem(got.Status, got.Header.Get("Content-Type"), got.Body)
		if said := problem.Field + ": " + problem.Detail; !ours || !strings.Contains(said, asked.Refused) {
			t.Errorf("%s %+q is answered with %d %s, want a refusal with %q", asked.Parameter, asked.Typed, got.Status, got.Body, asked.Refused)
		}
	}
}

func TestNamesOfParametersInAnyCaseAndOnce(t *testing.T) {
	t.Parallel()
	portal := portaltest.AccentedMacs(t)
	rows := portal.ListAsTyped(t, "vms", url.Values{"Filter": {"vm_name=Café"}, "SORT": {"vm_name"}, " page ": {"1"}})
	if names(rows) != portaltest.Cafe {
		t.Errorf("shows %+q", names(rows))
	}
	got := portal.Admin(t, http.MethodGet, "/v1/admin/vms?page=1&Page=2", nil)
	portaltest.WantProblem(t, got, protocol.ProblemInvalidRequest)
}

// What is compared in one form is sent in the form that it came in.
func TestINV_05_NamesStayAsTheyCame(t *testing.T) {
	t.Parallel()
	portal := portaltest.AccentedMacs(t)
	rows, _ := portal.List(t, "vms", url.Values{"filter": {"vm_name=caf\u00e9"}})
	if len(rows) != 1 || rows[0]["vm_name"] != portaltest.Cafe || rows[0]["computer_name"] != "Zoe\u0308’s MacBook" || rows[0]["user_name"] != "zo\u00eb" {
		t.Errorf("rows are %+q", rows)
	}
}

func TestIDsOfDevicesAsPeopleTypeThem(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	for _, typed := range []string{strings.ToUpper(m.DeviceID), "{" + m.DeviceID + "}", " " + m.DeviceID + " "} {
		got := portal.Admin(t, http.MethodGet, "/v1/admin/devices/"+url.PathEscape(typed)+"/history", nil)
		if got.Status != http.StatusOK {
			t.Errorf("the history of %q is answered with %d", typed, got.Status)
		}
	}
	stranger := *m
	stranger.Key = portaltest.NewKey(t)
	stranger.Enroll(t, http.StatusAccepted)
	body := bytes.ReplaceAll([]byte(`{"key_id":" KEY "}`), []byte("KEY"), []byte(strings.ToUpper(portal.Device(t).Pending[0].KeyID)))
	got := portal.Admin(t, http.MethodPost, "/v1/admin/devices/"+url.PathEscape("{"+strings.ToUpper(m.DeviceID)+"}")+"/approve", body)
	if view := portal.Device(t); got.Status != http.StatusOK || view.State != fleet.StateOK {
		t.Errorf("approve is answered with %d %s, and the device is %s", got.Status, got.Body, view.State)
	}
}
