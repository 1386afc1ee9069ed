package policy

import (
	"fmt"
	"slices"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// EncryptsLater reports whether the policy wants the machine encrypted, which it is
// not: Parallels Desktop does that when it comes to it, and then needs about as much
// room again as the machine takes (conformance ENC-10).
func (d *Document) EncryptsLater(vm *prlctl.VM) bool {
	return d.SecurityControls.Set["org_license_only"] && !vm.Security.Encrypted.On()
}

// LowSpace is a machine whose disk has not the room that encrypting it needs.
type LowSpace struct {
	VM         protocol.VMKey
	Used, Free uint64 // bytes
}

// followSpace notes the machines that there is no room to encrypt. One stays among
// them until there is a tenth more than it needs, so that a disk which is just as full
// is told of once.
func (cp *controlsPlan) followSpace() {
	before := cp.memory.LowSpace
	cp.memory.LowSpace = nil
	if cp.document == nil || cp.isTooOldToEncrypt() {
		return
	}
	looked := make(map[protocol.VMKey]bool)
	for i := range cp.p.observed.Machines {
		m := &cp.p.observed.Machines[i]
		known := m.UsedSpace > 0 && m.Unreadable == "" && m.Stale == ""
		looked[m.Key] = known || !cp.document.EncryptsLater(&m.VM)
		needed, was := m.UsedSpace, slices.Contains(before, m.Key)
		if was {
			needed += needed / 10
		}
		if !known || !cp.document.EncryptsLater(&m.VM) || m.FreeSpace >= needed {
			continue
		}
		cp.memory.LowSpace = append(cp.memory.LowSpace, m.Key)
		if !was {
			cp.result.LowSpace = append(cp.result.LowSpace, LowSpace{m.Key, m.UsedSpace, m.FreeSpace})
		}
	}
	for _, key := range before { // not looked at now
		if !looked[key] && cp.isOn("org_license_only") && slices.Contains(cp.p.observed.Host.Present, key) {
			cp.memory.LowSpace = append(cp.memory.LowSpace, key)
		}
	}
}

// encryptionVersion is the first version in which the vendor's portal governs
// encryption (conformance ENC-01).
var encryptionVersion = prlctl.Version{Major: 20, Minor: 3, Patch: 1}

func (cp *controlsPlan) isTooOldToEncrypt() bool {
	version := cp.p.observed.Version
	return cp.p.desired.VendorGates && !version.IsZero() && version.Compare(encryptionVersion) < 0
}

func (cp *controlsPlan) judgeOrgLicenseOnly(*Control) (string, protocol.Code) {
	if cp.isTooOldToEncrypt() {
		return protocol.VerdictNotApplicable, protocol.CodePDVersionTooOld
	}
	return protocol.VerdictUnsupported, protocol.CodeNotEnforceable
}

// observedEncryption is what is seen beside org_license_only.
func (cp *controlsPlan) observedEncryption() string {
	all, encrypted, expiring := 0, 0, 0
	for i := range cp.p.observed.Machines {
		security := &cp.p.observed.Machines[i].VM.Security
		all++
		if security.Encrypted.On() {
			encrypted++
		}
		if security.Protected.On() {
			expiring++
		}
	}
	text := fmt.Sprintf("%d of %d virtual machines are encrypted, %d expire", encrypted, all, expiring)
	if low := len(cp.memory.LowSpace); low > 0 {
		text += fmt.Sprintf("; without the disk space to be encrypted: %d", low)
	}
	return text
}
