package command

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/admins"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/backup"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/server"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

// testSite is what all portals of a run share: the site's configuration and keys, two
// persons who sign commands, and the folder of policies.
type testSite struct {
	config  site.Config
	folder  string // the portal's
	secret  string // of enrollments
	token   string // of an admin
	first   ed25519.PrivateKey
	second  ed25519.PrivateKey
	trusted []protocol.TrustedKey
	content *os.Root
	book    *admins.Book
}

func newTestSite(t *testing.T) *testSite {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s := &testSite{folder: filepath.Join(dir, site.PortalFolder), second: testKey(9)}
	var err error
	s.config, err = site.Options{Name: "Example", Hosts: []string{"localhost"}, PrimaryGroup: "default", Now: modelStart}.Create(dir)
	must(err)
	s.config.StaleAfterSecs, s.config.Checkins.PerDevice = int(lostAfter/time.Second), 1_000_000
	s.config.Enrollments = site.EnrollmentLimits{PerSource: 1_000_000, PerSerial: 1_000_000}
	operator := filepath.Join(dir, site.OperatorFolder)
	s.secret, err = site.ReadSecret(filepath.Join(operator, site.SecretFile))
	must(err)
	s.token, err = site.ReadSecret(filepath.Join(operator, site.AdminTokenFile))
	must(err)
	s.first, err = site.LoadSigningKey(filepath.Join(operator, site.CommandKeyFile))
	must(err)
	keys, err := site.LoadCommandKeys(operator)
	must(err)
	must(keys.Add(site.CommandKey{Key: s.second.Public().(ed25519.PublicKey), Person: secondPerson, AddedAt: modelStart}))
	must(keys.SetThreshold(twoKeys, 2))
	policyKeys, err := site.LoadPolicyKeys(operator)
	must(err)
	file, err := keys.Sign(policyKeys...)
	must(err)
	must(os.WriteFile(filepath.Join(s.folder, site.ContentFolder, site.CommandKeysFile), file, 0o600))
	s.trusted = keys.Trusted()
	s.content, err = os.OpenRoot(filepath.Join(s.folder, site.ContentFolder))
	must(err)
	t.Cleanup(func() { _ = s.content.Close() })
	s.book, err = admins.Open(filepath.Join(s.folder, site.AdminsFile), "")
	must(err)
	return s
}

// realPortal is the portal's own handlers over its own database and audit log, in one
// process, and the Mac's side of the contract.
type realPortal struct {
	t      *testing.T
	site   *testSite
	folder string
	w      *world

	database   *storage.Bolt
	record     *audit.Log
	handler    http.Handler
	restoredAt time.Time
	flushed    int64             // bytes of the audit log that a crash leaves
	saved      map[string][]byte // files of a backup

	key      ed25519.PrivateKey
	keys     uint64
	token    string
	deviceID string
	last     protocol.RequestID
	told     protocol.Baseline
	bodies   map[string][]byte // of reports, by their request ids
	bases    map[string]protocol.Baseline
}

const (
	realSerial   = "C02AAAAAAAAA"
	realHardware = "8B4C0D6E-0000-4000-8000-C02AAAAAAAAA"
)

// breaking is a database, and an audit log, before and after each write of which the
// portal may crash, and whose disk may be full.
type breaking struct {
	fleet.Store
	*audit.Log
	w *world
}

func (b breaking) Save(ctx context.Context, change storage.Change) error {
	if err := b.w.server.mayWrite(); err != nil {
		return err
	}
	if err := b.Store.Save(ctx, change); err != nil {
		return err
	}
	return b.w.server.point()
}

func (b breaking) Append(entry audit.Entry) error {
	if err := b.w.server.mayWriteSecond(); err != nil {
		return err
	}
	if err := b.Log.Append(entry); err != nil {
		return err
	}
	return b.w.server.point()
}

