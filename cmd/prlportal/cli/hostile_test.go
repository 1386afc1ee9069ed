package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/portaltest/hostile"
	"prlagent/platform/text"
)

// spoil changes every text in a tree of JSON that is no point in time.
func spoil(value any, change func(string) string) any {
	switch value := value.(type) {
	case string:
		if _, err := time.Parse(time.RFC3339, value); err != nil {
			return change(value)
		}
	case []any:
		for i := range value {
			value[i] = spoil(value[i], change)
		}
	case map[string]any:
		for key := range value {
			value[key] = spoil(value[key], change)
		}
	}
	return value
}

func spoilJSON(t *testing.T, data []byte, change func(string) string) []byte {
	t.Helper()
	var tree any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&tree); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	spoiled, err := json.Marshal(spoil(tree, change))
	if err != nil {
		t.Fatal(err)
	}
	return spoiled
}

// tape is a recorder that is in no hurry, which streams ask of a connection.
type tape struct{ *httptest.ResponseRecorder }

func (tape) SetWriteDeadline(time.Time) error { return nil }

// hostilePortal answers as the portal behind it, with every text changed; it
// approves everything. Its flags are those of the operator's commands.
func hostilePortal(t *testing.T, portal *portaltest.Portal, change func(string) string) (flags []string) {
	t.Helper()
	truth := portal.Web.Config.Handler
	ask := func(r *http.Request) *httptest.ResponseRecorder {
		told := httptest.NewRecorder()
		truth.ServeHTTP(tape{told}, r)
		return told
	}
	ids, err := portal.Store.IDs(t.Context(), "", 1)
	if err != nil || len(ids) != 1 {
		t.Fatalf("devices are %v, %v", ids, err)
	}
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/admin/devices/") { // an id that was changed too
			asked := "/v1/admin/devices/" + ids[0]
			if strings.HasSuffix(r.URL.Path, "/events") {
				asked += "/events"
			}
			r.URL.Path, r.URL.RawPath = asked, ""
		}
		if r.Method == http.MethodPost {
			r.Method, r.URL.Path = http.MethodGet, "/v1/admin/devices"
			r.Header.Set("Accept", adminapi.StreamType)
			first, _, _ := bytes.Cut(ask(r).Body.Bytes(), []byte("\n"))
			_, _ = w.Write(spoilJSON(t, first, change))
			return
		}
		r.Header.Del("Accept-Encoding")
		told := ask(r)
		w.Header().Set("Content-Type", told.Header().Get("Content-Type"))
		w.WriteHeader(told.Code)
		for line := range bytes.Lines(told.Body.Bytes()) {
			if bytes.HasPrefix(line, []byte(`{"end":`)) {
				_, _ = w.Write(line)
				continue
			}
			_, _ = w.Write(append(spoilJSON(t, line, change), '\n'))
		}
	}))
	t.Cleanup(web.Close)
	portal.Web = web
	usePortalsCertificate(t, portal)
	return []string{"--dir", portal.Dir, "--url", web.URL}
}

// console runs the program as Main does.
func console(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, complaints bytes.Buffer
	code = runCommand(t.Context(), args, &out, &complaints)
	return out.String(), complaints.String(), code
}

// wantShown fails if a line is not as text.Display would show it, or long.
func wantShown(t *testing.T, command string, longest int, texts ...string) {
	t.Helper()
	for _, printed := range texts {
		for line := range strings.Lines(printed) {
			line = strings.TrimSuffix(line, "\n")
			if text.Display(line) != line {
				t.Errorf("%s prints %.200q", command, line)
			}
			if width := text.Width(line); width > longest {
				t.Errorf("%s prints %d columns: %.80s", command, width, line)
			}
		}
	}
}

