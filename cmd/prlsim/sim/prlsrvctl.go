package sim

import (
	"slices"
	"strings"
)

// prlsrvctl plays the command line of the product and its license.
func prlsrvctl(in *invocation) int {
	if slices.Equal(in.args, []string{"--version"}) {
		version, build := in.state.Product.versionAndBuild()
		in.printLinef("prlsrvctl version %s (%s)", version, build)
		return 0
	}
	if in.state.assumes("help_without_service", "works") {
		if code, answered := in.wantsHelp(); answered {
			return code
		}
	}
	if code, stop := in.applyFaults(); stop {
		return code
	}
	if code, answered := in.wantsHelp(); answered {
		return code
	}
	switch action := strings.Join(in.args[:min(2, len(in.args))], " "); {
	case len(in.args) > 0 && in.args[0] == "info":
		return serverInfo(in, in.args[1:])
	case action == "user list":
		return userList(in, in.args[2:])
	case len(in.args) > 0 && in.args[0] == "set":
		return setHost(in, in.args[1:])
	case len(in.args) == 1 && in.args[0] == "update-license":
		return updateLicense(in)
	case len(in.args) > 0 && in.args[0] == "deactivate-license":
		return deactivateLicense(in, in.args[1:])
	case len(in.args) == 0:
		return in.failf(exitRefused, "Usage: prlsrvctl <action> [options]")
	}
	return in.failf(exitRefused, "Unrecognized option: %s", in.args[0])
}

func serverInfo(in *invocation, options []string) int {
	var asJSON, license bool
	for _, option := range options {
		switch option {
		case "-j", "--json":
			asJSON = true
		case "--license":
			license = true
		case "-f", "--full":
		default:
			return in.failf(exitRefused, "Unrecognized option: %s", option)
		}
	}
	// Of the Standard edition only "may be prepended" is known for this tool,
	// facts/prlctl.md 4.2.
	in.printEditionGate()
	if license {
		return licenseInfo(in, asJSON)
	}
	info, err := in.state.withHostSettings(in.state.serverDocument(in.caller))
	if err != nil {
		return in.failWith(err)
	}
	info = in.state.serverKeysOfVersion(info)
	if asJSON {
		return in.printAnswer(encodeJSON(info))
	}
	for _, member := range info {
		switch value := member.Value.(type) {
		case string:
			in.printLinef("%s: %s", member.Key, value)
		case []string:
			in.printLinef("%s: %s", member.Key, strings.Join(value, " "))
		case orderedObject:
			in.printLinef("%s: %s", member.Key, quotedText(value))
		}
	}
	return 0
}

// quotedText is how the text form prints a section: state='valid' key='…'
// (facts/prlctl.md 4.1).
func quotedText(members orderedObject) string {
	var words []string
	for _, member := range members {
		if value, ok := member.Value.(string); ok {
			words = append(words, member.Key+"='"+value+"'")
		}
	}
	return strings.Join(words, " ")
}

// serverDocument is `info --json` (facts/prlctl.md 4.1).
func (s *State) serverDocument(caller string) orderedObject {
	signedIn := s.Product.isLicensed() && s.Product.Activation == "SSO"
	return orderedObject{
		{"ID", s.DispatcherID}, {"Hostname", "127.0.0.1"}, {"Version", "Desktop " + s.Product.Version},
		{"OS", "macOS " + macOSVersion + "(" + macOSBuild + ")"}, {"Build flags", ""}, {"Started as service", "on"},
		{"VM home", s.homeOf(caller) + "/Parallels"}, {"Memory limit", orderedObject{{"mode", "auto"}}},
		{"Minimal security level", "low"}, {"Manage settings for new users", "allow"}, {"CEP mechanism", "off"},
		{"Verbose log", "off"}, {"Log rotation", "on"}, {"External device auto connect", "ask"},
		{"Web portal domain", "parallels.com"}, {"Host ID", ""}, {"Allow attach screenshots", "on"},
		{"Custom password protection", "off"}, {"Preferences are locked", "off"},
		{"Disable deleting report archive", "off"}, {"Add serial port output to report", "off"},
		{"License", s.serverLicense()}, {"Hardware Id", "{" + s.DispatcherKey + "}"}, {"Signed In", yesNo(signedIn)},
		{"Hardware info", orderedObject{
			{"/dev/disk0", orderedObject{{"name", "APPLE SSD (disk0)"}, {"type", "hdd"}}},
			{"/dev/disk0s1", orderedObject{{"name", ""}, {"type", "hdd-part"}}},
			{"en0", orderedObject{{"name", "Wi-Fi"}, {"type", "net"}}},
		}},
	}
}

// laterServerKeys are not in the capture of version 13 (facts/prlctl.md 4.1);
// since when they are there is not known.
var laterServerKeys = []string{
	"Build flags", "Preferences are locked", "Disable deleting report archive", "Add serial port output to report",
}

func (s *State) serverKeysOfVersion(info orderedObject) orderedObject {
	if s.Product.majorVersion() >= 20 || s.assumes("server_keys", "all") {
		return info
	}
	for _, key := range laterServerKeys {
		info = info.without(key)
	}
	return info
}

// homeOf is the Mac path of an account's home folder.
func (s *State) homeOf(account string) string {
	if user, known := s.userByName(account); known {
		return user.home()
	}
	return "/var/root"
}

// userList is `user list` (facts/prlctl.md 1.3).
func userList(in *invocation, options []string) int {
	rows := []orderedObject{}
	for _, user := range in.state.Users {
		rows = append(rows, orderedObject{{"NAME", user.Name}, {"MNG_SETTINGS", "allow"}, {"DEF_VM_HOME", user.home() + "/Parallels"}})
	}
	switch {
	case len(options) == 0:
		in.printLinef("%-16s%-14s%s", "NAME", "MNG_SETTINGS", "DEF_VM_HOME")
		for _, row := range rows {
			in.printLinef("%-16s%-14s%s", row[0].Value, row[1].Value, row[2].Value)
		}
		return 0
	case len(options) == 1 && (options[0] == "-j" || options[0] == "--json"):
		return in.printAnswer(encodeJSON(rows))
	}
	return in.failf(exitRefused, "Unrecognized option: %s", options[0])
}
