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
)

// sessions are who is logged in, and which applications run. A boot ends all.
type sessions struct {
	boot string
	uids []int
	apps []runningApp
}

func (s *State) sessions() sessions {
	open := sessions{boot: s.Volume.BootSession, apps: slices.Clone(s.Apps)}
	for _, user := range s.Users {
		if user.LoggedIn {
			open.uids = append(open.uids, user.UID)
		}
	}
	return open
}

// without are the sessions and applications that the others do not have.
func (open sessions) without(others sessions) sessions {
	if open.boot != others.boot {
		return open
	}
	open.uids = slices.DeleteFunc(slices.Clone(open.uids), func(uid int) bool { return slices.Contains(others.uids, uid) })
	open.apps = slices.DeleteFunc(slices.Clone(open.apps), func(app runningApp) bool {
		return slices.ContainsFunc(others.apps, func(other runningApp) bool { return other.UID == app.UID && other.PID == app.PID })
	})
	return open
}

// settleSessions does what the end and the begin of sessions and applications mean
// for preferences. It is called under the Mac's lock, after a change.
func (m Mac) settleSessions(before sessions, state *State) error {
	after := state.sessions()
	ended, begun := before.without(after), after.without(before)
	for _, app := range ended.apps {
		if err := m.endApplication(state, app); err != nil {
			return err
		}
	}
	for _, uid := range ended.uids {
		if err := m.forgetPreferences(state, uid); err != nil {
			return err
		}
	}
	for _, uid := range begun.uids { // a home is made at the first login
		user, _ := state.userByUID(uid)
		if err := m.makeFolders(user.home()+"/Parallels", user.home()+"/Library/Preferences"); err != nil {
			return err
		}
	}
	for _, app := range begun.apps {
		if err := m.beginApplication(state, app); err != nil {
			return err
		}
	}
	return nil
}

// applicationMemory is what a running application has read: it does not look again
// (facts/macos.md 5.1).
type applicationMemory struct {
	own, forced map[string]any
}

// inUse are the values that the application goes by.
func (a applicationMemory) inUse() map[string]any {
	values := maps.Clone(a.own)
	maps.Copy(values, a.forced)
	return values
}

func (m Mac) applicationFile(uid int) string {
	return m.markerPath(filepath.Join("applications", strconv.Itoa(uid)+".plist"))
}

func (m Mac) readApplication(uid int) (applicationMemory, error) {
	content, err := readPreferences(m.applicationFile(uid))
	if err != nil {
		return applicationMemory{}, fmt.Errorf("read what the application knows: %w", err)
	}
	own, _ := content["own"].(map[string]any)
	forced, _ := content["forced"].(map[string]any)
	return applicationMemory{own, forced}, nil
}

func (m Mac) writeApplication(uid int, memory applicationMemory) error {
	content, err := encodeBinary(map[string]any{"own": memory.own, "forced": memory.forced})
	if err != nil {
		return err
	}
	return writeFile(m.applicationFile(uid), content)
}

// lastPageKey is a preference of the application itself: the page that was last
// open (acting.md 2).
const lastPageKey = "Application preferences.Last selected page"

// beginApplication lets an application read its preferences.
func (m Mac) beginApplication(state *State, app runningApp) error {
	daemon := m.preferencesInSession(state, app.User)
	own, err := daemon.own(productDomain)
	if err != nil {
		return err
	}
	forced, err := daemon.forced(productDomain)
	if err != nil {
		return err
	}
	if err := m.writeApplication(app.UID, applicationMemory{own, forced}); err != nil {
		return err
	}
	_, err = m.checkForUpdates(state, app.User)
	return err
}

// endApplication lets an application write at its quit what the Mac is assumed to
// let it write (facts/macos.md 15.5).
func (m Mac) endApplication(state *State, app runningApp) error {
	memory, err := m.readApplication(app.UID)
	if err != nil || slices.Contains(state.crashed, app.PID) {
		return errors.Join(err, m.removeApplication(state, app.UID))
	}
	user, known := state.userByUID(app.UID)
	if !known {
		return m.removeApplication(state, app.UID)
	}
	// The session's own daemon, also where the session ends with the application.
	daemon := preferenceDaemon{m, state, user.Name, true}
	err = daemon.change(productDomain, func(values map[string]any) {
		switch state.assumedValue("quit_writes") {
		case "domain":
			clear(values)
			fallthrough
		case "read":
			maps.Copy(values, memory.own)
		}
		page, _ := values[lastPageKey].(uint64)
		values[lastPageKey] = page + 1
	})
	if app.Update != "" {
		err = errors.Join(err, m.installUpdate(state, app.User, app.Update))
	}
	return errors.Join(err, m.removeApplication(state, app.UID))
}

func (m Mac) removeApplication(state *State, uid int) error {
	if err := os.Remove(m.applicationFile(uid)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the application: %w", err)
	}
	if state.assumes("cfprefsd_memory", "application") {
		return m.forgetPreferences(state, uid)
	}
	return nil
}

// changeInApplication is what a user changes in the application's own window: it
// goes by it at once, and tells cfprefsd. What is forced cannot be changed there.
func (m Mac) changeInApplication(state *State, user macUser, apply func(map[string]any)) error {
	if !state.hasApp(user.Name) {
		return fmt.Errorf("the application does not run for %s", user.Name)
	}
	memory, err := m.readApplication(user.UID)
	if err != nil {
		return err
	}
	apply(memory.own)
	if err := m.writeApplication(user.UID, memory); err != nil {
		return err
	}
	return m.preferencesInSession(state, user.Name).change(productDomain, apply)
}
