package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"prlagent/platform/plist"
)

// productDomain holds the product's preferences of one user. The blank is part of
// its name, as dots and blanks are part of its keys (facts/macos.md 5.1).
const productDomain = "com.parallels.Parallels Desktop"

// managedPreferences is the folder of what an MDM forces on everybody, and in a
// folder of their name on one user (facts/macos.md 5.3).
const managedPreferences = "/Library/Managed Preferences"

// preferenceDaemon is cfprefsd as it serves one account: it answers from memory
// and not from the file once it has read a domain (facts/macos.md 5.1), until the
// account's session ends. Who uses it holds the Mac's lock.
type preferenceDaemon struct {
	mac     Mac
	state   *State
	account string
	// remembers says whether the account's daemon of the session is the one that is
	// asked. Any other one reads the file for each question.
	remembers bool
}

// preferencesOf is the daemon that answers an account from within a session, or
// from outside of it: a root program that only dropped to the user.
func (m Mac) preferencesOf(state *State, account string, session int) preferenceDaemon {
	user, known := state.userByName(account)
	reached := session == user.UID || state.assumes("plain_defaults", "same")
	kept := state.assumes("cfprefsd_memory", "session") || state.hasApp(account)
	return preferenceDaemon{m, state, account, known && user.LoggedIn && reached && kept}
}

// preferencesInSession is the daemon of the user's own session.
func (m Mac) preferencesInSession(state *State, account string) preferenceDaemon {
	user, _ := state.userByName(account)
	return m.preferencesOf(state, account, user.UID)
}

func (s *State) hasApp(account string) bool {
	return slices.ContainsFunc(s.Apps, func(app runningApp) bool { return app.User == account })
}

// preferenceFile is the Mac path of a domain of an account.
func (s *State) preferenceFile(account, domain string) string {
	return s.homeOf(account) + "/Library/Preferences/" + domain + ".plist"
}

// memoryOf is the file that stands for what cfprefsd has in memory for a user.
func (m Mac) memoryOf(uid int, domain string) string {
	return filepath.Join(m.memoryFolder(uid), domain+".plist")
}

func (m Mac) memoryFolder(uid int) string {
	return m.markerPath(filepath.Join("cfprefsd", strconv.Itoa(uid)))
}

func (p preferenceDaemon) memory(domain string) string {
	user, _ := p.state.userByName(p.account)
	return p.mac.memoryOf(user.UID, domain)
}

// own are the values of the user's domain, without those that are forced.
func (p preferenceDaemon) own(domain string) (map[string]any, error) {
	if p.remembers {
		switch values, err := readPreferences(p.memory(domain)); {
		case !errors.Is(err, fs.ErrNotExist):
			return values, err
		}
	}
	values, err := readPreferences(p.mac.Path(p.state.preferenceFile(p.account, domain)))
	var unreadable *plist.Error
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.As(err, &unreadable):
		values = map[string]any{} // a file that is none is no domain (inferred)
	case err != nil:
		return nil, err
	}
	if p.remembers {
		return values, p.mac.remember(p.memory(domain), values)
	}
	return values, nil
}

