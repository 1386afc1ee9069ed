package sim

import (
	"bytes"
	"fmt"
	"io/fs"
	"math"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"prlagent/platform/plist"
)

// defaultsOf runs defaults as a user of the session.
func defaultsOf(t *testing.T, mac Mac, user string, args ...string) outcome {
	t.Helper()
	account, _ := mustLoad(t, mac).userByName(user)
	return callAs(mac, user).runIn(t, account.UID, "defaults", args...)
}

// domainOf is what `defaults export` prints of the product's domain.
func domainOf(t *testing.T, mac Mac, user string) map[string]any {
	t.Helper()
	got := defaultsOf(t, mac, user, "export", productDomain, "-")
	values, err := plist.DecodeDict([]byte(got.stdout))
	if err != nil || got.code != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	return values
}

// fileOfDomain is what the domain's file holds.
func fileOfDomain(t *testing.T, mac Mac, user string) map[string]any {
	t.Helper()
	values, err := readPreferences(mac.Path(mustLoad(t, mac).preferenceFile(user, productDomain)))
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// changeDomainOf changes the domain of alice as the console does.
func changeDomainOf(t *testing.T, mac Mac, apply func(*State, preferenceDaemon) error) {
	t.Helper()
	mustUpdate(t, mac, func(state *State) error { return apply(state, mac.preferencesInSession(state, "alice")) })
}

// forceKey forces a value on all users.
func forceKey(t *testing.T, mac Mac, key string, value any) {
	t.Helper()
	err := mac.changeForced(prefsTarget{domain: productDomain}, true, func(values map[string]any) {
		values["PayloadUUID"], values["_manualProfile"], values[key] = "5C7F", true, value
	})
	if err != nil {
		t.Fatal(err)
	}
}

// editFile changes alice's file past cfprefsd.
func editFile(t *testing.T, mac Mac, key string, value any) {
	t.Helper()
	mustUpdate(t, mac, func(state *State) error {
		return preferenceDaemon{mac: mac, state: state, account: "alice"}.change(productDomain, func(values map[string]any) { values[key] = value })
	})
}

func launch(t *testing.T, mac Mac, user string) {
	t.Helper()
	mustUpdate(t, mac, func(state *State) error { return mac.launchApp(state, user) })
}

func quit(t *testing.T, mac Mac) {
	t.Helper()
	mustUpdate(t, mac, func(state *State) error { state.quitApp(""); return nil })
}

// What defaults writes has the type that was said, and no other key changes.
func TestDefaultsWrite(t *testing.T) {
	t.Parallel()
	const key = "{a}.0 b.c"
	for name, c := range map[string]struct {
		arguments []string
		want      any // nil: refused
		kind      string
	}{
		"an integer":                 {[]string{"-int", "3"}, uint64(3), "integer"},
		"a negative one":             {[]string{"-integer", "-3"}, int64(-3), "integer"},
		"a huge one":                 {[]string{"<integer>18446744073709551615</integer>"}, uint64(math.MaxUint64), "integer"},
		"no number":                  {[]string{"-int", "many"}, uint64(0), "integer"},
		"a real":                     {[]string{"-float", "0.5"}, 0.5, "float"},
		"a boolean":                  {[]string{"-bool", "yes"}, true, "boolean"},
		"no boolean":                 {[]string{"-bool", "maybe"}, nil, ""},
		"data":                       {[]string{"-data", "00ff"}, []byte{0, 0xff}, "data"},
		"no data":                    {[]string{"-data", "0g"}, nil, ""},
		"a date":                     {[]string{"-date", "2026-11-20T08:00:00Z"}, time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC), "date"},
		"no date":                    {[]string{"-date", "soon"}, nil, ""},
		"a string":                   {[]string{"-string", "<true/>"}, "<true/>", "string"},
		"a string that is empty":     {[]string{"-string", ""}, "", "string"},
		"a number without a type":    {[]string{"2"}, "2", "string"},
		"a fragment":                 {[]string{"<true/>"}, true, "boolean"},
		"a fragment of a string":     {[]string{"<string>-bool &amp; (x)</string>"}, "-bool & (x)", "string"},
		"a fragment of many":         {[]string{"<array><dict/><real>1</real></array>"}, []any{map[string]any{}, 1.0}, "array"},
		"a whole document":           {[]string{`<?xml version="1.0"?><plist version="1.0"><dict/></plist>`}, map[string]any{}, "dictionary"},
		"a broken fragment":          {[]string{"<integer>1</string>"}, nil, ""},
		"a dictionary in old style":  {[]string{"{a = 1;}"}, nil, ""},
		"an unknown type":            {[]string{"-maybe", "1"}, nil, ""},
		"a type that is not needed":  {[]string{"-array", "1"}, nil, ""},
		"a value that looks like it": {[]string{"-1"}, nil, ""},
		"a value too many":           {[]string{"-int", "1", "2"}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac := newMac(t, standardMac())
			before := domainOf(t, mac, "alice")
			got := defaultsOf(t, mac, "alice", append([]string{"write", productDomain, key}, c.arguments...)...)
			after := domainOf(t, mac, "alice")
			if c.want == nil {
				if got.code == 0 || got.stderr == "" || !reflect.DeepEqual(before, after) {
					t.Errorf("not refused: %+v", got)
				}
				return
			}
			if got != (outcome{}) || !reflect.DeepEqual(after[key], c.want) {
				t.Errorf("%+v, then %#v", got, after[key])
			}
			checkOutcome(t, defaultsOf(t, mac, "alice", "read-type", productDomain, key), outcome{0, "Type is " + c.kind + "\n", ""})
			delete(after, key)
			if !reflect.DeepEqual(before, after) {
				t.Errorf("other keys changed: %v, then %v", before, after)
			}
		})
	}
}

