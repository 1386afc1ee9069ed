package httpapi

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"prlagent/agent/protocol"
)

// MaxSmallBody bounds the bodies that are not reports: an enrollment comes
// from anybody, and has a few hundred bytes.
const MaxSmallBody = 16 << 10

// ReadBody reads a request's body of at most limit bytes, decompressed if it
// says gzip. Errors are problems.
func ReadBody(r *http.Request, limit int) ([]byte, error) {
	sent, err := ReceiveBody(r, limit)
	if err != nil {
		return nil, err
	}
	return sent.Unpack()
}

// SentBody is a request's body as it came.
type SentBody struct {
	data    []byte
	limit   int // of what is in it
	gzipped bool
}

// ReceiveBody reads a body as it is sent, which takes as long as the client
// likes; Unpack, which takes our time, is a step of its own. Errors are problems.
func ReceiveBody(r *http.Request, limit int) (SentBody, error) {
	sent := SentBody{limit: limit}
	most := limit
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
	case "gzip":
		sent.gzipped, most = true, protocol.MaxRequestGzip
	default:
		return SentBody{}, protocol.NewProblem(protocol.ProblemEncoding, "Send the body as gzip or as it is.")
	}
	data, err := protocol.ReadLimited(r.Body, most)
	sent.data = data
	return sent, bodyProblem(err, limit)
}

// Unpack is what is in the body. It stops at the first byte too many, so a bomb
// costs no more than a large report. Errors are problems.
func (b SentBody) Unpack() ([]byte, error) {
	if !b.gzipped {
		return b.data, nil
	}
	body, err := inflate(bytes.NewReader(b.data), b.limit, b.expectedSize())
	return body, bodyProblem(err, b.limit)
}

// inflate bounds both sides: what is read and what comes out of it. It makes room
// for what is expected.
func inflate(compressed io.Reader, limit, expected int) ([]byte, error) {
	bounded := &boundedReader{reader: compressed, remaining: protocol.MaxRequestGzip}
	decompressor, err := gzip.NewReader(bounded)
	if err != nil {
		return nil, fmt.Errorf("read gzip: %w", err)
	}
	body := bytes.NewBuffer(make([]byte, 0, expected+bytes.MinRead))
	if _, err := body.ReadFrom(io.LimitReader(decompressor, int64(limit)+1)); err != nil {
		return nil, fmt.Errorf("read gzip: %w", err)
	}
	if body.Len() > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", protocol.ErrTooLarge, limit)
	}
	return body.Bytes(), nil
}

// boundedReader fails with protocol.ErrTooLarge where io.LimitReader would
// only end, which would look like a truncated body.
type boundedReader struct {
	reader    io.Reader
	remaining int
}

func (b *boundedReader) Read(buffer []byte) (int, error) {
	if b.remaining < 0 {
		return 0, protocol.ErrTooLarge
	}
	n, err := b.reader.Read(buffer[:min(len(buffer), b.remaining+1)])
	if b.remaining -= n; b.remaining < 0 {
		return n, protocol.ErrTooLarge
	}
	return n, err
}

// expectedSize is how large gzip says that its content is, in its last four
// bytes (RFC 1952, 2.3.1), within what can be true.
func (b SentBody) expectedSize() int {
	const mostPacked = 1032 // bytes that deflate makes one of, at the very most
	tail := b.data[max(0, len(b.data)-4):]
	if len(tail) < 4 {
		return 0
	}
	return min(int(binary.LittleEndian.Uint32(tail)), b.limit, mostPacked*len(b.data))
}

// bodyProblem names what is wrong with a body, without showing any of it.
func bodyProblem(err error, limit int) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, protocol.ErrTooLarge):
		return protocol.NewProblem(protocol.ProblemTooLarge, fmt.Sprintf("This body may have %d bytes, and at most %d of gzip.", limit, protocol.MaxRequestGzip))
	}
	return protocol.NewProblem(protocol.ProblemInvalidRequest, "The body could not be read.")
}

// DecodeBody decodes a message under the rules of protocol.DecodeRequest.
func DecodeBody(body []byte, v any) error {
	err := protocol.DecodeRequest(body, v)
	if errors.Is(err, protocol.ErrTooManyTokens) {
		return protocol.NewProblem(protocol.ProblemTooLarge, fmt.Sprintf("The body may have %d tokens of JSON.", protocol.MaxTokens))
	}
	for _, known := range []error{protocol.ErrTooDeep, protocol.ErrDuplicateKey, protocol.ErrTrailingBytes} {
		if errors.Is(err, known) {
			return protocol.NewProblem(protocol.ProblemInvalidRequest, "The "+known.Error()+".")
		}
	}
	if err != nil {
		return protocol.NewProblem(protocol.ProblemInvalidRequest, "The body is not the JSON of this request.")
	}
	return nil
}

// InvalidField is a problem with one field of a request.
func InvalidField(field, detail string) protocol.Problem {
	problem := protocol.NewProblem(protocol.ProblemInvalidRequest, detail)
	problem.Field = field
	return problem
}

// retryAfterHeader says in how many seconds a client may ask again.
const retryAfterHeader = "Retry-After"

// RateLimited is the problem of who may ask again after a time, which the answer's
// header says.
func RateLimited(w http.ResponseWriter, wait time.Duration, detail string) error {
	w.Header().Set(retryAfterHeader, strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	return protocol.NewProblem(protocol.ProblemRateLimited, detail)
}

// BearerToken is the token of the Authorization header; empty if there is none.
func BearerToken(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

// worthCompressing is the size from which gzip saves a packet.
const worthCompressing = 1400

// WriteJSON sends v, compressed if that pays and the client can read it.
func WriteJSON(w http.ResponseWriter, r *http.Request, status int, v any) error {
	body, err := protocol.Encode(v)
	if err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	if len(body) >= worthCompressing && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		header.Set("Content-Encoding", "gzip")
		body = compress(body)
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that is gone is no failure of ours
	return nil
}

func compress(body []byte) []byte {
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	_, _ = writer.Write(body) // a bytes.Buffer takes everything
	_ = writer.Close()
	return out.Bytes()
}
