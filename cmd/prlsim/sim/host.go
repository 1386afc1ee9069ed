package sim

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"prlagent/platform/plist"
)

// dscl plays `dscl -plist . -readall /Users ATTRIBUTE…` (facts/macos.md 8).
func dscl(in *invocation) int {
	if len(in.args) < 4 || !slices.Equal(in.args[:4], []string{"-plist", ".", "-readall", "/Users"}) {
		return in.failf(64, "dscl (v20.4)\nusage: dscl [options] [<datasource> [<command>]]")
	}
	records := []any{}
	for _, account := range in.state.accountRecords() {
		record := map[string]any{attributeKey("RecordName"): account["RecordName"]}
		for _, name := range in.args[4:] {
			if values, has := account[name]; has {
				record[attributeKey(name)] = values
			}
		}
		records = append(records, record)
	}
	return in.printPlist(records)
}

func attributeKey(name string) string { return "dsAttrTypeStandard:" + name }

// accountRecords are the records of /Users: the system's own and the people's.
// Several values of one attribute are several strings.
func (s *State) accountRecords() []map[string][]string {
	account := func(uid, fullName, shell string, names []string, homes ...string) map[string][]string {
		return map[string][]string{
			"RecordName": names, "UniqueID": {uid}, "RealName": {fullName}, "UserShell": {shell}, "NFSHomeDirectory": homes,
		}
	}
	const noShell = "/usr/bin/false"
	accounts := []map[string][]string{
		account("89", "Spotlight", noShell, []string{"_spotlight"}, "/var/empty"),
		account("248", "Setup User", "/bin/bash", []string{"_mbsetupuser"}, "/var/setup"),
		account("1", "System Services", noShell, []string{"daemon"}, "/var/root"),
		account("-2", "Unprivileged User", noShell, []string{"nobody"}, "/var/empty"),
		account("0", "System Administrator", "/bin/sh", []string{rootUser, `BUILTIN\Local System`}, "/var/root", "/private/var/root"),
	}
	for _, user := range s.Users {
		accounts = append(accounts, account(strconv.Itoa(user.UID), user.FullName, "/bin/zsh", []string{user.Name}, user.home()))
	}
	return accounts
}

func (in *invocation) printPlist(value any) int {
	content, err := plist.EncodeXML(value)
	if err != nil {
		return in.failf(1, "%s: %v", in.name, err)
	}
	in.printLinef("%s", strings.TrimRight(string(content), "\n"))
	return 0
}

// scutil plays `--get NAME` and `show State:/Users/ConsoleUser` on its input
// (facts/macos.md 8).
func scutil(in *invocation) int {
	switch {
	case len(in.args) == 2 && in.args[0] == "--get":
		return scutilGet(in, in.args[1])
	case len(in.args) == 0:
		return scutilShell(in)
	}
	return in.failf(64, "usage: scutil\n\tinteractive access to the dynamic store.\n   or: scutil --get pref")
}

func scutilGet(in *invocation, name string) int {
	switch name {
	case "ComputerName":
		in.printLinef("%s", in.state.ComputerName)
		return 0
	case "LocalHostName":
		in.printLinef("%s", localHostName(in.state.ComputerName))
		return 0
	case "HostName":
		return in.failf(1, "HostName: not set")
	}
	return in.failf(1, "usage: scutil --get ComputerName|LocalHostName|HostName")
}

// localHostName turns a name into a host name: letters, digits and hyphens.
func localHostName(name string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		case r == '\'' || r == '’':
			return -1
		}
		return '-'
	}, name), "-")
}

func scutilShell(in *invocation) int {
	lines := bufio.NewScanner(in.stdin)
	for lines.Scan() {
		switch line := strings.TrimSpace(lines.Text()); {
		case line == "" || line == "open" || line == "close":
		case line == "quit" || line == "exit":
			return 0
		case line == "show State:/Users/ConsoleUser":
			in.printLinef("%s", strings.TrimRight(in.state.consoleUserText(), "\n"))
		case strings.HasPrefix(line, "show "):
			in.printLinef("  No such key")
		default:
			in.printLinef("%s: unknown, type \"help\" for command info", line)
		}
	}
	return 0
}