func (p *realPortal) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *realPortal) start(w *world) {
	p.w, p.bodies, p.bases = w, map[string][]byte{}, map[string]protocol.Baseline{}
	w.trust.Keys = p.site.trusted
	w.open = func(envelope *protocol.Envelope, trust *Trust) (*protocol.Command, error) {
		now := *trust
		if trust.Mode == "" { // the model's word for keys that are trusted no more
			now.Keys = nil
		}
		return openSigned(envelope, &now)
	}
	w.sign = func(payload []byte) (protocol.Envelope, bool) {
		return protocol.Sign(protocol.PayloadReceipt, payload, p.key), true
	}
	p.newKey()
	p.open()
}

func (p *realPortal) newKey() {
	p.keys++
	seed := make([]byte, ed25519.SeedSize)
	binary.BigEndian.PutUint64(seed, p.keys)
	p.key, p.token, p.told = ed25519.NewKeyFromSeed(seed), "", protocol.Baseline{}
}

func (p *realPortal) file(name string) string { return filepath.Join(p.folder, name) }

// open starts the portal with what is on the disk.
func (p *realPortal) open() {
	var err error
	p.database, err = storage.OpenBolt(p.file(site.DatabaseFile))
	p.must(err)
	before, err := p.database.AuditMark(context.Background())
	p.must(err)
	p.must(server.WithholdRestored(context.Background(), p.database, p.restoredAt, zerolog.Nop(), p.w.now))
	changed, err := server.ReplayAudit(context.Background(), p.file(site.AuditFile), p.database, zerolog.Nop(), p.w.now)
	p.must(err)
	if changed != nil {
		p.w.fail("the database has decisions that the audit log has lost: %v", changed)
	}
	p.wantRecorded()
	if after, err := p.database.AuditMark(context.Background()); err == nil && after != before {
		p.w.happened["audit log replayed"]++
	}
	p.record, err = audit.OpenWithFlush(p.file(site.AuditFile), p.flush)
	p.must(err)
	info, err := os.Stat(p.file(site.AuditFile))
	p.must(err)
	p.flushed = info.Size()
	parts := breaking{p.database, p.record, p.w}
	p.handler = server.New(server.Parts{
		Config: p.site.config, Store: parts, Queue: p.database, Admins: p.site.book, Version: "test", Record: parts, RestoredAt: p.restoredAt,
		Source: backup.Source{Folder: p.site.folder, Content: p.site.content, Database: p.database},
		Log:    zerolog.Nop(), Now: func() time.Time { return p.w.now }, CertificateEnd: func() time.Time { return p.w.now },
	}).Handler
}

func (p *realPortal) stop() {
	p.must(p.record.Close())
	p.must(p.database.Close())
}

func (p *realPortal) restart() {
	p.stop()
	p.must(os.Truncate(p.file(site.AuditFile), p.flushed))
	p.open()
}

// flush is a flush of the audit log. What a crash comes before is lost, or cut off.
func (p *realPortal) flush(file *os.File) error {
	info, err := file.Stat()
	if err != nil || info.IsDir() {
		return err
	}
	if err := p.w.server.point(); err != nil {
		if p.w.now.Unix()%2 == 0 {
			p.flushed += (info.Size() - p.flushed) / 2
		}
		return err
	}
	p.flushed = info.Size()
	return nil
}

// wantRecorded: what was decided of commands is in the audit log, which outlives the
// database.
func (p *realPortal) wantRecorded() {
	if p.deviceID == "" {
		return
	}
	recorded := map[string]bool{}
	_, err := audit.VerifyFile(p.file(site.AuditFile), audit.Mark{}, func(entry audit.Entry) error {
		if entry.Command != nil {
			recorded[entry.Action+" "+entry.Command.ID] = true
		}
		return nil
	})
	p.must(err)
	log := p.log()
	for i := range log.Commands {
		c := &log.Commands[i]
		for action, isDecided := range map[string]bool{
			audit.ActionCommand: !c.Orphan, audit.ActionApproveCommand: len(c.Signers) > 1, audit.ActionCancelCommand: !c.CancelAsked.IsZero(),
		} {
			if isDecided && !recorded[action+" "+c.ID] {
				p.w.fail("%s of %s is in the database, and not in the audit log", action, c.ID)
			}
		}
	}
}

