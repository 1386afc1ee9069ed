package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

// What an account lacks stands beside it, and what keeps it from being looked at
// stays.
func TestINV_02_WhoIsNotHeardIsRemarked(t *testing.T) {
	t.Parallel()
	users := []protocol.UserLook{{UID: 501}, {UID: 502, Code: protocol.CodeServiceDown}, {UID: 503}}
	want := []protocol.UserLook{{UID: 501, Code: protocol.CodeStreamLimit}, {UID: 502, Code: protocol.CodeServiceDown}, {UID: 503}}
	if diff := cmp.Diff(want, remarkStreams(users, []uint32{501, 502})); diff != "" {
		t.Error(diff)
	}
	if users[0].Code != "" {
		t.Error("the look itself was changed")
	}
}

func TestINV_02_UsersAreCounted(t *testing.T) {
	t.Parallel()
	users := []protocol.UserLook{
		{UID: 499, Code: protocol.CodeAccountUIDLow}, {UID: 501}, {UID: 502, Code: protocol.CodeStreamLimit},
		{UID: 503, Code: protocol.CodeVMLimit, LeftOut: 7}, {UID: 504, Code: protocol.CodeUserLate}, {UID: 70001, Code: protocol.CodeAccountNotLocal},
	}
	if diff := cmp.Diff(localapi.Counts{Users: 4, UsersFailed: 1}, countsOf(users, nil)); diff != "" {
		t.Error(diff)
	}
}

// Each account that is not looked at is a condition of its own; the many whose
// changes are only found by looks are one, with their number.
func TestINV_02_H12_AccountsAreConditions(t *testing.T) {
	t.Parallel()
	users := []protocol.UserLook{
		{Name: "admin", UID: 499, Code: protocol.CodeAccountUIDLow}, {Name: "a", UID: 600, Code: protocol.CodeStreamLimit},
		{Name: "b", UID: 601, Code: protocol.CodeStreamLimit}, {Name: "c", UID: 602, Code: protocol.CodeVMLimit, LeftOut: 7},
	}
	want := []*activeCode{
		{Code: protocol.CodeAccountUIDLow, Subject: "admin", UID: 499, detail: "admin"},
		{Code: protocol.CodeVMLimit, Subject: "c", UID: 602, detail: "c, 7 left out"},
		{Code: protocol.CodeStreamLimit, Subject: "2 users"},
	}
	var found codeList
	found.addUsers(users)
	if diff := cmp.Diff(want, found.codes, cmp.AllowUnexported(activeCode{})); diff != "" {
		t.Error(diff)
	}
}
