package inventory

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/safefile"
	"prlagent/platform/tool"
	"prlagent/prlctl"
)

// What a user has made of the files that only that user's process reads costs
// the user the values of those files, and nobody anything else.
func TestH11_FilesThatAreNoFiles(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.machines["alice"][0].encrypted = "yes"
	l.files[windows().home+"/VmInfo.pvi"] = file{uid: 501, failed: safefile.ErrNotRegular} // a FIFO
	l.files[windows().home+"/config.pvs"] = file{uid: 501, failed: safefile.ErrSymlink}    // to /dev/zero
	look := l.look()
	got := row(t, look, "alice", windowsID)
	wantEqual(t, "build", got.OSBuild+string(got.Gaps["vm_os_build"]), "not_readable")
	wantEqual(t, "encryption", got.Encryption, protocol.Encrypted)
	wantEqual(t, "alice", userLook(t, look, "alice").Code, "")
	wantEqual(t, "bob's build", row(t, look, "bob", linuxID).OSBuild, "6.8.0-45")
	wantEqual(t, "looks as alice", strings.Count(l.callsOf("alice"), "look"), 1)
}

// A child that is stopped, or held by a dead mount, is killed: what was listed
// counts, what was known of the files stays, and the reason is told.
func TestH11_ChildThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	before := row(t, l.look(), "alice", windowsID)
	l.lookErr = map[string]error{"alice": &tool.Error{Code: tool.CodeTimeout}}
	look := l.look()
	wantEqual(t, "alice", userLook(t, look, "alice").Code, protocol.CodeToolTimeout)
	wantEqual(t, "look", look.Code+" "+protocol.Code(look.Detail), "tool_timeout alice")
	after := row(t, look, "alice", windowsID)
	wantEqual(t, "stale", after.Stale, "")
	wantEqual(t, "build", after.OSBuild, before.OSBuild)
	wantEqual(t, "key", after.VMKey, before.VMKey)
	wantEqual(t, "bob", userLook(t, look, "bob").Code, "")
}

// Each account's process can say what it likes about a bundle. Saying that it
// is the account's own does not take another account's machine away.
func TestH11_NobodyBecomesTheOwnerBySayingSo(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		claim uint32 // whose the bundle is, in alice's words
		want  string
	}{
		"claims it":            {501, "alice/theft bob/Ubuntu"},
		"says that it is bobs": {502, "bob/Ubuntu"}, // it is, and bob describes it
		"says it is nobody's":  {999, "alice/theft bob/Ubuntu"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			stolen := linux()
			stolen.name = "theft"
			l.machines["alice"] = []*machine{stolen}
			l.claims = map[string]file{"alice " + stolen.home: {uid: c.claim, inode: l.files[stolen.home].inode}}
			wantEqual(t, "rows", names(l.look()), c.want)
		})
	}
}

// hostileNames are what a user may call a machine, a folder or a guest.
var hostileNames = map[string]string{
	"line breaks":   "a\r\nbob/Ubuntu",
	"format":        "%s%n%!d(string=x)%[1]*.2f",
	"zero byte":     "a\x00b",
	"terminal":      "\x1b]0;owned\x07\x1b[2J",
	"direction":     "\u202egpj.exe",
	"JSON":          `","ID":"` + linuxID + `","x":{"`,
	"XML":           "</RealOsVersion><RealOsVersion>&lt;![CDATA[",
	"shell":         "$(id);`id`|& -rf --all",
	"climbing":      "../../../../etc/passwd",
	"not UTF-8":     "a\xff\xfe\xc3(",
	"3 KiB":         strings.Repeat("x", 3<<10), // as long as a value of a file may be, and too long for a cell
	"64 KiB":        strings.Repeat("x", 64<<10),
	"64 KiB of two": strings.Repeat("é", 32<<10),
}

