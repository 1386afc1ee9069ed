// Package admins are the people who may use the portal's admin plane: each has a
// name, a role and a token of their own, of which the portal keeps the hash only.
// They are in a file beside the database and not in it, so that a database that
// is put back brings no revoked token back.
package admins

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"sync"
	"time"

	"prlagent/cmd/prlportal/secret"
	"prlagent/platform/safefile"
)

// Role is what an admin may do. Each one includes those before it.
type Role string

// Roles, from the least.
const (
	Viewer   Role = "viewer"   // reads and exports
	Operator Role = "operator" // publishes and sends commands
	Approver Role = "approver" // decides who is let in: devices and admins
)

// Roles are all roles, from the least.
var Roles = []Role{Viewer, Operator, Approver}

// Includes reports whether who has the role may do what the other one may.
func (r Role) Includes(other Role) bool {
	mine, theirs := slices.Index(Roles, r), slices.Index(Roles, other)
	return mine >= 0 && theirs >= 0 && mine >= theirs
}

// IsKnown reports whether there is such a role.
func (r Role) IsKnown() bool { return slices.Contains(Roles, r) }

// LocalName names who has the token that serve leaves in the portal's folder
// while it runs.
const LocalName = "local"

// LegacyName names who has the token of a site from before admins had names.
const LegacyName = "admin"

// Admin is a person, or a program of theirs.
type Admin struct {
	Name        string    `json:"name"`
	Role        Role      `json:"role"`
	TokenSHA256 string    `json:"token_sha256"`
	AddedAt     time.Time `json:"added_at,omitzero"`
	AddedBy     string    `json:"added_by,omitempty"`
	RevokedAt   time.Time `json:"revoked_at,omitzero"` // zero: the token counts
	RevokedBy   string    `json:"revoked_by,omitempty"`
}

// IsRevoked reports whether the admin's token counts no more.
func (a Admin) IsRevoked() bool { return !a.RevokedAt.IsZero() }

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._@-]{0,63}$`)

// Errors of Add and Revoke.
var (
	ErrName     = errors.New("a name is 1 to 64 of a-z 0-9 . _ @ - and begins with a letter or digit")
	ErrReserved = errors.New("this name is the portal's own")
	ErrRole     = errors.New("a role is viewer, operator or approver")
	ErrExists   = errors.New("there is an admin of that name; revoke it first")
	ErrUnknown  = errors.New("there is no admin of that name")
	ErrTooMany  = errors.New("there are too many admins; revoke some")
)

// How many are kept. The oldest revoked ones are forgotten first.
const (
	maxAdmins   = 1000
	maxFileSize = 1 << 20
)

// New makes an admin, and the token that nobody but them has.
func New(name string, role Role, by string, now time.Time) (made Admin, token string, err error) {
	switch {
	case !namePattern.MatchString(name):
		return Admin{}, "", ErrName
	case name == LocalName:
		return Admin{}, "", ErrReserved
	case !role.IsKnown():
		return Admin{}, "", ErrRole
	}
	token = secret.New()
	return Admin{Name: name, Role: role, TokenSHA256: secret.Hash(token), AddedAt: now.UTC(), AddedBy: by}, token, nil
}

// Book is the file of all admins. Its methods are safe for concurrent use; no
// other process writes the file.
type Book struct {
	path  string // empty: kept in memory only
	mutex sync.RWMutex
	known []Admin
	local Admin
}

// NewBook makes a book that is gone when the program ends.
func NewBook(known ...Admin) *Book { return &Book{known: known} }

// Open reads the file at path. Where there is none, the only admin is the one of
// the legacy hash, if there is one.
func Open(path, legacyHash string) (*Book, error) {
	book := &Book{path: path}
	data, err := safefile.ReadFile(path, maxFileSize)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if legacyHash != "" {
			book.known = []Admin{{Name: LegacyName, Role: Approver, TokenSHA256: legacyHash}}
		}
		return book, nil
	case err != nil:
		return nil, fmt.Errorf("read admins: %w", err)
	}
	if err := json.Unmarshal(data, &book.known); err != nil {
		return nil, fmt.Errorf("decode admins: %w", err)
	}
	for _, one := range book.known {
		if !one.Role.IsKnown() || len(one.TokenSHA256) != 64 {
			return nil, fmt.Errorf("the admin %q has no role or no token", one.Name)
		}
	}
	return book, nil
}

// Encode is the content of a file of admins.
func Encode(known []Admin) ([]byte, error) {
	data, err := json.MarshalIndent(known, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode admins: %w", err)
	}
	return append(data, '\n'), nil
}

// AddLocal makes the token of this machine, which counts until the program ends
// and is in no file of the book.
func (b *Book) AddLocal(now time.Time) (token string) {
	token = secret.New()
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.local = Admin{Name: LocalName, Role: Approver, TokenSHA256: secret.Hash(token), AddedAt: now.UTC()}
	return token
}

// Find is the admin of a token that counts, in a time that does not depend on
// whose it is.
func (b *Book) Find(token string) (found Admin, known bool) {
	b.mutex.RLock()
	defer b.mutex.RUnlock()
	for _, one := range append(slices.Clone(b.known), b.local) {
		if secret.Matches(token, one.TokenSHA256) && !one.IsRevoked() {
			found, known = one, true
		}
	}
	return found, known
}

// List are all admins of the file, also those that were revoked.
func (b *Book) List() []Admin {
	b.mutex.RLock()
	defer b.mutex.RUnlock()
	return slices.Clone(b.known)
}

// Has reports whether there is an admin of that name whose token counts.
func (b *Book) Has(name string) bool {
	b.mutex.RLock()
	defer b.mutex.RUnlock()
	return b.living(name) >= 0
}

// Add makes an admin and gives the token, which is not to be had again.
func (b *Book) Add(name string, role Role, by string, now time.Time) (made Admin, token string, err error) {
	if made, token, err = New(name, role, by, now); err != nil {
		return Admin{}, "", err
	}
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.living(name) >= 0 {
		return Admin{}, "", ErrExists
	}
	changed := append(slices.Clone(b.known), made)
	for len(changed) > maxAdmins {
		oldest := slices.IndexFunc(changed, Admin.IsRevoked)
		if oldest < 0 {
			return Admin{}, "", ErrTooMany
		}
		changed = slices.Delete(changed, oldest, oldest+1)
	}
	return made, token, b.keep(changed)
}

// Revoke ends the token of an admin.
func (b *Book) Revoke(name, by string, now time.Time) (Admin, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	at := b.living(name)
	if at < 0 {
		return Admin{}, ErrUnknown
	}
	changed := slices.Clone(b.known)
	changed[at].RevokedAt, changed[at].RevokedBy = now.UTC(), by
	return changed[at], b.keep(changed)
}

// living is where the admin of that name is whose token counts; -1 for nobody.
func (b *Book) living(name string) int {
	return slices.IndexFunc(b.known, func(one Admin) bool { return one.Name == name && !one.IsRevoked() })
}

// keep has the file on disk before the change counts.
func (b *Book) keep(changed []Admin) error {
	if b.path != "" {
		data, err := Encode(changed)
		if err != nil {
			return err
		}
		if err := safefile.WriteFile(b.path, data, 0o600); err != nil {
			return fmt.Errorf("write admins: %w", err)
		}
	}
	b.known = changed
	return nil
}
