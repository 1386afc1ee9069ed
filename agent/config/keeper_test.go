package config

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/store"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// keeperMac is a Mac whose configuration is kept.
type keeperMac struct {
	mac
	state  string
	store  *store.Store
	keeper *Keeper
	now    time.Time // by the clock of the Mac
	awake  AwakeTime
}

func newKeeperMac(t *testing.T) *keeperMac {
	t.Helper()
	m := &keeperMac{mac: newMac(t), state: filepath.Join(t.TempDir(), "state"), now: noon, awake: AwakeTime{"boot 1", time.Hour}}
	m.start()
	t.Cleanup(func() { _ = m.store.Close() })
	return m
}

func (m *keeperMac) start() {
	m.t.Helper()
	opened, _, err := store.Open(context.Background(), m.state, store.Options{Log: zerolog.Nop(), Collections: Collections()})
	if err != nil {
		m.t.Fatal(err)
	}
	m.store, m.keeper = opened, NewKeeper(opened)
}

func (m *keeperMac) restart() {
	m.t.Helper()
	if err := m.store.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.start()
}

// reboot restarts the Mac.
func (m *keeperMac) reboot(boot string) {
	m.t.Helper()
	m.awake = AwakeTime{Boot: boot}
	m.restart()
}

// after lets time pass and reads again.
func (m *keeperMac) after(wait time.Duration) *Config {
	m.now, m.awake.Awake = m.now.Add(wait), m.awake.Awake+wait
	return m.keeper.Load(m.paths, m.now, m.awake)
}

// afterStep sets the clock, or lets the Mac sleep, and reads again: nothing
// passed for the process.
func (m *keeperMac) afterStep(step time.Duration) *Config {
	m.now = m.now.Add(step)
	return m.keeper.Load(m.paths, m.now, m.awake)
}

func (m *keeperMac) remove(path string) {
	m.t.Helper()
	if err := os.Remove(path); err != nil {
		m.t.Fatal(err)
	}
}

// want compares what is in force.
func (m *keeperMac) want(c *Config, server string, source Source, code protocol.Code) {
	m.t.Helper()
	var codes []string
	for _, problem := range c.Problems {
		codes = append(codes, string(problem.Code))
	}
	if got := showURL(c.ServerURL); got != server || c.Source != source || strings.Join(codes, " ") != string(code) {
		m.t.Errorf("at %s: server %q from %s, problems %v; want %q from %s, %q",
			m.now.Format(time.TimeOnly), got, c.Source, codes, server, source, code)
	}
}

// wantPolicyUpheld is what is left of managedProfile once it is believed to be
// removed: nobody to talk to and nobody to obey, but no enforcement is lifted.
func (m *keeperMac) wantPolicyUpheld(c *Config) {
	m.t.Helper()
	if len(c.PolicyKeys)+len(c.CommandKeys) != 0 || c.ContentURL != nil || c.EnrollmentSecret != "" || c.Proxy != nil ||
		slices.Contains(c.AllowedCommands, "vm.delete") {
		m.t.Errorf("of what was removed stayed %+v", c)
	}
	if c.Mode != ModeEnforce || c.Group != "finance" || !c.VendorGates {
		m.t.Errorf("mode %s, group %q, gates %t", c.Mode, c.Group, c.VendorGates)
	}
}

const (
	managedServer = "https://managed.example"
	localServer   = "https://local.example"
)

func managedProfile(t *testing.T) dict {
	trusted, _ := key(t)
	return dict{"ServerURL": managedServer, "EnrollmentSecret": "canary-secret", "Mode": "enforce", "Group": "finance", "VendorGates": true,
		"PolicyKeys": []any{trusted}, "CommandKeys": []any{trusted}, "AllowedCommands": []any{"vm.delete"},
		"Proxy": "http://user:canary-proxy@proxy.example:3128", "ServerCertificates": []any{certificateDER(t)}}
}

