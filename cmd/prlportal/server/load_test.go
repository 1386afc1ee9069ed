package server_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

var hostileCheckins = flag.Int("hostile-checkins", 20_000, "check-ins of the hostile device in TestH56_LoadOfOneHostileDevice")

// What the load test has of each.
const (
	goodDevices     = 50
	goodCheckins    = 12 // of each, beside the hostile ones
	hostileClients  = 32
	hostileReports  = 60 // that are valid, and as large as they can be
	loadMemory      = 160 << 20
	loadDatabase    = 16 << 20
	longestGoodWait = 250 * time.Millisecond // p99; printed, because it depends on the machine
)

// loadedPortal is a portal with a database on disk, and what it takes.
type loadedPortal struct {
	*portaltest.Portal
	database string
	client   *http.Client
}

func newLoadedPortal(t *testing.T) *loadedPortal {
	t.Helper()
	portal := portaltest.New(t, func(config *site.Config) { config.NextCheckinSecs = 3600 })
	path := filepath.Join(t.TempDir(), "portal.db")
	database, err := storage.OpenBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { database.Close() })
	portal.Store, portal.Contract = database, portaltest.LoadContract(t)
	portal.Start(t)
	return &loadedPortal{Portal: portal, database: path, client: scaleClient(portal, hostileClients+goodDevices, true)}
}

// enrolled is a Mac that has enrolled.
func (p *loadedPortal) enrolled(t *testing.T, serial string) *portaltest.Mac {
	t.Helper()
	m := portaltest.NewMac(t, p.Portal, serial)
	m.Enroll(t, http.StatusCreated)
	return m
}

// send sends the packed body of a check-in and gives the status of the answer.
func (p *loadedPortal) send(t *testing.T, token string, packed []byte) (int, error) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.Web.URL+"/v1/checkin", bytes.NewReader(packed))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Encoding", "gzip")
	response, err := p.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

