package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"prlagent/cmd/prlportal/portaltest"
)

// What a Mac uploaded for a command is listed with it and written to a file.
func TestCommandsSavesAnUpload(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	portal.Clock.Advance(max(0, time.Since(portal.Clock.Now())))
	operator := operatorOf(t, portal)
	id := issuedIn(t, operator.run("command", "diagnostics", "--device", m.Serial, "--reason", "slow", "--yes", m.Serial, "--json"))[0].CommandID
	file := filepath.Join(t.TempDir(), "bundle.tgz")
	operator.wrong("give its ID", "commands", "--save", file)
	if out, err := prlportal(t, append([]string{"commands", id, "--save", file}, operator.flags...)...); err == nil {
		t.Errorf("nothing was saved: %s", out)
	}
	m.Checkin(t)
	content := []byte("support bundle")
	sum := sha256.Sum256(content)
	got := portal.Call(t, http.MethodPut, "/v1/blobs/"+hex.EncodeToString(sum[:]), content, "Authorization", "Bearer "+m.Token,
		"Content-Type", "application/octet-stream", "Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":")
	if got.Status != http.StatusNoContent {
		t.Fatalf("upload: %d %s", got.Status, got.Body)
	}
	portaltest.MustContain(t, operator.run("commands", id), "Upload", "14 bytes", hex.EncodeToString(sum[:]))
	portaltest.MustContain(t, operator.run("commands", id, "--save", file), "Wrote", "14 bytes")
	saved, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(saved, content) {
		t.Errorf("%v, %q", err, saved)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v (%v)", info.Mode(), err)
	}
}
