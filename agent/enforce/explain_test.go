package enforce

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// cause is what brings a code about, and what ends it.
type cause struct {
	setting, document string
	inject, heal      func(*lab)
	applies           int // how often the policy is carried out before it shows
	want              string
}

func of(change func(*fakeVM)) func(*lab) { return func(l *lab) { change(l.vmOf(501)) } }

func inState(state string) func(*lab) {
	return of(func(vm *fakeVM) { vm.state = prlctl.State(state) })
}

func shows(path, value string) func(*lab) { return of(func(vm *fakeVM) { vm.change(path, value) }) }

func seen(look func(*Situation)) func(*lab) { return func(l *lab) { l.look = look } }

func facts(change func(*policy.Machine)) func(*lab) {
	return seen(func(s *Situation) {
		for _, m := range s.Machines {
			change(&m.Facts)
		}
	})
}

func answers(code protocol.Code) func(*lab) {
	return func(l *lab) {
		l.answer = func(uint32, []string) (bool, error) { return false, &prlctl.Error{Code: string(code)} }
	}
}

func wants(document string) func(*lab) { return func(l *lab) { l.content = contentOf(document, 8) } }

func nothing(*lab)   {}
func cleared(l *lab) { l.look, l.answer, l.retryNow = nil, nil, true }

const stricter = `},"on_unsupported":"stricter","golden_image":{`

// causes are how each code of a verdict comes about.
var causes = map[protocol.Code]cause{
	protocol.CodeNotSetYet:   {"clipboard", clipboard, nothing, nothing, 0, "pending"},
	protocol.CodeMonitorMode: {"clipboard", clipboard, func(l *lab) { l.monitor = true }, func(l *lab) { l.monitor = false }, 1, "pending"},
	protocol.CodeLocksReleased: {"clipboard", clipboard, func(l *lab) { l.releaseLocks() },
		wants(clipboard), 1, "pending"},
	protocol.CodeVMRunning:         {"asset_tag", `"asset_tag":"F-1"`, inState("running"), inState("stopped"), 1, "deferred"},
	protocol.CodeVMInUse:           {"network", `"network":"host_only"`, inState("running"), inState("stopped"), 1, "deferred"},
	protocol.CodeVMSuspended:       {"clipboard", clipboard, inState("suspended"), inState("running"), 1, "deferred"},
	protocol.CodeVMBusy:            {"clipboard", clipboard, inState("starting"), inState("running"), 1, "deferred"},
	protocol.CodeVMHeld:            {"startup", `"startup":"ready_in_background"`, facts(func(m *policy.Machine) { m.Held = true }), cleared, 1, "deferred"},
	protocol.CodeVMInvalid:         {"clipboard", clipboard, inState("invalid"), inState("stopped"), 1, "deferred"},
	protocol.CodeVMPacked:          {"clipboard", clipboard, shows("Security/Packed", "yes"), shows("Security/Packed", "no"), 1, "deferred"},
	protocol.CodeStateDisputed:     {"clipboard", clipboard, facts(func(m *policy.Machine) { m.Disputed = true }), cleared, 1, "deferred"},
	protocol.CodePDNotInstalled:    {"clipboard", clipboard, seen(func(s *Situation) { s.Closed = protocol.CodePDNotInstalled }), cleared, 1, "deferred"},
	protocol.CodeUserLate:          {"clipboard", clipboard, facts(func(m *policy.Machine) { m.Stale = protocol.CodeUserLate }), cleared, 1, "deferred"},
	protocol.CodeDuplicateKey:      {"clipboard", clipboard, facts(func(m *policy.Machine) { m.Unreadable = protocol.CodeDuplicateKey }), cleared, 1, "unknown"},
	protocol.CodePDVersionTooOld:   {"clipboard", clipboard, seen(func(s *Situation) { s.VendorGates, s.Version = true, prlctl.Version{Major: 26} }), cleared, 1, "not_applicable"},
	protocol.CodeGuestOS:           {"no_share_vm_apps", `"no_share_vm_apps":true`, shows("OS", "ubuntu"), shows("OS", "win-11"), 1, "not_applicable"},
	protocol.CodeGuestOSArch:       {"clipboard", clipboard, shows("Type", "APPLE_VZ_VM"), shows("Type", "VM"), 1, "not_applicable"},
	protocol.CodeNeedsWindowsTools: {"lock_on_suspend", `"lock_on_suspend":true`, shows("GuestTools/state", "not_installed"), shows("GuestTools/state", "installed"), 1, "not_applicable"},
	protocol.CodeNoPublicWay:       {"clipboard", `"clipboard":"mac_to_guest"`, nothing, wants(clipboard), 1, "unsupported"},
	protocol.CodeStricterValue:     {"clipboard", `"clipboard":"mac_to_guest"` + stricter, nothing, wants(clipboard), 2, "in_place"},
	protocol.CodeSettingUnknown:    {"neighbors", `"neighbors":true`, nothing, wants(clipboard), 1, "unsupported"},
	protocol.CodeReleaseUnproven:   {"no_config_changes", `"no_config_changes":true`, nothing, func(l *lab) { l.locks = true }, 1, "unsupported"},
	protocol.CodeNotObservable:     {"no_tools_autoupdate", `"no_tools_autoupdate":true`, facts(func(m *policy.Machine) { m.Config = nil }), cleared, 1, "unknown"},
	protocol.CodeUnrecognized: {"clipboard", clipboard, answers(protocol.CodeUnrecognized), func(l *lab) { cleared(l); l.version.Minor++ },
		1, "not_applicable"},
	protocol.CodeNotVerified: {"clipboard", clipboard, func(l *lab) { l.answer = func(uint32, []string) (bool, error) { return false, nil } }, cleared, 1, "failed"},
	protocol.CodeContended: {"clipboard", clipboard, func(l *lab) {
		for range 3 {
			l.converge()
			shows("Miscellaneous Sharing/Shared clipboard mode", "on")(l)
		}
	}, func(l *lab) {
		time.Sleep(slowly)
		l.converge()
		time.Sleep(slowly)
	}, 0, "contended"},
	protocol.CodeLockReleasing: {"no_config_changes", `"no_config_changes":true`, func(l *lab) {
		l.locks = true
		l.converge()
		l.content.Released = true
	}, nothing, 0, "pending"},
	protocol.CodeAdminPassword: {"clipboard", clipboard, answers(protocol.CodeAdminPassword), cleared, 1, "failed"},
	protocol.CodeServiceDown:   {"clipboard", clipboard, answers(protocol.CodeServiceDown), cleared, 1, "deferred"},
	protocol.CodeUserSession:   {"clipboard", clipboard, answers(protocol.CodeUserSession), cleared, 1, "deferred"},
}