// A domain is of the account that defaults runs as; its file is one of cfprefsd's:
// binary, and for nobody else to read.
func TestDomainsAreOfTheUser(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	defaultsOf(t, mac, "alice", "write", productDomain, "Mine", "-int", "1")
	for _, other := range []string{"bob", rootUser} {
		if got := defaultsOf(t, mac, other, "read", productDomain, "Mine"); got.code != 1 || !strings.Contains(got.stderr, "The domain/default pair of ("+productDomain+", Mine) does not exist") {
			t.Errorf("%s: %+v", other, got)
		}
	}
	path := mac.Path("/Users/alice/Library/Preferences/com.parallels.Parallels Desktop.plist")
	content, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(content, []byte("bplist00")) {
		t.Errorf("the file is %.20q, %v", content, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// What is asked in another form than an agent may use is refused.
func TestDefaultsRefuses(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	for line, want := range map[string]outcome{
		"":                       {255, "", "Syntax:"},
		"export":                 {255, "", "Syntax:"},
		"domains all":            {255, "", "Syntax:"},
		"import com.example -":   {255, "", "Syntax:"},
		"read -g Some":           {255, "", "Syntax:"},
		"-currentHost read a":    {255, "", "Syntax:"},
		"export /tmp/a -":        {255, "", "Syntax:"},
		"export a /tmp/b":        {255, "", "Syntax:"},
		"read com.example":       {1, "", "Domain com.example does not exist"},
		"read-type a b":          {1, "", "The domain/default pair of (a, b) does not exist"},
		"delete com.example":     {1, "", "Domain (com.example) not found.\nDefaults have not been changed."},
		"delete com.example key": {1, "", "Domain (com.example) not found."},
		"write com.example word": {1, "", "Rep argument is not a dictionary"},
	} {
		checkOutcome(t, defaultsOf(t, mac, "alice", strings.Fields(line)...), want)
	}
}

// A write of a whole domain takes all other keys away, and a delete what it names.
func TestDefaultsWholeDomain(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	defaultsOf(t, mac, "alice", "write", productDomain, "<dict><key>a</key><true/><key>b</key><false/></dict>")
	checkOutcome(t, defaultsOf(t, mac, "alice", "read", productDomain), outcome{0, "{\n    a = 1;\n    b = 0;\n}\n", ""})
	checkOutcome(t, defaultsOf(t, mac, "alice", "delete", productDomain, "a"), outcome{})
	checkOutcome(t, defaultsOf(t, mac, "alice", "read", productDomain), outcome{0, "{\n    b = 0;\n}\n", ""})
	checkOutcome(t, defaultsOf(t, mac, "alice", "delete", productDomain), outcome{})
	checkOutcome(t, defaultsOf(t, mac, "alice", "read", productDomain), outcome{1, "", "does not exist"})
}

// An account without a home has no domain to write before its first login.
func TestFirstLoginMakesTheHome(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	mustUpdate(t, mac, func(state *State) error { return state.addUser(macUser{Name: "carol"}) })
	checkOutcome(t, defaultsOf(t, mac, "carol", "write", productDomain, "a", "b"), outcome{1, "", "Could not write domain " + productDomain + "; exiting"})
	mustUpdate(t, mac, func(state *State) error { return state.logInByName("carol") })
	checkOutcome(t, defaultsOf(t, mac, "carol", "write", productDomain, "a", "b"), outcome{})
	checkOutcome(t, defaultsOf(t, mac, "carol", "read", productDomain, "a"), outcome{0, "b\n", ""})
}

// cfprefsd answers from memory, and overwrites what was edited meanwhile; a new
// session reads the file anew.
func TestDirectEditIsLost(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	before := domainOf(t, mac, "alice")
	editFile(t, mac, updateCheckKey, uint64(0))
	if after := domainOf(t, mac, "alice"); !reflect.DeepEqual(before, after) {
		t.Errorf("the edit was noticed: %v", after)
	}
	defaultsOf(t, mac, "alice", "write", productDomain, "a", "b")
	if got := fileOfDomain(t, mac, "alice")[updateCheckKey]; got != uint64(2) {
		t.Errorf("the file has %v", got)
	}
	editFile(t, mac, updateCheckKey, uint64(0))
	mustUpdate(t, mac, func(state *State) error { state.logOut(0); return state.logInByName("alice") })
	if got := domainOf(t, mac, "alice")[updateCheckKey]; got != uint64(2) {
		t.Errorf("no session ended, and the domain has %v", got)
	}
	mustUpdate(t, mac, func(state *State) error { state.logOut(0); return nil })
	mustUpdate(t, mac, func(state *State) error { return state.logInByName("alice") })
	if got := domainOf(t, mac, "alice")[updateCheckKey]; got != uint64(0) {
		t.Errorf("in a new session the domain has %v", got)
	}
	editFile(t, mac, updateCheckKey, uint64(3))
	mustUpdate(t, mac, func(state *State) error { return mac.reboot(state, "alice", time.Now()) })
	if got := domainOf(t, mac, "alice")[updateCheckKey]; got != uint64(3) {
		t.Errorf("after a reboot the domain has %v", got)
	}
}

// A file that is no property list is no domain.
func TestBrokenDomain(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	if err := writeFile(mac.Path(mustLoad(t, mac).preferenceFile("alice", productDomain)), []byte("bplist00")); err != nil {
		t.Fatal(err)
	}
	if values := domainOf(t, mac, "alice"); len(values) != 0 {
		t.Errorf("it has %v", values)
	}
}

// The application goes by what it read at its launch, except for what its user
// changes in it; a crash writes nothing.
func TestApplicationReadsAtLaunch(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	inUse := func(key string) any {
		memory, err := mac.readApplication(501)
		if err != nil {
			t.Fatal(err)
		}
		return memory.inUse()[key]
	}
	forceKey(t, mac, "Forced", "yes")
	launch(t, mac, "alice")
	defaultsOf(t, mac, "alice", "write", productDomain, updateCheckKey, "-int", "0")
	if got := inUse(updateCheckKey); got != uint64(2) || inUse("Forced") != "yes" {
		t.Errorf("in use are %v, %v", got, inUse("Forced"))
	}
	alice, _ := mustLoad(t, mac).userByName("alice")
	mustUpdate(t, mac, func(state *State) error {
		return mac.changeInApplication(state, alice, func(values map[string]any) { values[updateDownloadKey] = false })
	})
	if inUse(updateDownloadKey) != false || domainOf(t, mac, "alice")[updateDownloadKey] != false {
		t.Error("a change in the application is not in use, or not in the domain")
	}
	before := domainOf(t, mac, "alice")
	mustUpdate(t, mac, func(state *State) error { state.crashApp("alice"); state.quitApp("alice"); return nil })
	if after := domainOf(t, mac, "alice"); !reflect.DeepEqual(before, after) {
		t.Errorf("the crash wrote: %v, then %v", before, after)
	}
	if _, err := mac.readApplication(501); err == nil {
		t.Error("it is still there")
	}
	launch(t, mac, "alice")
	if got := inUse(updateCheckKey); got != uint64(0) {
		t.Errorf("after the next launch %v is in use", got)
	}
	mustUpdate(t, mac, func(state *State) error { state.logOut(0); return nil })
	if got := fileOfDomain(t, mac, "alice")[lastPageKey]; got != uint64(2) {
		t.Errorf("the end of the session left %v", got)
	}
}

// preferenceAssumptionTests show preferences each way.
func preferenceAssumptionTests() map[string]assumptionTest {
	write := func(t *testing.T, mac Mac) {
		t.Helper()
		checkOutcome(t, defaultsOf(t, mac, "alice", "write", productDomain, updateCheckKey, "-int", "0"), outcome{})
	}
	read := func(t *testing.T, mac Mac, key string) outcome {
		t.Helper()
		return defaultsOf(t, mac, "alice", "read", productDomain, key)
	}
	return map[string]assumptionTest{
		"cfprefsd_memory": {func(t *testing.T, mac Mac) outcome {
			domainOf(t, mac, "alice")
			editFile(t, mac, updateCheckKey, uint64(0))
			idle := read(t, mac, updateCheckKey).stdout
			launch(t, mac, "alice")
			editFile(t, mac, updateCheckKey, uint64(1))
			return outcome{stdout: idle + read(t, mac, updateCheckKey).stdout}
		}, map[string]outcome{"session": {0, "2\n2\n", ""}, "application": {0, "0\n0\n", ""}}},
		"cfprefsd_writes": {func(t *testing.T, mac Mac) outcome {
			write(t, mac)
			first := fileOfDomain(t, mac, "alice")[updateCheckKey]
			mustUpdate(t, mac, func(state *State) error { return mac.writeDueDomains(state, time.Now().Add(configDelay)) })
			return outcome{stdout: fmt.Sprint(read(t, mac, updateCheckKey).stdout, first, " then ", fileOfDomain(t, mac, "alice")[updateCheckKey])}
		}, map[string]outcome{"at_once": {0, "0\n0 then 0", ""}, "later": {0, "0\n2 then 0", ""}}},
		"plain_defaults": {func(t *testing.T, mac Mac) outcome {
			domainOf(t, mac, "alice")
			callAs(mac, "alice").run(t, "defaults", "write", productDomain, updateCheckKey, "-int", "0")
			return read(t, mac, updateCheckKey)
		}, map[string]outcome{"same": {0, "0\n", ""}, "other": {0, "2\n", ""}}},
		"defaults_forced": {func(t *testing.T, mac Mac) outcome {
			forceKey(t, mac, updateCheckKey, uint64(3))
			return outcome{stdout: fmt.Sprint(domainOf(t, mac, "alice")[updateCheckKey], " ", domainOf(t, mac, "alice")["PayloadUUID"])}
		}, map[string]outcome{"shown": {0, "3 <nil>", ""}, "hidden": {0, "2 <nil>", ""}}},
		"forced_write": {func(t *testing.T, mac Mac) outcome {
			forceKey(t, mac, updateCheckKey, uint64(3))
			forceKey(t, mac, "Other", uint64(3))
			write(t, mac)
			checkOutcome(t, defaultsOf(t, mac, "alice", "write", productDomain, "Other", "-int", "0"), outcome{})
			shown := read(t, mac, updateCheckKey).stdout
			return outcome{stdout: fmt.Sprint(shown, fileOfDomain(t, mac, "alice")[updateCheckKey], " ", fileOfDomain(t, mac, "alice")["Other"])}
		}, map[string]outcome{"kept": {0, "3\n0 0", ""}, "dropped": {0, "3\n2 <nil>", ""}}},
		"defaults_missing": {func(t *testing.T, mac Mac) outcome {
			return defaultsOf(t, mac, "alice", "export", "com.example", "-")
		}, map[string]outcome{"empty": {0, "<dict>\n\t</dict>\n</plist>", ""}, "error": {1, "", "Domain com.example does not exist"}}},
		"defaults_export": {func(t *testing.T, mac Mac) outcome {
			return defaultsOf(t, mac, "alice", "export", productDomain, "-")
		}, map[string]outcome{"xml": {0, "<key>" + updateCheckKey + "</key>", ""}, "binary": {0, "bplist00", ""}}},
		"quit_writes": {func(t *testing.T, mac Mac) outcome {
			launch(t, mac, "alice")
			write(t, mac)
			checkOutcome(t, defaultsOf(t, mac, "alice", "write", productDomain, "Other", "mine"), outcome{})
			quit(t, mac)
			after := domainOf(t, mac, "alice")
			return outcome{stdout: fmt.Sprint(after[updateCheckKey], " ", after["Other"], " ", after[lastPageKey])}
		}, map[string]outcome{"own": {0, "0 mine 2", ""}, "read": {0, "2 mine 2", ""}, "domain": {0, "2 <nil> 2", ""}}},
		"update_installed": {func(t *testing.T, mac Mac) outcome {
			launch(t, mac, "alice")
			said := offer(t, mac, "26.5.0-58001", "")
			between := mustLoad(t, mac).Product.Version
			quit(t, mac)
			return outcome{stdout: said + ", " + between + ", " + mustLoad(t, mac).Product.Version}
		}, map[string]outcome{"at_quit": {0, "alice: installs 26.5.0-58001 at its quit, 26.4.0-57513, 26.5.0-58001", ""},
			"at_once": {0, "alice: installs 26.5.0-58001, 26.5.0-58001, 26.5.0-58001", ""}}},
		"major_upgrade": {func(t *testing.T, mac Mac) outcome {
			launch(t, mac, "alice")
			return outcome{stdout: offer(t, mac, "27", "")}
		}, map[string]outcome{"offered": {0, "alice: installs 27.0.0-58628 at its quit", ""}, "withheld": {0, "alice: finds nothing new", ""}}},
	}
}

// A write that is lost, and one that somebody overwrites, end as if nothing had
// happened, as often as the fault says.
func TestLostWrites(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{
		"defaults_not_done=2": "2 2 0",
		"defaults_not_done=0": "2 2 2",
		"defaults_rival=1":    "2 0 0",
	} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			mac := newMac(t, standardMac())
			before := domainOf(t, mac, "alice")
			mustUpdate(t, mac, func(state *State) error { return state.setFault(setting, "alice") })
			var got []string
			for range 3 {
				checkOutcome(t, defaultsOf(t, mac, "alice", "write", productDomain, updateCheckKey, "-int", "0"), outcome{})
				got = append(got, fmt.Sprint(domainOf(t, mac, "alice")[updateCheckKey]))
			}
			if got := strings.Join(got, " "); got != want {
				t.Errorf("the value is %s, want %s", got, want)
			}
			after := domainOf(t, mac, "alice")
			if rival := after[rivalKey] != nil; rival != strings.Contains(setting, "rival") {
				t.Errorf("a rival wrote: %v", rival)
			}
			for key, value := range before {
				if key != updateCheckKey && !reflect.DeepEqual(value, after[key]) {
					t.Errorf("%s changed", key)
				}
			}
		})
	}
}

