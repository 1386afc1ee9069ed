package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/platform/plist"
	"prlagent/prlctl"
)

// preferences is a policy with these preferences.
func preferences(t testing.TB, members string) *policy.Document {
	t.Helper()
	return document(t, `"product":{`+members+`}`)
}

func TestProductOfADocument(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, members, want string }{
		{"UPD-01 the vendor's server", `"update_policy":"Parallels"`, ""},
		{"UPD-02 a server of one's own", `"update_policy":"https://updates.example.com/v{major}/parallels_updates.xml?a=1"`, ""},
		{"UPD-03 no updates", `"update_policy":"None"`, ""},
		{"UPD-04 another case", `"update_policy":"none"`, "product.update_policy policy_wrong_value"},
		{"UPD-02 a server without encryption", `"update_policy":"http://updates.example.com"`, "product.update_policy policy_wrong_value"},
		{"an address with a password", `"update_policy":"https://a:b@x.example"`, "product.update_policy policy_wrong_value"},
		{"an address with a line end", `"update_policy":"https://x.example/\n"`, "product.update_policy policy_wrong_value"},
		{"UPD-05 a word", `"update_check":"monthly"`, ""},
		{"UPD-05 out of range", `"update_check":4`, "product.update_check policy_wrong_type"},
		{"UPD-05 a word that is none", `"update_check":"hourly"`, "product.update_check policy_wrong_value"},
		{"UPD-06 a text for a truth", `"download_updates":"1"`, "product.download_updates policy_wrong_type"},
		{"UPD-06 a number for a truth", `"download_updates":1`, "product.download_updates policy_wrong_type"},
		{"CUS-01 an address", `"support_url":"http://it.example.com"`, ""},
		{"CUS-02 an empty text", `"support_url":""`, ""},
		{"CUS-01 a script", `"support_url":"javascript:x"`, "product.support_url policy_wrong_value"},
		{"LIC-02 the case of the user's domain", `"activation_experience":"SSO"`, "product.activation_experience policy_wrong_value"},
		{"null", `"support_url":null`, "product.support_url policy_null"},
		{"UPD-13 two in one place", `"update_policy":"None","update_branch":"pro"`, "product.update_branch policy_conflict"},
		{"UPD-10 a word that is none", `"on_existing":"x"`, "product.on_existing policy_wrong_value"},
		{"unknown ones are kept by name", `"of_tomorrow":[1]`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, problems := policy.Check([]byte(`{"schema":1,"policy_id":"a","revision":1,"name":"A","product":{` + c.members + `}}`))
			var got []string
			for _, problem := range problems {
				got = append(got, problem.Path+" "+string(problem.Code))
			}
			if strings.Join(got, ", ") != c.want {
				t.Errorf("problems %q, want %q", got, c.want)
			}
		})
	}
}

// Each row can be written, and is read back as what was written.
func TestPreferenceRows(t *testing.T) {
	t.Parallel()
	names, certain := map[string]bool{}, 0
	for i := range policy.Preferences {
		row := &policy.Preferences[i]
		if row.Name == "" || row.Doc == "" || row.Key == "" || names[row.Name] || row.Evidence.Source == "" || row.Strength.Standard == "" || row.Strength.Admin == "" {
			t.Errorf("row %+v", row)
		}
		names[row.Name] = true
		if row.Evidence.Level == policy.Confirmed {
			certain++
		}
		values := []policy.Value{policy.True, policy.False}
		if len(row.Values.Only) > 0 {
			values = nil
			for _, only := range row.Values.Only {
				values = append(values, only.Value)
			}
		}
		if row.Values.Kind == policy.KindAddress {
			values = append(values, "https://x.example/?a&b")
		}
		for _, value := range values {
			doc := preferences(t, fmt.Sprintf("%q:%s", row.Name, jsonOf(row, value)))
			plan := planProduct(doc, nil, policy.VMMemory{})
			if len(plan.Steps) != 1 || plan.Steps[0].Key != row.Key {
				t.Fatalf("%s: steps %+v", row.Name, plan.Steps)
			}
			data, err := plist.EncodeXML(map[string]any{row.Key: plan.Steps[0].Write})
			if err != nil {
				t.Fatal(err)
			}
			domain, err := plist.DecodeDict(data)
			if err != nil || !plan.Steps[0].Proven(domain) {
				t.Errorf("%s: %s is not read back from %s (%v)", row.Name, value, data, err)
			}
			if again := planProduct(doc, domain, policy.VMMemory{}); again.Verdicts[0].Verdict != protocol.VerdictInPlace || len(again.Steps) > 0 {
				t.Errorf("%s: %+v", row.Name, again)
			}
		}
	}
	if certain < len(policy.Preferences)-1 {
		t.Errorf("only %d rows are confirmed", certain)
	}
}

