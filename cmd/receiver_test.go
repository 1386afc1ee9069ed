package cmd_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// startReceiver starts a receiver of a webhook, whose URL is $RECEIVER. It refuses all
// until somebody asks it with "accept", and answers "list" with what it has taken. With
// a secret's file behind "accept" it refuses what is not signed by it.
func startReceiver(ts *testscript.TestScript, neg bool, args []string) {
	switch {
	case !neg && len(args) == 0:
		r := &webhookReceiver{}
		server := httptest.NewServer(r)
		ts.Defer(server.Close)
		ts.Setenv("RECEIVER", server.URL)
	case !neg && (len(args) == 1 && (args[0] == "accept" || args[0] == "list") || len(args) == 2 && args[0] == "accept"):
		query := url.Values{}
		if len(args) == 2 {
			query.Set("secret", strings.SplitN(ts.ReadFile(args[1]), "\n", 2)[0])
		}
		answer, err := http.Get(ts.Getenv("RECEIVER") + "/" + args[0] + "?" + query.Encode())
		ts.Check(err)
		defer answer.Body.Close()
		taken, err := io.ReadAll(answer.Body)
		ts.Check(err)
		_, err = ts.Stdout().Write(taken)
		ts.Check(err)
	default:
		ts.Fatalf("usage: receiver [accept [SECRET-FILE]|list]")
	}
}

// webhookReceiver takes messages.
type webhookReceiver struct {
	mutex   sync.Mutex
	accepts bool
	secret  string // that has to sign a message; empty: signatures are not looked at
	taken   []json.RawMessage
	refused int // messages that it has not signed
}

func (r *webhookReceiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if request.Method == http.MethodGet {
		r.accepts = r.accepts || strings.HasSuffix(request.URL.Path, "accept")
		if secret := request.URL.Query().Get("secret"); secret != "" {
			r.secret = secret
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"taken": r.taken, "refused": r.refused})
		return
	}
	body, err := io.ReadAll(request.Body)
	if err != nil || !r.accepts {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if r.secret != "" && !isSigned(request.Header, body, r.secret) {
		r.refused++
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	r.taken = append(r.taken, body)
}

// isSigned reports whether a message is signed as the specification of Standard
// Webhooks has it: one of the signatures is that of id, time and body, by the key in
// base64 behind whsec_; the id is the body's, and the time is now.
func isSigned(header http.Header, body []byte, secret string) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || !strings.HasPrefix(secret, "whsec_") {
		return false
	}
	var message struct {
		ID string `json:"id"`
	}
	id, at := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || json.Unmarshal(body, &message) != nil || message.ID != id || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return slices.Contains(strings.Fields(header.Get("webhook-signature")), want)
}