func TestH06_AVanishedProfileIsBelievedAfterTwoReadsTenMinutesApart(t *testing.T) {
	t.Parallel()
	m := newKeeperMac(t)
	m.managed(managedProfile(t))
	before := m.after(0)
	m.want(before, managedServer, SourceManaged, "")
	m.remove(m.paths.Managed)
	for _, wait := range []time.Duration{0, time.Second, 9 * time.Minute, 59*time.Second - time.Millisecond} {
		held := m.after(wait)
		m.want(held, managedServer, SourceManaged, protocol.CodeProfileMissing)
		if held.Fingerprint() != before.Fingerprint() {
			t.Error("another configuration is in force")
		}
	}
	gone := m.after(time.Second)
	m.want(gone, "", SourceNone, protocol.CodeProfileRemoved)
	m.wantPolicyUpheld(gone)
	m.want(m.after(30*24*time.Hour), "", SourceNone, protocol.CodeProfileRemoved)
	m.restart()
	m.wantPolicyUpheld(m.after(time.Second))
	m.managed(managedProfile(t))
	m.want(m.after(time.Second), managedServer, SourceManaged, "")
}

func TestH06_AReadThatFindsTheProfileForgetsTheMissingOnes(t *testing.T) {
	t.Parallel()
	m := newKeeperMac(t)
	profile := managedProfile(t)
	m.managed(profile)
	m.after(0)
	for range 5 {
		m.remove(m.paths.Managed)
		m.want(m.after(time.Minute), managedServer, SourceManaged, protocol.CodeProfileMissing)
		m.want(m.after(9*time.Minute), managedServer, SourceManaged, protocol.CodeProfileMissing)
		m.managed(profile)
		m.want(m.after(time.Second), managedServer, SourceManaged, "")
	}
}

func TestH06_ARestartForgetsNeitherTheProfileNorWhenItWasMissed(t *testing.T) {
	t.Parallel()
	m := newKeeperMac(t)
	m.managed(managedProfile(t))
	before := m.after(0)
	m.restart()
	m.remove(m.paths.Managed) // missed by the first read of a start, as after an update of the agent
	m.want(m.after(time.Minute), managedServer, SourceManaged, protocol.CodeProfileMissing)
	m.restart()
	held := m.after(9 * time.Minute)
	m.want(held, managedServer, SourceManaged, protocol.CodeProfileMissing)
	for _, kept := range []struct {
		what      string
		was, kept any
	}{
		{"policy keys", before.PolicyKeys, held.PolicyKeys},
		{"command keys", before.CommandKeys, held.CommandKeys},
		{"commands", before.AllowedCommands, held.AllowedCommands},
		{"certificates", exactCertificates(before), exactCertificates(held)},
		{"mode", before.Mode, held.Mode},
	} {
		if diff := cmp.Diff(kept.was, kept.kept); diff != "" {
			t.Errorf("%s: %s", kept.what, diff)
		}
	}
	m.restart()
	m.want(m.after(time.Minute), "", SourceNone, protocol.CodeProfileRemoved)
	m.restart()
	m.want(m.after(time.Minute), "", SourceNone, protocol.CodeProfileRemoved)
}

func TestH06_TheStateHoldsNoSecretOfTheProfile(t *testing.T) {
	t.Parallel()
	m := newKeeperMac(t)
	m.managed(managedProfile(t))
	if c := m.after(0); c.EnrollmentSecret.Reveal() != "canary-secret" {
		t.Fatal("the secret is not in force")
	}
	m.remove(m.paths.Managed)
	if c := m.after(time.Minute); c.EnrollmentSecret.Reveal() != "canary-secret" || c.Proxy == nil {
		t.Error("the running agent lost a secret")
	}
	m.restart()
	if c := m.after(time.Minute); c.EnrollmentSecret != "" || c.Proxy != nil {
		t.Error("a secret came back from the state")
	}
	err := filepath.WalkDir(m.state, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), "canary") {
			t.Errorf("%s holds a secret", filepath.Base(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestH06_WritesOnlyWhenSomethingChanged(t *testing.T) {
	t.Parallel()
	m := newKeeperMac(t)
	profile := managedProfile(t)
	m.managed(profile)
	m.after(0)
	m.restart()
	commits := m.store.Commits()
	for range 20 {
		m.after(30 * time.Second)
	}
	if now := m.store.Commits(); now != commits {
		t.Errorf("%d commits for nothing", now-commits)
	}
	m.remove(m.paths.Managed)
	for range 20 {
		m.after(time.Second)
	}
	if now := m.store.Commits(); now != commits+1 {
		t.Errorf("%d commits for one missing profile", now-commits)
	}
}

// What a file says counts at once; only its absence has to be proven.
func TestH06_AFileThatIsThereDecidesAtOnce(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		change func(m *keeperMac)
		server string
		source Source
		code   protocol.Code
	}{
		{"another server", func(m *keeperMac) { m.managed(dict{"ServerURL": "https://next.example"}) }, "https://next.example", SourceManaged, ""},
		{"no trust keys any more", func(m *keeperMac) { m.managed(dict{"LogLevel": "info"}) }, "", SourceNone, ""},
		{"nothing in it", func(m *keeperMac) { m.managed(dict{}) }, "", SourceNone, protocol.CodeConfigNoKeys},
		{"no trust keys, and config.plist", func(m *keeperMac) {
			m.local(dict{"ServerURL": localServer})
			m.managed(dict{"LogLevel": "info"})
		}, localServer, SourceLocal, ""},
		{"gone, and config.plist", func(m *keeperMac) {
			m.local(dict{"ServerURL": localServer})
			m.remove(m.paths.Managed)
		}, managedServer, SourceManaged, "config_ignored_local profile_missing"},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := newKeeperMac(t)
			m.managed(dict{"ServerURL": managedServer})
			m.after(0)
			test.change(m)
			m.want(m.after(time.Second), test.server, test.source, test.code)
		})
	}
}