func (p *loadedPortal) databaseSize(t *testing.T) int64 {
	t.Helper()
	info, err := os.Stat(p.database)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func packed(t *testing.T, body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	_, err := writer.Write(body)
	if err := errors.Join(err, writer.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// nextReport is the packed body of the Mac's next check-in.
func nextReport(t *testing.T, m *portaltest.Mac) []byte {
	t.Helper()
	request, base := m.Next(t)
	m.Base = base
	body, err := protocol.Encode(request)
	if err != nil {
		t.Fatal(err)
	}
	return packed(t, body)
}

// fullOfLessThan makes a report of 200 machines, none of which was in the one
// before, with every text full of what HTML would escape.
func fullOfLessThan(t *testing.T, m *portaltest.Mac, turn int) []byte {
	t.Helper()
	m.Base, m.Report.VMs = protocol.Baseline{}, nil
	m.Epoch, m.Sequence = fmt.Sprint("epoch ", turn), 0 // in any order
	full := strings.Repeat("<", protocol.MaxName)
	for i := range protocol.MaxVMs {
		vm := portaltest.WindowsVM(fmt.Sprint(i))
		vm.ID = fmt.Sprint(turn, " ", i)
		for _, text := range []*string{&vm.Name, &vm.OS, &vm.Edition, &vm.OSBuild, &vm.Serial, &vm.ToolsVersion, &vm.ToolsState, &vm.RawState, &vm.Source, &vm.ConfigHash} {
			*text = full
		}
		m.Report.VMs = append(m.Report.VMs, vm)
	}
	return nextReport(t, m)
}

// aMillionTokens is 2 kB of a million zeros.
func aMillionTokens(t *testing.T) []byte {
	t.Helper()
	body := `{"protocol":1,"request_id":"` + uuid.NewString() + `","epoch":"e","sequence":1,"of_the_future":[` + strings.Repeat("0,", 999_999) + `0]}`
	small := packed(t, []byte(body))
	if len(body) > protocol.MaxRequest || len(small) > 4<<10 {
		t.Fatalf("a million tokens are %d bytes, packed %d", len(body), len(small))
	}
	return small
}

// One enrolled device sends all that its token lets it, and ever other machines:
// the database is as large after twice the traffic.
func TestH56_TheDatabaseDoesNotGrowWithTraffic(t *testing.T) {
	portal := newLoadedPortal(t)
	hostile := portal.enrolled(t, "C02HOSTILE")
	turn, traffic, reports := 0, 0, 15
	if testing.Short() {
		reports = 3
	}
	for range 2 {
		portal.Clock.Advance(time.Hour)
		for range reports {
			turn++
			body := fullOfLessThan(t, hostile, turn)
			traffic += len(body)
			if status, err := portal.send(t, hostile.Token, body); err != nil || status != http.StatusOK {
				t.Fatalf("report %d was answered %d (%v)", turn, status, err)
			}
		}
		size := portal.databaseSize(t)
		t.Logf("%d bytes of traffic, %d of database", traffic, size)
		if size > loadDatabase {
			t.Errorf("the database has %d bytes after %d of traffic, want at most %d", size, traffic, loadDatabase)
		}
	}
	history, err := portal.Store.History(t.Context(), hostile.DeviceID)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := protocol.Encode(history); err != nil || len(data) > storage.MaxHistoryBytes+1<<10 || len(history.Rows) < 100 {
		t.Errorf("the history has %d rows in %d bytes (%v)", len(history.Rows), len(data), err)
	}
}

// hostileCounts is how many check-ins of the hostile device had which answer.
type hostileCounts struct{ accepted, tooLarge, busy, limited, failed atomic.Int64 }

// worked is how many the portal did more for than to look up whose they are.
func (c *hostileCounts) worked() int64 {
	return c.accepted.Load() + c.tooLarge.Load() + c.busy.Load()
}

func (c *hostileCounts) add(status int, err error) {
	switch {
	case err != nil:
		c.failed.Add(1)
	case status == http.StatusOK:
		c.accepted.Add(1)
	case status == http.StatusRequestEntityTooLarge:
		c.tooLarge.Add(1)
	case status == http.StatusTooManyRequests:
		c.limited.Add(1)
	default: // several of one device at a time can come between each other
		c.busy.Add(1)
	}
}

// milestones are closed one by one as a count goes on.
type milestones struct {
	done   atomic.Int64
	every  int64
	passed []chan struct{}
}

func newMilestones(total, n int) *milestones {
	m := &milestones{every: int64(total / n), passed: make([]chan struct{}, n)}
	for i := range m.passed {
		m.passed[i] = make(chan struct{})
	}
	return m
}

// add counts one more; the first one closes the first milestone.
func (m *milestones) add() {
	if before := m.done.Add(1) - 1; before%m.every == 0 && before/m.every < int64(len(m.passed)) {
		close(m.passed[before/m.every])
	}
}

// attack lets one device check in as fast as it goes.
func (p *loadedPortal) attack(t *testing.T, token string, bodies [][]byte, total int, progress *milestones) *hostileCounts {
	var counts hostileCounts
	var next atomic.Int64
	var group sync.WaitGroup
	for range hostileClients {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < total; i = int(next.Add(1)) - 1 {
				progress.add()
				counts.add(p.send(t, token, bodies[i%len(bodies)]))
			}
		})
	}
	group.Wait()
	return &counts
}

// The portal under 20,000 check-ins of one hostile device, as fast as they go,
// beside 50 good ones that come in bursts.
func TestH56_LoadOfOneHostileDevice(t *testing.T) {
	total := *hostileCheckins
	if testing.Short() {
		total = min(total, 1000)
	}
	valid := hostileReports
	if portaltest.RaceEnabled {
		total, valid = min(total, 200), 10
	}
	portal := newLoadedPortal(t)
	hostile := portal.enrolled(t, "C02HOSTILE")
	var attack [][]byte
	tokens := aMillionTokens(t)
	for turn := range valid {
		attack = append(attack, fullOfLessThan(t, hostile, turn), tokens)
	}
	good, reports := make([]*portaltest.Mac, goodDevices), make([][][]byte, goodDevices)
	for i := range good {
		good[i] = portal.enrolled(t, fmt.Sprintf("C02GOOD%05d", i))
		for range goodCheckins {
			good[i].Report.VMs[0].State = uuid.NewString() // something to keep
			reports[i] = append(reports[i], nextReport(t, good[i]))
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	progress := newMilestones(total, goodCheckins)
	latencies := make([][]time.Duration, goodDevices)
	var refused atomic.Int64
	var group sync.WaitGroup
	for i := range good {
		group.Go(func() {
			for n, body := range reports[i] {
				<-progress.passed[n]
				began := time.Now()
				if status, err := portal.send(t, good[i].Token, body); err != nil || status != http.StatusOK {
					refused.Add(1)
					t.Errorf("check-in %d of good device %d was answered %d (%v)", n, i, status, err)
				}
				latencies[i] = append(latencies[i], time.Since(began))
			}
		})
	}
	began := time.Now()
	counts := portal.attack(t, hostile.Token, attack, total, progress)
	group.Wait()
	took := time.Since(began)
	runtime.ReadMemStats(&after)

	all := slices.Sorted(slices.Values(slices.Concat(latencies...)))
	grown, size := int64(after.Sys)-int64(before.Sys), portal.databaseSize(t)
	t.Logf("%d hostile check-ins in %v: %d accepted, %d too large, %d found the device busy, %d too many, %d failed", total, took,
		counts.accepted.Load(), counts.tooLarge.Load(), counts.busy.Load(), counts.limited.Load(), counts.failed.Load())
	t.Logf("%d good ones: p50 %v, p99 %v (want %v), longest %v, %d refused", len(all), all[len(all)/2], all[len(all)*99/100], longestGoodWait, all[len(all)-1], refused.Load())
	t.Logf("memory grew by %d bytes, the database has %d", grown, size)
	if most := int64(portal.Config.CheckinsPerHour()); counts.worked() > most || counts.failed.Load() > 0 {
		t.Errorf("the portal worked for %d hostile check-ins, its bucket has %d; %d failed", counts.worked(), most, counts.failed.Load())
	}
	if grown > loadMemory {
		t.Errorf("memory grew by %d bytes, want at most %d", grown, loadMemory)
	}
	if size > loadDatabase {
		t.Errorf("the database has %d bytes, want at most %d", size, loadDatabase)
	}
}