// H15: whatever texts a portal has of Macs, or makes up, no command's output
// steers a terminal, has another line, or is anything else than the document
// that it should be.
func TestH15_NothingOfMacsSteersTheTerminal(t *testing.T) {
	t.Parallel()
	const anyLength = 8 << 20
	commands := []struct {
		line    string
		longest int // columns; machines get everything
	}{
		{"devices", 8 << 10}, {"devices --columns all", 8 << 10}, {"vms", 8 << 10}, {"vms --columns all", 8 << 10}, {"vms --page 1", 8 << 10},
		{"devices --format csv", anyLength}, {"devices --json", anyLength}, {"devices --format ndjson", anyLength},
		{"vms --format csv", anyLength}, {"vms --json", anyLength}, {"vms --format ndjson", anyLength}, {"vms --json --page 1", anyLength},
		{"export vms", anyLength}, {"export devices --format json", anyLength},
		{"devices --of", 8 << 10}, {"events --of", 8 << 10}, {"devices --of --json", anyLength}, {"events --of --json", anyLength},
		{"events", 8 << 10}, {"events --json", anyLength}, {"events --format csv", anyLength}, {"export events --format ndjson", anyLength},
		{"admins list", 8 << 10}, {"admins list --json", anyLength},
		{"devices approve", 8 << 10}, {"devices approve --key 1", 8 << 10}, {"devices reject --key 1", 8 << 10}, {"devices retire", 8 << 10},
	}
	printedBy := func(t *testing.T, text string) map[string]string {
		portal := portaltest.New(t)
		m := portaltest.Unwell(t, portal)
		portaltest.NewMac(t, portal, m.Serial).Enroll(t, http.StatusAccepted)
		flags := hostilePortal(t, portal, func(ours string) string { return ours + text })
		printed := make(map[string]string)
		for _, command := range commands {
			args := append(strings.Fields(command.line), flags...)
			decides := slices.Contains([]string{"approve", "reject", "retire"}, args[1])
			if decides || args[1] == "--of" {
				args = slices.DeleteFunc(args, func(arg string) bool { return arg == "--of" })
				args = append(args, string([]rune(m.Serial+text)))
			}
			stdout, stderr, code := console(t, args...)
			if code != 0 && !decides {
				t.Errorf("%s: exit code %d: %.300s", command.line, code, stderr)
			}
			wantShown(t, command.line, command.longest, stdout, stderr)
			wantDocument(t, command.line, stdout)
			printed[command.line] = stdout
		}
		return printed
	}
	harmless := printedBy(t, "x")
	for _, evil := range hostile.Texts {
		t.Run(evil.Name, func(t *testing.T) {
			t.Parallel()
			for command, stdout := range printedBy(t, evil.Text) {
				if got, want := strings.Count(stdout, "\n"), strings.Count(harmless[command], "\n"); got != want {
					t.Errorf("%s prints %d lines, as harmless text %d: %.1000q", command, got, want, stdout)
				}
			}
		})
	}
}

func wantDocument(t *testing.T, command, stdout string) {
	t.Helper()
	switch {
	case strings.Contains(command, "ndjson"):
		for line := range strings.Lines(stdout) {
			if !json.Valid([]byte(line)) {
				t.Errorf("%s: no JSON: %.200q", command, line)
			}
		}
	case strings.Contains(command, "json"):
		if !json.Valid([]byte(stdout)) {
			t.Errorf("%s: no JSON: %.200q", command, stdout)
		}
	case strings.Contains(command, "csv") || command == "export vms":
		rows, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
		if err != nil {
			t.Errorf("%s: %v", command, err)
		}
		for _, row := range rows {
			for _, cell := range row {
				if strings.HasPrefix(cell, "=") || strings.Contains(cell, ";=") {
					t.Errorf("%s has a formula: %q", command, cell)
				}
			}
		}
	}
}

// helpLine may stand below an error, and has nothing of what was typed.
var helpLine = regexp.MustCompile(`\n  → See 'prlportal [a-z ]*--help'\.\n$`)

// H15: an error shows what was typed, or what a portal said, in one short line.
func TestH15_ErrorsAreShown(t *testing.T) {
	t.Parallel()
	for _, evil := range hostile.Texts {
		t.Run(evil.Name, func(t *testing.T) {
			t.Parallel()
			portal := portaltest.New(t)
			portal.Web.Close()
			problem := protocol.NewProblem(protocol.ProblemInvalidRequest, evil.Text)
			problem.Field, problem.Title = evil.Text, evil.Text
			portal.Web = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { problem.Write(w) }))
			defer portal.Web.Close()
			usePortalsCertificate(t, portal)
			flags := []string{"--dir", portal.Dir, "--url", portal.Web.URL}
			for _, args := range [][]string{
				{evil.Text}, {"--" + evil.Text}, {"devices", evil.Text}, {"devices", "--" + evil.Text + "=1"}, {"devices", "--dir", evil.Text},
				{"devices", "--url", evil.Text}, {"vms", "--columns", evil.Text}, {"vms", "--filter", evil.Text}, {"vms", "--filter", "vm_name " + evil.Text},
				{"vms", "--sort", evil.Text}, {"vms", "--since", evil.Text}, {"vms", "--page", evil.Text}, {"vms", "--view", evil.Text},
				{"vms", "--format", evil.Text}, {"serve", "--dir", evil.Text}, {"serve", "--log-level", evil.Text}, {"export", evil.Text},
				{"profile", "--dir", evil.Text, "-o", "x"}, {"init", "--group", evil.Text, portal.Dir}, {"init", "/dev/null/" + evil.Text},
				append([]string{"devices"}, flags...), append([]string{"vms", "--page", "1"}, flags...), append([]string{"devices", "approve", evil.Text}, flags...),
			} {
				stdout, stderr, code := console(t, args...)
				wantShown(t, args[0], protocol.MaxText+100, stdout, stderr)
				if code == 0 || strings.Count(helpLine.ReplaceAllString(stderr, "\n"), "\n") != 1 {
					t.Errorf("%.100q: exit code %d: %.300q", args, code, stderr)
				}
			}
		})
	}
}
