package agent

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/checkin"
	"prlagent/agent/enforce"
	"prlagent/agent/lane"
	"prlagent/agent/outbox"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
	"prlagent/store"
)

// ringPortal enrolls every Mac, takes every report, and serves what was published.
type ringPortal struct {
	t       *testing.T
	signer  ed25519.PrivateKey
	files   map[string][]byte // by path
	version uint64
	device  string // of the Mac that asks
}

// publish signs a head that gives all Macs one revision, and some of them another;
// 0: there is no candidate.
func (p *ringPortal) publish(base, candidate uint64, percent int) {
	p.t.Helper()
	p.version++
	head := protocol.Head{SiteID: "site", GroupID: "staff", HeadVersion: p.version, Mode: protocol.ModeEnforce, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(720 * time.Hour)}
	pointer := p.put(base)
	head.Policy = &pointer
	if candidate != 0 {
		c := p.put(candidate)
		head.Candidate = &protocol.Candidate{PolicyID: c.PolicyID, Revision: c.Revision, SHA256: c.SHA256, Size: c.Size, Percent: percent}
	}
	payload, err := json.Marshal(head)
	if err == nil {
		p.files["/v1/content/heads/staff.dsse.json"], err = protocol.Sign(protocol.PayloadHead, payload, p.signer).JSON()
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// ringClipboards are what the revisions want; the second is the bad one.
var ringClipboards = map[uint64]string{7: "disconnect", 8: "bidirectional"}

func ringDocument(revision uint64) []byte {
	return fmt.Appendf(nil, `{"schema":1,"policy_id":"finance","revision":%d,"name":"Finance","vm_settings":{"other":{"clipboard":%q}}}`, revision, ringClipboards[revision])
}

func (p *ringPortal) put(revision uint64) protocol.PolicyPointer {
	document := ringDocument(revision)
	pointer := protocol.PointTo("finance", revision, document)
	p.files["/v1/content/policies/"+pointer.SHA256+".json"] = document
	return pointer
}

func (p *ringPortal) RoundTrip(request *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	recorder.Header().Set("Content-Type", "application/json")
	answer := func(status int, v any) {
		recorder.WriteHeader(status)
		_ = json.NewEncoder(recorder).Encode(v)
	}
	switch {
	case request.URL.Path == "/v1/enroll":
		answer(http.StatusCreated, protocol.EnrollReply{State: protocol.EnrollApproved, DeviceID: p.device, Token: strings.Repeat("t", 40)})
	case request.URL.Path == "/v1/checkin":
		answer(http.StatusOK, protocol.CheckinReply{ServerTime: time.Now().UTC(), Inventory: protocol.InventoryOK, Group: protocol.Group{ID: "staff", Source: protocol.GroupFromPrimary}, Policy: &protocol.Hint{HeadVersion: p.version}})
	case p.files[request.URL.Path] == nil:
		recorder.WriteHeader(http.StatusNotFound)
	default:
		_, _ = recorder.Write(p.files[request.URL.Path])
	}
	return recorder.Result(), nil
}

// ringMac is one Mac of the fleet: the real exchange and enforcement, over a tool
// that is not there.
type ringMac struct {
	t        *testing.T
	client   *checkin.Client
	outbox   *outbox.Outbox
	enforcer *enforce.Enforcer
	posted   chan struct{}

	mu        sync.Mutex
	clipboard string
	sets      []string
}

func (m *ringMac) Set(_ context.Context, _ string, args ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sets = append(m.sets, args[0])
	m.clipboard = strings.TrimPrefix(args[0], "--shared-clipboard=")
	return nil
}

func (m *ringMac) Get(context.Context, string) (prlctl.VM, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return (&policyMac{}).vm(m.clipboard), nil
}

// noEvents are those of a Mac on which nothing happens.
type noEvents struct{}

func (noEvents) EventsSince(uint64, int) ([]protocol.Event, uint64, error) { return nil, 0, nil }

func newRingMac(t *testing.T, folder string, portal *ringPortal) (mac *ringMac, end func()) {
	t.Helper()
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	state, _, err := store.Open(t.Context(), filepath.Join(folder, "state"), store.Options{
		Log: zerolog.Nop(), Collections: slices.Concat(checkin.Collections(), enforce.Collections(), outbox.Collections()),
	})
	if err != nil {
		t.Fatal(err)
	}
	server, _ := url.Parse("https://portal.example")
	public, _ := portal.signer.Public().(ed25519.PublicKey)
	mac = &ringMac{t: t, clipboard: "on", posted: make(chan struct{}, 1), outbox: outbox.New(state, noEvents{}, func(protocol.Trigger) bool { return false })}
	mac.client = checkin.New(checkin.Options{
		ServerURL: server, ContentURL: server.JoinPath("v1", "content"), PolicyKeys: []protocol.TrustedKey{{ID: protocol.KeyID(public), Key: public}},
		Store: state, Outbox: mac.outbox, IdentityPath: filepath.Join(folder, "node.json"), Host: testHost, Log: zerolog.Nop(), Transport: portal,
	})
	mac.enforcer = enforce.New(enforce.Options{
		Store: state, Lanes: lane.New(), Now: time.Now, Log: zerolog.Nop(), Posted: func(uint32) { mac.posted <- struct{}{} },
		Tool: func(platform.User, bool) enforce.Tool { return mac },
	})
	return mac, func() {
		mac.client.Close()
		mac.enforcer.Close()
		if err := errors.Join(state.Close(), os.RemoveAll(folder)); err != nil {
			t.Error(err)
		}
	}
}

// checkIn checks in, and obeys what that brought. It gives the calls of the tool,
// and what is in force.
func (m *ringMac) checkIn() ([]string, *policy.Content) {
	m.t.Helper()
	m.sets = nil
	if _, err := m.client.Do(m.t.Context(), &protocol.Report{}, checkin.Extra{}); err != nil {
		m.t.Fatal(err)
	}
	content := m.client.Content()
	for range 5 {
		vm, _ := m.Get(m.t.Context(), policyVM)
		planned, err := m.enforcer.Plan(&enforce.Situation{
			Content: *content, Enforce: content.Allows(), Mark: m.enforcer.Mark(), Version: prlctl.Version{Major: 26, Minor: 4}, Whole: true,
			Machines: []*enforce.Machine{{Facts: policy.Machine{Key: protocol.VMKey{ID: policyVM, UID: 501}, VM: vm, AtWork: true}, Owner: enforce.Owner{User: platform.User{Name: "alice", UID: 501}}, ConfigHash: vm.ConfigHash()}},
		})
		if err != nil {
			m.t.Fatal(err)
		}
		if len(planned.Steps) == 0 {
			return m.sets, content
		}
		m.enforcer.Apply(m.t.Context(), planned)
		<-m.posted
		m.enforcer.Take(501)
	}
	m.t.Fatal("it does not end")
	return nil, content
}

// A bad revision at five percent: no Mac outside the ring runs a set for it, and a
// halt brings the ring back to the policy of before with its next check-in. Who
// slept through it never has it.
func TestRings_ABadRevisionStaysInTheRing(t *testing.T) {
	t.Parallel()
	const percent = 5
	fleet := 1000
	if testing.Short() {
		fleet = 100
	}
	_, signer, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	memory := "/dev/shm" // stores there need no disk
	if _, err := os.Stat(memory); err != nil {
		memory = ""
	}
	folder, err := os.MkdirTemp(memory, "rings")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	inRing := 0
	for i := range fleet {
		portal := &ringPortal{t: t, signer: signer, files: make(map[string][]byte), device: fmt.Sprintf("0198f6b2-0000-7000-8000-%012d", i)}
		ring := protocol.TakesCandidate(portal.device, protocol.PointTo("finance", 8, ringDocument(8)).SHA256, percent)
		if !ring && i%7 != 0 {
			continue // like the next of those that stay with revision 7
		}
		asleep := i%10 == 9
		mac, end := newRingMac(t, filepath.Join(folder, fmt.Sprint(i)), portal)
		portal.publish(7, 0, 0)
		if sets, content := mac.checkIn(); len(sets) != 1 || mac.clipboard != "off" || content.Pointer.Revision != 7 {
			t.Fatalf("Mac %d at the start: sets %v, %+v", i, sets, content)
		}
		portal.publish(7, 8, percent)
		if !asleep {
			want := map[bool]uint64{false: 7, true: 8}[ring]
			sets, content := mac.checkIn()
			if content.Pointer.Revision != want || len(sets) != int(want-7) || mac.clipboard != cmp.Or(map[uint64]string{8: "on"}[want], "off") {
				t.Fatalf("Mac %d, in the ring %t: sets %v, clipboard %s, revision %d", i, ring, sets, mac.clipboard, content.Pointer.Revision)
			}
			inRing += int(want - 7)
		}
		portal.publish(7, 0, 0) // halt
		returns := ring && !asleep
		if sets, content := mac.checkIn(); content.Pointer.Revision != 7 || mac.clipboard != "off" || (len(sets) > 0) != returns {
			t.Fatalf("Mac %d after the halt, in the ring %t: sets %v, clipboard %s, revision %d", i, ring, sets, mac.clipboard, content.Pointer.Revision)
		}
		end()
	}
	if awake := fleet * 9 / 10; inRing < awake*percent/200 || inRing > awake*percent/50 {
		t.Errorf("%d Macs of %d were in the ring", inRing, awake)
	}
}