// Whatever a property list can hold comes back from the binary format.
func TestBinaryPropertyList(t *testing.T) {
	t.Parallel()
	many := make([]any, 300)
	for i := range many {
		many[i] = uint64(i)
	}
	want := map[string]any{
		"": "", "string": strings.Repeat("long ", 100), "unicode": "Zoë \U0001F468\u200d\U0001F469", "zero": uint64(0), "huge": uint64(math.MaxUint64),
		"least": int64(math.MinInt64), "real": -0.1, "true": true, "false": false, "date": time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC),
		"data": bytes.Repeat([]byte{0, 0xff}, 20), "no data": []byte{}, "array": many, "nothing": []any{}, "nested": map[string]any{"a": []any{map[string]any{}}},
	}
	content, err := encodeBinary(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := plist.Decode(content); err != nil || !reflect.DeepEqual(got, any(want)) {
		t.Errorf("%v\n%v", got, err)
	}
	if _, err := encodeBinary(map[string]any{"a": fs.ModeDir}); err == nil {
		t.Error("a value of no known type is encoded")
	}
}

// What a user can put into a domain is exported as it is, also what no property list
// in XML may hold.
func TestExportOfHostileValues(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	for want, arguments := range map[string][]string{
		"<string>a\x01b\x1b</string>":                        {"-string", "a\x01b\x1b"},
		"<real>nan</real>":                                   {"-float", "nan"},
		"<real>-infinity</real>":                             {"-float", "-inf"},
		"<key>CF$UID</key>\n\t\t\t<integer>7</integer>":      {"<dict><key>CF$UID</key><integer>7</integer></dict>"},
		"<string>&lt;/string&gt;&lt;true/&gt;&amp;</string>": {"-string", "</string><true/>&"},
	} {
		checkOutcome(t, defaultsOf(t, mac, "alice", append([]string{"write", productDomain, "Hostile"}, arguments...)...), outcome{})
		checkOutcome(t, defaultsOf(t, mac, "alice", "export", productDomain, "-"), outcome{0, want, ""})
	}
}

// Writers of other keys at the same time do not lose each other's.
func TestParallelWriters(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"cfprefsd_writes=at_once", "cfprefsd_writes=later"} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			mac := macAssuming(t, setting)
			before := domainOf(t, mac, "alice")
			launch(t, mac, "alice")
			var writers sync.WaitGroup
			for i := range 20 {
				writers.Go(func() {
					if got := defaultsOf(t, mac, "alice", "write", productDomain, fmt.Sprint("Writer ", i), "-int", "1"); got.code != 0 {
						t.Errorf("writer %d: %+v", i, got)
					}
				})
			}
			writers.Go(func() { quit(t, mac) })
			writers.Wait()
			after := domainOf(t, mac, "alice")
			if len(after) != len(before)+20 {
				t.Errorf("%d keys, and then %d", len(before), len(after))
			}
		})
	}
}
