package sim

// preferenceAssumptions are those of preferences and of the application that reads
// them. Behind each fact stands how sure it is, as in settingAssumptions.
var preferenceAssumptions = []assumption{
	{"cfprefsd_memory", []string{"session", "application"}, "facts/macos.md 5.1 (C; of today's I)",
		"whether a file that somebody edits is not read before the session ends, or only while the application runs"},
	{"cfprefsd_writes", []string{"at_once", "later"}, "facts/macos.md 5.1 (C: asynchronously; how long after U)",
		"whether a domain's file has a change when defaults ends, or some seconds after"},
	{"plain_defaults", []string{"same", "other"}, "facts/macos.md 15.3 (U)",
		"whether a program outside of the user's session asks the session's cfprefsd, or one that reads the file"},
	{"defaults_forced", []string{"shown", "hidden"}, "facts/macos.md 5.3 (U)",
		"whether defaults shows the values that an MDM forces, or the user's own below them"},
	{"forced_write", []string{"kept", "dropped"}, "facts/macos.md 5.3 (U)",
		"whether what defaults writes to a key that is forced is kept below, or dropped"},
	{"defaults_missing", []string{"empty", "error"}, "facts/macos.md 5.1 (U)",
		"whether defaults export prints an empty dictionary where there is no such domain, or fails"},
	{"defaults_export", []string{"xml", "binary"}, "facts/macos.md 5.1 (C; U)",
		"format in which defaults export prints"},
	{"quit_writes", []string{"own", "read", "domain"}, "facts/macos.md 15.5 (U; defaults(1): might overwrite)",
		"whether the application writes at its quit only what is its own, or also every value as it read it at launch, or the whole domain, so that keys of others are gone"},
	{"update_installed", []string{"at_quit", "at_once"}, "deploy-and-updates.md 6.3 (U)",
		"whether an update that the application has downloaded is installed when it quits, or at once"},
	{"major_upgrade", []string{"offered", "withheld"}, "facts/prlctl.md 6 (U)",
		"whether the application takes another major version from its update server"},
}
