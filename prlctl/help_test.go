package prlctl

import (
	"slices"
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

// Captures 5.3: list stands twice in the help of the ancestor, and only the
// second line has --json.
func TestCaptures_5_3_ListStandsTwice(t *testing.T) {
	t.Parallel()
	const first, second = "  list [-a, --all] [-t, --template] [-o, --output name[,name...]]\n", "  list -i, --info [-a, --all] [-j, --json]\n"
	text := func(one, two string) string {
		return `prlctl version 26.3.2 (57398)
Usage: prlctl ACTION <ID | NAME> [OPTIONS]
Supported actions are:
` + one + `  set <ID | NAME> [--isolate-vm <on|off>]
` + two + `  monitor-events [--json]
`
	}
	for _, text := range []string{text(second, first), text(first, second)} {
		help, err := readHelp(tool.Result{Stdout: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		if got := judgeJSON(helpAnswer{help: help, read: true}); got != Supported {
			t.Errorf("list --json is %s", got)
		}
	}
	help, err := readHelp(tool.Result{Stdout: []byte(text(first, second))})
	if err != nil {
		t.Fatal(err)
	}
	if got := help.flags["--isolate-vm"]; !slices.Equal(got, []string{"on", "off"}) {
		t.Errorf("--isolate-vm takes %q", got)
	}
}

// Captures 2 (1.5) and 5.4: help is no proof of acceptance.
func TestCaptures_5_4_WhatSetRefusesIsNotSupported(t *testing.T) {
	t.Parallel()
	const flag = "--auto-share-bluetooth"
	shown := map[string]Ability{flag: {Support: Supported, Values: []string{"on", "off"}}}
	c := Capabilities{Set: shown, HostSet: shown}
	if !c.Refuse(false, flag) || c.Refuse(false, flag) {
		t.Error("what is news is not told")
	}
	if c.Flag(flag).Support != Unsupported || c.HostFlag(flag).Support != Supported {
		t.Errorf("%s: %s, of the host %s", flag, c.Flag(flag).Support, c.HostFlag(flag).Support)
	}
	if c.Refuse(true, flag); c.HostFlag(flag).Support != Unsupported {
		t.Errorf("%s of the host: %s", flag, c.HostFlag(flag).Support)
	}
}
