package policy_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// The members of the vendor's guide, in its order (protocol.md 2.8).
var guideMembers = []string{
	"startup", "network", "no_share_mac_folders", "no_share_vm_folders", "no_share_vm_apps", "no_share_mac_apps", "clipboard",
	"no_smart_cards", "no_external_devices", "lock_on_suspend", "no_config_changes", "show_developer_tools", "no_tools_autoupdate",
}

// A row says everything about its setting.
func TestRowsOfTheCatalogueAreWhole(t *testing.T) {
	t.Parallel()
	var names []string
	snake := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	strengths := []string{protocol.StrengthEnforced, protocol.StrengthDeterred, protocol.StrengthReverted, protocol.StrengthMonitored, protocol.StrengthNotEnforceable}
	for i := range policy.Settings {
		setting := &policy.Settings[i]
		names = append(names, setting.Name)
		if !snake.MatchString(setting.Name) || !strings.HasSuffix(setting.Doc, ".") || policy.Find(setting.Name) != setting {
			t.Errorf("%s: %q", setting.Name, setting.Doc)
		}
		if setting.Guests == 0 || setting.Guests&setting.Beyond != 0 || !slices.Contains(strengths, setting.Strength.Standard) || !slices.Contains(strengths, setting.Strength.Admin) {
			t.Errorf("%s: for %b and %b, holds %q and %q", setting.Name, setting.Guests, setting.Beyond, setting.Strength.Standard, setting.Strength.Admin)
		}
		if setting.Ours == slices.Contains(guideMembers, setting.Name) {
			t.Errorf("%s: ours %t", setting.Name, setting.Ours)
		}
		wantEveryValueSet(t, setting)
		for _, part := range setting.Parts {
			wantWholePart(t, setting, &part)
		}
	}
	if !slices.Equal(names[:len(guideMembers)], guideMembers) {
		t.Errorf("the guide's rows are %q", names[:len(guideMembers)])
	}
	if slices.Sort(names); len(slices.Compact(names)) != len(policy.Settings) {
		t.Error("two rows of one name")
	}
}

// wantEveryValueSet fails if a value is neither set by a flag nor said to have no
// public way.
func wantEveryValueSet(t *testing.T, setting *policy.Setting) {
	t.Helper()
	values := []policy.Value{policy.True, policy.False}
	if setting.Values.Kind == policy.KindNumber || setting.Values.Kind == policy.KindText {
		return // set as it is
	}
	if len(setting.Values.Only) > 0 {
		values = nil
		for _, only := range setting.Values.Only {
			values = append(values, only.Value)
			if only.Doc == "" {
				t.Errorf("%s: %s has no words", setting.Name, only.Value)
			}
		}
	}
	for _, value := range values {
		set := slices.ContainsFunc(setting.Parts, func(part policy.Part) bool { return part.WordFor(value) != nil })
		if none := slices.Contains(setting.NoWay, value); set == none {
			t.Errorf("%s: %s is set %t, has no way %t", setting.Name, value, set, none)
		}
		if _, err := setting.Values.Parse(string(value)); err != nil {
			t.Error(err)
		}
		if stricter := setting.StricterThan(value); stricter != "" && (slices.Contains(setting.NoWay, stricter) || !slices.Contains(values, stricter)) {
			t.Errorf("%s: %s is no way out", setting.Name, stricter)
		}
	}
	for _, value := range setting.Disruptive {
		if !slices.Contains(values, value) {
			t.Errorf("%s: %s interrupts and is no value", setting.Name, value)
		}
	}
}

