package server

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"prlagent/cmd/prlportal/site"
)

// newSite is a site as init makes it, in a folder that any account may enter.
func newSite(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for folder := dir; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	options := site.Options{Name: "Example Org", Hosts: []string{"localhost"}, PrimaryGroup: "default", Now: time.Now()}
	if _, err := options.Create(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// wantRefusal checks the keys and fails unless it is refused because of the one
// named; with --demo it is not.
func wantRefusal(t *testing.T, folder, key string) {
	t.Helper()
	if err := checkSigningKeys(Options{Folder: folder}, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), key) {
		t.Errorf("serve of %s: %v, want it refused because of %s", folder, err, key)
	}
	if err := checkSigningKeys(Options{Folder: folder, Demo: true}, zerolog.Nop()); err != nil {
		t.Errorf("serve --demo of %s: %v", folder, err)
	}
}

func TestH64_AReadableSigningKeyIsRefused(t *testing.T) {
	t.Parallel()
	for name, place := range map[string]func(t *testing.T, dir string) (key string){
		"the operator's folder beside": func(*testing.T, string) string { return site.CommandKeyFile },
		"a copy under another name": func(t *testing.T, dir string) string {
			return move(t, dir, filepath.Join(site.PortalFolder, "backup.txt"))
		},
		"a copy deep in the content": func(t *testing.T, dir string) string {
			return move(t, dir, filepath.Join(site.PortalFolder, site.ContentFolder, "policies", "x.json"))
		},
		"a link": func(t *testing.T, dir string) string {
			move(t, dir, "elsewhere.key")
			link := filepath.Join(dir, site.PortalFolder, "old.pem")
			if err := os.Symlink(filepath.Join(dir, "elsewhere.key"), link); err != nil {
				t.Fatal(err)
			}
			return "old.pem"
		},
		"a key behind a certificate": func(t *testing.T, dir string) string {
			path := filepath.Join(dir, move(t, dir, filepath.Join(site.PortalFolder, "both.pem")))
			key, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			certificate, err := os.ReadFile(filepath.Join(dir, site.PortalFolder, site.CertificateFile))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, append(certificate, key...), 0o600); err != nil {
				t.Fatal(err)
			}
			return "both.pem"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newSite(t)
			key := place(t, dir)
			wantRefusal(t, filepath.Join(dir, site.PortalFolder), key)
		})
	}
}

// move leaves one signing key, at another place of the site, and gives that place.
func move(t *testing.T, dir, to string) string {
	t.Helper()
	if err := os.Rename(filepath.Join(dir, site.OperatorFolder, site.PolicyKeyFile), filepath.Join(dir, to)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, site.OperatorFolder)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestH64_ThePortalsOwnKeyIsNoSigningKey(t *testing.T) {
	t.Parallel()
	dir := newSite(t)
	if err := os.RemoveAll(filepath.Join(dir, site.OperatorFolder)); err != nil {
		t.Fatal(err)
	}
	if err := checkSigningKeys(Options{Folder: filepath.Join(dir, site.PortalFolder)}, zerolog.Nop()); err != nil {
		t.Error(err)
	}
}

// What counts is what the serving account can really open, not whose files they
// are or what their modes say: for root, who serves, the operator's folder is
// readable whatever its mode; for an account of its own it is not.
func TestH64_TheServersAccountDecides(t *testing.T) {
	t.Parallel()
	dir := newSite(t)
	portal, operator := filepath.Join(dir, site.PortalFolder), filepath.Join(dir, site.OperatorFolder)
	if os.Geteuid() != 0 {
		if err := os.Chmod(operator, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(operator, 0o700) })
		if err := checkSigningKeys(Options{Folder: portal}, zerolog.Nop()); err != nil {
			t.Errorf("with an operator's folder that is closed: %v", err)
		}
		return
	}
	const account = 65534
	if err := os.Chown(portal, account, account); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(operator, 0); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, portal, site.CommandKeyFile) // root opens what has no mode at all
	asAccount(t, account, func() {
		if err := checkSigningKeys(Options{Folder: portal}, zerolog.Nop()); err != nil {
			t.Errorf("for an account that cannot open the operator's folder: %v", err)
		}
	})
	if err := os.Chmod(operator, 0o755); err != nil {
		t.Fatal(err)
	}
	asAccount(t, account, func() {
		if err := checkSigningKeys(Options{Folder: portal}, zerolog.Nop()); err != nil {
			t.Errorf("for an account that can list the keys and not open them: %v", err)
		}
	})
	if err := os.Chmod(filepath.Join(operator, site.PolicyKeyFile), 0o644); err != nil {
		t.Fatal(err)
	}
	asAccount(t, account, func() { wantRefusal(t, portal, site.PolicyKeyFile) })
}

// asAccount works in a thread of that account alone, which ends with it.
func asAccount(t *testing.T, uid int, work func()) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has an account for each thread")
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is of no other use
		_, _, failed := unix.RawSyscall(setresuid, uintptr(uid), uintptr(uid), uintptr(uid))
		if failed != 0 {
			done <- failed
			return
		}
		work()
		done <- nil
	}()
	if err := <-done; err != nil {
		t.Fatalf("become %d: %v", uid, err)
	}
}
