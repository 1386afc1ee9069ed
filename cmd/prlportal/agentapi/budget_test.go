package agentapi_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/storage"
)

// DESIGN 11, for a report of 200 virtual machines with the largest cells.
const (
	budgetTime  = 20 * time.Millisecond
	budgetBytes = 4 << 20
)

// largestReport makes the texts of 200 rows that a user or a guest can choose as
// long as a portal keeps them; they differ from row to row and from turn to turn.
func largestReport(m *portaltest.Mac, turn int) {
	m.Report.VMs = nil
	m.Report.Users = []protocol.UserLook{{Name: "alice", UID: 501, Count: protocol.MaxVMs}}
	for i := range protocol.MaxVMs {
		vm := portaltest.WindowsVM(fmt.Sprintf("vm-%03d", i))
		words := fmt.Sprintf("%d in turn %d of <machine %d>; ", i*7919, turn, i)
		for _, text := range []*string{&vm.Name, &vm.OS, &vm.Edition, &vm.OSBuild, &vm.Serial, &vm.ToolsVersion} {
			*text = strings.Repeat(words, protocol.MaxName)[:protocol.MaxName]
		}
		vm.LastUsedAt = portaltest.Morning
		m.Report.VMs = append(m.Report.VMs, vm)
	}
}

// largestReports is a portal with a database on disk, and what makes the next
// report of its one Mac. Each report changes every row.
func largestReports(t testing.TB, fill func(m *portaltest.Mac, turn int)) (handle http.Handler, next func() *http.Request) {
	t.Helper()
	portal := portaltest.New(t)
	database, err := storage.OpenBolt(filepath.Join(t.TempDir(), "portal.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { database.Close() })
	portal.Store = database
	portal.Config.Checkins.PerDevice = 1 << 20
	portal.Start(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	m.Enroll(t, http.StatusCreated)
	turn := 0
	return portal.Web.Config.Handler, func() *http.Request {
		turn++
		fill(m, turn)
		request, base := m.Next(t)
		m.Base = base
		body, err := protocol.Encode(request)
		if err != nil {
			t.Fatal(err)
		}
		if len(body) > protocol.MaxRequest || len(m.Report.VMs) != protocol.MaxVMs {
			t.Fatalf("a report of %d bytes with %d rows", len(body), len(m.Report.VMs))
		}
		made := httptest.NewRequest(http.MethodPost, "/v1/checkin", bytes.NewReader(zipped(t, body)))
		made.Header.Set("Authorization", "Bearer "+m.Token)
		made.Header.Set("Content-Encoding", "gzip")
		return made
	}
}

func mustAccept(t testing.TB, handle http.Handler, request *http.Request) {
	t.Helper()
	recorded := httptest.NewRecorder()
	handle.ServeHTTP(recorded, request)
	if recorded.Code != http.StatusOK || !strings.Contains(recorded.Body.String(), `"inventory":"ok"`) {
		t.Fatalf("answer is %d %s", recorded.Code, recorded.Body)
	}
}

// largest are the largest reports: of rows, and of the settings of as many machines.
var largest = map[string]func(m *portaltest.Mac, turn int){"rows": largestReport, "verdicts": largestVerdicts}

// What a report costs in memory is the same on every machine, and is held here;
// its time is the benchmark's.
func TestH56_TheLargestReportStaysInItsBudgetOfMemory(t *testing.T) {
	if portaltest.RaceEnabled {
		t.Skip("the race detector takes memory of its own")
	}
	for name, fill := range largest {
		t.Run(name, func(t *testing.T) {
			handle, next := largestReports(t, fill)
			mustAccept(t, handle, next())
			const reports = 5
			var total uint64
			for range reports {
				request := next()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				mustAccept(t, handle, request)
				runtime.ReadMemStats(&after)
				total += after.TotalAlloc - before.TotalAlloc
			}
			t.Logf("%d bytes of memory for each report", total/reports)
			if total/reports > budgetBytes {
				t.Errorf("a report takes %d bytes of memory, its budget is %d", total/reports, budgetBytes)
			}
		})
	}
}

func BenchmarkLargestReport(b *testing.B) {
	for name, fill := range largest {
		b.Run(name, func(b *testing.B) { benchmarkReport(b, fill) })
	}
}

func benchmarkReport(b *testing.B, fill func(m *portaltest.Mac, turn int)) {
	handle, next := largestReports(b, fill)
	mustAccept(b, handle, next())
	b.ReportAllocs()
	var spent time.Duration
	for b.Loop() {
		b.StopTimer()
		request := next()
		runtime.GC()
		began := processorTime(b)
		b.StartTimer()
		mustAccept(b, handle, request)
		spent += processorTime(b) - began
	}
	each := spent / time.Duration(b.N)
	b.ReportMetric(float64(each.Microseconds())/1000, "cpu-ms/report")
	if each > budgetTime {
		b.Logf("a report takes %v of processor time, its budget is %v", each, budgetTime)
	}
}

func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
