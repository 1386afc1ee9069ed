package admins_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prlagent/cmd/prlportal/admins"
	"prlagent/cmd/prlportal/secret"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, path, legacy string) *admins.Book {
	t.Helper()
	book, err := admins.Open(path, legacy)
	if err != nil {
		t.Fatal(err)
	}
	return book
}

func TestATokenCountsUntilItIsRevoked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "admins.json")
	book := open(t, path, "")
	_, token, err := book.Add("alice", admins.Viewer, "operator", now)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(path); err != nil || strings.Contains(string(data), token) {
		t.Errorf("the file has the token, or is not there: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for _, one := range []*admins.Book{book, open(t, path, "")} {
		if found, known := one.Find(token); !known || found.Name != "alice" || found.Role != admins.Viewer {
			t.Errorf("found %+v, %t", found, known)
		}
		for _, other := range []string{"", token + "x", secret.Hash(token)} {
			if found, known := one.Find(other); known {
				t.Errorf("%q is the token of %s", other, found.Name)
			}
		}
	}
	if _, err := book.Revoke("alice", "operator", now); err != nil {
		t.Fatal(err)
	}
	for _, one := range []*admins.Book{book, open(t, path, "")} {
		if _, known := one.Find(token); known {
			t.Error("a revoked token counts")
		}
	}
	if _, err := book.Revoke("alice", "operator", now); !errors.Is(err, admins.ErrUnknown) {
		t.Errorf("revoked again: %v", err)
	}
	if _, again, err := book.Add("alice", admins.Operator, "operator", now); err != nil || again == token {
		t.Errorf("added again: %v", err)
	}
}

func TestTheTokenOfTheMachineIsInNoFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "admins.json")
	book := open(t, path, "")
	token := book.AddLocal(now)
	if found, known := book.Find(token); !known || found.Role != admins.Approver || found.Name != admins.LocalName {
		t.Errorf("found %+v, %t", found, known)
	}
	if _, known := open(t, path, "").Find(token); known || len(book.List()) != 0 {
		t.Error("it outlives the program")
	}
	if _, known := open(t, path, "").Find(""); known {
		t.Error("no token at all is one")
	}
}

// A site from before admins had names goes on with its token, and can revoke it.
func TestASiteFromBeforeHasOneAdmin(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "admins.json")
	legacy := secret.Hash("the old token")
	book := open(t, path, legacy)
	if found, known := book.Find("the old token"); !known || found.Role != admins.Approver {
		t.Errorf("found %+v, %t", found, known)
	}
	if _, err := book.Revoke(admins.LegacyName, "alice", now); err != nil {
		t.Fatal(err)
	}
	if _, known := open(t, path, legacy).Find("the old token"); known {
		t.Error("the old token counts again")
	}
}

func TestWhoCannotBeAdded(t *testing.T) {
	t.Parallel()
	book := admins.NewBook()
	if _, _, err := book.Add("alice", admins.Viewer, "", now); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		role admins.Role
		want error
	}{
		{"alice", admins.Approver, admins.ErrExists},
		{"bob", "root", admins.ErrRole},
		{"bob", "", admins.ErrRole},
		{"", admins.Viewer, admins.ErrName},
		{"../bob", admins.Viewer, admins.ErrName},
		{"bob\nadmin", admins.Viewer, admins.ErrName},
		{strings.Repeat("b", 65), admins.Viewer, admins.ErrName},
		{"local", admins.Viewer, admins.ErrReserved},
	} {
		if _, _, err := book.Add(test.name, test.role, "", now); !errors.Is(err, test.want) {
			t.Errorf("%q as %q: %v, want %v", test.name, test.role, err, test.want)
		}
	}
}

func TestTheBookDoesNotGrowForEver(t *testing.T) {
	t.Parallel()
	book := admins.NewBook()
	for i := range 1100 {
		name := fmt.Sprintf("admin%d", i)
		if _, _, err := book.Add(name, admins.Viewer, "", now); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if _, err := book.Revoke(name, "", now); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(book.List()); n != 1000 {
		t.Errorf("%d are kept", n)
	}
}

func TestRolesIncludeThoseBeforeThem(t *testing.T) {
	t.Parallel()
	for i, role := range admins.Roles {
		for j, other := range admins.Roles {
			if role.Includes(other) != (i >= j) {
				t.Errorf("%s, %s", role, other)
			}
		}
		if role.Includes("") || admins.Role("").Includes(role) || admins.Role("root").Includes(role) {
			t.Errorf("%s and what is no role", role)
		}
	}
}
