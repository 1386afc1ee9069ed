package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

// Bounds of one request. The specification recommends 15 to 30 s.
const (
	attemptTimeout   = 20 * time.Second
	dialTimeout      = 10 * time.Second
	maxAnswerHeaders = 16 << 10
	maxAnswerBody    = 16 << 10 // is read, and thrown away, so that the connection can be used again
	maxRetryAfter    = time.Hour
)

// outcome is what became of one request.
type outcome struct {
	status     int           // 0: there was no answer
	problem    string        // words of ours; empty: it was taken
	retryAfter time.Duration // the receiver asks for; 0: nothing
}

func (o outcome) isTaken() bool { return o.problem == "" }

func (o outcome) isGone() bool { return o.status == http.StatusGone }

// isOfMessage reports whether the receiver refused this message, and may take another.
func (o outcome) isOfMessage() bool {
	switch o.status {
	case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// newClient makes a client that follows nobody, keeps nothing and reads little.
func newClient(roots *x509.CertPool, timeout time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout}
	local := &net.Dialer{Timeout: dialTimeout, Control: onlyLoopback}
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: local.DialContext, // without TLS: whatever a name stands for
			DialTLSContext: (&tls.Dialer{NetDialer: dialer, Config: &tls.Config{
				RootCAs: roots, MinVersion: tls.VersionTLS12,
			}}).DialContext,
			MaxResponseHeaderBytes: maxAnswerHeaders,
			MaxIdleConnsPerHost:    1,
			IdleConnTimeout:        time.Minute,
			DisableCompression:     true,
		},
	}
}

var errNotLoopback = errors.New("http is for loopback only")

// onlyLoopback refuses any other address, also where a name of loopback has it.
func onlyLoopback(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return errNotLoopback
	}
	return nil
}

// send makes one request. Of an answer it gives the status only: nothing that a
// receiver says reaches a log or a person.
func send(ctx context.Context, client *http.Client, hook site.Webhook, message storage.Outgoing, now time.Time) outcome {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, hook.URL, strings.NewReader(message.Body))
	if err != nil {
		return outcome{problem: "the URL cannot be used"}
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "prlportal")
	request.Header.Set("Webhook-Id", message.ID)
	request.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	request.Header.Set("Webhook-Signature", signatures(hook.Signing(now), message.ID, now, message.Body))
	// Not sent: it only tells net/http that the message may be repeated on a fresh
	// connection when a kept one turns out to be dead. Its id says that it is the same.
	request.Header["Idempotency-Key"] = []string{}
	response, err := client.Do(request)
	if err != nil {
		return outcome{problem: wordsOf(err)}
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswerBody))
	got := outcome{status: response.StatusCode, retryAfter: retryAfter(response.Header.Get("Retry-After"), now)}
	if got.status < 200 || got.status > 299 {
		got.problem = strings.TrimSpace(fmt.Sprintf("it answered %d %s", got.status, http.StatusText(got.status)))
	}
	return got
}

// signatures are those of all secrets that sign, separated by blanks (Standard
// Webhooks 1.0.0, signature scheme v1: HMAC-SHA256 over id, timestamp and body).
func signatures(secrets []site.WebhookSecret, id string, at time.Time, body string) string {
	signed := make([]string, 0, len(secrets))
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, secret.Key())
		fmt.Fprintf(mac, "%s.%d.%s", id, at.Unix(), body)
		signed = append(signed, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(signed, " ")
}

// retryAfter reads a header: seconds, or a time.
func retryAfter(header string, now time.Time) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.ParseUint(header, 10, 32); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// wordsOf says why there was no answer, in words of ours: errors of net/http have the
// URL, and what a receiver sent.
func wordsOf(err error) string {
	var address *url.Error
	if errors.As(err, &address) && address.Timeout() {
		return "there was no answer in time"
	}
	var name *net.DNSError
	var trust *tls.CertificateVerificationError
	var number syscall.Errno
	switch {
	case errors.Is(err, errNotLoopback):
		return errNotLoopback.Error()
	case errors.As(err, &name):
		return "its name is not found"
	case errors.As(err, &trust):
		return "its certificate is not trusted"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return "the connection ended without an answer"
	case errors.As(err, &number):
		return "no connection: " + number.Error()
	}
	return "there was no answer that is HTTP"
}