// call sends a request. What the portal says while it crashes nobody hears.
func (p *realPortal) call(token, path string, body []byte, into any) (status int, problem string) {
	request := httptest.NewRequestWithContext(context.Background(), http.MethodPost, path, bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	recorder := httptest.NewRecorder()
	p.handler.ServeHTTP(recorder, request)
	switch {
	case p.w.server.down:
		return 0, noAnswer
	case recorder.Code >= http.StatusMultipleChoices:
		refused, _ := protocol.ParseProblem(recorder.Code, recorder.Header().Get("Content-Type"), recorder.Body.Bytes())
		if p.w.server.isTight() && refused.Name() == protocol.ProblemInternal {
			return recorder.Code, noAnswer
		}
		return recorder.Code, refused.Name()
	}
	if into != nil {
		p.must(json.Unmarshal(recorder.Body.Bytes(), into))
	}
	return recorder.Code, answered
}

// admin has an admin decide.
func (p *realPortal) admin(path string, body any) (done bool) {
	content, err := json.Marshal(body)
	p.must(err)
	_, problem := p.call(p.site.token, "/v1/admin/"+path, content, nil)
	if problem == protocol.ProblemInternal {
		p.w.fail("the portal answers %s with %s", path, problem)
	}
	return problem == answered
}

func (p *realPortal) decideCommand(what, id string) bool {
	return p.admin("commands/"+id+"/"+what, adminapi.CommandReason{Reason: "test"})
}

func (p *realPortal) decideDevice(what string, asked adminapi.Decision) bool {
	asked.Reason = "test"
	return p.admin("devices/"+p.deviceID+"/"+what, asked)
}

func (p *realPortal) enroll(freshKey bool) (deviceID, serial, problem string) {
	if freshKey {
		p.newKey()
	}
	for range 2 {
		p.last = protocol.NewRequestID(p.w.now, p.last)
		payload, err := json.Marshal(protocol.EnrollRequest{
			RequestID: p.last.String(), Origin: p.site.config.URL, SiteID: p.site.config.SiteID, Secret: p.site.secret, Serial: realSerial, HardwareUUID: realHardware,
			DeviceKey: p.key.Public().(ed25519.PublicKey), AgentVersion: "0.1.0", SentAt: p.w.now,
		})
		p.must(err)
		body, err := protocol.Sign(protocol.PayloadEnroll, payload, p.key).JSON()
		p.must(err)
		var reply protocol.EnrollReply
		status, problem := p.call("", "/v1/enroll", body, &reply)
		switch {
		case problem != answered:
			return "", "", problem
		case status == http.StatusCreated:
			p.token, p.deviceID = reply.Token, reply.DeviceID
			return reply.DeviceID, realSerial, answered
		}
		if !p.decideDevice("approve", adminapi.Decision{KeyID: protocol.KeyID(p.key.Public().(ed25519.PublicKey))}) {
			return "", "", noAnswer
		}
	}
	return "", "", noAnswer
}

func (p *realPortal) checkin(m message) (reply protocol.CheckinReply, problem string) {
	if p.bodies[m.requestID] == nil {
		p.compose(m)
	}
	_, problem = p.call(p.token, "/v1/checkin", p.bodies[m.requestID], &reply)
	if problem == protocol.ProblemUnauthenticated {
		problem = notKnown
	}
	if problem == answered {
		p.told = p.bases[m.requestID]
		if reply.Inventory == isSendFull {
			p.told = protocol.Baseline{}
		}
	}
	return reply, problem
}

// compose makes the report, with all machines of the Mac where that is due.
func (p *realPortal) compose(m message) {
	request := protocol.CheckinRequest{
		Protocol: protocol.Version, RequestID: m.requestID, Epoch: m.epoch, Sequence: m.sequence, SentAt: p.w.wall(), OpenCommands: m.open, Results: m.results,
		Triggers: []protocol.Trigger{{Reason: "manual", Count: 1, FirstAt: p.w.wall(), LastAt: p.w.wall()}},
	}
	report := protocol.Report{
		Agent: protocol.AgentInfo{Version: "0.1.0", Arch: "arm64", Mode: protocol.ModeEnforce}, Host: protocol.Host{ComputerName: "Mac", Serial: realSerial, HardwareUUID: realHardware, CPU: protocol.CPUArm},
		Product: protocol.Product{Installed: true, Version: "26.4.0", State: protocol.ProductKey}, Users: []protocol.UserLook{{Name: "alice", UID: 501, Count: worldVMs}},
		Policy: protocol.PolicyReport{State: protocol.PolicyNone}, Health: protocol.HealthReport{State: protocol.Healthy},
	}
	for n := range worldVMs {
		report.VMs = append(report.VMs, worldVM(n))
	}
	base := p.told
	if m.sequence == 1 {
		base = protocol.Baseline{}
	}
	next, err := report.Fill(&request, base)
	p.must(err)
	p.bases[m.requestID] = next
	p.bodies[m.requestID], err = json.Marshal(request)
	p.must(err)
}

func (p *realPortal) sign(payloadType string, payload []byte) protocol.Envelope {
	return protocol.Sign(payloadType, payload, p.site.first)
}

func (p *realPortal) issue(command protocol.Command) bool {
	payload, err := json.Marshal(command)
	p.must(err)
	confirm := command.Target.VMName
	if confirm == "" {
		confirm = command.Target.MacSerial
	}
	return p.admin("commands", adminapi.CommandUpload{Command: p.sign(protocol.PayloadCommand, payload), Confirm: confirm})
}

func (p *realPortal) approve(id string) bool {
	kept, err := p.database.CommandEnvelopes(context.Background(), p.deviceID, id)
	if err != nil {
		return false
	}
	signature := protocol.Sign(protocol.PayloadCommand, kept.Payload(), p.site.second).Signatures[0]
	return p.admin("commands/"+id+"/approve", adminapi.CommandApproval{Signature: signature})
}

func (p *realPortal) cancel(id string) bool  { return p.decideCommand("cancel", id) }
func (p *realPortal) confirm(id string) bool { return p.decideCommand("confirm", id) }
func (p *realPortal) thaw() bool             { return p.decideDevice("confirm", adminapi.Decision{}) }
func (p *realPortal) revive() bool           { return p.decideDevice("approve", adminapi.Decision{}) }
func (p *realPortal) retire(lost bool) bool {
	return p.decideDevice("retire", adminapi.Decision{Lost: lost})
}

func (p *realPortal) backUp() {
	var database bytes.Buffer
	p.must(p.database.WriteSnapshot(context.Background(), &database))
	lines, err := os.ReadFile(p.file(site.AuditFile))
	p.must(err)
	p.saved = map[string][]byte{site.DatabaseFile: database.Bytes(), site.AuditFile: lines}
}

func (p *realPortal) restore(auditToo bool) bool {
	if p.saved == nil {
		return false
	}
	p.stop()
	for name, content := range p.saved {
		if name != site.AuditFile || auditToo {
			p.must(os.WriteFile(p.file(name), content, 0o600))
		}
	}
	p.restoredAt = p.w.now
	p.open()
	return true
}

func (p *realPortal) log() storage.CommandLog {
	log, err := p.database.Commands(context.Background(), p.deviceID)
	p.must(err)
	return log
}

func (p *realPortal) order(id string) (portalOrder, bool) {
	log := p.log()
	return orderOf(&log, id)
}

func (p *realPortal) base() (next uint64, commandID string) {
	log := p.log()
	return log.NextHolds(), log.Base().CommandID
}
