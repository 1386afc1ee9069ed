package fleet

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// PolicyVersion is a policy of a group with the mode that its head names.
type PolicyVersion struct {
	Document *policy.Document // nil: none
	SHA256   string           // of the document
	Enforce  bool             // false: monitor mode
}

// Known is what the portal knows of what a policy is for: a virtual machine, an
// account of a Mac, whose key has no id, or with an empty key a Mac as a whole.
type Known struct {
	DeviceID string
	Key      protocol.VMKey
	Monitors bool   // its Mac only monitors, by its profile
	SHA256   string // of the document that the verdicts are on
	Verdicts map[string]*protocol.VerdictGroup
	NoUsers  bool // of a Mac: none was reported, whose preferences could be told of
}

// Outcome is what becomes of a setting of one virtual machine, of a preference of one
// account or of a control of one Mac when a policy is published.
type Outcome string

// Outcomes. What "will be set" is set as soon as the Mac has the policy.
const (
	OutcomeSet       Outcome = "set"       // will be set
	OutcomeWaits     Outcome = "waits"     // will be set once its machine, or the machine's user, lets it be
	OutcomeRetried   Outcome = "retried"   // failed so far, or is contended, and is tried again
	OutcomeStays     Outcome = "stays"     // is as it is wanted
	OutcomeExcluded  Outcome = "excluded"  // is not for this machine, or cannot be set
	OutcomeReleased  Outcome = "released"  // becomes unmanaged: a value stays, and what was placed for a control is lifted
	OutcomeMonitored Outcome = "monitored" // would be set, and its Mac only monitors
	OutcomeUnknown   Outcome = "unknown"   // nothing that is known says which
)

// SettingDiff is what publishing changes of one setting, preference or control. What is
// counted depends on what it is for: virtual machines, users or Macs alone.
type SettingDiff struct {
	Path    string          `json:"path"`
	Setting string          `json:"setting"`
	Old     string          `json:"old,omitempty"` // value; empty: not managed
	New     string          `json:"new,omitempty"`
	VMs     map[Outcome]int `json:"vms"`
	Users   map[Outcome]int `json:"users"`
	Macs    map[Outcome]int `json:"macs"` // that have these
}

// Prediction is what publishing does to one setting of one virtual machine, account or
// Mac.
type Prediction struct {
	DeviceID string
	Key      protocol.VMKey // as Known.Key
	Path     string
	Outcome  Outcome
}

// Difference is what publishing a policy to a group would change.
type Difference struct {
	Group    string        `json:"group"`
	Macs     int           `json:"macs"` // of the group
	VMs      int           `json:"vms"`
	Users    int           `json:"users"`  // whose preferences a policy is for
	Silent   int           `json:"silent"` // Macs of the group that have reported no machine: nothing is known of what they have
	Settings []SettingDiff `json:"settings"`
}

// diffScopes are the scopes of a document by their paths.
func diffScopes(document *policy.Document) map[string]*policy.Scope {
	if document == nil {
		return nil
	}
	return map[string]*policy.Scope{
		"vm_settings.golden_image": &document.VMSettings.GoldenImage, "vm_settings.other": &document.VMSettings.Other,
	}
}

// valuesOf are the values of all settings of a document by their paths.
func valuesOf(document *policy.Document) map[string]policy.Value {
	values := make(map[string]policy.Value)
	for path, scope := range diffScopes(document) {
		for name, value := range scope.Settings {
			values[path+"."+name] = value
		}
	}
	if document != nil {
		for name, value := range document.Product.Preferences {
			values[policy.ProductPath+name] = value
		}
		addControls(values, &document.SecurityControls)
	}
	return values
}

// Predict says what becomes of each setting of what is known when a group's policy is
// replaced. A setting that nothing is known of is not guessed at: its outcome is
// unknown.
func Predict(before, next PolicyVersion, known []Known) []Prediction {
	was, is := valuesOf(before.Document), valuesOf(next.Document)
	p := predictor{before: before, next: next, was: was, is: is, alike: sameJudgement(before.Document, next.Document)}
	all := maps.Clone(was)
	maps.Copy(all, is)
	paths := slices.Sorted(maps.Keys(all))
	var made []Prediction
	for i := range known {
		for _, path := range paths {
			if outcome := p.outcomeFor(&known[i], path); outcome != "" {
				made = append(made, Prediction{known[i].DeviceID, known[i].Key, path, outcome})
			}
		}
	}
	return made
}

