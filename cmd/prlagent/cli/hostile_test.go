package cli

import (
	"encoding/json"
	"encoding/xml"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/platform/text"
)

// hostile are strings that users, guests, tools and portals may give.
var hostile = []struct{ name, text string }{
	{"an escape sequence", "\x1b[2J\x1b]52;c;cm0gLXJm\x07"},
	{"C1 controls", "\u009b31m\u0085\x7f"},
	{"a change of direction", "a\u202egpj.exe\u2066"},
	{"invisible characters", "a\u200d\u200d\u200b\ufeff\u3164\u2028"},
	{"another line", "a\r\nprlagent is healthy\n\tb\rc"},
	{"a NUL", "a\x00b"},
	{"no UTF-8", "a\xff\xed\xa0\x80b"},
	{"a pile of marks", "a" + strings.Repeat("\u0301", 200)},
	{"a formula", "=cmd|' /C calc'!A0"},
	{"a formula of other countries", "a;=cmd|' /C calc'!A0"},
	{"the end of CDATA", "]]></result><result>"},
}

// spoil changes every text in a value that it points to, keys of maps too.
func spoil(value reflect.Value, change func(string) string) {
	switch value.Kind() {
	case reflect.String:
		value.SetString(change(value.String()))
	case reflect.Interface:
		value.Set(reflect.ValueOf(change("")))
	case reflect.Pointer:
		if !value.IsNil() {
			spoil(value.Elem(), change)
		}
	case reflect.Struct:
		for i := 0; value.Type() != reflect.TypeFor[time.Time]() && i < value.NumField(); i++ {
			spoil(value.Field(i), change)
		}
	case reflect.Slice, reflect.Array:
		for i := range value.Len() {
			spoil(value.Index(i), change)
		}
	case reflect.Map:
		spoilMap(value, change)
	}
}

func spoilMap(value reflect.Value, change func(string) string) {
	if value.IsNil() {
		return
	}
	spoiled := reflect.MakeMap(value.Type())
	for entries := value.MapRange(); entries.Next(); {
		key, entry := reflect.New(value.Type().Key()).Elem(), reflect.New(value.Type().Elem()).Elem()
		key.Set(entries.Key())
		entry.Set(entries.Value())
		spoil(key, change)
		spoil(entry, change)
		spoiled.SetMapIndex(key, entry)
	}
	value.Set(spoiled)
}

func (d *fakeDaemon) spoil(change func(string) string) {
	for _, document := range []any{&d.status, &d.inventory, &d.events, &d.checkin} {
		spoil(reflect.ValueOf(document).Elem(), change)
	}
}

// sinks are the commands that print what others said, each in all its forms.
var sinks = []string{
	"status", "status --json", "doctor", "doctor --json", "vms", "vms --columns all", "vms --format csv", "vms --json",
	"events", "events --json", "checkin", "checkin --json", "checkin --wait", "checkin --wait --json",
	"get group", "get group --ea", "get group --json", "get conditions --ea", "get pd_version --ea",
}

// screens is what every command prints of a Mac where change happened to every
// text; left says that the daemon has gone and its snapshot answers.
func screens(t *testing.T, change func(string) string, left bool) map[string]screen {
	t.Helper()
	daemon, root := sampleDaemon(t), mac(t)
	daemon.spoil(change)
	if left {
		data, err := json.Marshal(daemon.status)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(localapi.SnapshotsUnder(root), localapi.StatusJSON), data, 0o644); err != nil {
			t.Fatal(err)
		}
	} else {
		daemon.serve(t, root, admin)
	}
	printed := make(map[string]screen)
	for _, command := range sinks {
		printed[command] = run(t, root, strings.Fields(command)...)
	}
	return printed
}

// wantShown fails if a line is not as text.Display would show it.
func wantShown(t *testing.T, command string, printed screen) {
	t.Helper()
	for _, stream := range []string{printed.stdout, printed.stderr} {
		for line := range strings.Lines(stream) {
			if line = strings.TrimSuffix(line, "\n"); text.Display(line) != line {
				t.Errorf("%s prints %.200q", command, line)
			}
		}
	}
}

// H15: whatever texts the daemon has of others, no command's output steers a
// terminal, has another line, or is anything else than the document it should
// be. A text of others may be a part of one of ours, or in its place.
func TestH15_NothingOfOthersSteersTheTerminal(t *testing.T) {
	t.Parallel()
	places := map[string]func(text, ours string) string{
		"behind": func(text, ours string) string { return ours + text },
		"alone":  func(text, _ string) string { return text },
	}
	for place, put := range places {
		for _, left := range []bool{false, true} {
			with := func(text string) func(string) string {
				return func(ours string) string { return put(text, ours) }
			}
			harmless := screens(t, with("x"), left)
			for _, evil := range hostile {
				t.Run(place+"/"+evil.name, func(t *testing.T) {
					t.Parallel()
					for command, printed := range screens(t, with(evil.text), left) {
						wantShown(t, command, printed)
						want := harmless[command]
						if strings.Count(printed.stdout, "\n") != strings.Count(want.stdout, "\n") || printed.code != want.code {
							t.Errorf("%s: exit code %d, %q, as harmless text %d, %q", command, printed.code, printed.stdout, want.code, want.stdout)
						}
						wantDocument(t, command, printed.stdout)
					}
				})
			}
		}
	}
}

