package prlctl

import (
	"strings"
	"testing"

	"prlagent/platform/tool"
)

// A flag counts where it stands by itself, not where it begins another word.
func TestHelpFlagsAreWholeWords(t *testing.T) {
	t.Parallel()
	longest := "--" + strings.Repeat("x", 64)
	for flag, follows := range map[string]map[string]bool{
		"--flag": {
			"": true, " <on | off>": true, "=on": true, "|": true, "]": true, "@": true, "[": true, ".": true,
			"_": false, "-": false, "_and-on": false, "A": false, "Mac": false, "Z": false,
		},
		longest: {"": true, "`": true, "{": true, "/": true, ":": true, "a": false, "m": false, "z": false, "0": false, "5": false, "9": false},
	} {
		for rest, whole := range follows {
			help, err := readHelp(tool.Result{Stderr: []byte("--other " + flag + rest)})
			if err != nil || help.hasFlag(flag) != whole {
				t.Errorf("%.8s before %q: shown %t, %v, want %t", flag, rest, help.hasFlag(flag), err, whole)
			}
		}
	}
}

func TestHelpMentionsWholeWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"pack": true, "PACK": true, "see pack.": true, "unpack|pack": true, "--pack": true, "-pack-": true,
		"/pack:": true, "`pack{": true, "@pack[": true, "ä pack": true,
		"": false, "pac": false, "apack": false, "packz": false, "0pack": false, "pack9": false, "mpack5": false,
		"pack_on": false, "_pack": false, "pack-on": false, "pack on": true,
	} {
		if got := (helpText{text: text}).mentionsWord("pack"); got != want {
			t.Errorf("%q mentions it: %t, want %t", text, got, want)
		}
	}
}
