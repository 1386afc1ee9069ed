package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// guestAccounts are the accounts that every guest has by itself.
var guestAccounts = []string{"user", "Administrator", "root"}

// changeGuestPassword changes the password of an account of the guest through the
// Tools (facts/prlctl.md 1.5). An account that the guest does not have is made, by the
// man page of the ancestor (acting.md 1, inferred). The guest keeps the password; here
// only its hash is kept.
func (s *State) changeGuestPassword(vm *VM, value string) error {
	account, password, _ := strings.Cut(value, ":")
	_, given := vm.GuestPasswords[account]
	unknown := !given && !slices.Contains(guestAccounts, account)
	if unknown && s.assumes("userpasswd_unknown", "refused") {
		return toolErrorf("The user account %s does not exist in the guest operating system.", account) // invented
	}
	if vm.GuestPasswords == nil {
		vm.GuestPasswords = map[string]string{}
	}
	sum := sha256.Sum256([]byte(password))
	vm.GuestPasswords[account] = hex.EncodeToString(sum[:])
	detail := "changed " + account
	if unknown {
		detail = "created " + account
	}
	s.addEffect("userpasswd", vm, detail)
	return nil
}

// checkGuestPassword refuses a change of a guest's password that cannot be: the VM has
// to run, with Tools that have reported (VMF-05). The texts but that of the state are
// invented.
func (s *State) checkGuestPassword(vm *VM, value string, ready bool) error {
	account, password, whole := strings.Cut(value, ":")
	switch {
	case !whole || account == "" || password == "":
		return toolErrorf("An incorrect value for --userpasswd is specified.")
	case vm.State == "running" && (vm.Tools == "none" || !ready):
		return toolErrorf("Unable to change the password. Make sure your virtual machine has finished booting and runs the latest version of Parallels Tools.")
	}
	return nil
}