// wantDocument holds the output of a command for machines against its format.
func wantDocument(t *testing.T, command, stdout string) {
	t.Helper()
	var result struct {
		XMLName xml.Name `xml:"result"`
		Nested  []any    `xml:",any"`
	}
	switch {
	case strings.HasSuffix(command, "--json"):
		if !json.Valid([]byte(stdout)) {
			t.Errorf("%s is no JSON: %q", command, stdout)
		}
	case strings.HasSuffix(command, "--ea") && stdout != "":
		decoder := xml.NewDecoder(strings.NewReader(stdout))
		if err := decoder.Decode(&result); err != nil || len(result.Nested) > 0 {
			t.Errorf("%s: %v: %q", command, err, stdout)
		}
		if _, err := decoder.Token(); err != nil && err.Error() != "EOF" {
			t.Errorf("%s: %v after the result: %q", command, err, stdout)
		}
	case strings.HasSuffix(command, "csv"):
		for line := range strings.Lines(stdout) {
			if strings.ContainsRune("=+-@", rune(line[0])) || strings.Contains(line, ",=") || strings.Contains(line, ";=") {
				t.Errorf("%s has a formula: %q", command, line)
			}
		}
	}
}

// H15: a text without an end has one on the screen.
func TestH15_LongTextsHaveAnEnd(t *testing.T) {
	t.Parallel()
	daemon := sampleDaemon(t)
	daemon.spoil(func(ours string) string { return ours + strings.Repeat("x", 100<<10) })
	v := outputView{zone: time.UTC}
	found := doctorReport{Checks: []checkResult{{Outcome: outcomeFailure}}}
	spoil(reflect.ValueOf(&found).Elem(), func(ours string) string { return ours + strings.Repeat("x", 100<<10) })
	pages := map[string]string{
		"status": statusPage(v, cleanDocument(daemon.status)), "vms": vmsPage(v, cleanDocument(daemon.inventory), protocol.Columns),
		"checkin": checkinPage(v, cleanDocument(daemon.checkin)), "event": eventLine(v, cleanDocument(daemon.events[0])), "doctor": doctorPage(v, cleanDocument(found), true),
	}
	for name, page := range pages {
		for line := range strings.Lines(page) {
			if width := text.Width(line); width > 10*protocol.MaxText {
				t.Errorf("%s has a line of %d columns: %.80s", name, width, line)
			}
		}
	}
	if got := text.DisplayValue(strings.Repeat("漢", 100<<10)); text.Width(got) > protocol.MaxText {
		t.Errorf("a value has %d columns", text.Width(got))
	}
}

// H15: what was typed comes back in an error as one short line, and in the
// next line where help is.
func TestH15_ErrorsOfTheCommandLine(t *testing.T) {
	t.Parallel()
	texts := append(hostile, struct{ name, text string }{"a long text", strings.Repeat("x", 100<<10)})
	for _, evil := range texts {
		t.Run(evil.name, func(t *testing.T) {
			t.Parallel()
			for _, arguments := range [][]string{
				{evil.text}, {"--" + evil.text}, {"-" + evil.text}, {"status", evil.text}, {"status", "--" + evil.text + "=1"},
				{"get", evil.text}, {"vms", "--columns", evil.text}, {"vms", "--format", evil.text}, {"events", "--since", evil.text},
				{"status", "--timeout", evil.text}, {"status", "--root", evil.text}, {"get", "group", "--root", evil.text},
				{"completion", evil.text},
			} {
				got := run(t, "", arguments...)
				wantShown(t, arguments[0], got)
				if got.code == exitHealthy && arguments[0] != "completion" {
					t.Errorf("%.80q: exit code %d", arguments, got.code)
				}
				if lines := strings.Count(got.stderr, "\n"); lines > 2 || len(got.stderr) > 3*protocol.MaxText {
					t.Errorf("%.80q: %d lines, %d bytes: %.200q", arguments, lines, len(got.stderr), got.stderr)
				}
			}
		})
	}
}

// H15: an answer that is an error is shown like all others.
func TestH15_ErrorsOfTheDaemon(t *testing.T) {
	t.Parallel()
	texts := append(hostile, struct{ name, text string }{"a long text", strings.Repeat("x", 10<<10)})
	for _, evil := range texts {
		t.Run(evil.name, func(t *testing.T) {
			t.Parallel()
			root := mac(t)
			listener, err := net.Listen("unix", localapi.SocketUnder(root))
			if err != nil {
				t.Fatal(err)
			}
			body, err := json.Marshal(localapi.ErrorBody{Code: "internal", Text: evil.text, Remedy: evil.text})
			if err != nil {
				t.Fatal(err)
			}
			web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusInternalServerError)
				_, _ = w.Write(body)
			})}
			ended := make(chan error, 1)
			go func() { ended <- web.Serve(listener) }()
			for _, command := range sinks {
				got := run(t, root, strings.Fields(command)...)
				wantShown(t, command, got)
				if lines := strings.Count(got.stderr, "\n"); got.code == exitHealthy || lines > 2 || len(got.stderr) > 3*protocol.MaxText {
					t.Errorf("%s: exit code %d, %d lines, %d bytes: %.200q", command, got.code, lines, len(got.stderr), got.stderr)
				}
			}
			web.Close()
			<-ended
		})
	}
}

func TestUnknownCommandsAreCorrected(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{"stauts": "did you mean status?", "xyzzy": `there is no command "xyzzy"` + "\n"} {
		if got := run(t, "", given); got.code != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("%+v", got)
		}
	}
}