func TestH06_ConfigPlistTakesOverFromAProfileThatIsGone(t *testing.T) {
	t.Parallel()
	m := newKeeperMac(t)
	m.managed(dict{"ServerURL": managedServer})
	m.local(dict{"ServerURL": localServer})
	m.after(0)
	m.remove(m.paths.Managed)
	m.after(0)
	m.want(m.after(10*time.Minute), localServer, SourceLocal, "")
	m.remove(m.paths.Local)
	m.want(m.after(time.Minute), localServer, SourceLocal, protocol.CodeProfileMissing)
	m.want(m.after(10*time.Minute), "", SourceNone, protocol.CodeProfileRemoved)
	m.local(dict{"ServerURL": localServer})
	m.want(m.after(time.Minute), localServer, SourceLocal, "")
	m.remove(m.paths.Local)
	m.after(0)
	m.managed(dict{"ServerURL": managedServer})
	m.want(m.after(time.Minute), managedServer, SourceManaged, "")
}

func TestH06_ClocksThatJump(t *testing.T) {
	t.Parallel()
	m := newKeeperMac(t)
	m.managed(dict{"ServerURL": managedServer})
	m.after(0)
	m.remove(m.paths.Managed)
	m.after(0)
	const year = 365 * 24 * time.Hour
	for _, step := range []time.Duration{-80 * year, 80 * year, 80 * year, -time.Hour} {
		m.want(m.afterStep(step), managedServer, SourceManaged, protocol.CodeProfileMissing)
		m.want(m.after(2*time.Minute), managedServer, SourceManaged, protocol.CodeProfileMissing)
	}
	m.want(m.after(2*time.Minute), "", SourceNone, protocol.CodeProfileRemoved)
	m.want(m.afterStep(-80*year), "", SourceNone, protocol.CodeProfileRemoved)
}

// A Mac that starts with a clock that is behind counts anew: what passed since
// the file was missed cannot be told.
func TestH06_AClockThatIsBehindAfterARestart(t *testing.T) {
	t.Parallel()
	m := newKeeperMac(t)
	m.managed(dict{"ServerURL": managedServer})
	m.after(0)
	m.remove(m.paths.Managed)
	m.after(9 * time.Minute)
	m.restart()
	m.want(m.afterStep(-time.Hour), managedServer, SourceManaged, protocol.CodeProfileMissing)
	m.want(m.after(9*time.Minute), managedServer, SourceManaged, protocol.CodeProfileMissing)
	m.want(m.after(time.Minute), "", SourceNone, protocol.CodeProfileRemoved)
}

