package policy

import "prlagent/prlctl"

// Flags are what a policy may want to set, and so what a version of the
// product is probed for (H43).
var Flags = prlctl.Flags{
	Set: flagsOf(Settings),
	// What matters to policies of facts/prlctl.md 1.4.
	HostSet: []string{
		"--require-pwd", "--lock-edit-settings", "--host-admin", "--headless-mode-feature",
		"--mem-limit", "--min-security-level", "--cep", "--verbose-log", "--allow-attach-screenshots",
	},
}

// flagsOf are the flags of the settings, each once.
func flagsOf(settings []Setting) (flags []prlctl.Flag) {
	for i := range settings {
		for j := range settings[i].Parts {
			part := &settings[i].Parts[j]
			if !hasFlag(flags, part.Flag) {
				flags = append(flags, prlctl.Flag{Name: part.Flag, Category: part.Category, Certain: part.Certain})
			}
		}
	}
	return flags
}

func hasFlag(flags []prlctl.Flag, name string) bool {
	for i := range flags {
		if flags[i].Name == name {
			return true
		}
	}
	return false
}