func jsonOf(row *policy.Preference, value policy.Value) string {
	if row.Values.Kind == policy.KindSwitch {
		return string(value)
	}
	return `"` + string(value) + `"`
}

var installed = policy.ProductFacts{Now: noon, Version: prlctl.Version{Major: 26, Minor: 4}, Edition: "enterprise"}

func planProduct(doc *policy.Document, domain map[string]any, memory policy.VMMemory, changes ...func(*policy.Desired, *policy.ProductFacts, *policy.Account)) *policy.PreferencePlan {
	desired, facts := policy.Desired{Document: doc, Enforce: true}, installed
	account := policy.Account{UID: 501, Domain: domain}
	for _, change := range changes {
		change(&desired, &facts, &account)
	}
	return policy.PlanPreferences(desired, &facts, &account, memory)
}

const (
	checkKey    = "Application preferences.Check for updates"
	downloadKey = "Application preferences.Download updates automatically"
	sourceKey   = "Application preferences.VolumeLicenseUpdatePolicy"
)

// What a domain shows and what the Mac is decide on the verdict.
func TestPlanPreferences(t *testing.T) {
	t.Parallel()
	type change = func(*policy.Desired, *policy.ProductFacts, *policy.Account)
	edition := func(word string) change {
		return func(_ *policy.Desired, facts *policy.ProductFacts, _ *policy.Account) { facts.Edition = word }
	}
	force := func(domain, key string, value any) change {
		return func(_ *policy.Desired, _ *policy.ProductFacts, account *policy.Account) {
			account.Forced = map[policy.ManagedKey]any{{Domain: domain, Key: key}: value}
		}
	}
	monitor := func(desired *policy.Desired, _ *policy.ProductFacts, _ *policy.Account) { desired.Enforce = false }
	version := func(major int) change {
		return func(_ *policy.Desired, facts *policy.ProductFacts, _ *policy.Account) {
			facts.Version = prlctl.Version{Major: major}
		}
	}
	const own, vendors = prlctl.PreferenceDomain, "com.parallels.desktop.managedprefs"
	for _, c := range []struct {
		name, members string
		domain        map[string]any
		changes       []change
		want          string // verdict and code, and what is written
	}{
		{"UPD-08 there is nothing", `"update_check":"weekly"`, nil, nil, "pending not_set_yet 2"},
		{"UPD-05 the same number", `"update_check":"weekly"`, map[string]any{checkKey: uint64(2)}, nil, "in_place"},
		{"UPD-05 the number as a text", `"update_check":"weekly"`, map[string]any{checkKey: "2"}, nil, "pending not_set_yet 2"},
		{"UPD-05 a negative number", `"update_check":"never"`, map[string]any{checkKey: int64(-1)}, nil, "pending not_set_yet 0"},
		{"UPD-06 1 is not true", `"download_updates":true`, map[string]any{downloadKey: uint64(1)}, nil, "pending not_set_yet true"},
		{"UPD-06 false is managed", `"download_updates":false`, map[string]any{downloadKey: true}, nil, "pending not_set_yet false"},
		{"UPD-04 another case", `"update_policy":"None"`, map[string]any{sourceKey: "none"}, nil, `pending not_set_yet "None"`},
		{"CFP-07 only notified", `"download_updates":false,"update_check":"daily"`, map[string]any{checkKey: uint64(1)}, nil, "pending not_set_yet false"},
		{"the vendor's script writes texts", `"dock_icon":"hidden"`, map[string]any{"Application preferences.Dock icon": "2"}, nil, "in_place"},
		{"UPD-13 the major version", `"update_branch":"pro"`, nil, []change{version(27)}, `pending not_set_yet "https://update.parallels.com/desktop/v27/parallels/parallels_updates.xml"`},
		{"UPD-13 an address of one's own", `"update_policy":"https://x.example/v{major}/u.xml"`, nil, nil, `pending not_set_yet "https://x.example/v26/u.xml"`},
		{"UPD-13 no version is known", `"update_branch":"pro"`, nil, []change{version(0)}, "unknown not_looked_yet"},
		{"UPD-14 back to the default", `"update_branch":"default"`, map[string]any{sourceKey: "https://x"}, nil, `pending not_set_yet "Parallels"`},
		{"UPD-15 Standard edition", `"update_branch":"pro"`, nil, []change{edition("standard")}, "not_applicable edition"},
		{"CUS-03 Standard edition", `"support_url":""`, nil, []change{edition("Standard")}, "not_applicable edition"},
		{"CUS-02 an empty text is written", `"support_url":""`, nil, nil, `pending not_set_yet ""`},
		{"UPD-01 Standard edition", `"update_check":"never"`, nil, []change{edition("standard")}, "pending not_set_yet 0"},
		{"a forced value wins", `"update_check":"never"`, nil, []change{force(own, checkKey, uint64(3))}, "not_applicable managed"},
		{"a forced value that is the same", `"update_check":"never"`, nil, []change{force(own, checkKey, uint64(0))}, "in_place managed"},
		{"LIC-02 the vendor's profile asks for the same", `"activation_experience":"sso"`, nil, []change{force(vendors, "ActivationExperience", "SSO")}, "in_place managed"},
		{"LIC-02 the vendor's profile has a key", `"activation_experience":"sso"`, nil, []change{force(vendors, "ActivationExperience", "License Key")}, "not_applicable managed"},
		{"LIC-02 forced by the vendor's profile", `"sso_forced":false`, nil, []change{force(vendors, "ActivationExperience", "SSO")}, "not_applicable managed"},
		{"UPD-10 a value of the deployment is kept", `"on_existing":"keep","update_check":"never"`, map[string]any{checkKey: uint64(2)}, nil, "not_applicable value_kept"},
		{"UPD-10 and where there is none, it is set", `"on_existing":"keep","update_check":"never"`, nil, nil, "pending not_set_yet 0"},
		{"monitor mode", `"update_check":"never"`, nil, []change{monitor}, "pending monitor_mode"},
		{"it cannot be read", `"update_check":"never"`, nil, []change{func(_ *policy.Desired, _ *policy.ProductFacts, a *policy.Account) {
			a.Unread = protocol.CodePlistInvalid
		}}, "unknown plist_invalid"},
		{"the product is not there", `"update_check":"never"`, nil, []change{func(_ *policy.Desired, f *policy.ProductFacts, _ *policy.Account) {
			f.Closed = protocol.CodePDNotInstalled
		}}, "not_applicable pd_not_installed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			plan := planProduct(preferences(t, c.members), c.domain, policy.VMMemory{}, c.changes...)
			got := plan.Verdicts[len(plan.Verdicts)-1]
			words := strings.TrimSpace(got.Verdict + " " + string(got.Code))
			if got.Verdict == protocol.VerdictPending && got.Code == protocol.CodeNotSetYet {
				words += " " + plan.Steps[0].Word
			} else if len(plan.Steps) > 0 {
				t.Errorf("steps %+v", plan.Steps)
			}
			if got.Code == protocol.CodeMonitorMode && len(plan.WouldDo) != 1 {
				t.Errorf("it would do %+v", plan.WouldDo)
			}
			if words != c.want {
				t.Errorf("%q, want %q", words, c.want)
			}
			if got.VM != (protocol.VMKey{UID: 501}) || !strings.HasPrefix(got.Path, "product.") {
				t.Errorf("verdict %+v", got)
			}
		})
	}
}

