package sim

// settingAssumptions are those of settings: how they are spelled where they are
// read back, and what set allows, asks and changes. Behind each fact stands how
// sure it is: C captured, C1 seen by one person, I inferred, U unknown; where
// the first value is surer than the others, its degree stands first.
var settingAssumptions = []assumption{
	// How settings are read back.
	{"host_only_word", []string{"host", "host-only"}, "acting.md 1 (I: the ancestor's word; other readers expect the other)",
		"how the list calls an adapter that reaches only the Mac"},
	{"default_iface", []string{"absent", "default"}, "acting.md 1 (I)",
		"whether a bridged adapter without an interface of its own shows one named default"},
	{"connected_state", []string{"absent", "connected"}, "acting.md 1 (I: only disconnected was seen)",
		"whether an adapter that is connected says so"},
	{"clipboard_key", []string{"by_version", "mode", "plain"}, "facts/prlctl.md 2.2 (C; in other versions U)",
		"whether the clipboard's key got its present name with version 20, always had it, or never"},
	{"shared_apps_enabled", []string{"stays", "follows"}, "acting.md 1 (C; U)",
		"whether Shared Applications shows as enabled after all in it was switched off"},
	{"enabled_word", []string{"boolean", "on_off", "yes_no"}, "facts/prlctl.md 2.1 (C; U)",
		"whether enabled is true and false, or a word"},
	{"switch_words", []string{"on_off", "On_Off", "yes_no"}, "facts/prlctl.md 2.1 (C; U)",
		"the words of switches that are on or off"},
	{"yes_no_words", []string{"yes_no", "on_off"}, "facts/prlctl.md 2.1 (C; U)",
		"the words of switches that are yes or no"},
	{"defined_sharing_words", []string{"text", "flag"}, "facts/prlctl.md 2.2 (C, but that of all disks U)",
		"whether Host defined sharing is Off, User home directory or All disks, or the words of the flag"},
	{"config_written", []string{"at_once", "later"}, "facts/prlctl.md 9 (U: seen of suspending only)",
		"whether config.pvs has a changed setting when the tool ends, or some seconds after"},

	// What set allows and asks.
	{"locked_set", []string{"refused", "prompt", "accepted"}, "facts/prlctl.md 6 (I)",
		"whether set needs the administrator's credentials for a VM whose configuration is locked"},
	{"lock_release", []string{"prompt", "refused", "accepted"}, "acting.md 1 (U: never seen)",
		"what set answers to the end of a lock"},
	{"lock_placing", []string{"accepted", "prompt"}, "acting.md 1 (C1)",
		"whether set asks for the administrator before it places a lock"},
	{"prompt_unanswered", []string{"error", "silent"}, "acting.md 1 (U)",
		"whether a tool that nobody answers says why it ends"},
	{"guest_refusal", []string{"not_supported", "unrecognized", "accepted"}, "captures.md 4.2",
		"what set answers to a flag that the VM's guest does not have"},
	{"lock_on_suspend_guests", []string{"all", "windows"}, "acting.md 1 (U: the guide has it for Windows)",
		"which guests take --lock-on-suspend"},
	{"suspended_set", []string{"refused", "accepted"}, "acting.md 1 (I: the GUI of old versions)",
		"whether a suspended VM can be changed"},
	{"optimization_live", []string{"stopped", "live"}, "facts/prlctl.md 1.5 (U: mixed)",
		"whether a running VM can be changed in what is optimized"},
	{"start_host", []string{"accepted", "prompt"}, "acting.md 1 (U)",
		"whether set asks for the administrator before --autostart start-host"},
	{"headless_view", []string{"accepted", "needs_feature"}, "acting.md 1 (U)",
		"whether --startup-view headless needs the headless mode of prlsrvctl first"},
	{"autoupdate_words", []string{"both", "yes_no", "on_off"}, "acting.md 1 (C; I)",
		"the values of --tools-autoupdate"},
	{"network_cond_flag", []string{"present", "absent"}, "facts/prlctl.md 1.5 (U: only the beginning of the name)",
		"whether the network conditioner has a switch of that name"},
	{"device_options", []string{"one", "several"}, "acting.md 1 (I)",
		"whether a call takes more than one flag for devices"},

	// What it changes and prints.
	{"isolate_resets", []string{"gamepads", "nothing", "sharing"}, "facts/prlctl.md 6 (C; U)",
		"whether isolating a VM switches the sharing of gamepads on, changes nothing else, or shows all sharing as off"},
	{"shf_defined_off", []string{"alone", "all_sharing"}, "acting.md 1 (I; C1)",
		"whether --shf-host-defined off switches all folders of the Mac off"},
	{"set_lines", []string{"each", "last"}, "acting.md 1 (C for three flags, I)",
		"whether set prints a line for each flag before the last one"},

	// The Mac's own settings.
	{"require_pwd_race", []string{"loses", "atomic"}, "acting.md 1 (I)",
		"whether one of two writers of --require-pwd at a time is lost"},
	{"require_pwd_tools", []string{"asked", "not_asked"}, "facts/prlctl.md 11.13 (U)",
		"whether prlctl asks for the administrator where --require-pwd says so, or only the application does"},
	{"require_pwd_set", []string{"accepted", "prompt_off", "prompt"}, "facts/prlctl.md 11.13 (C that a script switches on; U)",
		"whether prlsrvctl asks for the administrator before it changes --require-pwd: never, before it switches one off, or always"},
	{"host_lock", []string{"prompt", "accepted"}, "facts/prlctl.md 1.4 (U)",
		"whether prlsrvctl asks for the administrator before it locks the preferences"},
}
