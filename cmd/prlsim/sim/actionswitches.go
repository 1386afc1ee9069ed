package sim

// actionAssumptions are those of what starts, stops and removes VMs and takes the
// license away. Behind each fact stands how sure it is, as in settingAssumptions.
var actionAssumptions = []assumption{
	{"kill_text", []string{"forcibly", "stopped"}, "acting.md 1 (I: the ancestor's)",
		"whether stop --kill has a text of its own"},
	{"restart_process", []string{"same", "new"}, "facts/prlctl.md 1.2 (U)",
		"whether a VM has another process after a restart or reset"},
	{"restart_events", []string{"states", "none"}, "facts/prlctl.md 2.3 (U: the words of states are known)",
		"whether a restart or reset tells that the VM is resetting and then running, or nothing"},
	{"delete_suspended", []string{"refused", "works"}, "facts/prlctl.md 11.9 (U)",
		"whether delete takes a suspended VM"},
	{"delete_invalid", []string{"refused", "works"}, "facts/prlctl.md 2.8 (I: others unregister it and remove its folder)",
		"whether delete takes an invalid VM"},
	{"delete_parent", []string{"works", "refused"}, "facts/prlctl.md 8 (I: clones break)",
		"whether delete takes a VM that has linked clones"},
	{"missing_bundle", []string{"invalid", "stays", "followed"}, "facts/prlctl.md 8 (I); captures.md 4.5 (an alias is kept)",
		"whether a VM whose bundle went is invalid, stays as it is, or, where a person moved the bundle, is followed there"},
	{"deactivate_offline", []string{"refused", "works"}, "facts/prlctl.md 1.3 (U)",
		"whether deactivate-license without --skip-network-errors takes the license away here where the server cannot be reached"},
	{"profile_activation", []string{"at_launch", "never"}, "facts/prlctl.md 7 (I: auto-activation)",
		"whether a profile with a key activates a product without a license when the application is launched"},
	{"userpasswd_prompt", []string{"asked", "not_asked"}, "acting.md 1 (C: the guide; when it asks U)",
		"whether --userpasswd asks for the administrator"},
	{"userpasswd_unknown", []string{"created", "refused"}, "acting.md 1 (I: the ancestor's man page)",
		"whether --userpasswd makes an account that the guest does not have"},
}