// H44: what is written while the application runs takes effect when that run has
// ended; UPD-11: what people see meanwhile is known by the value.
func TestUPD_09_PendingRestart(t *testing.T) {
	t.Parallel()
	doc := preferences(t, `"update_policy":"None"`)
	runs := func(runs ...string) func(*policy.Desired, *policy.ProductFacts, *policy.Account) {
		return func(_ *policy.Desired, _ *policy.ProductFacts, a *policy.Account) { a.Runs = runs }
	}
	wanted := map[string]any{sourceKey: "None"}
	step := planProduct(doc, map[string]any{sourceKey: "Parallels"}, policy.VMMemory{}, runs("7@1")).Steps[0]
	memory := policy.VMMemory{}.BeginPreference(&step, noon).EndPreference(&step, true, "", noon)
	code := func(domain map[string]any, changes ...func(*policy.Desired, *policy.ProductFacts, *policy.Account)) string {
		plan := planProduct(doc, domain, memory, changes...)
		if plan.Memory != nil {
			memory = *plan.Memory
		}
		return plan.Verdicts[0].Verdict + " " + string(plan.Verdicts[0].Code)
	}
	for _, c := range []struct {
		name, got, want string
	}{
		{"it runs on", code(wanted, runs("7@1")), "pending pending_restart"},
		{"a second run", code(wanted, runs("7@1", "9@2")), "pending pending_restart"},
		{"it has quit", code(wanted), "in_place "},
		{"it was launched again", code(wanted, runs("7@3")), "in_place "},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.name, c.got, c.want)
		}
	}
	row := policy.FindPreference("update_policy")
	if row.ShownWith("None") == "" || row.ShownWith("None") != row.ShownWith("https://x.example") || row.ShownWith("None") == row.ShownWith("Parallels") {
		t.Error("UPD-11: what the application shows is not known")
	}
}

