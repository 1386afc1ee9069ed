package webhook

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
	"prlagent/platform/text"
)

// canary is what a receiver says, and nobody is to see.
const canary = "canary-of-the-receiver"

// SEC-25: a receiver that is slow, refuses, redirects, says much, says no HTTP or hangs
// up gets the message again later, is followed nowhere and is read up to a bound; what
// it says, the path of its URL and the secret are in no log and in no answer.
func TestSEC25_HostileReceivers(t *testing.T) {
	t.Parallel()
	var followed atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	defer elsewhere.Close()
	raw := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			connection, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer connection.Close()
			_, _ = io.WriteString(connection, answer)
			if tcp, isTCP := connection.(*net.TCPConn); isTCP { // what was written arrives before the end
				_ = errors.Join(tcp.CloseWrite(), tcp.SetReadDeadline(time.Now().Add(time.Second)))
				_, _ = io.Copy(io.Discard, tcp)
			}
		}
	}
	for name, test := range map[string]struct {
		answer  http.HandlerFunc
		problem string
		isTaken bool
	}{
		"fails":                       {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, canary, http.StatusInternalServerError) }, "it answered 500 Internal Server Error", false},
		"fails with words of its own": {raw("HTTP/1.1 599 " + canary + "\r\nContent-Length: 0\r\n\r\n"), "it answered 599", false},
		"is a teapot of 99":           {raw("HTTP/1.1 099 " + canary + "\r\n\r\n"), "", false},
		"redirects": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/"+canary, http.StatusTemporaryRedirect)
		}, "it answered 307 Temporary Redirect", false},
		"redirects for good": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/"+canary, http.StatusPermanentRedirect)
		}, "it answered 308 Permanent Redirect", false},
		"is slow":        {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "there was no answer in time", false},
		"hangs up":       {raw(""), "the connection ended without an answer", false},
		"says no HTTP":   {raw(canary + "\r\n\r\n"), "there was no answer that is HTTP", false},
		"many headers":   {raw("HTTP/1.1 200 OK\r\nX: " + strings.Repeat(canary, 10_000) + "\r\n\r\n"), "there was no answer that is HTTP", false},
		"never ends":     {endless, "", true}, // it took it, and is left
		"ends too early": {raw("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + canary), "", true},
		"wants cookies": {func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Cookie") != "" || r.Header.Get("Authorization") != "" {
				t.Errorf("it is told %v", r.Header)
			}
			http.SetCookie(w, &http.Cookie{Name: "a", Value: canary})
		}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				test.answer(w, r)
			}))
			defer server.Close()
			b := newBench(t, server.URL+"/path-with-a-token?key=of-the-receiver")
			b.happen(t, "a", failed, 1, 1)
			b.sender.started = b.now()
			b.sender.work(t.Context())
			result, err := b.sender.Test(t.Context())
			status := b.status(t)
			b.sender.client.CloseIdleConnections()
			if err != nil || result.Taken != test.isTaken || status.Sent == 1 != test.isTaken || status.Queued == 0 != test.isTaken {
				t.Errorf("%+v, %+v, %v", result, status, err)
			}
			if test.problem != "" && (status.LastError != test.problem || result.Problem != test.problem) {
				t.Errorf("it is said %q and %q", status.LastError, result.Problem)
			}
			told, err := json.Marshal(map[string]any{"status": status, "test": result, "hook": b.sender.read.hook, "log": b.log.String()})
			if err != nil {
				t.Fatal(err)
			}
			printed := fmt.Sprintf("%s %v %+v %#v", told, b.sender.read.hook.Secrets, b.sender.read.hook.Secrets, b.sender.read.hook.Secrets)
			said := []string{canary}
			for _, secret := range b.secrets(t) {
				said = append(said, text.Spellings(secret)...)
				said = append(said, text.Spellings(strings.TrimPrefix(secret, "whsec_"))...)
			}
			for _, word := range said {
				if strings.Contains(strings.ToLower(printed), strings.ToLower(word)) {
					t.Errorf("it is told %q in %s", word, printed)
				}
			}
			for _, word := range []string{"path-with-a-token", "of-the-receiver?", "key=of"} {
				if strings.Contains(b.log.String(), word) || strings.Contains(status.Receiver+result.Receiver, word) {
					t.Errorf("the rest of the URL is told: %s", b.log)
				}
			}
		})
	}
	t.Cleanup(func() {
		if followed.Load() != 0 {
			t.Errorf("%d redirects were followed", followed.Load())
		}
	})
}

