package cmd_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// startReceiver starts a receiver of a webhook, whose URL is $RECEIVER. It refuses all
// until somebody asks it with "accept", and answers "list" with what it has taken.
func startReceiver(ts *testscript.TestScript, neg bool, args []string) {
	switch {
	case !neg && len(args) == 0:
		r := &webhookReceiver{}
		server := httptest.NewServer(r)
		ts.Defer(server.Close)
		ts.Setenv("RECEIVER", server.URL)
	case !neg && len(args) == 1 && (args[0] == "accept" || args[0] == "list"):
		answer, err := http.Get(ts.Getenv("RECEIVER") + "/" + args[0])
		ts.Check(err)
		defer answer.Body.Close()
		taken, err := io.ReadAll(answer.Body)
		ts.Check(err)
		_, err = ts.Stdout().Write(taken)
		ts.Check(err)
	default:
		ts.Fatalf("usage: receiver [accept|list]")
	}
}

// webhookReceiver takes messages without looking at their signatures.
type webhookReceiver struct {
	mutex   sync.Mutex
	accepts bool
	taken   []json.RawMessage
}

func (r *webhookReceiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if request.Method == http.MethodGet {
		r.accepts = r.accepts || strings.HasSuffix(request.URL.Path, "accept")
		_ = json.NewEncoder(w).Encode(map[string]any{"taken": r.taken})
		return
	}
	body, err := io.ReadAll(request.Body)
	if err != nil || !r.accepts {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	r.taken = append(r.taken, body)
}