// slowly is longer than a contended value has to stay in place.
const slowly = 3 * time.Hour

// on is the verdict on alice's setting; nil if there is none.
func (l *lab) on(setting string) *policy.Verdict {
	for _, one := range l.enforcer.View().Settings {
		if one.Verdict.VM.UID == 501 && one.Verdict.Setting == setting {
			return one.Verdict
		}
	}
	return nil
}

// Explain is honest: each code comes with its cause, says what to do, keeps its date
// over a restart, and is gone within one pass once its cause is.
func TestExplainIsHonest(t *testing.T) {
	for code, c := range causes {
		t.Run(string(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, c.document)
				c.inject(l)
				for range c.applies {
					l.apply()
				}
				time.Sleep(time.Minute)
				l.plan()
				first := l.on(c.setting)
				if first == nil || first.Code != code || first.Verdict != c.want {
					t.Fatalf("%+v", first)
				}
				if words := code.Text(); words.Text == "" || words.Remedy == "" || first.Since.IsZero() {
					t.Errorf("words %+v, since %v", words, first.Since)
				}
				next := labOn(t, l.fakeMac, copyState(t, l.folder), "")
				next.content, next.monitor, next.locks, next.version, next.look = l.content, l.monitor, l.locks, l.version, l.look
				time.Sleep(time.Minute)
				next.plan()
				if again := next.on(c.setting); again == nil || again.Code != code || !again.Since.Equal(first.Since) {
					t.Errorf("after a restart %+v, before %+v", again, first)
				}
				c.heal(next)
				next.apply() // one pass: carry out, and look again
				time.Sleep(time.Second)
				next.plan()
				if after := next.on(c.setting); after != nil && after.Code != "" {
					t.Errorf("the cause is gone: %+v", after)
				}
				synctest.Wait()
			})
		})
	}
}

// notOfMachines are codes of this package's plans that are of no machine's setting.
var notOfMachines = map[string]bool{
	"CodeSectionNotSupported": true, // TestWhatIsNotCarriedOutIsSaid, of package policy
}

// A code that the planner can give a verdict with has its cause above.
func TestEveryVerdictCodeHasACause(t *testing.T) {
	names := make(map[string]bool)
	for _, file := range []string{"judge.go", "lock.go", "machine.go", "plan.go", "setting.go", "memory.go"} {
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "policy", file), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			if selector, is := node.(*ast.SelectorExpr); is && strings.HasPrefix(selector.Sel.Name, "Code") {
				if from, is := selector.X.(*ast.Ident); is && from.Name == "protocol" && selector.Sel.Name != "Code" {
					names[selector.Sel.Name] = true
				}
			}
			return true
		})
	}
	values := make(map[string]protocol.Code)
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "protocol", "code.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(node ast.Node) bool {
		if spec, is := node.(*ast.ValueSpec); is && len(spec.Values) == 1 {
			if literal, is := spec.Values[0].(*ast.BasicLit); is {
				values[spec.Names[0].Name] = protocol.Code(strings.Trim(literal.Value, `"`))
			}
		}
		return true
	})
	if len(names) < 20 {
		t.Errorf("only %d codes found", len(names))
	}
	for name := range names {
		if _, has := causes[values[name]]; !has && !notOfMachines[name] {
			t.Errorf("%s (%s) has no cause here", name, values[name])
		}
	}
}