// outcomeFor is what becomes of a setting of what is known; empty where the setting is
// for something else.
func (p *predictor) outcomeFor(known *Known, path string) Outcome {
	isVM, isMac := known.Key.ID != "", known.Key == protocol.VMKey{}
	switch {
	case strings.HasPrefix(path, policy.ProductPath):
		if isMac && known.NoUsers {
			return OutcomeUnknown
		}
		if !isVM && !isMac {
			return p.preferenceOutcome(known, settingOf(path))
		}
	case isAboutViolations(path):
		if isVM {
			return p.violationOutcome(known)
		}
	case strings.HasPrefix(path, protocol.ControlsPath):
		if isMac {
			return p.controlOutcome(known, settingOf(path))
		}
	case isVM:
		return p.outcome(known, path)
	}
	return ""
}

// sameJudgement reports whether two documents differ at most in their settings, of
// all that decides over a setting: which machines are in which scope, and what the
// values mean.
func sameJudgement(a, b *policy.Document) bool {
	if a == nil || b == nil {
		return false
	}
	return reflect.DeepEqual(a.Adopt, b.Adopt) && a.VMSettings.BeyondGuide == b.VMSettings.BeyondGuide && a.VMSettings.OnUnsupported == b.VMSettings.OnUnsupported
}

type predictor struct {
	before, next PolicyVersion
	was, is      map[string]policy.Value
	alike        bool
}

// outcome is what becomes of a setting; empty where it is not for the machine's
// scope.
func (p *predictor) outcome(vm *Known, path string) Outcome {
	verdict := vm.Verdicts[path]
	told := p.isTold(vm)
	old, managed := p.was[path]
	value, wanted := p.is[path]
	switch {
	case !wanted && managed:
		if told && verdict == nil {
			return "" // of the other scope
		}
		return OutcomeReleased
	case told && managed && verdict == nil:
		return ""
	case !told || !p.alike || !managed:
		return p.withoutVerdict(vm, path)
	case old == value:
		return p.effective(vm, outcomeOf(verdict))
	}
	return p.effective(vm, outcomeOfChange(verdict, settingOf(path), old, value))
}

// isTold reports whether the verdicts speak of the policy that is replaced.
func (p *predictor) isTold(known *Known) bool {
	return known.SHA256 == p.before.SHA256 && p.before.Document != nil
}

// withoutVerdict is the outcome where no verdict says how a setting is: unknown,
// unless the machine's scope is known, and is another one.
func (p *predictor) withoutVerdict(vm *Known, path string) Outcome {
	for other := range vm.Verdicts {
		if p.alike && strings.HasPrefix(other, "vm_settings.") && scopeOfPath(other) != scopeOfPath(path) {
			return ""
		}
	}
	return OutcomeUnknown
}

// scopeOfPath is the path without the setting.
func scopeOfPath(path string) string { return path[:len(path)-len(settingOf(path))] }

// effective is what an outcome means in the mode that will be in force.
func (p *predictor) effective(known *Known, outcome Outcome) Outcome {
	sets := outcome == OutcomeSet || outcome == OutcomeWaits || outcome == OutcomeRetried
	if sets && (!p.next.Enforce || known.Monitors) {
		return OutcomeMonitored
	}
	return outcome
}

// outcomeOf is what becomes of a setting whose value stays.
func outcomeOf(verdict *protocol.VerdictGroup) Outcome {
	switch verdict.Verdict {
	case protocol.VerdictInPlace, protocol.VerdictPartial:
		return OutcomeStays
	case protocol.VerdictPending:
		if verdict.Code == protocol.CodeReleaseUnproven {
			return OutcomeUnknown // the Mac tries it on one machine first
		}
		return OutcomeSet
	case protocol.VerdictDeferred:
		return OutcomeWaits
	case protocol.VerdictFailed, protocol.VerdictContended:
		return OutcomeRetried
	case protocol.VerdictNotApplicable, protocol.VerdictUnsupported:
		return OutcomeExcluded
	}
	return OutcomeUnknown
}

// outcomeOfChange is what becomes of a setting that gets another value. Only what is
// in place, and so has the old one, is known to need setting; not so a lock, which may
// be the user's, nor a lower limit, which the machine may be within.
func outcomeOfChange(verdict *protocol.VerdictGroup, name string, old, value policy.Value) Outcome {
	setting := policy.Find(name)
	switch {
	case setting == nil || slices.Contains(setting.NoWay, value):
		return OutcomeExcluded
	case verdict.Verdict == protocol.VerdictNotApplicable:
		return OutcomeExcluded
	case verdict.Verdict != protocol.VerdictInPlace, setting.Lock:
		return OutcomeUnknown
	case isLimit(setting):
		if isAtMost(old, value) {
			return OutcomeStays
		}
		return OutcomeUnknown
	case slices.Contains(setting.Disruptive, value), slices.ContainsFunc(setting.Parts, func(p policy.Part) bool { return p.Stopped }):
		return OutcomeWaits // if it runs, or anybody works in it
	}
	return OutcomeSet
}

// isLimit reports whether the setting's value is the most that a machine may have.
func isLimit(setting *policy.Setting) bool {
	return slices.ContainsFunc(setting.Parts, func(p policy.Part) bool { return p.Read == policy.ReadAtMost })
}

