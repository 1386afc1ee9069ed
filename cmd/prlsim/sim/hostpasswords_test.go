package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// requirePwd has an administrator asked for actions.
func requirePwd(t *testing.T, mac Mac, values ...string) {
	t.Helper()
	for _, value := range values {
		checkOutcome(t, callAs(mac, rootUser).run(t, "prlsrvctl", "set", "--require-pwd", value), outcome{0, "successfully configured", ""})
	}
}

// An action that needs a password keeps a standard user out and not an administrator,
// and each of the four is alone.
func TestPasswordsOfActions(t *testing.T) {
	t.Parallel()
	for _, required := range hostPasswordActions {
		state := &State{Users: []macUser{{Name: "alice"}, {Name: "bob", Standard: true}}, RequirePwd: []string{required}}
		for _, action := range hostPasswordActions {
			for _, person := range []string{"", "alice", "bob"} {
				if err := state.checkPerson(person, action); (err != nil) != (person == "bob" && action == required) {
					t.Errorf("%s is required, %s by %q: %v", required, action, person, err)
				}
			}
		}
		if err := state.checkPerson("nobody", required); err == nil {
			t.Error("nobody is somebody")
		}
	}
}

// A VM that was unregistered can be registered again, as it was; one from elsewhere
// has a source that is not here.
func TestRegister(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	id := idOf(t, mac, "alice", "macOS")
	bundle := "/Users/alice/Parallels/macOS.macvm"
	register := func(bundle ...string) error {
		return mac.update(func(state *State) error {
			_, err := mac.registerVM(state, bundle, "bob", newVMOptions{OS: "win-10", Name: "Brought"})
			return err
		})
	}
	if err := register(bundle); err == nil {
		t.Error("a VM is registered twice")
	}
	mustUpdate(t, mac, func(state *State) error {
		vm, err := findVM(state.VMs, id)
		if err != nil {
			return err
		}
		return mac.unregisterVM(state, vm)
	})
	if err := errors.Join(register(bundle), register()); err != nil {
		t.Fatal(err)
	}
	if again := idOf(t, mac, "alice", "macOS"); again != id {
		t.Errorf("%s is %s now", id, again)
	}
	brought := idOf(t, mac, "bob", "Brought")
	if got := fileOf(t, mac, "/Users/bob/Parallels/Brought.pvm", "config.pvs"); strings.Contains(got, "<SourceVmUuid>{"+brought+"}") {
		t.Error("its source is itself")
	}
}

// The preferences' lock keeps a standard user out of the application's preferences.
func TestPreferencesLock(t *testing.T) {
	t.Parallel()
	mac := macAssuming(t, "host_lock=accepted")
	state := mustLoad(t, mac)
	for _, word := range []string{"off", "on"} {
		state.Host = map[string]string{lockFlag: word}
		for _, standard := range []bool{false, true} {
			if err := state.checkPreferencesLock(macUser{Standard: standard}); (err != nil) != (standard && word == "on") {
				t.Errorf("standard user %v, lock %s: %v", standard, word, err)
			}
		}
	}
}

// A list that another writer had the last word on is as it was, once.
func TestLostPasswordList(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	requirePwd(t, mac, "clone-vm:on")
	mustUpdate(t, mac, func(state *State) error { return state.setFault("require_pwd_lost=1", "") })
	requirePwd(t, mac, "create-vm:on")
	if got := mustLoad(t, mac).RequirePwd; !slices.Equal(got, []string{"clone-vm"}) {
		t.Errorf("the list is %v", got)
	}
	requirePwd(t, mac, "create-vm:on")
	if got := mustLoad(t, mac).RequirePwd; !slices.Equal(got, []string{"clone-vm", "create-vm"}) {
		t.Errorf("the list is %v", got)
	}
}

// passwordAssumptionTests show the passwords of the host each way.
func passwordAssumptionTests() map[string]assumptionTest {
	return map[string]assumptionTest{
		"require_pwd_tools": {func(t *testing.T, mac Mac) outcome {
			requirePwd(t, mac, "remove-vm:on")
			return call{mac, "alice", "\n"}.run(t, "prlctl", "delete", "macOS")
		}, map[string]outcome{
			"asked":     {255, "Only host administrator can remove a virtual machine.", "administrator's credentials."},
			"not_asked": {255, "Are you sure", "Operation canceled."}}},
		"require_pwd_set": {func(t *testing.T, mac Mac) outcome {
			var codes []any
			for _, value := range []string{"add-vm:on", "add-vm:off"} {
				codes = append(codes, callAs(mac, rootUser).run(t, "prlsrvctl", "set", "--require-pwd", value).code)
			}
			got := call{mac, rootUser, "admin\n" + adminPassword + "\n"}.run(t, "prlsrvctl", "set", "--require-pwd", "add-vm:off")
			return outcome{got.code, fmt.Sprint(codes, " ", got.stdout), got.stderr}
		}, map[string]outcome{"accepted": {0, "[0 0] The server", ""}, "prompt_off": {0, "[0 255] Only host administrator", ""}, "prompt": {0, "[255 255] Only host administrator", ""}}},
	}
}
