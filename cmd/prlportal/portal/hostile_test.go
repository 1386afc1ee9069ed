package portal

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"

	"prlagent/agent/protocol"
	"prlagent/platform/text"
)

// hostile are strings that users, guests and Macs may give, or a portal that
// was stolen.
var hostile = []struct{ name, text string }{
	{"an escape sequence", "\x1b[2J\x1b]52;c;cm0gLXJm\x07"},
	{"C1 controls", "\u009b31m\u0085\x7f"},
	{"a change of direction", "a\u202egpj.exe\u2066"},
	{"invisible characters", "a\u200d\u200d\u200b\ufeff\u3164\u2028"},
	{"another line", "a\r\n{\"end\":{}}\n\tb\rc"},
	{"a NUL", "a\x00b"},
	{"no UTF-8", "a\xff\xed\xa0\x80b"},
	{"a pile of marks", "a" + strings.Repeat("\u0301", 200)},
	{"a formula", "=cmd|' /C calc'!A0"},
	{"a formula of other countries", "a;=cmd|' /C calc'!A0"},
	{"the end of CDATA", "]]>"},
	{"a text without an end", strings.Repeat("x", 20<<10)},
}

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
func hostilePortal(t *testing.T, portal *testPortal, change func(string) string) (flags []string) {
	t.Helper()
	truth := portal.web.Config.Handler
	ask := func(r *http.Request) *httptest.ResponseRecorder {
		told := httptest.NewRecorder()
		truth.ServeHTTP(tape{told}, r)
		return told
	}
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			r.Method, r.URL.Path = http.MethodGet, "/v1/admin/devices"
			r.Header.Set("Accept", streamType)
			first, _, _ := bytes.Cut(ask(r).Body.Bytes(), []byte("\n"))
			_, _ = w.Write(spoilJSON(t, first, change))
			return
		}
		r.Header.Del("Accept-Encoding")
		told := ask(r)
		w.Header().Set("Content-Type", told.Header().Get("Content-Type"))
		w.WriteHeader(told.Code)
		for line := range bytes.Lines(told.Body.Bytes()) {
			if bytes.HasPrefix(line, endPrefix) {
				_, _ = w.Write(line)
				continue
			}
			_, _ = w.Write(append(spoilJSON(t, line, change), '\n'))
		}
	}))
	t.Cleanup(web.Close)
	portal.web = web
	usePortalsCertificate(t, portal)
	return []string{"--dir", portal.dir, "--url", web.URL}
}

// console runs the program as Main does.
func console(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, complaints bytes.Buffer
	code = execute(t.Context(), args, &out, &complaints)
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
		{"approve", 8 << 10}, {"approve --key 1", 8 << 10},
	}
	printedBy := func(t *testing.T, text string) map[string]string {
		portal := newTestPortal(t)
		m := enrolled(t, portal)
		newMac(t, portal, m.serial).enroll(t, http.StatusAccepted)
		flags := hostilePortal(t, portal, func(ours string) string { return ours + text })
		printed := make(map[string]string)
		for _, command := range commands {
			args := append(strings.Fields(command.line), flags...)
			if args[0] == "approve" {
				args = append(args, string([]rune(m.serial+text)))
			}
			stdout, stderr, code := console(t, args...)
			if code != 0 && args[0] != "approve" {
				t.Errorf("%s: exit code %d: %.300s", command.line, code, stderr)
			}
			wantShown(t, command.line, command.longest, stdout, stderr)
			wantDocument(t, command.line, stdout)
			printed[command.line] = stdout
		}
		return printed
	}
	harmless := printedBy(t, "x")
	for _, evil := range hostile {
		t.Run(evil.name, func(t *testing.T) {
			t.Parallel()
			for command, stdout := range printedBy(t, evil.text) {
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

// H15: an error shows what was typed, or what a portal said, in one short line.
func TestH15_ErrorsAreShown(t *testing.T) {
	t.Parallel()
	for _, evil := range hostile {
		t.Run(evil.name, func(t *testing.T) {
			t.Parallel()
			portal := newTestPortal(t)
			portal.web.Close()
			problem := protocol.NewProblem(protocol.ProblemInvalidRequest, evil.text)
			problem.Field, problem.Title = evil.text, evil.text
			portal.web = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { problem.Write(w) }))
			defer portal.web.Close()
			usePortalsCertificate(t, portal)
			flags := []string{"--dir", portal.dir, "--url", portal.web.URL}
			for _, args := range [][]string{
				{evil.text}, {"--" + evil.text}, {"devices", evil.text}, {"devices", "--" + evil.text + "=1"}, {"devices", "--dir", evil.text},
				{"devices", "--url", evil.text}, {"vms", "--columns", evil.text}, {"vms", "--filter", evil.text}, {"vms", "--filter", "vm_name " + evil.text},
				{"vms", "--sort", evil.text}, {"vms", "--since", evil.text}, {"vms", "--page", evil.text}, {"vms", "--view", evil.text},
				{"vms", "--format", evil.text}, {"serve", "--dir", evil.text}, {"serve", "--log-level", evil.text}, {"export", evil.text},
				{"profile", "--dir", evil.text, "-o", "x"}, {"init", "--group", evil.text, portal.dir}, {"init", "/dev/null/" + evil.text},
				append([]string{"devices"}, flags...), append([]string{"vms", "--page", "1"}, flags...), append([]string{"approve", evil.text}, flags...),
			} {
				stdout, stderr, code := console(t, args...)
				wantShown(t, args[0], protocol.MaxText+100, stdout, stderr)
				if code == 0 || strings.Count(stderr, "\n") != 1 {
					t.Errorf("%.100q: exit code %d: %.300q", args, code, stderr)
				}
			}
		})
	}
}

// wantSafeLog fails if the log has not one line for each event, short and with
// nothing in it that steers a terminal.
func wantSafeLog(t *testing.T, log []byte, events int) {
	t.Helper()
	if lines := bytes.Count(log, []byte("\n")); lines != events {
		t.Errorf("%d lines of %d events:\n%.2000q", lines, events, log)
	}
	for line := range bytes.Lines(log) {
		if steers := bytes.IndexFunc(bytes.TrimSuffix(line, []byte("\n")), func(c rune) bool { return !unicode.IsGraphic(c) }); steers >= 0 || !json.Valid(line) || len(line) > 32<<10 {
			t.Errorf("%d bytes: %.300q", len(line), line)
		}
	}
}
