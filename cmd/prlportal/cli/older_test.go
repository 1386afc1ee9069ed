package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/secret"
	"prlagent/cmd/prlportal/site"
)

// A site from before admins had names and folders worked alone goes on: its token
// lies in the portal's folder, as does the only copy of its certificate.
func TestASiteFromBeforeGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustRun(t, "init", dir)
	portal, operator := filepath.Join(dir, site.PortalFolder), filepath.Join(dir, site.OperatorFolder)
	for _, name := range []string{filepath.Join(portal, site.AdminsFile), filepath.Join(operator, site.AdminTokenFile), filepath.Join(operator, site.TrustFile)} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	var config map[string]any
	data, err := os.ReadFile(filepath.Join(portal, site.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	config["admin_token_sha256"] = secret.Hash("the old token")
	if data, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{site.ConfigFile: data, site.AdminTokenFile: []byte("the old token\n")} {
		if err := os.WriteFile(filepath.Join(portal, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address := serving(t, dir)
	portaltest.MustContain(t, mustRun(t, "devices", "--dir", dir, "--url", address), "No Mac")
	portaltest.MustContain(t, mustRun(t, "devices", "--dir", dir, "--url", address, "--token-file", filepath.Join(portal, site.AdminTokenFile)), "No Mac")
	portaltest.MustContain(t, mustRun(t, "profile", "--dir", dir, "--url", address, "-o", filepath.Join(dir, "x")), "It knows the portal by")
	portaltest.MustContain(t, mustRun(t, "admins", "list", "--dir", dir, "--url", address), "admin", "approver")
	mustRun(t, "admins", "revoke", "admin", "--dir", dir, "--url", address)
	if _, err := prlportal(t, "devices", "--dir", dir, "--url", address, "--token-file", filepath.Join(portal, site.AdminTokenFile)); err == nil {
		t.Error("the revoked token of before counts")
	}
}