func isAtMost(old, value policy.Value) bool {
	before, err := strconv.Atoi(string(old))
	next, err2 := strconv.Atoi(string(value))
	return err == nil && err2 == nil && before <= next
}

// Summarize counts predictions by setting, in the order of their paths.
func Summarize(before, next PolicyVersion, predictions []Prediction) []SettingDiff {
	was, is := valuesOf(before.Document), valuesOf(next.Document)
	byPath, macs := make(map[string]*SettingDiff), make(map[string]map[Outcome]map[string]bool)
	for _, values := range []map[string]policy.Value{was, is} {
		for path := range values {
			byPath[path] = &SettingDiff{Path: path, Setting: settingOf(path), Old: string(was[path]), New: string(is[path]), VMs: map[Outcome]int{}, Users: map[Outcome]int{}, Macs: map[Outcome]int{}}
			macs[path] = make(map[Outcome]map[string]bool)
		}
	}
	for _, one := range predictions {
		switch {
		case one.Key.ID != "":
			byPath[one.Path].VMs[one.Outcome]++
		case one.Key.UID != 0:
			byPath[one.Path].Users[one.Outcome]++
		}
		of := macs[one.Path]
		if of[one.Outcome] == nil {
			of[one.Outcome] = make(map[string]bool)
		}
		of[one.Outcome][one.DeviceID] = true
		byPath[one.Path].Macs[one.Outcome] = len(of[one.Outcome])
	}
	all := []SettingDiff{}
	for _, path := range slices.Sorted(maps.Keys(byPath)) {
		all = append(all, *byPath[path])
	}
	return all
}

// Diff is what publishing a policy to a group would change, by what its Macs have
// reported. Settings that stay, on machines where they are in place, are counted too.
func (s Scan) Diff(ctx context.Context, group string, before, next PolicyVersion) (Difference, error) {
	difference := Difference{Group: group}
	var known []Known
	err := s.Fleet.eachDevice(ctx, func(m *cachedDevice) error {
		if m.device.IsRetired() || m.device.Group.ID != group {
			return nil
		}
		difference.Macs++
		difference.VMs += len(m.report.Rows)
		if len(m.report.Rows) == 0 {
			difference.Silent++
		}
		kept, err := s.Fleet.store.Verdicts(ctx, m.device.ID)
		if err != nil {
			return fmt.Errorf("load verdicts: %w", err)
		}
		var users []protocol.UserLook
		if managesProduct(before.Document) || managesProduct(next.Document) {
			report, err := s.Fleet.Report(ctx, m.device.ID) // what is held decoded has no users
			if err != nil {
				return fmt.Errorf("load users: %w", err)
			}
			users = report.Users
		}
		found := knownOf(m, users, &kept)
		for _, one := range found {
			if one.Key.ID == "" && one.Key.UID != 0 {
				difference.Users++
			}
		}
		known = append(known, found...)
		return nil
	})
	if err != nil {
		return Difference{}, err
	}
	difference.Settings = Summarize(before, next, Predict(before, next, known))
	return difference, nil
}

func managesProduct(document *policy.Document) bool {
	return document != nil && document.ManagesProduct()
}

// knownOf are the machines of a Mac, the accounts that its agent looks at, and the Mac
// as a whole, with their verdicts. The mode that an agent reports is that of its
// profile.
func knownOf(m *cachedDevice, users []protocol.UserLook, kept *storage.Verdicts) []Known {
	verdicts := map[protocol.VMKey]map[string]*protocol.VerdictGroup{{}: nil}
	for _, user := range users {
		if user.IsLookedAt() {
			verdicts[policy.AccountKey(user.UID)] = nil
		}
	}
	for _, row := range m.report.Rows {
		verdicts[row.VM.VMKey] = nil
	}
	kept.Report.Each(func(key protocol.VMKey, group *protocol.VerdictGroup) {
		if _, isRow := verdicts[key]; !isRow && key.ID != "" {
			return // of a machine that the report had no room for
		}
		if verdicts[key] == nil {
			verdicts[key] = make(map[string]*protocol.VerdictGroup)
		}
		verdicts[key][group.Path] = group
	})
	known := make([]Known, 0, len(verdicts))
	hasUsers := false
	for key := range verdicts {
		hasUsers = hasUsers || key.ID == "" && key.UID != 0
	}
	for key, of := range verdicts {
		known = append(known, Known{
			DeviceID: m.device.ID, Key: key, Monitors: m.report.Agent.Mode != modeEnforce, SHA256: kept.Report.SHA256, Verdicts: of, NoUsers: !hasUsers,
		})
	}
	return known
}

// modeEnforce is the word of protocol.AgentInfo.
const modeEnforce = "enforce"
