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
	Key        string // masked: at most the first and last group are shown
	Restricted Switch
}

// License is what `prlsrvctl info --license --json` says (facts/prlctl.md 4.2).
type License struct {
	Status               string // ACTIVE; other words were not seen
	Serial               string // masked: at most the first and last group are shown
	UUID                 string
	Edition              string // standard, pro, business, enterprise
	ActivationType       string // LIC_KEY, SSO or empty
	Trial                Switch
	Volume               Switch
	Expiration           string // a date; its form was not seen
	MainPeriodEndsAt     string // a date; its form was not seen
	GracePeriodEndsAt    string // a date; its form was not seen
	CPUTotal             int64  // most virtual CPUs of a machine
	MaxMemory            int64  // most memory of a machine in MB; -1 is unlimited
	AdvancedRestrictions string
	DeferredActivation   string
	Notes                []string // oddities of the output, see the Note constants
}

func readServerInfo(output []byte) (ServerInfo, error) {
	root, before, err := readObject(output)
	if err != nil {
		return ServerInfo{}, err
	}
	license := root.at("License")
	if root.node().repeated || license.node().repeated {
		return ServerInfo{}, &Error{Code: CodeDuplicateKey}
	}
	versionText := root.at("Version").text()
	version, _ := ParseVersion(versionText)
	return ServerInfo{
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
			Key:        maskKey(license.at("key").text()),
			Restricted: license.at("restricted").switchValue(),
		},
		Notes: root.doc.outputNotes(before),
	}, nil
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

func readLicense(output []byte) (License, error) {
	root, before, err := readObject(output)
	if err != nil {
		return License{}, err
	}
	if root.node().repeated {
		return License{}, &Error{Code: CodeDuplicateKey}
	}
	return License{
		Status:               root.at("status").text(),
		Serial:               maskKey(root.at("serial").text()),
		UUID:                 root.at("uuid").text(),
		Edition:              root.at("edition").text(),
		ActivationType:       root.at("activation_type").text(),
		Trial:                root.at("is_trial").switchValue(),
		Volume:               root.at("is_volume").switchValue(),
		Expiration:           root.at("expiration").text(),
		MainPeriodEndsAt:     root.at("main_period_ends_at").text(),
		GracePeriodEndsAt:    root.at("grace_period_ends_at").text(),
		CPUTotal:             root.at("cpu_total").integer(),
		MaxMemory:            root.at("max_memory").integer(),
		AdvancedRestrictions: root.at("advanced_restrictions").textOrLiteral(),
		DeferredActivation:   root.at("deferred_activation").textOrLiteral(),
		Notes:                root.doc.outputNotes(before),
	}, nil
}

// readObject reads an output that is one object.
func readObject(output []byte) (root element, before []byte, err error) {
	doc, before, err := openJSON(output)
	if err != nil {
		return element{}, nil, err
	}
	root, err = doc.readValue()
	if err == nil && root.node().kind != kindObject {
		err = errSyntax
	}
	if err != nil {
		return element{}, nil, outputError(err)
	}
	return root, before, nil
}
