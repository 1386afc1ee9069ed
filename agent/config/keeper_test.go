package config

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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
	now    time.Time
}

func newKeeperMac(t *testing.T) *keeperMac {
	t.Helper()
	m := &keeperMac{mac: newMac(t), state: filepath.Join(t.TempDir(), "state"), now: noon}
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

// after lets time pass and reads again.
func (m *keeperMac) after(wait time.Duration) Config {
	m.now = m.now.Add(wait)
	return m.keeper.Load(m.paths, m.now)
}

func (m *keeperMac) remove(path string) {
	m.t.Helper()
	if err := os.Remove(path); err != nil {
		m.t.Fatal(err)
	}
}

// want compares what is in force.
func (m *keeperMac) want(c Config, server string, source Source, code protocol.Code) {
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
func (m *keeperMac) wantPolicyUpheld(c Config) {
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
		{"nothing in it", func(m *keeperMac) { m.managed(dict{}) }, "", SourceNone, ""},
		{"unreadable", func(m *keeperMac) { _ = os.WriteFile(m.paths.Managed, []byte("garbage"), 0o644) }, "", SourceNone, protocol.CodeConfigUnreadable},
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
	m.want(m.after(-80*year), managedServer, SourceManaged, protocol.CodeProfileMissing)
	m.want(m.after(9*time.Minute), managedServer, SourceManaged, protocol.CodeProfileMissing)
	m.want(m.after(80*year), "", SourceNone, protocol.CodeProfileRemoved)
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