// ioreg plays `ioreg -a -r -d1 -c IOPlatformExpertDevice`, options in any order
// (facts/macos.md 8). Texts of the device tree are data that ends in a zero.
func ioreg(in *invocation) int {
	wanted := []string{"-a", "-c", "-d1", "-r", "IOPlatformExpertDevice"}
	arguments := slices.Sorted(slices.Values(strings.Fields(strings.ReplaceAll(strings.Join(in.args, " "), "-d 1", "-d1"))))
	if !slices.Equal(arguments, wanted) {
		return in.failf(1, "ioreg: usage: ioreg [-abfilrtx] [-c class] [-d depth] [-k key] [-n name] [-p plane] [-w width]")
	}
	model, product, _ := in.state.hardwareModel()
	device := map[string]any{
		"IOClass": "AppleARMPE", "IOObjectClass": "IOPlatformExpertDevice", "IORegistryEntryName": model,
		"IOPlatformUUID": strings.ToUpper(in.state.HardwareUUID),
		"manufacturer":   []byte("Apple Inc.\x00"),
		"model":          []byte(model + "\x00"),
		"compatible":     []byte(model + "\x00AppleARM\x00"),
	}
	if !in.state.NoSerial { // as on a Mac whose board was replaced
		device["IOPlatformSerialNumber"] = in.state.SerialNumber
	}
	if in.state.assumes("product_name", "present") {
		device["product-name"] = []byte(product + "\x00")
	}
	return in.printPlist([]any{device})
}

// hostCPUs is how many processors the Mac has.
const hostCPUs = "12"

func (s *State) hardwareModel() (identifier, product, cpu string) {
	if s.Intel {
		return "MacBookPro16,1", "MacBook Pro (16-inch, 2019)", "Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz"
	}
	return "Mac15,6", "MacBook Pro (14-inch, Nov 2023)", "Apple M3 Pro"
}

// sysctl plays `sysctl -n NAME` (facts/macos.md 8). Intel Macs do not have
// hw.optional.arm64.
func sysctl(in *invocation) int {
	if len(in.args) != 2 || in.args[0] != "-n" {
		return in.failf(1, "usage: sysctl [-bdehiNnoqx] name[=value] ...")
	}
	model, _, cpu := in.state.hardwareModel()
	values := map[string]string{
		"hw.model": model, "machdep.cpu.brand_string": cpu, "hw.memsize": "38654705664",
		"hw.physicalcpu": hostCPUs, "hw.logicalcpu": hostCPUs,
		"kern.osproductversion": macOSVersion, "kern.osversion": macOSBuild,
		"kern.boottime":        fmt.Sprintf("{ sec = %d, usec = 0 } %s", in.state.BootedAt.Unix(), in.state.BootedAt.Format(time.ANSIC)),
		"kern.bootsessionuuid": strings.ToUpper(in.state.Volume.BootSession),
	}
	if !in.state.Intel {
		values["hw.optional.arm64"] = "1"
		values["sysctl.proc_translated"] = "0"
	}
	value, known := values[in.args[1]]
	if !known {
		return in.failf(1, "sysctl: unknown oid '%s'", in.args[1])
	}
	in.printLinef("%s", value)
	return 0
}

// teamID is the signer of the product (hardening decision H10).
const teamID = "4C6364ACXT"

// codesign plays `codesign --verify [--ignore-resources] -R=REQUIREMENT PATH`:
// exit code 3 means that the requirement is not met, as by a tool of one that
// names the application's identifier.
func codesign(in *invocation) int {
	if len(in.args) == 4 && in.args[1] == "--ignore-resources" {
		in.args = slices.Delete(in.args, 1, 2)
	}
	if len(in.args) != 3 || in.args[0] != "--verify" || !strings.HasPrefix(in.args[1], "-R=") || in.args[1] == "-R=" {
		return in.failf(2, "Usage: codesign --verify [-R=<requirement>] <path>")
	}
	path := in.args[2]
	switch _, err := os.Stat(in.mac.Path(path)); {
	case err != nil:
		return in.failf(1, "%s: No such file or directory", path)
	case path != appFolder && !strings.HasPrefix(path, appFolder+"/"), isShellScript(in.mac.Path(path)):
		return in.failf(1, "%s: code object is not signed at all", path)
	case in.state.hasFault("codesign", in.caller) || !strings.Contains(in.args[1], teamID),
		path != appFolder && strings.Contains(in.args[1], "identifier "):
		return in.failf(3, "%s: valid on disk\ntest-requirement: code failed to satisfy specified code requirement(s)", path)
	}
	return 0
}

// isShellScript reports whether a file is a script: the programs that a user puts in the
// place of a tool, which has no signature.
func isShellScript(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	var begin [2]byte
	_, err = io.ReadFull(file, begin[:])
	return err == nil && string(begin[:]) == "#!"
}

// recordCall plays the tools of which only the arguments matter.
func recordCall(in *invocation) int {
	err := appendRecords(in.mac, "log", []callRecord{{
		Time: time.Now().UTC().Format(time.RFC3339), Tool: in.name, User: in.caller, Args: in.args,
	}})
	if err != nil {
		return in.failf(1, "%s: %v", in.name, err)
	}
	return 0
}
