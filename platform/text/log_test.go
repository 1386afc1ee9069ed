package text

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestH15_LinesOfALogAreShort(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxLogText)
	cases := []struct{ name, line, want string }{
		{"a usual line", `{"message":"ready"}`, `{"message":"ready"}`},
		{"a long error", `{"error":"` + long + `yz","message":"stop"}`, `{"error":"` + long + `…","message":"stop"}`},
		{"as long as may be", `{"error":"` + long + `","message":"stop"}`, `{"error":"` + long + `","message":"stop"}`},
		{"cut before an escape", `["` + long[1:] + `\u001b[2J"]`, `["` + long[1:] + `…"]`},
		{"cut before a character", `["` + long[1:] + `é"]`, `["` + long[1:] + `…"]`},
		{"a quote that ends nothing", `["` + long + `\"", 1]`, `["` + long + `…", 1]`},
		{"a broken end", `["` + long + `\`, `["` + long},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			if written, err := (LogWriter{&out}).Write([]byte(c.line)); err != nil || written != len(c.line) {
				t.Errorf("wrote %d bytes of %d, %v", written, len(c.line), err)
			}
			if out.String() != c.want {
				t.Errorf("%d bytes, want %d: …%s", out.Len(), len(c.want), out.Bytes()[max(out.Len()-40, 0):])
			}
		})
	}
}

func TestH15_ALineOfManyTextsIsShort(t *testing.T) {
	t.Parallel()
	line := `{"level":"info","reasons":[` + strings.Repeat("\"\u202e\",", 20<<10) + `"x"]}` + "\n"
	var out bytes.Buffer
	if _, err := (LogWriter{&out}).Write([]byte(line)); err != nil {
		t.Fatal(err)
	}
	var said struct {
		Bytes   int
		Begin   string
		Message string
	}
	if err := json.Unmarshal(out.Bytes(), &said); err != nil || said.Bytes != len(line) || !strings.HasPrefix(said.Begin, line[:30]) || said.Message == "" {
		t.Errorf("%v: %.200s", err, out.Bytes())
	}
	if out.Len() > maxLogLine || bytes.ContainsRune(out.Bytes(), '\u202e') || bytes.Count(out.Bytes(), []byte("\n")) != 1 {
		t.Errorf("%d bytes: %.200q", out.Len(), out.Bytes())
	}
}

type failing struct{ error }

func (f failing) Write([]byte) (int, error) { return 3, f.error }

func TestLogWriterTellsFailures(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	if written, err := (LogWriter{failing{full}}).Write([]byte("{}\n")); written != 0 || !errors.Is(err, full) {
		t.Errorf("%d, %v", written, err)
	}
}

func TestLogWriterCopiesNoUsualLine(t *testing.T) {
	line, out := []byte(`{"level":"info","message":"check-in"}`+"\n"), LogWriter{new(countingWriter)}
	if allocations := testing.AllocsPerRun(100, func() { _, _ = out.Write(line) }); allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}

type countingWriter struct{ bytes int }

func (c *countingWriter) Write(data []byte) (int, error) { c.bytes += len(data); return len(data), nil }
