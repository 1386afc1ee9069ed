package adminapi

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"prlagent/cmd/prlportal/httpapi"
)

// StreamType is the media type of a whole table: a row on every line, and a
// last line that says it was the last one.
const StreamType = "application/x-ndjson"

// streamEnd is the last line of a stream. A stream without it broke off.
type streamEnd struct {
	End *ListInfo `json:"end"`
}

// streamBuffer is how much of a stream is sent at a time.
const streamBuffer = 64 << 10

// streamRows writes a row a line. Until the first bytes are sent an error can
// still be answered; later it breaks the stream off before its end.
func (s *Server) streamRows(w http.ResponseWriter, r *http.Request, rows func(emit func(any) error) (ListInfo, error)) error {
	return s.streamLines(w, r, func(emit func(any) error) (any, error) {
		about, err := rows(emit)
		return streamEnd{End: &about}, err
	})
}

// streamLines is streamRows with another last line, which is what lines gives.
func (s *Server) streamLines(w http.ResponseWriter, r *http.Request, lines func(emit func(any) error) (any, error)) error {
	out := newStreamWriter(w, StreamType)
	buffered := bufio.NewWriterSize(out, streamBuffer)
	encoder := json.NewEncoder(buffered) // ends every value with a line end
	encoder.SetEscapeHTML(false)
	end, err := lines(encoder.Encode)
	if err == nil {
		err = errors.Join(encoder.Encode(end), buffered.Flush())
	}
	return s.endStream(r, out, queryProblem(err))
}

// endStream answers an error as long as nothing was sent, and logs it afterwards.
func (s *Server) endStream(r *http.Request, out *streamWriter, err error) error {
	if err == nil || !out.begun {
		return err
	}
	level := zerolog.ErrorLevel
	if r.Context().Err() != nil || errors.Is(err, errClientGone) {
		level = zerolog.DebugLevel
	}
	s.log.WithLevel(level).Str("route", r.Pattern).Err(err).Msg("stream broke off")
	return nil
}

// streamWriter gives every part of a stream the time that other answers have
// as a whole.
type streamWriter struct {
	response    http.ResponseWriter
	control     *http.ResponseController
	contentType string
	begun       bool
}

func newStreamWriter(w http.ResponseWriter, contentType string) *streamWriter {
	return &streamWriter{response: w, control: http.NewResponseController(w), contentType: contentType}
}

var errClientGone = errors.New("the client takes nothing more")

func (s *streamWriter) Write(part []byte) (int, error) {
	if !s.begun {
		s.begun = true
		s.response.Header().Set("Content-Type", s.contentType)
		s.response.Header().Set("Cache-Control", "no-store")
	}
	if err := s.control.SetWriteDeadline(time.Now().Add(httpapi.WriteTimeout)); err != nil {
		return 0, fmt.Errorf("set write deadline: %w", err)
	}
	written, err := s.response.Write(part)
	if err != nil {
		err = fmt.Errorf("%w: %w", errClientGone, err)
	}
	return written, err
}
