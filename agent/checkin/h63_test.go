package checkin

import (
	"net/http"
	"strings"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/store"
)

// badNames are what ends in another path or URL than it seems.
var badNames = []string{
	"../../../etc/passwd%2f..", "..", ".staff", "staff/../../x", `staff\x`, "staff%2fx", "staff?x=", "staff#x", "staff x", "stäff", "staff\x00",
	strings.Repeat("s", protocol.MaxPathName+1),
}

// A name that is none is not believed, shown, kept or requested.
func TestH63_NamesOfThePortal(t *testing.T) {
	t.Parallel()
	for _, name := range badNames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newContentBench(t)
			b.portal.on("POST /v1/enroll", func(w http.ResponseWriter) {
				answerJSON(w, http.StatusCreated, protocol.EnrollReply{State: protocol.EnrollApproved, DeviceID: name, Token: "canary-token"})
			})
			b.fails(protocol.CodePortalReplyInvalid)
			b.portal.on("POST /v1/enroll", func(w http.ResponseWriter) {
				answerJSON(w, http.StatusAccepted, protocol.EnrollReply{State: protocol.EnrollPending, DeviceID: name})
			})
			b.fails(protocol.CodePortalReplyInvalid)
			if got := b.client.State().DeviceID; got != "" {
				t.Errorf("device %q", got)
			}
			b.portal.set(func(f *fakePortal) { f.reply.Group.ID = name })
			b.fails(protocol.CodePortalReplyInvalid)
			for _, request := range b.portal.sent() {
				if strings.HasPrefix(request.what, http.MethodGet) {
					t.Errorf("%s", request.what)
				}
			}
			if got := b.client.State().Group; got != (protocol.Group{}) {
				t.Errorf("group %+v", got)
			}
			b.portal.set(func(f *fakePortal) {
				f.reply.Group.ID, f.sequence = "staff", 0
				clear(f.answers)
			})
			b.do("daily")
		})
	}
}

// What an agent believed before there was a grammar is not believed any more.
func TestH63_AGroupOfBefore(t *testing.T) {
	t.Parallel()
	b := newContentBench(t)
	b.do("agent_start")
	err := b.options.Store.Update(func(tx *store.Tx) error {
		var record exchangeRecord
		_, err := exchangeRecords.Get(tx, onlyKey, &record)
		if err != nil {
			return err
		}
		record.Group.ID = "../../../etc/passwd%2f.."
		return exchangeRecords.Put(tx, onlyKey, &record)
	})
	if err != nil {
		t.Fatal(err)
	}
	b.crash()
	if got := b.client.State().Group; got != (protocol.Group{}) {
		t.Errorf("group %+v", got)
	}
	b.portal.sent()
	b.line.down = true
	_, _ = b.try("daily")
	b.line.down = false
	b.portal.set(func(f *fakePortal) { f.reply.Group = protocol.Group{} })
	b.do("daily")
	for _, request := range b.portal.sent() {
		if strings.HasPrefix(request.what, http.MethodGet) {
			t.Errorf("%s", request.what)
		}
	}
}

// A signed head names files, too, and a site, which node.json keeps: that one has
// to stay readable.
func TestH63_NamesInAHead(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*protocol.Head){
		"a file":      func(head *protocol.Head) { head.Policy.SHA256 = strings.Repeat("../x", 16) },
		"a site":      func(head *protocol.Head) { head.SiteID = "../x" },
		"a long site": func(head *protocol.Head) { head.SiteID = strings.Repeat("\x01", 1000) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := settled(t)
			head := b.head("staff", 6, &protocol.PolicyPointer{PolicyID: "p", Revision: 4, Size: 10, SHA256: strings.Repeat("a", 64)})
			change(&head)
			b.publishHead(head)
			b.refuses(protocol.CodeHeadInvalid)
			for _, request := range b.portal.sent() {
				if strings.Contains(request.what, "/policies/") {
					t.Errorf("%s", request.what)
				}
			}
		})
	}
}
