package httpapi

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"prlagent/agent/protocol"
)

// MaxSmallBody bounds the bodies that are not reports: an enrollment comes
// from anybody, and has a few hundred bytes.
const MaxSmallBody = 16 << 10

// ReadBody reads a request's body of at most limit bytes, decompressed if it
// says gzip. Errors are problems.
func ReadBody(r *http.Request, limit int) ([]byte, error) {
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
		body, err := protocol.ReadLimited(r.Body, limit)
		return body, bodyProblem(err, limit)
	case "gzip":
		body, err := inflate(r.Body, limit)
		return body, bodyProblem(err, limit)
	}
	return nil, protocol.NewProblem(protocol.ProblemEncoding, "Send the body as gzip or as it is.")
}

// inflate bounds both sides: what is read and what comes out of it. It stops
// at the first byte too many, so a bomb costs no more than a large report.
func inflate(compressed io.Reader, limit int) ([]byte, error) {
	bounded := &boundedReader{reader: compressed, remaining: protocol.MaxRequestGzip}
	decompressor, err := gzip.NewReader(bounded)
	if err != nil {
		return nil, fmt.Errorf("read gzip: %w", err)
	}
	return protocol.ReadLimited(decompressor, limit)
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