// forced are the values that an MDM forces, those of the user before those of
// everybody (inferred), with what the file says of the profile itself taken off
// (facts/macos.md 5.3).
func (p preferenceDaemon) forced(domain string) (map[string]any, error) {
	values := map[string]any{}
	for _, file := range []string{managedPreferences, managedPreferences + "/" + p.account} {
		layer, err := readPreferences(p.mac.Path(file + "/" + domain + ".plist"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			continue // what is no property list forces nothing
		}
		maps.Copy(values, layer)
	}
	maps.DeleteFunc(values, func(key string, _ any) bool {
		return strings.HasPrefix(key, "Payload") || strings.HasPrefix(key, "_")
	})
	return values, nil
}

// effective are the values that a program gets that asks for one: what is forced
// wins (facts/macos.md 5.3).
func (p preferenceDaemon) effective(domain string) (map[string]any, error) {
	values, err := p.own(domain)
	if err != nil {
		return nil, err
	}
	forced, err := p.forced(domain)
	values = maps.Clone(values)
	maps.Copy(values, forced)
	return values, err
}

// dropForced takes changes of forced values back, where those are assumed to be
// dropped.
func (p preferenceDaemon) dropForced(domain string, before, after map[string]any) error {
	forced, err := p.forced(domain)
	if err != nil || p.state.assumes("forced_write", "kept") {
		return err
	}
	for key := range forced {
		if value, had := before[key]; had {
			after[key] = value
		} else {
			delete(after, key)
		}
	}
	return nil
}

// change changes keys of the user's domain, and no others.
func (p preferenceDaemon) change(domain string, apply func(map[string]any)) error {
	values, err := p.own(domain)
	if err != nil {
		return err
	}
	apply(values)
	return p.replace(domain, values)
}

// replace makes the values the whole of the user's domain. A file that somebody
// edited is overwritten.
func (p preferenceDaemon) replace(domain string, values map[string]any) error {
	if err := p.checkHome(domain); err != nil {
		return err
	}
	if p.remembers {
		if err := p.mac.remember(p.memory(domain), values); err != nil {
			return err
		}
		if p.state.assumes("cfprefsd_writes", "later") {
			p.state.preferencesAreDue(p.account, domain, time.Now().Add(configDelay))
			return nil
		}
	}
	return p.write(domain, values)
}

// checkHome refuses a domain of an account that has no home folder yet.
func (p preferenceDaemon) checkHome(domain string) error {
	if _, err := os.Stat(p.mac.Path(p.state.homeOf(p.account))); err != nil {
		return errNotWritten(domain)
	}
	return nil
}

func errNotWritten(domain string) error {
	return toolErrorf("Could not write domain %s; exiting", domain)
}

// write replaces the file, in the binary format and readable by its user only
// (facts/macos.md 5.1, of an old version).
func (p preferenceDaemon) write(domain string, values map[string]any) error {
	content, err := encodeBinary(values)
	if err != nil {
		return err
	}
	return writeFileMode(p.mac.Path(p.state.preferenceFile(p.account, domain)), content, 0o600)
}

// remember keeps a domain in the daemon's memory.
func (m Mac) remember(memory string, values map[string]any) error {
	content, err := encodeBinary(values)
	if err != nil {
		return err
	}
	return writeFileMode(memory, content, 0o600)
}

func readPreferences(path string) (map[string]any, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return plist.DecodeDict(content)
}

// dueDomain is a domain that cfprefsd has not written yet.
type dueDomain struct {
	UID    int       `json:"uid"`
	Domain string    `json:"domain"`
	At     time.Time `json:"at"`
}

func (s *State) preferencesAreDue(account, domain string, at time.Time) {
	user, _ := s.userByName(account)
	if !slices.ContainsFunc(s.DueDomains, func(due dueDomain) bool { return due.UID == user.UID && due.Domain == domain }) {
		s.DueDomains = append(s.DueDomains, dueDomain{user.UID, domain, at})
	}
}

// nextDueDomain is when cfprefsd next writes a file; zero: nothing is due.
func (s *State) nextDueDomain() (next time.Time) {
	for _, due := range s.DueDomains {
		if next.IsZero() || due.At.Before(next) {
			next = due.At
		}
	}
	return next
}

// writeDueDomains writes what was due at a time.
func (m Mac) writeDueDomains(state *State, now time.Time) error {
	var failed error
	state.DueDomains = slices.DeleteFunc(state.DueDomains, func(due dueDomain) bool {
		if due.At.After(now) {
			return false
		}
		user, known := state.userByUID(due.UID)
		values, err := readPreferences(m.memoryOf(due.UID, due.Domain))
		if known && err == nil {
			err = preferenceDaemon{mac: m, state: state, account: user.Name}.write(due.Domain, values)
		}
		failed = errors.Join(failed, err)
		return true
	})
	return failed
}

// forgetPreferences ends a user's cfprefsd: it writes what is due and forgets
// what it remembers.
func (m Mac) forgetPreferences(state *State, uid int) error {
	end := time.Time{}
	for _, due := range state.DueDomains {
		if due.UID == uid && due.At.After(end) {
			end = due.At
		}
	}
	if err := m.writeDueDomains(state, end); err != nil {
		return err
	}
	if err := os.RemoveAll(m.memoryFolder(uid)); err != nil {
		return fmt.Errorf("forget preferences: %w", err)
	}
	return nil
}
