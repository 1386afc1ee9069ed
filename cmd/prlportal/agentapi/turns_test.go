package agentapi

import (
	"context"
	"crypto/ed25519"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/secret"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

// While as many bodies are decoded as there are processors, others wait, and not
// for ever.
func TestH56_BodiesWaitForTheirTurnToBeDecoded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := storage.NewMemory()
		device := storage.Device{ID: "a", Key: make(ed25519.PublicKey, ed25519.PublicKeySize), Tokens: []storage.Token{{SHA256: secret.Hash("token")}}}
		if err := store.Save(t.Context(), storage.Change{Device: device}); err != nil {
			t.Fatal(err)
		}
		s := New(site.Config{Enrollments: site.EnrollmentLimits{PerSource: 1, PerSerial: 1}}, store, nil, nil, nil, time.Time{}, zerolog.Nop(), time.Now)
		handler := httpapi.NewHandler(s.Routes(), zerolog.Nop(), time.Now)
		answers := make(chan int, 1)
		send := func() {
			request := httptest.NewRequest(http.MethodPost, "/v1/checkin", strings.NewReader("x"))
			request.Header.Set("Authorization", "Bearer token")
			recorded := httptest.NewRecorder()
			handler.ServeHTTP(recorded, request)
			answers <- recorded.Code
		}
		release := make(chan struct{})
		for range cap(s.decodeTurns) {
			go func() { _ = s.decodeTurns.Do(context.Background(), func() error { <-release; return nil }) }()
		}
		synctest.Wait()
		go send()
		synctest.Wait()
		if len(answers) != 0 {
			t.Fatalf("a body was decoded out of turn, and answered %d", <-answers)
		}
		began := time.Now()
		if status := <-answers; status != protocol.KindOfProblem(protocol.ProblemUnavailable).Status || time.Since(began) != longestQueue {
			t.Errorf("answer is %d after %v", status, time.Since(began))
		}
		go send()
		synctest.Wait()
		close(release)
		if status := <-answers; status != http.StatusBadRequest {
			t.Errorf("in its turn it was answered %d", status)
		}
	})
}