func wantWholePart(t *testing.T, setting *policy.Setting, part *policy.Part) {
	t.Helper()
	levels := []policy.Level{policy.Confirmed, policy.OneScript, policy.Inferred, policy.Unknown}
	source := regexp.MustCompile(`^(acting|captures|prlctl) [0-9]+(\.[0-9]+)*$`)
	if !slices.Contains(levels, part.Evidence.Level) || !source.MatchString(part.Evidence.Source) {
		t.Errorf("%s %s: evidence %+v", setting.Name, part.Flag, part.Evidence)
	}
	if setting.Ours && part.Evidence.Level != policy.Confirmed {
		t.Errorf("%s %s: ours are confirmed only", setting.Name, part.Flag)
	}
	if (len(part.Words) == 0) != (part.AsIs || part.Keep != "") {
		t.Errorf("%s %s: words %v", setting.Name, part.Flag, part.Words)
	}
	for _, word := range part.Words {
		value := word.For
		if part.WordFor(value) == nil || part.WordFor(value).Set[0] != word.Set[0] {
			t.Errorf("%s %s: %s has two words", setting.Name, part.Flag, value)
		}
		for _, set := range word.Set {
			if set == "" || strings.HasPrefix(set, "-") {
				t.Errorf("%s %s: %s is set by %q", setting.Name, part.Flag, value, set)
			}
		}
		if len(word.Set) == 0 || part.Adapters != (len(word.With) > 0) {
			t.Errorf("%s %s: %s is %+v", setting.Name, part.Flag, value, word)
		}
	}
}

// Flags that a policy never uses: a device that may take the keyboard along, and
// an administrator's name, which asks for the password (H67).
func TestH67_FlagsThatAreNeverSet(t *testing.T) {
	t.Parallel()
	for _, flag := range policy.Flags.Set {
		if slices.Contains([]string{"--device-del", "--device-add", "--host-admin", "--custom-pwd", "--userpasswd", "--require-pwd"}, flag.Name) {
			t.Errorf("%s is set", flag.Name)
		}
	}
}

// Words that promise what cannot be kept (DESIGN 1.5).
var dishonest = regexp.MustCompile(`(?i)\b(prevent\w*|applied|guarantee\w*)\b`)

func TestWordsAreHonest(t *testing.T) {
	t.Parallel()
	check := func(where, text string) {
		if found := dishonest.FindString(strings.ReplaceAll(text, "not applied", "")); found != "" {
			t.Errorf("%s says %q: %s", where, found, text)
		}
	}
	for _, words := range protocol.Codes {
		check(string(words.Code), string(words.Code)+" "+words.Text+" "+words.Remedy)
	}
	for i := range policy.Settings {
		setting := &policy.Settings[i]
		check(setting.Name, setting.Doc+" "+setting.Strength.Standard+" "+setting.Strength.Admin)
		for _, only := range setting.Values.Only {
			check(setting.Name, string(only.Value)+" "+only.Doc)
		}
	}
	for _, word := range []string{protocol.VerdictInPlace, protocol.VerdictPending, protocol.VerdictDeferred, protocol.VerdictPartial,
		protocol.VerdictNotApplicable, protocol.VerdictUnsupported, protocol.VerdictUnknown, protocol.VerdictContended, protocol.VerdictFailed,
		protocol.PolicyNone, protocol.PolicyFetched, protocol.PolicyConverging, protocol.PolicyConverged, protocol.PolicyPartial, protocol.PolicyFailed, protocol.PolicyStale} {
		check("a word of state", word)
	}
}

// H67, VMS-31: what only asks for a password is not called more than that.
func TestH67_StrengthOfTheLock(t *testing.T) {
	t.Parallel()
	lock := policy.Find("no_config_changes")
	if !lock.Lock || lock.Strength.Standard != protocol.StrengthDeterred || lock.Strength.Admin != protocol.StrengthReverted || lock.Order != policy.OrderLast {
		t.Errorf("the lock is %+v", lock)
	}
	for i := range policy.Settings {
		setting := &policy.Settings[i]
		if setting.Strength.Standard == protocol.StrengthEnforced || setting.Strength.Admin == protocol.StrengthEnforced || setting.Lock != (setting == lock) {
			t.Errorf("%s holds %s and %s", setting.Name, setting.Strength.Standard, setting.Strength.Admin)
		}
	}
}