// A restart of the process goes on counting what passed; a clock that is set, or a
// Mac that sleeps, in between is nothing that passed. What passed before a boot
// cannot be told, and the count begins anew with it.
func TestH06_PatienceOverARestartCountsWhatPassed(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	for name, test := range map[string]struct {
		restart func(m *keeperMac)
		again   []time.Duration // reads after it; the last one believes
	}{
		"the same boot":            {(*keeperMac).restart, []time.Duration{0, 4*time.Minute + 59*time.Second, time.Second}},
		"with the clock forward":   {func(m *keeperMac) { m.now = m.now.Add(year); m.restart() }, []time.Duration{0, 4 * time.Minute, time.Minute}},
		"with the clock back":      {func(m *keeperMac) { m.now = m.now.Add(-year); m.restart() }, []time.Duration{0, 4 * time.Minute, time.Minute}},
		"twice":                    {func(m *keeperMac) { m.restart(); m.after(0); m.restart() }, []time.Duration{0, 4 * time.Minute, time.Minute}},
		"another boot":             {func(m *keeperMac) { m.now = m.now.Add(year); m.reboot("boot 2") }, []time.Duration{0, 9 * time.Minute, time.Minute}},
		"another boot, a process":  {func(m *keeperMac) { m.reboot("boot 2"); m.after(0); m.after(3 * time.Minute); m.restart() }, []time.Duration{0, 6 * time.Minute, time.Minute}},
		"a boot that is not known": {func(m *keeperMac) { m.reboot("") }, []time.Duration{0, 9 * time.Minute, time.Minute}},
		"never known, a process":   {func(m *keeperMac) { m.reboot(""); m.after(0); m.after(9 * time.Minute); m.restart() }, []time.Duration{0, 9 * time.Minute, time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newKeeperMac(t)
			m.managed(dict{"ServerURL": managedServer})
			m.after(0)
			m.remove(m.paths.Managed)
			m.after(0)
			m.after(5 * time.Minute)
			test.restart(m)
			for _, wait := range test.again[:len(test.again)-1] {
				m.want(m.after(wait), managedServer, SourceManaged, protocol.CodeProfileMissing)
			}
			m.want(m.after(test.again[len(test.again)-1]), "", SourceNone, protocol.CodeProfileRemoved)
		})
	}
}

// damages are the ways in which a file can be there and not be read as a whole.
var damages = map[string]func(m *keeperMac, path string){
	"0 bytes": func(m *keeperMac, path string) { m.overwrite(path, "") },
	"half a file": func(m *keeperMac, path string) {
		m.overwrite(path, "<?xml version=\"1.0\"?><plist><dict><key>Mode</key>")
	},
	"no dictionary":   func(m *keeperMac, path string) { m.overwrite(path, "<plist><array/></plist>") },
	"no plist at all": func(m *keeperMac, path string) { m.overwrite(path, "garbage") },
	"another owner":   func(m *keeperMac, _ string) { m.paths.LocalOwner++ },
	"a folder": func(m *keeperMac, path string) {
		m.remove(path)
		if err := os.Mkdir(path, 0o700); err != nil {
			m.t.Fatal(err)
		}
	},
}