// A value that somebody changes is drift, counted once; one that is changed again and
// again is contended, and set again in an hour, or when the application was launched
// or has quit.
func TestPreferencesThatDrift(t *testing.T) {
	t.Parallel()
	doc, now := preferences(t, `"update_check":"never"`), noon
	memory := policy.VMMemory{}
	var runs []string
	plan := func(found uint64) *policy.PreferencePlan {
		made := planProduct(doc, map[string]any{checkKey: found}, memory, func(_ *policy.Desired, f *policy.ProductFacts, a *policy.Account) {
			f.Now, a.Runs = now, runs
		})
		if made.Memory != nil {
			memory = *made.Memory
		}
		for i := range made.Steps {
			memory = memory.BeginPreference(&made.Steps[i], now).EndPreference(&made.Steps[i], true, "", now)
		}
		return made
	}
	plan(0)
	for drift := 1; drift <= 3; drift++ {
		if made := plan(uint64(1 + drift)); len(made.Steps) != 1 && drift < 3 {
			t.Fatalf("drift %d: %+v", drift, made)
		}
		plan(0)
		if made := plan(0); made.Memory != nil {
			t.Errorf("a plan that changes nothing has something to remember: %+v", made.Memory)
		}
		if drifts := memory.Setting("update_check").Drifts(); drifts != drift {
			t.Fatalf("%d drifts, want %d", drifts, drift)
		}
		now = now.Add(time.Minute)
	}
	setting := memory.Setting("update_check")
	if call := setting.Call(checkKey); call.Prior != "2" {
		t.Errorf("what was there before the agent wrote first is %s", call.Prior)
	}
	if made := plan(2); made.Verdicts[0].Verdict != protocol.VerdictContended || len(made.Steps) > 0 {
		t.Errorf("contended: %+v", made)
	}
	runs = []string{"7@1"}
	if made := plan(2); len(made.Steps) != 1 {
		t.Errorf("H41: it was launched, and nothing is set: %+v", made)
	}
	if made := plan(2); len(made.Steps) > 0 {
		t.Errorf("the same run again: %+v", made)
	}
	now = now.Add(time.Hour)
	if made := plan(2); len(made.Steps) != 1 {
		t.Errorf("an hour later: %+v", made)
	}
}

// POL-09, POL-10, POL-11, POL-14, POL-15: what is not managed is neither looked at nor
// written; a release leaves the values, and forgets.
func TestPOL_14_PreferencesThatAreNotManaged(t *testing.T) {
	t.Parallel()
	managed := preferences(t, `"update_check":"never"`)
	plan := planProduct(managed, map[string]any{checkKey: uint64(0)}, policy.VMMemory{})
	for name, made := range map[string]*policy.PreferencePlan{
		"POL-11 released":     policy.PlanPreferences(policy.Desired{Released: true, Enforce: true}, &installed, &policy.Account{UID: 501}, *plan.Memory),
		"POL-14 another kind": planProduct(document(t, `"adopt":{}`), map[string]any{checkKey: uint64(2)}, *plan.Memory),
		"POL-15 others only":  planProduct(preferences(t, `"support_url":""`), map[string]any{checkKey: uint64(2), "SupportRequestUrl": ""}, *plan.Memory),
	} {
		if len(made.Steps)+len(made.WouldDo) > 0 || made.Memory == nil || made.Memory.Setting("update_check").Verdict != "" {
			t.Errorf("%s: %+v", name, made)
		}
	}
	if made := policy.PlanPreferences(policy.Desired{Enforce: true}, &installed, &policy.Account{UID: 501}, *plan.Memory); made.Memory != nil || len(made.Verdicts) > 0 {
		t.Errorf("no policy is known: %+v", made)
	}
}

