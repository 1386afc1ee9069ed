package platform

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// processArgs lays out what the kernel gives: count, path, padding, strings.
func processArgs(count uint32, path, padding string, words ...string) []byte {
	data := binary.NativeEndian.AppendUint32(nil, count)
	data = append(data, path...)
	data = append(data, padding...)
	return append(data, vector(words...)...)
}

// vector lays out strings that are closed by a zero byte each.
func vector(words ...string) []byte {
	var data []byte
	for _, word := range words {
		data = append(append(data, word...), 0)
	}
	return data
}

func TestParseProcessArgs(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxArguments)
	cases := map[string]struct {
		data []byte
		path string
		argv []string
		bad  bool
	}{
		"arguments, environment left out": {
			data: processArgs(3, vmAppPath, "\x00\x00\x00\x00", "prl_vm_app", "--vm-name", "Windows 11", "SECRET=x"),
			path: vmAppPath, argv: []string{"prl_vm_app", "--vm-name", "Windows 11"},
		},
		"empty argument":       {data: processArgs(3, "/a", "\x00", "a", "", "b"), path: "/a", argv: []string{"a", "", "b"}},
		"only argv[0]":         {data: processArgs(1, "/a", "\x00", "a"), path: "/a", argv: []string{"a"}},
		"no arguments":         {data: processArgs(0, "/a", "\x00"), path: "/a"},
		"beyond the cap":       {data: processArgs(3, "/a", "\x00", "a", "b", long), path: "/a", argv: []string{"a", "b"}},
		"first is beyond":      {data: processArgs(2, "/a", "\x00", long, "b"), path: "/a"},
		"nothing":              {bad: true},
		"three bytes":          {data: []byte{1, 0, 0}, bad: true},
		"path not closed":      {data: processArgs(1, "/a", ""), bad: true},
		"fewer than announced": {data: processArgs(2, "/a", "\x00", "a"), bad: true},
		"argument not closed":  {data: bytes.TrimRight(processArgs(1, "/a", "\x00", "abc"), "\x00"), bad: true},
		"absurd count":         {data: processArgs(1<<31, "/a", "\x00", "a"), bad: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, argv, err := parseProcessArgs(c.data)
			if (err != nil) != c.bad || path != c.path || !bytes.Equal(argv, vector(c.argv...)) {
				t.Errorf("got path %q, arguments %.100q, %v", path, argv, err)
			}
		})
	}
}

// Of all that a process is started with the two ids are kept, and each only
// where there is one reading of it.
func TestH61_OnlyTwoIDsOfTheArgumentsAreKept(t *testing.T) {
	t.Parallel()
	const machine, directory, other = "{5fbaabe3-0000-4000-8000-000000000001}", "{d0000000-0000-4000-8000-000000000000}", "{0}"
	long := strings.Repeat("x", maxArguments)
	cases := map[string]struct {
		argv []string
		want VMArguments
	}{
		"as captured": {
			[]string{"prl_vm_app", "--vm-name", "Windows 11", "--uuid", machine, "--dir-uuid", directory, "--log-dir", "/Users/alice/Parallels/Windows 11.pvm"},
			VMArguments{machine, directory},
		},
		"none":                      {[]string{"prl_vm_app"}, VMArguments{}},
		"nothing at all":            {nil, VMArguments{}},
		"argv[0] is no argument":    {[]string{"--uuid", machine, "--dir-uuid", directory}, VMArguments{DirectoryID: directory}},
		"without a value":           {[]string{"a", "--uuid"}, VMArguments{}},
		"empty value":               {[]string{"a", "--uuid", "", "--dir-uuid", directory}, VMArguments{DirectoryID: directory}},
		"a name that is a flag":     {[]string{"a", "--vm-name", "--uuid", machine}, VMArguments{}},
		"a folder that is a flag":   {[]string{"a", "--log-dir", "--uuid", machine}, VMArguments{}},
		"a name that is a flag too": {[]string{"a", "--vm-name", "--uuid", "--uuid", machine}, VMArguments{VMID: machine}},
		"twice":                     {[]string{"a", "--uuid", machine, "--uuid", other}, VMArguments{}},
		"twice the same":            {[]string{"a", "--uuid", machine, "--uuid", machine}, VMArguments{}},
		"twice, once unreadable":    {[]string{"a", "--uuid", machine, "--uuid", long, "b"}, VMArguments{VMID: machine}}, // beyond the cap
		"long value":                {[]string{"a", "--uuid", strings.Repeat("x", maxIDArgument+1)}, VMArguments{}},
		"beyond the cap":            {[]string{"a", long, "--uuid", machine}, VMArguments{}},
		"many":                      {append([]string{"a", "--uuid", machine}, strings.Split(long, "x")...), VMArguments{VMID: machine}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := parseVMArguments(vector(c.argv...)); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
	if got := parseVMArguments([]byte("a\x00--uuid\x00" + machine)); got != (VMArguments{}) {
		t.Errorf("a value that is not closed: %+v", got)
	}
}

func FuzzParseProcessArgs(f *testing.F) {
	f.Add(processArgs(3, vmAppPath, "\x00\x00", "prl_vm_app", "--vm-name", "Windows 11", "HOME=/"))
	f.Add(processArgs(5, vmAppPath, "\x00", "a", "--uuid", "{1}", "--dir-uuid", "{2}", "HOME=/"))
	f.Add(processArgs(4096, "/a", "\x00", "a"))
	f.Add(processArgs(2, "/a", "\x00", strings.Repeat("x", 2*maxArguments)))
	f.Fuzz(func(t *testing.T, data []byte) {
		path, argv, err := parseProcessArgs(data)
		if err != nil && (path != "" || argv != nil) || len(argv) > maxArguments {
			t.Errorf("got %q, %q, %v", path, argv, err)
		}
		if found := parseVMArguments(argv); len(found.VMID) > maxIDArgument || len(found.DirectoryID) > maxIDArgument {
			t.Errorf("kept %+v", found)
		}
	})
}
