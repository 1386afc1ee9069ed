package sim

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Error texts of the real tools that an action can meet (captures.md 4.2).
const (
	errLicenseExpired toolError = "This product was activated for a limited period of time that has now expired."
	errCredentials    toolError = "The operation failed. To perform this operation, you must enter the host OS administrator's credentials."
	errBusyCloning    toolError = "Unable to perform the action because the virtual machine is busy. The virtual machine is being cloned. Please try again later."
	errSynchronizing  toolError = "Data synchronization is currently in progress" // facts/prlctl.md 5
	// The missing blank is theirs.
	errInvalidConfiguration toolError = "Unable to commit VM configuration: Unable to start the virtual machine.The virtual machine configuration is invalid."
)

// errNotForGuest is the refusal of a setting that the guest's system does not
// have, with its second line.
func errNotForGuest(setting string) error {
	return toolErrorf("Unable to commit VM configuration: %s is not supported by the guest operating system.\nFailed to configure the virtual machine.", setting)
}

// vmPassword opens every VM that is encrypted by a password.
const vmPassword = "simulated"

// errNoPassword answers whoever does not know it; the text is invented.
const errNoPassword toolError = "The password is wrong."

// adminPassword is that of every administrator of the Mac.
const adminPassword = "simulated"

// askAdministrator asks for the administrator as the guide shows it for a guest's
// password (acting.md 1); what the first line says of anything else, and what
// comes when nobody answers, is not known.
func (in *invocation) askAdministrator(what string) error {
	fmt.Fprintf(in.stdout, "Only host administrator can %s.\nConfirm your administrator credentials.\nUsername: ", what)
	return in.readAdministrator(in.readLine())
}

// readAdministrator reads the password of the administrator named.
func (in *invocation) readAdministrator(name string) error {
	fmt.Fprint(in.stdout, "Password: ")
	if password := in.readLine(); name != "" && password == adminPassword {
		return nil
	}
	if in.state.assumes("prompt_unanswered", "silent") {
		return errUnanswered
	}
	return errCredentials
}

// errUnanswered ends a tool that has asked and says nothing more.
const errUnanswered toolError = ""

// checkMac refuses what the license or the Mac's administrator does not allow.
func (in *invocation) checkMac() error {
	switch {
	case in.state.Product.LicenseStatus == "EXPIRED":
		return errLicenseExpired
	case in.state.hasFault("credentials", in.caller):
		return errCredentials
	}
	return nil
}

// checkAction refuses what checkMac or the state of the VM does not allow, and asks
// for the password of an encrypted VM.
func (in *invocation) checkAction(vm *VM) error {
	if err := in.checkMac(); err != nil {
		return err
	}
	switch {
	case vm.State == "cloning":
		return errBusyCloning
	case !vm.Encrypted || vm.ByLicense || in.state.assumes("encryption_prompt", "none"):
		return nil
	}
	in.printEncryptionPrompt(vm)
	if in.readLine() != vmPassword {
		return errNoPassword
	}
	return nil
}

// printEncryptionPrompt asks for the password of a VM, whose name is free text
// (captures.md 4.2).
func (in *invocation) printEncryptionPrompt(vm *VM) {
	fmt.Fprintf(in.stdout, "Virtual machine '%s' is encrypted - password required to continue operation\nPlease enter password: ", vm.Name)
}

// promptInList prints the prompt of each encrypted VM before a list of them, on a
// Mac whose list does so, and reports whether nothing else comes. Nobody answers
// there.
func (in *invocation) promptInList(vms []*VM) (ends bool) {
	ends = in.state.assumes("encryption_prompt", "instead_of_list")
	prompted := false
	for _, vm := range vms {
		if vm.Encrypted && !vm.ByLicense && (ends || in.state.assumes("encryption_prompt", "list")) {
			in.printEncryptionPrompt(vm)
			prompted = true
		}
	}
	return ends && prompted
}

// readLine reads one line of the input without taking more of it. An ended input
// answers nothing.
func (in *invocation) readLine() string {
	var line strings.Builder
	for next := make([]byte, 1); ; {
		if _, err := io.ReadFull(in.stdin, next); err != nil || next[0] == '\n' {
			return strings.TrimSpace(line.String())
		}
		line.WriteByte(next[0])
	}
}

// isWholeText reports whether an error is all that the tool prints, without the
// name of the action before it.
func isWholeText(err error) bool {
	var refusal toolError
	return errors.As(err, &refusal) && strings.HasPrefix(string(refusal), "Unable to commit VM configuration: ")
}

// failAction prints why an action on a VM failed.
func (in *invocation) failAction(infinitive string, err error) int {
	if isWholeText(err) || errors.Is(err, errUnanswered) {
		return in.failWith(err)
	}
	return in.failWith(toolErrorf("Failed to %s the VM: %v", infinitive, err))
}