func (m *keeperMac) overwrite(path, content string) {
	m.t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func codesOf(c *Config) (codes []protocol.Code) {
	for _, problem := range c.Problems {
		codes = append(codes, problem.Code)
	}
	return codes
}

// However long it lasts, and over a restart.
func TestH06_AFileThatCannotBeReadChangesNothing(t *testing.T) {
	t.Parallel()
	for _, source := range []Source{SourceManaged, SourceLocal} {
		for damage, inflict := range damages {
			t.Run(damage+", "+string(source), func(t *testing.T) {
				t.Parallel()
				m := newKeeperMac(t)
				path := m.paths.Managed
				if source == SourceLocal {
					path = m.paths.Local
				}
				m.write(path, 0o600, managedProfile(t))
				before := m.after(0)
				inflict(m, path)
				for _, wait := range []time.Duration{time.Second, 11 * time.Minute, 365 * 24 * time.Hour} {
					held := m.after(wait)
					if held.Source != source || held.Fingerprint() != before.Fingerprint() || !slices.Contains(codesOf(held), protocol.CodeConfigUnreadable) {
						t.Errorf("after %s: source %s, %+v, problems %v", wait, held.Source, shownValues(held), held.Problems)
					}
				}
				m.restart()
				held := m.after(time.Hour)
				if held.Mode != ModeEnforce || held.Group != "finance" || !held.VendorGates || len(held.PolicyKeys) != 1 || len(held.CommandKeys) != 1 ||
					showURL(held.ServerURL) != managedServer || !slices.Contains(codesOf(held), protocol.CodeConfigUnreadable) {
					t.Errorf("after a restart: %+v, problems %v", shownValues(held), held.Problems)
				}
			})
		}
	}
}

// A profile that was never read says nothing about config.plist, which was in
// force; and it is not the way to get rid of what a removed profile left.
func TestH06_AProfileThatWasNeverReadEndsNothing(t *testing.T) {
	t.Parallel()
	m := newKeeperMac(t)
	local := managedProfile(t)
	local["ServerURL"] = localServer
	delete(local, "Proxy") // is no trust key, and counts from either file
	m.local(local)
	before := m.after(0)
	m.overwrite(m.paths.Managed, "")
	held := m.after(time.Hour)
	m.want(held, localServer, SourceLocal, protocol.CodeConfigUnreadable)
	if held.Fingerprint() != before.Fingerprint() {
		t.Errorf("in force: %+v", shownValues(held))
	}
	m.restart()
	m.want(m.after(time.Hour), localServer, SourceLocal, protocol.CodeConfigUnreadable)
	m.remove(m.paths.Local)
	m.want(m.after(time.Hour), localServer, SourceLocal, "config_unreadable profile_missing")
	m.want(m.after(10*time.Minute), "", SourceNone, "config_unreadable profile_removed")
	m.local(local)
	m.wantPolicyUpheld(m.after(time.Hour)) // the profile hides whether config.plist may count
	m.remove(m.paths.Managed)
	m.want(m.after(time.Hour), localServer, SourceLocal, "")
}

func TestH06_ARemovedProfileThatComesBackDamagedStaysRemoved(t *testing.T) {
	t.Parallel()
	m := newKeeperMac(t)
	m.managed(managedProfile(t))
	m.after(0)
	m.remove(m.paths.Managed)
	m.after(0)
	m.after(time.Hour)
	for range 2 {
		m.overwrite(m.paths.Managed, "")
		c := m.after(time.Hour)
		m.want(c, "", SourceNone, "config_unreadable profile_removed")
		m.wantPolicyUpheld(c)
		m.restart()
	}
}

// What a profile holds beside the trust keys stays too.
func TestH06_AProfileBesideConfigPlist(t *testing.T) {
	t.Parallel()
	m := newKeeperMac(t)
	m.local(dict{"ServerURL": localServer})
	m.managed(dict{"Proxy": "http://proxy.example:3128"})
	before := m.after(0)
	m.overwrite(m.paths.Managed, "")
	if held := m.after(time.Hour); held.Fingerprint() != before.Fingerprint() || held.Proxy == nil {
		t.Errorf("in force: %+v", shownValues(held))
	}
}

func TestH06_AMacThatNeverHadAProfileMissesNone(t *testing.T) {
	t.Parallel()
	m := newKeeperMac(t)
	for range 3 {
		m.want(m.after(time.Hour), "", SourceNone, "")
	}
	if commits := m.store.Commits(); commits > 1 {
		t.Errorf("%d commits", commits)
	}
}

func TestH06_AStateThatCannotBeWrittenIsSaid(t *testing.T) {
	t.Parallel()
	m := newKeeperMac(t)
	m.managed(dict{"ServerURL": managedServer})
	if err := m.store.Close(); err != nil {
		t.Fatal(err)
	}
	c := m.after(0)
	if showURL(c.ServerURL) != managedServer || len(c.Problems) == 0 || c.Problems[0].Key != "state" {
		t.Errorf("%s, problems %v", showURL(c.ServerURL), c.Problems)
	}
}

// While nothing can be read, what this process saw itself still counts: a profile
// that goes away is missed.
func TestH06_AStateThatCannotBeReadForgetsNothing(t *testing.T) {
	t.Parallel()
	m := newKeeperMac(t)
	m.managed(dict{"ServerURL": managedServer})
	if err := m.store.Close(); err != nil {
		t.Fatal(err)
	}
	m.after(0)
	m.remove(m.paths.Managed)
	for range 3 {
		c := m.after(time.Minute)
		if showURL(c.ServerURL) != managedServer || !slices.Contains(codesOf(c), protocol.CodeProfileMissing) {
			t.Errorf("%s, problems %v", showURL(c.ServerURL), c.Problems)
		}
	}
}

// Of a record that cannot be read nothing counts, also not what stands in front of
// the place where it is wrong.
func TestH06_ADamagedRecordMissesNoProfile(t *testing.T) {
	t.Parallel()
	m := newKeeperMac(t)
	garbage := store.Collection[*map[string]any](keptProfiles)
	err := m.store.Update(func(tx *store.Tx) error {
		return garbage.Put(tx, onlyKey, &map[string]any{"source": SourceManaged, "removed": 1})
	})
	if err != nil {
		t.Fatal(err)
	}
	c := m.after(0)
	if codes := codesOf(c); len(codes) != 1 || c.Problems[0].Key != "state" {
		t.Errorf("problems %+v", c.Problems)
	}
	m.want(m.after(time.Hour), "", SourceNone, "")
}

// Every state of both files, after every history.
func TestH06_EveryDecision(t *testing.T) {
	t.Parallel()
	fileStates := map[string]configFile{
		"missing": {missing: true}, "unreadable": {problem: &Problem{}}, "without trust keys": {values: dict{"LogLevel": "info"}},
		"with trust keys": {values: dict{"Mode": "monitor"}},
	}
	kept := map[string]keptProfile{
		"nothing":         {},
		"managed":         {Source: SourceManaged, Values: []byte("v")},
		"managed missing": {Source: SourceManaged, Values: []byte("v"), MissedAt: noon},
		"managed removed": {Source: SourceManaged, MissedAt: noon, Removed: true},
		"local":           {Source: SourceLocal, Values: []byte("v")},
		"local missing":   {Source: SourceLocal, Values: []byte("v"), MissedAt: noon},
		"local removed":   {Source: SourceLocal, MissedAt: noon, Removed: true},
	}
	const grace = 10 * time.Minute
	waits := []time.Duration{-time.Hour, 0, grace - 1, grace, 80 * 365 * 24 * time.Hour}
	for was, before := range kept {
		for managedIs, managed := range fileStates {
			for localIs, local := range fileStates {
				for _, wait := range waits {
					found, now := configFiles{managed: managed, local: local}, noon.Add(wait)
					next, hold := before.afterRead(found, now, grace)
					for _, broken := range brokenRules(before, found, now, grace, next, hold) {
						t.Errorf("%s, profile %s, config.plist %s, after %s: %s (%+v, hold %t)", was, managedIs, localIs, wait, broken, next, hold)
					}
				}
			}
		}
	}
}

// brokenRules are the sentences of H06 and H05 that a decision breaks.
func brokenRules(before keptProfile, found configFiles, now time.Time, grace time.Duration, next keptProfile, hold bool) (broken []string) {
	rule := func(holds bool, format string, arguments ...any) {
		if !holds {
			broken = append(broken, fmt.Sprintf(format, arguments...))
		}
	}
	_, source := found.trustValues()
	if before.Source != "" && source == SourceNone && found.isHidden(before.Source) {
		rule(cmp.Equal(before, next) && hold == !before.Removed, "what cannot be read must change nothing")
		return broken
	}
	missing := before.Source != "" && found.fileOf(before.Source).missing
	missedLong := !before.MissedAt.IsZero() && now.Sub(before.MissedAt) >= grace
	rule(!hold || missing, "what is there must decide")
	rule(!hold || source != SourceManaged, "a profile must win")
	rule(!hold || !before.Removed && !missedLong, "it must be believed in the end")
	rule(!hold || string(next.Values) == string(before.Values), "what it held must be kept")
	rule(hold || !missing || missedLong || before.Removed || source == SourceManaged, "the first missing read must not be believed")
	rule(!hold || !next.MissedAt.IsZero() && !next.MissedAt.After(now), "the wait must have a beginning")
	rule(!next.Removed || missing && (missedLong || before.Removed), "it was not removed")
	rule(!next.Removed || next.Values == nil, "what was removed must not be kept")
	rule(hold || source == SourceNone || next.Source == source && !next.Removed, "a configuration that is there must be known")
	return broken
}

// A policy of the profile stays when the profile vanishes, also once that is
// believed, and over a restart; only what a profile says releases it.
func TestH06_APolicyOfAVanishedProfileStays(t *testing.T) {
	t.Parallel()
	m := newKeeperMac(t)
	document := dict{"schema": 1, "policy_id": "finance", "revision": 7, "name": "Finance"}
	m.managed(dict{"Policy": document, "Mode": ModeEnforce})
	want := m.after(0).Policy
	m.remove(m.paths.Managed)
	for _, code := range []protocol.Code{protocol.CodeProfileMissing, protocol.CodeProfileRemoved, protocol.CodeProfileRemoved} {
		c := m.after(7 * time.Minute)
		m.restart()
		if code == protocol.CodeProfileRemoved {
			c = m.after(7 * time.Minute)
		}
		m.want(c, "", c.Source, code)
		if !c.Policy.Decides() || c.Policy.Pointer != want.Pointer || c.Mode != ModeEnforce {
			t.Errorf("%s: mode %s, policy %+v", code, c.Mode, c.Policy)
		}
	}
	for _, c := range []struct {
		profile  dict
		releases bool
		refused  bool
	}{{dict{"Policy": document}, false, false}, {dict{"Policy": dict{"schema": 2}}, false, true}, {dict{"Policy": dict{}}, true, false}, {dict{"LogLevel": "info"}, false, false}} {
		m.managed(c.profile)
		if got := m.after(time.Minute).Policy; got.Releases() != c.releases || got.Refused != c.refused {
			t.Errorf("%v: %+v", c.profile, got)
		}
	}
}

// What a file said that was gone since does not come back with one that cannot be read.
func TestAFileThatWasGoneIsNotRecalled(t *testing.T) {
	t.Parallel()
	m := newKeeperMac(t)
	m.managed(managedProfile(t))
	m.local(dict{"LogLevel": "debug"})
	if c := m.after(0); c.LogLevel != "debug" {
		t.Fatalf("log level %s", c.LogLevel)
	}
	m.remove(m.paths.Local)
	if c := m.after(time.Minute); c.LogLevel != "info" {
		t.Errorf("without the file: log level %s", c.LogLevel)
	}
	if err := os.WriteFile(m.paths.Local, []byte("no list"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := m.after(time.Minute)
	m.want(c, managedServer, SourceManaged, protocol.CodeConfigUnreadable)
	if c.LogLevel != "info" {
		t.Errorf("with a broken file: log level %s", c.LogLevel)
	}
}

// A minute on an idle Mac: files that say the same are not decoded again, whose values
// are most of what a read allocates. That they say something else is seen at once, also
// with the same length and the same times.
func TestFilesThatAreTheSameAreDecodedOnce(t *testing.T) {
	m := newKeeperMac(t)
	profile := managedProfile(t)
	m.managed(profile)
	m.local(dict{"LogLevel": "debug"})
	first := m.after(0)
	again := testing.AllocsPerRun(10, func() { m.after(time.Minute) })
	anew := testing.AllocsPerRun(10, func() { m.keeper.decoded = make(decodedFiles); m.after(time.Minute) })
	if again > anew/3 {
		t.Errorf("%.0f allocations for files that are the same, %.0f for others", again, anew)
	}
	if !reflect.DeepEqual(first, m.after(0)) {
		t.Error("the configuration is another one")
	}
	t.Logf("%.0f allocations for files that are the same, %.0f for others", again, anew)
	before, err := os.Stat(m.paths.Managed)
	if err != nil {
		t.Fatal(err)
	}
	profile["ServerURL"] = strings.Replace(managedServer, "managed", "another", 1)
	m.managed(profile)
	if err := os.Chtimes(m.paths.Managed, before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
	if after := m.after(time.Minute); showURL(after.ServerURL) != profile["ServerURL"] {
		t.Errorf("the server is %s", showURL(after.ServerURL))
	}
	for range 2 { // what cannot be read decides nothing, however often it is read
		if err := os.WriteFile(m.paths.Managed, []byte("no list"), 0o644); err != nil {
			t.Fatal(err)
		}
		if broken := m.after(time.Minute); len(broken.Problems) == 0 || showURL(broken.ServerURL) != profile["ServerURL"] {
			t.Errorf("the server is %s, problems %v", showURL(broken.ServerURL), broken.Problems)
		}
	}
}