// SEC-25: a receiver, or what stands before it, that ends a kept connection just as it is
// used again gets the message on a new one: it is no failure.
func TestSEC25_AKeptConnectionThatEnds(t *testing.T) {
	t.Parallel()
	var ended atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		connection, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(connection, "HTTP/1.1 204 No Content\r\n\r\n")
		go func() { // the next message is begun, and finds nobody
			defer connection.Close()
			if n, _ := connection.Read(make([]byte, 1)); n == 1 {
				ended.Add(1)
			}
		}()
	}))
	b := newBench(t, server.URL)
	t.Cleanup(server.Close)
	t.Cleanup(b.sender.client.CloseIdleConnections)
	for range 3 {
		if result, err := b.sender.Test(t.Context()); err != nil || !result.Taken {
			t.Errorf("%+v, %v", result, err)
		}
	}
	if ended.Load() == 0 {
		t.Error("no kept connection was used again")
	}
}

// endless answers for as long as somebody reads.
func endless(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := w.Write(bytes.Repeat([]byte(canary), 1000)); err != nil {
			return
		}
	}
}

// SEC-25: https with a certificate that is trusted, and http to loopback only, also
// where a name stands for another address.
func TestSEC25_OnlySafeWaysToAReceiver(t *testing.T) {
	t.Parallel()
	for address, isFine := range map[string]bool{
		"https://hooks.example/x?y=1": true, "http://127.0.0.1:8080/": true, "http://localhost/x": true, "http://[::1]:1/": true,
		"http://hooks.example/": false, "http://10.0.0.1/": false, "http://localhost.hooks.example/": false, "https:///x": false, "https://": false,
		"https://user:secret@hooks.example/": false, "https://hooks.example/#x": false, "ftp://hooks.example/": false, "hooks.example": false,
		"https:hooks.example": false, "": false, "https://hooks.example\x00/": false, "HTTPS://HOOKS.example/": true,
	} {
		if _, err := site.ParseWebhookURL(address); (err == nil) != isFine || err != nil && err.Error() != site.ErrWebhookURL.Error() {
			t.Errorf("%q: %v", address, err)
		}
	}
	for address, isFine := range map[string]bool{"127.0.0.1:80": true, "[::1]:80": true, "10.0.0.1:80": false, "[2001:db8::1]:80": false, "[::ffff:10.0.0.1]:80": false, "0.0.0.0:80": false, "x": false} {
		if err := onlyLoopback("tcp", address, nil); (err == nil) != isFine {
			t.Errorf("%s: %v", address, err)
		}
	}
	// A name of loopback that stands for another address, as by a file of hosts.
	client := newClient(nil, time.Minute)
	defer client.CloseIdleConnections()
	if refused := send(t.Context(), client, site.Webhook{URL: "http://192.0.2.1:1/"}, storage.Outgoing{}, time.Now()); refused.problem != errNotLoopback.Error() {
		t.Errorf("without TLS, elsewhere: %+v", refused)
	}
	var got atomic.Int32
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got.Add(1) }))
	defer server.Close()
	server.Config.ErrorLog = nil
	b := newBench(t, server.URL)
	if result, err := b.sender.Test(t.Context()); err != nil || result.Taken || result.Problem != "its certificate is not trusted" {
		t.Errorf("of a certificate that nobody knows: %+v, %v", result, err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	b.sender.client = newClient(roots, time.Minute)
	defer b.sender.client.CloseIdleConnections()
	if result, err := b.sender.Test(t.Context()); err != nil || !result.Taken || got.Load() != 1 {
		t.Errorf("of one that is known: %+v, %v", result, err)
	}
	b.set(t, "http://127.0.0.1:1") // which no program gets that asks for a free port
	if result, err := b.sender.Test(t.Context()); err != nil || result.Taken || result.Problem != "no connection: connection refused" {
		t.Errorf("of nobody: %+v, %v", result, err)
	}
}

// SEC-25: what waits is in the database: another portal over the same file goes on with
// it, in its order.
func TestSEC25_ARestartInBetween(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "portal.db")
	r := &receiver{}
	b := newBench(t, "https://hooks.example/x")
	open := func() func() {
		t.Helper()
		database, err := storage.OpenBolt(path)
		if err != nil {
			t.Fatal(err)
		}
		b.store = database
		b.restart()
		b.play(t, r)
		return func() {
			if err := database.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	closed := open()
	r.answer = func(received) (int, http.Header) { return 0, nil }
	for i := range 5 {
		b.happen(t, "a", failed, 2*i+1, 2)
	}
	b.sender.work(t.Context())
	before := b.status(t)
	closed()
	closed = open()
	defer func() { closed() }()
	r.answer = nil
	b.sender.work(t.Context())
	if after := b.status(t); before.Queued != 10 || after.Queued != 0 || after.Sent != 10 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	for i, one := range r.all()[1:] {
		if one.Data.Detail["n"] != fmt.Sprint(i+1) {
			t.Errorf("at place %d there is %v", i, one.Data.Detail)
		}
	}
}

// SEC-25: a message has an end, whatever a Mac says, and names what it can.
func TestSEC25_AMessageHasAnEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t, "https://hooks.example/x")
	event := storage.KeptEvent{Number: 1, ReceivedAt: b.now(), Epoch: "e"}
	event.Event.Type, event.Event.Data = failed, map[string]string{"vm_id": strings.Repeat("\x1b", 1000), "vm_name": strings.Repeat("\u202e", 1000), "uid": "501"}
	for i := range 16 {
		event.Event.Data[fmt.Sprintf("%02d%s", i, strings.Repeat("\x07", 250))] = strings.Repeat("\x1b", 1000)
	}
	device := storage.Device{ID: "a", Serial: strings.Repeat("\x1b", 255)}
	messages, err := b.sender.Messages(device, strings.Repeat("\u2067", 1000), []storage.KeptEvent{event})
	if err != nil || len(messages) != 1 || len(messages[0].Body) > maxBody {
		t.Fatalf("%d messages, %v", len(messages), err)
	}
	if err := b.store.Save(context.Background(), storage.Change{Device: device, Outgoing: messages}); err != nil {
		t.Error(err)
	}
	if state, err := b.store.OutgoingState(context.Background()); err != nil || state.Queued != 1 {
		t.Errorf("%+v, %v", state, err)
	}
	for _, steering := range []string{"\x1b", "\u202e", "\\u202e", "\u2067"} {
		if plain := strings.ReplaceAll(messages[0].Body, `\\`, ""); strings.Contains(plain, steering) {
			t.Errorf("it has %q: %s", steering, messages[0].Body)
		}
	}
}

// countedBody says how much of it is read.
type countedBody struct{ read int }

func (c *countedBody) Read(into []byte) (int, error) {
	c.read += len(into)
	return len(into), nil
}

func (c *countedBody) Close() error { return nil }

type answering http.Response

func (a *answering) RoundTrip(*http.Request) (*http.Response, error) { return (*http.Response)(a), nil }

// SEC-25: little is read of what a receiver answers.
func TestSEC25_LittleIsReadOfAnAnswer(t *testing.T) {
	t.Parallel()
	b, body := newBench(t, "https://hooks.example/x"), &countedBody{}
	b.sender.client = &http.Client{Transport: &answering{StatusCode: http.StatusOK, Body: body}}
	if result, err := b.sender.Test(t.Context()); err != nil || !result.Taken || body.read > 2*maxAnswerBody {
		t.Errorf("%d bytes were read: %+v, %v", body.read, result, err)
	}
}
