package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// verify is the check of a receiver, written from the text of Standard Webhooks 1.0.0
// and from nothing of ours: the secret is whsec_ and base64 of the key; what is signed
// is the id, the timestamp and the body, separated by full stops; the header is a list
// of signatures separated by blanks, each its version, a comma and base64; the time of
// the attempt is near the receiver's own. It gives how many of the signatures fit.
func verify(secret string, header http.Header, body []byte, now time.Time) (fitting, all int, err error) {
	encoded, found := strings.CutPrefix(secret, "whsec_")
	if !found {
		return 0, 0, fmt.Errorf("the secret begins otherwise")
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return 0, 0, err
	}
	id, stamp := header["Webhook-Id"], header["Webhook-Timestamp"]
	if len(id) != 1 || len(stamp) != 1 || id[0] == "" || strings.Contains(id[0], ".") {
		return 0, 0, fmt.Errorf("ids %q, timestamps %q", id, stamp)
	}
	seconds, err := strconv.ParseInt(stamp[0], 10, 64)
	if err != nil {
		return 0, 0, err
	}
	if away := now.Sub(time.Unix(seconds, 0)).Abs(); away > 5*time.Minute {
		return 0, 0, fmt.Errorf("the timestamp is %v away", away)
	}
	for _, one := range strings.Split(header.Get("Webhook-Signature"), " ") {
		version, signature, _ := strings.Cut(one, ",")
		given, err := base64.StdEncoding.DecodeString(signature)
		if version != "v1" || err != nil {
			return 0, 0, fmt.Errorf("signature %q: %v", one, err)
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id[0] + "." + stamp[0] + "."))
		mac.Write(body)
		if all++; hmac.Equal(mac.Sum(nil), given) {
			fitting++
		}
	}
	return fitting, all, nil
}

// lines collects a log.
type lines struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (l *lines) Write(line []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.Write(line)
}

func (l *lines) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.String()
}

// bench is a sender with all that it works with.
type bench struct {
	folder string
	store  store
	sender *Sender
	log    *lines
	now    func() time.Time
	saved  map[string]uint64 // versions of devices
	fresh  time.Duration
}

type store interface {
	fleet.Store
	Queue
}

func newBench(t *testing.T, address string) *bench {
	t.Helper()
	b := &bench{folder: t.TempDir(), store: storage.NewMemory(), log: &lines{}, now: time.Now, saved: make(map[string]uint64), fresh: 1000 * time.Hour}
	b.set(t, address)
	b.restart()
	return b
}

// set gives the webhook a URL, and a secret where it has none.
func (b *bench) set(t *testing.T, address string) {
	t.Helper()
	hook, err := site.LoadWebhook(b.folder)
	if err != nil {
		hook.Secrets = []site.WebhookSecret{site.NewWebhookSecret()}
	}
	hook.URL, hook.SetAt = address, b.now()
	if err := hook.Save(b.folder); err != nil {
		t.Fatal(err)
	}
}

// restart has another sender work on the same store.
func (b *bench) restart() {
	b.sender = New(Parts{
		Folder: b.folder, Queue: b.store, Fleet: fleet.New(b.store, fleet.MaxBytes), Freshness: b.fresh,
		Timeout: 2 * time.Second, Log: zerolog.New(b.log), Now: func() time.Time { return b.now() },
	})
}

// secrets are the lines of the file of the secret.
func (b *bench) secrets(t *testing.T) (secrets []string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(b.folder, site.WebhookSecretFile))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		secrets = append(secrets, strings.Fields(line)[0])
	}
	return secrets
}

// happen has events of a type happen on a device, numbered from first on.
func (b *bench) happen(t *testing.T, deviceID, kind string, first, count int) {
	t.Helper()
	device := storage.Device{ID: deviceID, Version: b.saved[deviceID], Serial: "C02" + deviceID, HardwareUUID: deviceID, EnrolledAt: b.now()}
	var kept []storage.KeptEvent
	for i := range count {
		kept = append(kept, storage.KeptEvent{Number: uint64(first + i), ReceivedAt: b.now(), Epoch: "e", Event: protocol.Event{
			Seq: uint64(first + i), At: b.now(), Type: kind, Data: map[string]string{"n": strconv.Itoa(first + i)},
		}})
	}
	messages, err := b.sender.Messages(device, "Alice's Mac", kept)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.store.Save(t.Context(), storage.Change{Device: device, Outgoing: messages}); err != nil {
		t.Fatal(err)
	}
	b.saved[deviceID]++
	b.sender.Wake()
}

// run runs the sender until end is called.
func (b *bench) run(t *testing.T) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.sender.Run(ctx)
	}()
	end = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(end)
	return end
}

func (b *bench) status(t *testing.T) Status {
	t.Helper()
	status, err := b.sender.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// receiver remembers what it was sent, and answers as it is told.
type receiver struct {
	mutex  sync.Mutex
	got    []received
	answer func(received) (int, http.Header)
}

type received struct {
	Message
	header http.Header
	body   []byte
	at     time.Time
}

func (r *receiver) note(t *testing.T, request *http.Request) (int, http.Header) {
	body, err := io.ReadAll(request.Body)
	one := received{header: request.Header, body: body, at: time.Now()}
	if err == nil {
		err = json.Unmarshal(body, &one.Message)
	}
	if err != nil || request.Method != http.MethodPost {
		t.Errorf("a request %s with %q: %v", request.Method, body, err)
	}
	r.mutex.Lock()
	r.got = append(r.got, one)
	answer := r.answer
	r.mutex.Unlock()
	if answer == nil {
		return http.StatusNoContent, nil
	}
	return answer(one)
}

func (r *receiver) all() []received {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return append([]received(nil), r.got...)
}

// RoundTrip plays the receiver without a network, for tests with a clock of their own.
type transport struct {
	t *testing.T
	r *receiver
}

func (p transport) RoundTrip(request *http.Request) (*http.Response, error) {
	status, header := p.r.note(p.t, request)
	if status == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	if header == nil {
		header = make(http.Header)
	}
	return &http.Response{StatusCode: status, Header: header, Body: http.NoBody, Request: request}, nil
}

func (b *bench) play(t *testing.T, r *receiver) {
	b.sender.client = &http.Client{Transport: transport{t, r}}
}
