package platform

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/platform/plist"
	"prlagent/platform/tool"
)

const dsclLine = "/usr/bin/dscl -plist . -readall /Users RecordName UniqueID NFSHomeDirectory RealName"

func TestH13_UsersAreThePeopleOfThisMac(t *testing.T) {
	t.Parallel()
	runner := &fakeRunner{answers: map[string]answer{dsclLine: {stdout: sample(t, "users.plist")}}}
	users, err := New(t.TempDir(), runner).Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []User{
		{Name: "alice", UID: 501, Home: "/Users/alice", RealName: "Alice   Ådahl & Söhne"},
		{Name: "bob", UID: 502, Home: "/Users/bob", RealName: "Bob B. Builder"},
		{Name: "moved", UID: 503, Home: "/Users/moved-away", RealName: "Home is gone"}, // for the user's own process to see
		{Name: "noreal", UID: 505, Home: "/Users/noreal"},
	}
	if diff := cmp.Diff(want, users.People); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
}

// record is one of a directory, as dscl prints it.
func record(name, uid, home string) string {
	value := func(key, text string) string {
		return "<key>dsAttrTypeStandard:" + key + "</key><array><string>" + text + "</string></array>"
	}
	return "<dict>" + value("RecordName", name) + value("UniqueID", uid) + value("NFSHomeDirectory", home) + "</dict>"
}

// An account is its uid; whoever is no person, or cannot be run as, is kept
// apart and not lost.
func TestINV_02_AccountsAreTheirUIDs(t *testing.T) {
	t.Parallel()
	users, err := parseUsers([]byte(`<plist version="1.0"><array>` +
		record("zoe", "501", "/Users/zoe") + record("alice", "501", "/Users/alice") + record("hiddenadmin", "499", "/var/hiddenadmin") +
		record("far", "2147483648", "/Users/far") + record("last", "2147483647", "/Users/last") + record("nobody", "-2", "/var/empty") +
		record("_service", "600", "/Users/service") + record("sharing", "601", "/dev/null") + record("beyond", "4294967296", "/Users/beyond") +
		record("", "602", "/Users/noname") + record("nonumber", "x", "/Users/x") + `</array></plist>`))
	if err != nil {
		t.Fatal(err)
	}
	want := Users{
		People: []User{{Name: "alice", UID: 501, Home: "/Users/alice"}, {Name: "last", UID: 2147483647, Home: "/Users/last"}},
		Others: []User{
			{Name: "hiddenadmin", UID: 499, Home: "/var/hiddenadmin"}, {Name: "_service", UID: 600, Home: "/Users/service"},
			{Name: "sharing", UID: 601, Home: "/dev/null"}, {Name: "far", UID: 2147483648, Home: "/Users/far"},
			{Name: "nobody", UID: 4294967294, Home: "/var/empty"},
		},
	}
	if diff := cmp.Diff(want, users); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
}

func TestUsersFail(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	cases := map[string]answer{
		"exit code":         {exit: 5},
		"no output":         {},
		"not a list":        {stdout: `<plist version="1.0"><dict/></plist>`},
		"not a plist":       {stdout: "RecordName: alice"},
		"could not be run":  {err: refused},
		"cut in the middle": {stdout: sample(t, "users.plist")[:700]},
	}
	plistCodes := map[string]string{
		"no output": plist.CodeEmpty, "not a list": plist.CodeWrongType, "not a plist": plist.CodeInvalid, "cut in the middle": plist.CodeInvalid,
	}
	for name, reply := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runner := &fakeRunner{answers: map[string]answer{dsclLine: reply}}
			users, err := New(t.TempDir(), runner).Users(t.Context())
			if err == nil || users.People != nil || users.Others != nil {
				t.Errorf("got %v, %v", users, err)
			}
			if reply.err != nil && !errors.Is(err, reply.err) {
				t.Errorf("%v does not unwrap to %v", err, reply.err)
			}
			var toolError *tool.Error
			if reply.exit != 0 && (!errors.As(err, &toolError) || toolError.Code != tool.CodeFailed) {
				t.Errorf("got %v, want the code %s", err, tool.CodeFailed)
			}
			var plistError *plist.Error
			if want := plistCodes[name]; want != "" && (!errors.As(err, &plistError) || plistError.Code != want) {
				t.Errorf("got %v, want the code %s", err, want)
			}
		})
	}
}

func FuzzParseUsers(f *testing.F) {
	f.Add([]byte(sample(f, "users.plist")))
	f.Add([]byte(`<plist version="1.0"><array><dict><key>dsAttrTypeStandard:UniqueID</key><string>501</string></dict><true/></array></plist>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		users, err := parseUsers(data)
		if err != nil && (users.People != nil || users.Others != nil) {
			t.Errorf("users %v beside the error %v", users, err)
		}
		for _, user := range users.People {
			if user.UID < firstUserUID || user.Name == "" || !filepath.IsAbs(user.Home) {
				t.Errorf("not a person: %+v", user)
			}
		}
	})
}
