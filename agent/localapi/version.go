package localapi

import "runtime/debug"

// Version is the program's version, set when it is built for release:
// -ldflags "-X prlagent/agent/localapi.Version=1.2.3".
var Version string

// BuildVersion is the version of the running program and the revision of its
// source, as the linker or the Go toolchain wrote them into it. A program
// built without either is "devel"; revision may be empty.
func BuildVersion() (version, revision string) {
	version = Version
	info, ok := debug.ReadBuildInfo()
	if ok {
		revision = revisionOf(info.Settings)
		if version == "" && info.Main.Version != "(devel)" {
			version = info.Main.Version
		}
	}
	if version == "" {
		version = "devel"
	}
	return version, revision
}

// revisionOf is the first twelve digits of the commit, and a mark if the tree
// had changes.
func revisionOf(settings []debug.BuildSetting) string {
	revision, mark := "", ""
	for _, setting := range settings {
		switch {
		case setting.Key == "vcs.revision":
			revision = setting.Value[:min(len(setting.Value), 12)]
		case setting.Key == "vcs.modified" && setting.Value == "true":
			mark = "+changes"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + mark
}