// CFP-08: whoever judges the control of upgrades has to know of a server of the
// organization's own.
func TestCFP_08_UpdateServer(t *testing.T) {
	t.Parallel()
	for members, want := range map[string]bool{
		`"update_policy":"https://x.example"`: true, `"update_policy":"https://x.example/v{major}/updates.xml"`: true,
		`"update_policy":"https://update.parallels.com/desktop/v20/parallels/parallels_updates.xml"`: false,
		`"update_policy":"None"`: false, `"update_policy":"Parallels"`: false, `"update_branch":"pro"`: false, ``: false,
	} {
		if got := preferences(t, members).HasUpdateServer(); got != want {
			t.Errorf("%s: %t", members, got)
		}
	}
}

// SEC-14, SEC-15: what is a local update server is the same wherever it is set: by the
// policy, by a profile or by hand.
func TestSEC14_SEC15_WhoDecidesOnUpdates(t *testing.T) {
	t.Parallel()
	key := func(name string) policy.ManagedKey {
		return policy.ManagedKey{Domain: prlctl.PreferenceDomain, Key: "Application preferences." + name}
	}
	const source, check = "VolumeLicenseUpdatePolicy", "Check for updates"
	local, mdm := policy.UpdateSource{Elsewhere: protocol.CodeLocalUpdateServer}, policy.UpdateSource{Elsewhere: protocol.CodeManagedByMDM}
	byHand := policy.UpdateSource{Elsewhere: protocol.CodeLocalUpdateServer, ByHand: 1}
	for name, test := range map[string]struct {
		members string
		account policy.Account
		want    policy.UpdateSource
	}{
		"nobody":                            {``, policy.Account{}, policy.UpdateSource{}},
		"the policy":                        {`"update_policy":"https://x.example"`, policy.Account{Domain: map[string]any{"Application preferences." + source: "https://x.example"}}, local},
		"the policy has it off":             {`"update_policy":"None"`, policy.Account{Domain: map[string]any{"Application preferences." + source: "None"}}, policy.UpdateSource{}},
		"by hand":                           {``, policy.Account{Domain: map[string]any{"Application preferences." + source: "http://x.example/y"}}, byHand},
		"by hand, against the policy":       {`"update_policy":"None"`, policy.Account{Domain: map[string]any{"Application preferences." + source: "http://x.example/y"}}, byHand},
		"by hand, the vendor's own":         {``, policy.Account{Domain: map[string]any{"Application preferences." + source: "https://Update.Parallels.com/x"}}, policy.UpdateSource{}},
		"by hand, a word":                   {``, policy.Account{Domain: map[string]any{"Application preferences." + source: "httpd"}}, policy.UpdateSource{}},
		"by hand, of another type":          {``, policy.Account{Domain: map[string]any{"Application preferences." + source: uint64(1)}}, policy.UpdateSource{}},
		"by hand, the check":                {``, policy.Account{Domain: map[string]any{"Application preferences." + check: uint64(0)}}, policy.UpdateSource{}},
		"a profile, and below it by hand":   {``, policy.Account{Forced: map[policy.ManagedKey]any{key(source): "None"}, Domain: map[string]any{"Application preferences." + source: "https://x.example"}}, mdm},
		"a profile has a server":            {``, policy.Account{Forced: map[policy.ManagedKey]any{key(source): "https://x.example"}}, local},
		"a profile has the vendor's server": {``, policy.Account{Forced: map[policy.ManagedKey]any{key(source): "https://update.parallels.com/x"}}, mdm},
		"a profile has how often":           {``, policy.Account{Forced: map[policy.ManagedKey]any{key(check): uint64(1)}}, mdm},
		"not read":                          {``, policy.Account{Unread: protocol.CodeNotLookedYet}, policy.UpdateSource{Unread: true}},
	} {
		if got := preferences(t, test.members).UpdateSource([]*policy.Account{{}, &test.account}); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

// The dictionary of a profile has preferences as well, with the integers that MDM
// products write for truths.
func TestPreferencesOfAProfile(t *testing.T) {
	t.Parallel()
	read, problems := policy.ReadDictionary(map[string]any{
		"schema": uint64(1), "policy_id": "a", "revision": uint64(1), "name": "A",
		"product": map[string]any{"download_updates": uint64(0), "update_check": "daily"},
	})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	parsed, err := policy.Parse(read.Document)
	if err != nil || parsed.Product.Preferences["download_updates"] != policy.False {
		t.Errorf("%+v, %v", parsed.Product, err)
	}
}
