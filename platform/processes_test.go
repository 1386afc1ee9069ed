package platform

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// processArgs lays out what the kernel gives: count, path, padding, strings.
func processArgs(count uint32, path, padding string, words ...string) []byte {
	data := binary.NativeEndian.AppendUint32(nil, count)
	data = append(data, path...)
	data = append(data, padding...)
	for _, word := range words {
		data = append(append(data, word...), 0)
	}
	return data
}

const vmAppPath = "/Applications/Parallels Desktop.app/Contents/MacOS/Parallels VM.app/Contents/MacOS/prl_vm_app"

func TestParseProcessArgs(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		data []byte
		path string
		args []string
		bad  bool
	}{
		"arguments, environment left out": {
			data: processArgs(3, vmAppPath, "\x00\x00\x00\x00", "prl_vm_app", "--vm-name", "Windows 11", "SECRET=x"),
			path: vmAppPath, args: []string{"--vm-name", "Windows 11"},
		},
		"empty argument":       {data: processArgs(3, "/a", "\x00", "a", "", "b"), path: "/a", args: []string{"", "b"}},
		"only argv[0]":         {data: processArgs(1, "/a", "\x00", "a"), path: "/a"},
		"no arguments":         {data: processArgs(0, "/a", "\x00"), path: "/a"},
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
			path, args, err := parseProcessArgs(c.data)
			if (err != nil) != c.bad || path != c.path {
				t.Errorf("got path %q, %v", path, err)
			}
			if diff := cmp.Diff(c.args, args); diff != "" {
				t.Errorf("arguments (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProgramIsReadOncePerInstance(t *testing.T) {
	t.Parallel()
	var reads int
	answer := vmAppPath
	var known programCache
	ask := func(asked programInstance) string {
		return known.lookUp(asked, func() (string, []string) { reads++; return answer, nil }).path
	}
	first := programInstance{pid: 7, started: 1, uid: 501, name: "prl_vm_app", argsAddress: 1}
	second := programInstance{pid: 9, started: 1, uid: 501, name: "prl_vm_app", argsAddress: 1}
	step := func(what string, asked programInstance, path string, wantReads int) {
		t.Helper()
		reads = 0
		if got := ask(asked); got != path || reads != wantReads {
			t.Errorf("%s: got %q after %d reads, want %q after %d", what, got, reads, path, wantReads)
		}
		known.endCall()
	}
	step("new", first, vmAppPath, 1)
	step("known", first, vmAppPath, 0)

	answer = "/opt/other"
	changed := []func(*programInstance){
		func(i *programInstance) { i.pid = 8 },
		func(i *programInstance) { i.started = 2 },
		func(i *programInstance) { i.uid = 502 },
		func(i *programInstance) { i.name = "prl_client_app" },
		func(i *programInstance) { i.argsAddress = 2 },
	}
	for index, change := range changed {
		other := first
		change(&other)
		step(fmt.Sprintf("change %d", index), other, "/opt/other", 1)
	}
	step("forgotten meanwhile", first, "/opt/other", 1)

	answer = ""
	step("not readable yet", second, "", 1)
	step("still not readable", second, "", 1)
	answer = vmAppPath
	step("readable", second, vmAppPath, 1)
	step("known at last", second, vmAppPath, 0)
}

func FuzzParseProcessArgs(f *testing.F) {
	f.Add(processArgs(3, vmAppPath, "\x00\x00", "prl_vm_app", "--vm-name", "Windows 11", "HOME=/"))
	f.Add(processArgs(4096, "/a", "\x00", "a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path, args, err := parseProcessArgs(data)
		if err != nil && (path != "" || args != nil) || len(args) > maxProcessArgs {
			t.Errorf("got %q, %q, %v", path, args, err)
		}
	})
}
