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
	answer, err := readObject(output, readAs(serverInfoOf))
	if err != nil {
		return ServerInfo{}, err
	}
	content, _ := answer.content.(trusted[ServerInfo])
	if content.repeated {
		return ServerInfo{}, &Error{Code: CodeDuplicateKey}
	}
	info := content.value
	info.Notes = answer.notes
	return info, nil
}

// trusted is a value with whether its object has a key twice, and so two
// readings. The zero value is that of an object without any key.
type trusted[T any] struct {
	value    T
	repeated bool
	filled   bool // the object has keys
}

func serverInfoOf(doc *document) (trusted[ServerInfo], error) {
	root, err := doc.readValue()
	if err != nil {
		return trusted[ServerInfo]{}, err
	}
	license := root.at("License")
	versionText := root.at("Version").text()
	version, _ := ParseVersion(versionText)
	info := ServerInfo{
		ID:                root.at("ID").text(),
		Version:           version,
		VersionText:       versionText,
		OS:                root.at("OS").text(),
		VMHome:            root.at("VM home").text(),
		HardwareID:        root.at("Hardware Id").text(),
		StartedAsService:  root.at("Started as service").switchValue(),
		ExternalDevices:   root.at("External device auto connect").text(),
		CustomPassword:    root.at("Custom password protection").switchValue(),
		PreferencesLocked: root.at("Preferences are locked").switchValue(),
		RequirePassword:   readActions(root.at("Require password to")),
		SignedIn:          root.at("Signed In").switchValue(),
		License: ServerLicense{
			State:      license.at("state").text(),
			Key:        maskKeys(license.at("key").text()),
			Restricted: license.at("restricted").switchValue(),
		},
	}
	return trusted[ServerInfo]{info, root.node().repeated || license.node().repeated, root.node().count > 0}, nil
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
