package inventory

import (
	"maps"
	"strings"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// remarked adds to the rows what follows from the product's version and what
// can only be said beside a value. What is remembered stays as it is: after an
// update of the product the same records read otherwise.
func remarked(rows []protocol.VM, product *protocol.Product) []protocol.VM {
	version := versionOf(product)
	out := make([]protocol.VM, len(rows))
	for i := range rows {
		row := &out[i]
		*row = rows[i]
		row.Gaps = maps.Clone(row.Gaps)
		remarkTools(row, version)
		remarkEncryption(row)
		explainAge(row, version)
	}
	return out
}

// versionOf is the product's version with its build; zero if it is not known.
func versionOf(product *protocol.Product) prlctl.Version {
	text := product.Version
	if product.Build != "" {
		text += "-" + product.Build
	}
	version, err := prlctl.ParseVersion(text)
	if err != nil {
		return prlctl.Version{}
	}
	return version
}

// remarkTools flags tools that are older than the product (conformance INV-27).
func remarkTools(row *protocol.VM, product prlctl.Version) {
	tools := prlctl.GuestTools{State: row.ToolsState, Version: row.ToolsVersion}
	if row.ToolsVersion != "" && tools.Outdated(product) {
		noteGap(row, "tools_version", protocol.CodeToolsOutdated)
	}
}

// remarkEncryption says that the method is not known: "Encrypted" alone is no
// value of the guide's.
func remarkEncryption(row *protocol.VM) {
	if row.Encryption == protocol.Encrypted {
		noteGap(row, "vm_encryption", protocol.CodeEncryptionMethod)
	}
}

// explainAge gives the version's age as the reason where an old one does not
// show what the cell needs (conformance INV-24). A serial number that is
// derived holds only where none was set, and an old list does not tell.
func explainAge(row *protocol.VM, product prlctl.Version) {
	if row.CPU == "" && row.Gaps["cpu"] == protocol.CodeNotShown && product.TooOldFor("Hardware/cpu/type") {
		noteGap(row, "cpu", protocol.CodePDVersionTooOld)
	}
	if strings.HasPrefix(row.Serial, derivedSerial) && product.TooOldFor("SMBIOS settings") {
		row.Serial = ""
		noteGap(row, "vm_serial", protocol.CodePDVersionTooOld)
	}
}

// derivedSerial begins every serial number that is made from the VM's id.
const derivedSerial = "Parallels-"

// noteGap gives the reason of an empty cell, or a remark on its value.
func noteGap(row *protocol.VM, column string, code protocol.Code) {
	if row.Gaps == nil {
		row.Gaps = make(map[string]protocol.Code)
	}
	row.Gaps[column] = code
}
