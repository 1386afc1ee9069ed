package protocol

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What a portal of ours sends is read as what it is.
func TestProblemsGoRound(t *testing.T) {
	t.Parallel()
	for _, kind := range Problems {
		name := kind.Name
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := httptest.NewRecorder()
			NewProblem(name, "a detail").Write(answer)
			problem, ours := ParseProblem(answer.Code, answer.Header().Get("Content-Type"), answer.Body.Bytes())
			if !ours || problem.Name() != name || CodeOf(problem) != kind.Code || problem.Status != kind.Status || problem.Retry != kind.Retry {
				t.Errorf("got %+v, %t", problem, ours)
			}
			if want := fmt.Sprintf("portal: %s (%d): a detail", kind.Title, kind.Status); problem.Error() != want {
				t.Errorf("got %q, want %q", problem.Error(), want)
			}
			if answer.Header().Get("Cache-Control") != "no-store" {
				t.Error("an error may be cached")
			}
		})
	}
}

// H04: anything else is something in between that answered.
func TestH04_OnlyOurProblemsCount(t *testing.T) {
	t.Parallel()
	const ours = `{"type":"urn:prlagent:problem:device-retired","title":"","status":410,"retry":"never"}`
	cases := map[string]struct {
		status int
		media  string
		body   string
		want   bool
	}{
		"ours":                         {410, ProblemContentType, ours, true},
		"ours, with a parameter":       {410, ProblemContentType + "; charset=utf-8", ours, true},
		"a proxy's page":               {410, "text/html", "<html>Gone</html>", false},
		"our body, another media type": {410, "application/json", ours, false},
		"no media type":                {410, "", ours, false},
		"another status":               {403, ProblemContentType, ours, false},
		"another status inside":        {410, ProblemContentType, strings.Replace(ours, "410", "403", 1), false},
		"a status of no such problem":  {403, ProblemContentType, strings.Replace(ours, "410", "403", 1), false},
		"somebody else's problem":      {410, ProblemContentType, strings.Replace(ours, "urn:prlagent:problem:", "https://example.com/", 1), false},
		"a problem of the future":      {410, ProblemContentType, strings.Replace(ours, "device-retired", "device-melted", 1), false},
		"no type":                      {410, ProblemContentType, `{"status":410}`, false},
		"about:blank":                  {410, ProblemContentType, `{"type":"about:blank","status":410}`, false},
		"two types":                    {410, ProblemContentType, strings.Replace(ours, "{", `{"Type":"x",`, 1), false},
		"no body":                      {410, ProblemContentType, "", false},
		"null":                         {410, ProblemContentType, "null", false},
		"a body beyond the cap":        {410, ProblemContentType, strings.Replace(ours, "{", `{"x":"`+strings.Repeat("a", MaxReply)+`",`, 1), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			problem, got := ParseProblem(c.status, c.media, []byte(c.body))
			if got != c.want || !got && problem != (Problem{}) {
				t.Errorf("got %+v, %t", problem, got)
			}
		})
	}
}

func TestProblemThatIsInNoTable(t *testing.T) {
	t.Parallel()
	if got := NewProblem("no-such", ""); got.Name() != ProblemInternal || got.Status != http.StatusInternalServerError {
		t.Errorf("got %+v", got)
	}
	if got := (Problem{Type: "urn:prlagent:problem:no-such"}); got.Name() != "" || CodeOf(got) != "" {
		t.Errorf("name %q, code %q", got.Name(), CodeOf(got))
	}
	long := Problem{Title: "t", Status: 400, Detail: strings.Repeat("x", 5000)}
	if len(long.Error()) > 300 {
		t.Errorf("an error of %d bytes", len(long.Error()))
	}
}
