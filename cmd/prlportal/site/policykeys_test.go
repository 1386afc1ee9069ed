package site_test

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/site"
)

// The key that a portal and Macs know is not put away for good: another rotation
// begins, and ends, only once the key of the last one has signed what is published at
// every place that there still is.
func TestTwoRotationsLoseNoKeyThatSomebodyKnows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := (site.Options{Name: "Test", Hosts: []string{"portal.example"}, PrimaryGroup: "default", Now: time.Now()}).Create(dir); err != nil {
		t.Fatal(err)
	}
	folder, out := filepath.Join(dir, site.OperatorFolder), t.TempDir()
	present := func() string {
		t.Helper()
		keys, err := site.LoadPolicyKeys(folder)
		if err != nil {
			t.Fatal(err)
		}
		return protocol.KeyID(keys[0].Public().(ed25519.PublicKey))
	}
	publish := func(places map[string]string) {
		t.Helper()
		if err := site.HeadKeys(places).Save(folder); err != nil {
			t.Fatal(err)
		}
	}
	first := present()
	if err := errors.Join(site.BeginRotation(folder), site.FinishRotation(folder)); err != nil {
		t.Fatalf("the first rotation: %v", err)
	}
	for name, test := range map[string]struct {
		places map[string]string
		remedy string
	}{
		"nothing was published":         {nil, "'prlportal renew'"},
		"the portal knows the old key":  {map[string]string{site.PortalPlace: first}, "'prlportal renew'"},
		"a folder has the old one's":    {map[string]string{site.PortalPlace: present(), out: first}, "renew --out " + out + "'"},
		"an old folder, and the portal": {map[string]string{site.PortalPlace: first, "/no/such/folder": present()}, "'prlportal renew'"},
	} {
		publish(test.places)
		if err := site.BeginRotation(folder); !errors.Is(err, site.ErrNotRenewed) || !strings.Contains(err.Error(), test.remedy) {
			t.Errorf("%s: %v", name, err)
		}
	}
	publish(map[string]string{site.PortalPlace: present(), "/no/such/folder": first})
	if err := site.BeginRotation(folder); err != nil {
		t.Fatalf("the second rotation: %v", err)
	}
	// One that began before this was looked at does not end either.
	publish(map[string]string{site.PortalPlace: first})
	before, err := os.ReadFile(filepath.Join(folder, "policy-retired.key"))
	if err := errors.Join(err, site.FinishRotation(folder)); !errors.Is(err, site.ErrNotRenewed) {
		t.Errorf("its end: %v", err)
	}
	publish(map[string]string{site.PortalPlace: present()})
	after, err := os.ReadFile(filepath.Join(folder, "policy-retired.key"))
	if err != nil || string(before) != string(after) {
		t.Errorf("the key that was put away is another one: %v", err)
	}
	if err := site.FinishRotation(folder); err != nil {
		t.Errorf("its end after a renewal: %v", err)
	}
}
