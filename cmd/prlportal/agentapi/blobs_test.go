package agentapi_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

// upload sends content as the agent does; headers replace its own.
func upload(t *testing.T, portal *portaltest.Portal, token string, content []byte, headers ...string) portaltest.Answer {
	t.Helper()
	sum := sha256.Sum256(content)
	return portal.Call(t, http.MethodPut, "/v1/blobs/"+hex.EncodeToString(sum[:]), content, append([]string{
		"Authorization", "Bearer " + token, "Content-Type", "application/octet-stream", "Content-Digest", "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":",
	}, headers...)...)
}

// A Mac uploads what it was asked for, and only then; an operator fetches it.
func TestDiagnosticsAreUploadedOnRequestOnly(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	bundle := []byte("support bundle")
	portaltest.WantProblem(t, upload(t, portal, m.Token, bundle), protocol.ProblemInvalidRequest)
	portal.Issue(t, m.NewCommand("inventory.refresh", nil, nil))
	command := portal.Issue(t, m.NewCommand("diagnostics", nil, nil))
	portaltest.WantProblem(t, upload(t, portal, m.Token, bundle), protocol.ProblemInvalidRequest) // it was not sent yet
	say(t, m, nothing)
	if got := upload(t, portal, m.Token, bundle); got.Status != http.StatusNoContent {
		t.Fatalf("upload: %d %s", got.Status, got.Body)
	}
	if got := upload(t, portal, m.Token, bundle); got.Status != http.StatusNoContent {
		t.Fatalf("its repeat: %d %s", got.Status, got.Body)
	}
	detail := portal.Command(t, command.CommandID)
	if detail.Blob == nil || detail.Blob.Size != int64(len(bundle)) {
		t.Fatalf("blob is %+v", detail.Blob)
	}
	got := portal.Admin(t, http.MethodGet, "/v1/admin/commands/"+command.CommandID+"/blob", nil)
	if got.Status != http.StatusOK || !bytes.Equal(got.Body, bundle) {
		t.Errorf("fetched is %d %q", got.Status, got.Body)
	}
	result := protocol.Result{CommandID: command.CommandID, State: protocol.CommandSucceeded, Code: protocol.CodeCommandDone, EndedAt: portal.Clock.Now()}
	say(t, m, func(r *protocol.CheckinRequest) { r.Results = []protocol.Result{result} })
	portaltest.WantProblem(t, upload(t, portal, m.Token, []byte("more")), protocol.ProblemInvalidRequest)
	portal.Clock.Advance(31 * 24 * 36e11)
	got = portal.Admin(t, http.MethodGet, "/v1/admin/commands/"+command.CommandID+"/blob", nil)
	portaltest.WantProblem(t, got, protocol.ProblemNotFound)
}

// Another device, a stranger, another digest, a compressed one, one too long: nothing is
// kept of any.
func TestHostileUploadsAreRefused(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	other := portaltest.NewMac(t, portal, "C02BBBBBBBBB")
	other.Enroll(t, http.StatusCreated)
	portal.Issue(t, m.NewCommand("diagnostics", nil, nil))
	say(t, m, nothing)
	for name, test := range map[string]struct {
		token   string
		content []byte
		headers []string
		want    string
	}{
		"of a Mac that was not asked": {other.Token, []byte("x"), nil, protocol.ProblemInvalidRequest},
		"of a stranger":               {"stranger", []byte("x"), nil, protocol.ProblemDeviceUnknown},
		"without a token":             {"", []byte("x"), nil, protocol.ProblemUnauthenticated},
		"by an admin":                 {portal.AdminToken, []byte("x"), nil, protocol.ProblemDeviceUnknown},
		"with another digest":         {m.Token, []byte("x"), []string{"Content-Digest", "sha-256=:AAAA:"}, protocol.ProblemInvalidRequest},
		"without a digest":            {m.Token, []byte("x"), []string{"Content-Digest", ""}, protocol.ProblemInvalidRequest},
		"compressed":                  {m.Token, []byte("x"), []string{"Content-Encoding", "gzip"}, protocol.ProblemEncoding},
		"one byte too long":           {m.Token, make([]byte, protocol.MaxBlob+1), nil, protocol.ProblemTooLarge},
	} {
		portaltest.WantProblem(t, upload(t, portal, test.token, test.content, test.headers...), test.want)
		if kept, _ := filepath.Glob(filepath.Join(portal.Dir, site.PortalFolder, site.BlobFolder, "*", "*")); len(kept) > 0 {
			t.Fatalf("%s: kept is %v", name, kept)
		}
	}
	lie := portal.Call(t, http.MethodPut, "/v1/blobs/"+strings.Repeat("0", 64), []byte("x"), "Authorization", "Bearer "+m.Token,
		"Content-Type", "application/octet-stream", "Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(make([]byte, 32))+":")
	portaltest.WantProblem(t, lie, protocol.ProblemInvalidRequest)
	portaltest.WantProblem(t, portal.Call(t, http.MethodPut, "/v1/blobs/portal.db", []byte("x"), "Authorization", "Bearer "+m.Token), protocol.ProblemNotFound)
	if kept, _ := filepath.Glob(filepath.Join(portal.Dir, site.PortalFolder, site.BlobFolder, "*", "*")); len(kept) > 0 {
		t.Errorf("kept is %v", kept)
	}
	for range 20 { // more than a Mac has to send in an hour
		if upload(t, portal, m.Token, []byte("x")).Status == http.StatusTooManyRequests {
			return
		}
	}
	t.Error("a Mac uploads without end")
}

// A marked device, or one whose command was withheld since, uploads nothing (H55, H69).
func TestH69_AWithheldCommandTakesNoUpload(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	portal.Issue(t, m.NewCommand("diagnostics", nil, nil))
	say(t, m, nothing)
	portal.Clock.Advance(36e11)
	m.Enroll(t, http.StatusCreated)
	portaltest.WantProblem(t, upload(t, portal, m.Token, []byte("x")), protocol.ProblemInvalidRequest)
	device, err := portal.Store.Device(t.Context(), storage.ByID(m.DeviceID))
	if err != nil {
		t.Fatal(err)
	}
	device.Duplicate = &storage.Duplicate{Reason: storage.DuplicateSequence}
	if err := portal.Store.Save(t.Context(), storage.Change{Device: device}); err != nil {
		t.Fatal(err)
	}
	portaltest.WantProblem(t, upload(t, portal, m.Token, []byte("x")), protocol.ProblemDuplicateIdentity)
	if _, err := os.Stat(filepath.Join(portal.Dir, site.PortalFolder, site.BlobFolder)); !os.IsNotExist(err) {
		t.Errorf("a folder was made: %v", err)
	}
}
