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
			if err == nil || users != nil {
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
		if err != nil && users != nil {
			t.Errorf("users %v beside the error %v", users, err)
		}
		for _, user := range users {
			if user.UID < firstUserUID || user.Name == "" || !filepath.IsAbs(user.Home) {
				t.Errorf("not a person: %+v", user)
			}
		}
	})
}
