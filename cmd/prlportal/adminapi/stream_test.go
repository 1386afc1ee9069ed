package adminapi

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// leavingClient takes the first part of a stream and no more.
type leavingClient struct {
	*httptest.ResponseRecorder
	left bool
}

func (c *leavingClient) SetWriteDeadline(time.Time) error { return nil }

func (c *leavingClient) Write(part []byte) (int, error) {
	if c.left {
		return 0, errors.New("broken pipe")
	}
	return c.ResponseRecorder.Write(part)
}

// A client that leaves is no news; a table that cannot be read to its end is.
func TestStreamThatBreaksOffIsLogged(t *testing.T) {
	t.Parallel()
	unreadable := errors.New("no such page")
	for name, c := range map[string]struct {
		leaves, ended bool
		level         string
	}{
		"the client leaves":           {leaves: true, level: "debug"},
		"the request ends":            {ended: true, level: "debug"},
		"the store cannot be read":    {level: "error"},
		"the client leaves and it is": {leaves: true, ended: true, level: "debug"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			ctx, end := context.WithCancel(t.Context())
			defer end()
			client := &leavingClient{ResponseRecorder: httptest.NewRecorder()}
			rows := func(emit func(any) error) (ListInfo, error) {
				part := strings.Repeat("x", 2*streamBuffer)
				if err := emit(part); err != nil {
					t.Errorf("the first part: %v", err)
				}
				if c.ended {
					end()
				}
				if client.left = c.leaves; c.leaves {
					return ListInfo{}, emit(part)
				}
				return ListInfo{}, unreadable
			}
			s := &Server{log: zerolog.New(&log)}
			request := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/admin/vms", nil)
			if err := s.streamRows(client, request, rows); err != nil {
				t.Errorf("answered with %v in the midst of a stream", err)
			}
			if got := log.String(); !strings.Contains(got, `"level":"`+c.level+`"`) || !strings.Contains(got, "stream broke off") {
				t.Errorf("the log tells %s, want level %s", got, c.level)
			}
		})
	}
}
