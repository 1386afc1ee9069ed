package prlctl

// ServerInfo is what `prlsrvctl info --json` says of the host (facts/prlctl.md
// 4.1). Absent keys leave zero values.
type ServerInfo struct {
	ID                string
	Version           Version  // of the product; zero if VersionText is not understood
	VersionText       string   // for example "Desktop 26.3.2-57398"
	OS                string   // of the Mac, for example "macOS 26.4.1(25E253)"
	VMHome            string   // the folder new virtual machines of this user go to
	HardwareID        string   // braced UUID
	StartedAsService  Switch   // the dispatcher runs without the application
	ExternalDevices   string   // what a newly plugged device does: ask, …
	CustomPassword    Switch   // a custom password replaces the administrator's
	PreferencesLocked Switch   // the application's preferences are locked
	RequirePassword   []string // actions that need a password: create-vm, add-vm, remove-vm, clone-vm
	SignedIn          Switch   // to a Parallels account
	License           ServerLicense
	Notes             []string // oddities of the output, see the Note constants
}

// ServerLicense is the short form of the license in ServerInfo.
type ServerLicense struct {
	State      string // valid, or why not
	Key        string // masked: at most the first and last group are shown; several are joined by ";"
	Restricted Switch
}

func readServerInfo(output []byte) (ServerInfo, error) {
	answer, err := readObject(output, serverInfoOf)
	if err != nil {
		return ServerInfo{}, err
	}
	content, filled := answer.content.(*serverAnswer)
	switch {
	case !filled:
		return ServerInfo{Notes: answer.notes}, nil
	case content.repeated:
		return ServerInfo{}, &Error{Code: CodeDuplicateKey}
	}
	content.info.Notes = answer.notes
	return content.info, nil
}

// serverAnswer is what an object says.
type serverAnswer struct {
	info     ServerInfo
	repeated bool // it has a key twice, and so two readings
}

// serverInfoOf is the contentReader of a *serverAnswer.
func serverInfoOf(doc *document) (any, error) {
	root, err := doc.readValue()
	if err != nil {
		return nil, err
	}
	license := root.field("License")
	versionText := root.field("Version").text()
	version, _ := ParseVersion(versionText)
	info := ServerInfo{
		ID:                root.field("ID").text(),
		Version:           version,
		VersionText:       versionText,
		OS:                root.field("OS").text(),
		VMHome:            root.field("VM home").text(),
		HardwareID:        root.field("Hardware Id").text(),
		StartedAsService:  root.field("Started as service").switchValue(),
		ExternalDevices:   root.field("External device auto connect").text(),
		CustomPassword:    root.field("Custom password protection").switchValue(),
		PreferencesLocked: root.field("Preferences are locked").switchValue(),
		RequirePassword:   readActions(root.field("Require password to")),
		SignedIn:          root.field("Signed In").switchValue(),
		License: ServerLicense{
			State:      license.field("state").text(),
			Key:        maskKeys(license.field("key").text()),
			Restricted: license.field("restricted").switchValue(),
		},
	}
	return &serverAnswer{info, root.node().repeated || license.node().repeated}, nil
}

func readActions(list element) []string {
	var actions []string
	for _, item := range list.items() {
		if action := (element{list.doc, item}).text(); action != "" {
			actions = append(actions, action)
		}
	}
	return actions
}
