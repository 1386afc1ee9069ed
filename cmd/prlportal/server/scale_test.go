package server_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

// scaleDevices is how many simulated Macs check in, once each, in one round.
const scaleDevices = 1000

// BenchmarkThousandDevices measures a round of check-ins from a thousand Macs
// over loopback, each with a connection of its own or a warm one, beside a bare
// Go server with TLS that reads the same body and answers nothing (protocol.md
// 4.2). Run it with -benchtime=5x or so.
func BenchmarkThousandDevices(b *testing.B) {
	portal := portaltest.New(b)
	database, err := storage.OpenBolt(filepath.Join(b.TempDir(), "portal.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { database.Close() })
	portal.Store = database
	portal.Config.Enrollments = site.EnrollmentLimits{PerSource: 1 << 20, PerSerial: 1 << 20}
	portal.Config.Checkins.PerDevice = 1 << 20
	portal.Start(b)
	portal.Contract = portaltest.Contract{}
	bare := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusOK)
	}))
	b.Cleanup(bare.Close)
	macs := make([]*portaltest.Mac, scaleDevices)
	for i := range macs {
		macs[i] = portaltest.NewMac(b, portal, uuid.NewString())
		macs[i].BenchEnroll(b)
		macs[i].BenchCheckin(b)
	}
	for _, target := range []struct{ name, url string }{{"portal", portal.Web.URL + "/v1/checkin"}, {"bare", bare.URL}} {
		for _, way := range []struct {
			name    string
			clients int
			warm    bool
		}{{"new-connection", 64, false}, {"new-connection", 256, false}, {"warm", 64, true}, {"warm", 256, true}} {
			b.Run(fmt.Sprintf("%s/%s/%d-clients", target.name, way.name, way.clients), func(b *testing.B) {
				client := scaleClient(portal, way.clients, way.warm)
				defer client.CloseIdleConnections()
				if way.warm {
					scaleRound(b, client, target.url, macs, way.clients) // opens the connections
				}
				var latencies []time.Duration
				var elapsed time.Duration
				began := processorTime(b)
				for b.Loop() {
					took, each := scaleRound(b, client, target.url, macs, way.clients)
					elapsed, latencies = elapsed+took, append(latencies, each...)
				}
				spent := processorTime(b) - began
				slices.Sort(latencies)
				b.ReportMetric(float64(spent.Microseconds())/float64(len(latencies)), "cpu-us/check-in")
				b.ReportMetric(float64(len(latencies))/elapsed.Seconds(), "check-ins/s")
				b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds())/1000, "p50-ms")
				b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds())/1000, "p99-ms")
			})
		}
	}
}

// processorTime is what this process, server and clients, has used so far. It
// says more than the rate on a machine that does other things too.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func scaleClient(portal *portaltest.Portal, clients int, warm bool) *http.Client {
	trusted := portal.Web.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: trusted},
		MaxIdleConnsPerHost: clients, DisableKeepAlives: !warm,
	}}
}

// scaleRound lets every Mac check in once, clients of them at a time, and gives
// how long it took as a whole and for each. Making the requests is not measured.
func scaleRound(b *testing.B, client *http.Client, url string, macs []*portaltest.Mac, clients int) (time.Duration, []time.Duration) {
	b.Helper()
	bodies := make([][]byte, len(macs))
	for i, m := range macs {
		request, _ := m.Next(b)
		var err error
		if bodies[i], err = json.Marshal(request); err != nil {
			b.Fatal(err)
		}
	}
	latencies := make([]time.Duration, len(macs))
	work := make(chan int)
	var group sync.WaitGroup
	began := time.Now()
	for range clients {
		group.Go(func() {
			for i := range work {
				from := time.Now()
				if err := scaleRequest(b, client, url, macs[i].Token, bodies[i]); err != nil {
					b.Error(err)
				}
				latencies[i] = time.Since(from)
			}
		})
	}
	for i := range macs {
		work <- i
	}
	close(work)
	group.Wait()
	return time.Since(began), latencies
}

func scaleRequest(b *testing.B, client *http.Client, url, token string, body []byte) error {
	request, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answered, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		return protocol.NewProblem(protocol.ProblemInternal, string(answered))
	}
	return err
}
