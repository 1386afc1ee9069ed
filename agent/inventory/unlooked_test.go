package inventory

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/platform"
)

// Who is not looked at is named, with the reason; and nobody else is.
func TestINV_02_H17_WhoIsNotLookedAt(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		change func(*lab)
		want   []protocol.UserLook
	}{
		"nobody": {func(*lab) {}, nil},
		"logged in without a local record": {
			func(l *lab) {
				l.console = platform.Console{User: "network", UID: 70001, Sessions: []uint32{501, 70001}}
			}, []protocol.UserLook{{Name: "network", UID: 70001, Code: protocol.CodeAccountNotLocal}},
		},
		"in the background without a local record": {
			func(l *lab) { l.console.Sessions = []uint32{501, 70001} },
			[]protocol.UserLook{{Name: "uid 70001", UID: 70001, Code: protocol.CodeAccountNotLocal}},
		},
		"a uid below 501 that runs a machine": {
			func(l *lab) {
				l.others = []platform.User{{Name: "hiddenadmin", UID: 499, Home: "/var/hiddenadmin"}}
				l.process(499, macID, noon)
			}, []protocol.UserLook{{Name: "hiddenadmin", UID: 499, Code: protocol.CodeAccountUIDLow}},
		},
		"a uid below 501 without a machine": {
			func(l *lab) { l.others = []platform.User{{Name: "hiddenadmin", UID: 499, Home: "/var/hiddenadmin"}} }, nil,
		},
		"root that runs a machine": {
			func(l *lab) { l.process(0, macID, noon) }, []protocol.UserLook{{Name: "uid 0", Code: protocol.CodeAccountUIDLow}},
		},
		"a uid beyond what the tools take": {
			func(l *lab) { l.others = []platform.User{{Name: "far", UID: 1 << 31, Home: "/Users/far"}} },
			[]protocol.UserLook{{Name: "far", UID: 1 << 31, Code: protocol.CodeAccountUIDHigh}},
		},
		"nobody's uid": {
			func(l *lab) { l.others = []platform.User{{Name: "nobody", UID: 1<<32 - 2, Home: "/var/empty"}} }, nil,
		},
		"hidden, and logged in": {
			func(l *lab) {
				l.others = []platform.User{{Name: "_kiosk", UID: 600, Home: "/Users/kiosk"}}
				l.console.Sessions = []uint32{501, 600}
			}, []protocol.UserLook{{Name: "_kiosk", UID: 600, Code: protocol.CodeAccountHidden}},
		},
		"hidden, and runs a machine": {
			func(l *lab) {
				l.others = []platform.User{{Name: "sharing", UID: 601, Home: "/dev/null"}}
				l.process(601, macID, noon)
			}, []protocol.UserLook{{Name: "sharing", UID: 601, Code: protocol.CodeAccountHidden}},
		},
		"hidden, and nothing else": {
			func(l *lab) { l.others = []platform.User{{Name: "_service", UID: 600, Home: "/Users/service"}} }, nil,
		},
		"the directory does not answer": {
			func(l *lab) {
				l.users, l.usersErr = nil, errService
				l.console.Sessions = []uint32{501, 70001}
			}, nil,
		},
		"one account plays all users, as below a root": {
			func(l *lab) {
				l.oneAccount = true
				l.process(0, macID, noon)
			}, nil,
		},
		"a second name of an account": {
			func(l *lab) { l.others = []platform.User{{Name: "_alias", UID: 501, Home: "/Users/alice"}} }, nil,
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			test.change(l)
			var got []protocol.UserLook
			for _, listed := range l.look().Users {
				if listed.Name != "alice" && listed.Name != "bob" {
					got = append(got, listed)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, listed := range got {
				if words := listed.Code.Text(); words.Text == string(listed.Code) || words.Remedy == "" {
					t.Errorf("%s has no text or no remedy", listed.Code)
				}
			}
		})
	}
}

// An account is named once in the log, and stays in the list of users once it
// has run a machine.
func TestINV_02_NamedOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var log strings.Builder
	l.collector.log = zerolog.New(&log)
	l.process(499, macID, noon)
	first := l.look()
	l.processes = nil
	second := l.look()
	wantEqual(t, "users", fmt.Sprint(userLook(t, second, "uid 499")), fmt.Sprint(userLook(t, first, "uid 499")))
	wantEqual(t, "times in the log", strings.Count(log.String(), `"uid":499`), 1)
	wantEqual(t, "the look itself", first.Code, "")
}

// A name with line breaks can forge any number of sessions (platform.Console): they
// have an end, which is said, and hide nobody whose account is known otherwise.
func TestINV_02_ForgedSessionsHaveAnEnd(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for uid := range uint32(1000) {
		l.console.Sessions = append(l.console.Sessions, 1000+uid)
	}
	l.others = []platform.User{{Name: "far", UID: 1 << 31, Home: "/Users/far"}}
	l.process(5000, macID, noon)
	look := l.look()
	wantEqual(t, "users", len(look.Users), 2+maxUnlooked)
	wantEqual(t, "a record", userLook(t, look, "far").Code, protocol.CodeAccountUIDHigh)
	wantEqual(t, "who runs a machine", userLook(t, look, "uid 5000").Code, protocol.CodeAccountNotLocal)
	var said []string
	for _, user := range look.Users {
		if user.LeftOut > 0 {
			said = append(said, user.Who())
		}
	}
	wantEqual(t, "the rest", strings.Join(said, "; "), fmt.Sprintf("uid %d and %d more accounts", 1000+maxUnlooked-3, 1002-maxUnlooked))
}

// An account without a record keeps the name that the console told, when somebody
// else is at the console.
func TestINV_02_TheConsolesNameStays(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.console = platform.Console{User: "network", UID: 70001, Sessions: []uint32{501, 70001}}
	l.look()
	l.console = platform.Console{User: "alice", UID: 501, Sessions: []uint32{501, 70001}}
	wantEqual(t, "code", userLook(t, l.look(), "network").Code, protocol.CodeAccountNotLocal)
}

// Beyond the limit of machines an account is named with how many are missing.
func TestINV_02_H12_LeftOutIsANumber(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for i := range 300 {
		m := windows()
		m.id, m.home = fmt.Sprintf("00000000-0000-4000-8000-%012d", i), ""
		l.machines["alice"] = append(l.machines["alice"], m)
	}
	look := l.look()
	got := userLook(t, look, "alice")
	wantEqual(t, "code", got.Code, protocol.CodeVMLimit)
	wantEqual(t, "left out", got.LeftOut, 301-(protocol.MaxVMs-1)) // bob has one row
	wantEqual(t, "detail", look.Detail, "alice, 101 left out")
	wantEqual(t, "bob", userLook(t, look, "bob"), protocol.UserLook{Name: "bob", UID: 502, Count: 1})
}