func TestH19_HostileStringsAreData(t *testing.T) {
	t.Parallel()
	for name, hostile := range hostileNames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			m := l.machines["alice"][0]
			m.name, m.state, m.toolsVersion, m.toolsState, m.serial = hostile, hostile, hostile, hostile, hostile
			m.os, m.memory, m.encrypted, m.cpu = hostile, hostile, hostile, hostile
			m.home = "/Users/alice/Parallels/" + hostile + ".pvm"
			l.process(501, windowsID, noon)
			l.process(501, windowsID, noon)
			l.processes[1].Arguments = platform.VMArguments{VMID: hostile, DirectoryID: hostile}
			look := l.look()

			wantEqual(t, "bob", userLook(t, look, "bob").Code, "")
			wantEqual(t, "bob's machine", row(t, look, "bob", linuxID).Name, "Ubuntu")
			got := row(t, look, "alice", windowsID)
			checkCaps(t, got)
			if cut := []byte(hostile); len(cut) <= protocol.MaxName && utf8.ValidString(hostile) {
				wantEqual(t, "name", got.Name, hostile)
			}
			for _, call := range l.calls {
				if strings.Contains(call, hostile) {
					t.Errorf("the name is in the call %q", call)
				}
			}
			for _, path := range l.asked["alice"] {
				if !strings.HasPrefix(path, "/Users/alice/") && !strings.HasPrefix(hostile, "..") {
					t.Errorf("asked for %q", path)
				}
			}
			before := reportOf(t, look)
			wantEqual(t, "queries of a quiet look", func() int { look = l.look(); return l.runs()["get"] }(), 0)
			wantEqual(t, "report of a quiet look", reportOf(t, look), before)
		})
	}
}

// checkCaps holds every string of a row to what a report holds.
func checkCaps(t *testing.T, vm protocol.VM) {
	t.Helper()
	if len(vm.Name) > protocol.MaxName {
		t.Errorf("a name of %d bytes", len(vm.Name))
	}
	for _, value := range []string{vm.OS, vm.Edition, vm.OSBuild, vm.RawState, vm.State, vm.Serial, vm.Encryption,
		vm.ToolsState, vm.ToolsVersion, vm.CPU} {
		if len(value) > protocol.MaxText {
			t.Errorf("a text of %d bytes: %.40q", len(value), value)
		}
	}
	for _, column := range protocol.Columns {
		if value := column.Value(&protocol.Row{VM: vm}); len(value) > column.Limit && column.Kind != protocol.KindTime {
			t.Errorf("%s has %d bytes, its limit is %d", column.ID, len(value), column.Limit)
		}
	}
	data, err := json.Marshal(vm)
	if err != nil || !utf8.Valid(data) {
		t.Errorf("row is not JSON: %v", err)
	}
	var again protocol.VM
	if err := protocol.Decode(data, protocol.MaxRequest, &again); err != nil {
		t.Errorf("row is not read again: %v", err)
	}
}

// The guest's own words come through a file that the user can write.
func TestH19_HostileGuests(t *testing.T) {
	t.Parallel()
	for name, hostile := range hostileNames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.info(windows().home, hostile, hostile)
			look := l.look()
			checkCaps(t, row(t, look, "alice", windowsID))
			wantEqual(t, "bob's build", row(t, look, "bob", linuxID).OSBuild, "6.8.0-45")
		})
	}
}

// A path is taken as it is or not at all: nothing is joined that could lead
// somewhere else.
func TestH19_PathsOfBundles(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"/Users/alice/a.pvm":               "/Users/alice/a.pvm",
		"/Users/alice/../bob/x.pvm":        "/Users/bob/x.pvm", // alice's process looks, and sees what alice may
		"Parallels/relative.pvm":           "",
		"":                                 "",
		"/Users/alice/\n/VmInfo.pvi\x00":   "/Users/alice/\n/VmInfo.pvi\x00", // the platform asks nothing about it
		"//Users//alice///doubled.pvm////": "/Users/alice/doubled.pvm",
	}
	for home, want := range cases {
		entry := &Machine{Bundle: Bundle{Path: (&prlctl.VM{Home: home}).Bundle()}}
		var asked []string
		for _, question := range entry.fileQuestions() {
			asked = append(asked, question.Path)
		}
		expected := []string{want, want + "/VmInfo.pvi", want + "/parallels.log", want + "/VmInfo.pvi"}
		if want == "" {
			expected = nil
		}
		if !slices.Equal(asked, expected) {
			t.Errorf("%q: asked for %q, want %q", home, asked, expected)
		}
	}
}

var _ Files = (*platform.Machine)(nil)
