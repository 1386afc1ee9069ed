package cli

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/platform/plist"
)

func TestFailed(t *testing.T) {
	t.Parallel()
	refused := &localapi.Error{Code: protocol.CodeNotAllowed, Text: "Only administrators may.", Remedy: "Use sudo."}
	cases := []struct {
		name string
		err  error
		code int
		want localapi.ErrorBody
	}{
		{"no code", errors.New("broken"), exitDegraded, localapi.ErrorBody{Code: protocol.CodeInternal, Text: "broken"}},
		{"the daemon's own words", fmt.Errorf("ask: %w", refused), exitRefused,
			localapi.ErrorBody{Code: protocol.CodeNotAllowed, Text: "Only administrators may.", Remedy: "Use sudo."}},
		{"a code of the layers below", &plist.Error{Code: plist.CodeInvalid, Err: errors.New("neither XML nor binary")}, exitDegraded,
			localapi.ErrorBody{Code: protocol.CodePlistInvalid, Text: "plist_invalid: neither XML nor binary", Remedy: protocol.CodePlistInvalid.Text().Remedy}},
		{"interrupted", fmt.Errorf("ask: %w", context.Canceled), exitDegraded,
			localapi.ErrorBody{Code: protocol.CodeInterrupted, Text: "Interrupted."}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got *exitError
			if !errors.As(exitFor(c.err), &got) || got.code != c.code || got.words == nil {
				t.Fatalf("got %+v, want exit code %d", got, c.code)
			}
			if diff := cmp.Diff(c.want, *got.words); diff != "" {
				t.Errorf("words (-want +got):\n%s", diff)
			}
		})
	}
}
