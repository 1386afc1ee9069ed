package localapi

import (
	"runtime/debug"
	"testing"
)

func TestBuildVersionAlwaysHasOne(t *testing.T) {
	t.Parallel()
	if version, _ := BuildVersion(); version == "" {
		t.Error("no version")
	}
}

func TestRevisionOfTheSource(t *testing.T) {
	t.Parallel()
	const whole = "1518571a0b1c2d3e4f5061728394a5b6c7d8e9f0"
	setting := func(key, value string) debug.BuildSetting { return debug.BuildSetting{Key: key, Value: value} }
	for name, c := range map[string]struct {
		settings []debug.BuildSetting
		want     string
	}{
		"a clean tree":       {[]debug.BuildSetting{setting("vcs", "git"), setting("vcs.revision", whole), setting("vcs.modified", "false")}, whole[:12]},
		"a changed tree":     {[]debug.BuildSetting{setting("vcs.modified", "true"), setting("vcs.revision", whole)}, whole[:12] + "+changes"},
		"a short revision":   {[]debug.BuildSetting{setting("vcs.revision", "r7")}, "r7"},
		"twelve digits":      {[]debug.BuildSetting{setting("vcs.revision", whole[:12])}, whole[:12]},
		"no revision":        {[]debug.BuildSetting{setting("vcs.modified", "true")}, ""},
		"nothing of its own": {nil, ""},
	} {
		if got := revisionOf(c.settings); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
