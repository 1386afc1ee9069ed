package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// tokenWalk is checkShape by the token reader of encoding/json, which is right
// and twenty times slower.
type tokenWalk struct {
	decoder *json.Decoder
	tokens  int
}

func (w *tokenWalk) token() (json.Token, error) {
	w.tokens++
	return w.decoder.Token()
}

func (w *tokenWalk) value(depth int) error {
	token, err := w.token()
	if err != nil {
		return err
	}
	delim, isDelim := token.(json.Delim)
	if !isDelim {
		return nil
	}
	if depth++; depth > MaxDepth {
		return ErrTooDeep
	}
	seen := make(map[string]bool)
	for w.decoder.More() {
		if delim == '{' {
			key, err := w.token()
			if err != nil {
				return err
			}
			name := FoldCase(key.(string))
			if seen[name] {
				return ErrDuplicateKey
			}
			seen[name] = true
		}
		if err := w.value(depth); err != nil {
			return err
		}
	}
	_, err = w.token()
	return err
}

func walkTokens(data []byte) (tokens int, err error) {
	walk := tokenWalk{decoder: json.NewDecoder(bytes.NewReader(data))}
	walk.decoder.UseNumber()
	if err := walk.value(0); err != nil {
		return walk.tokens, err
	}
	if _, err := walk.decoder.Token(); !errors.Is(err, io.EOF) {
		return walk.tokens, ErrTrailingBytes
	}
	return walk.tokens, nil
}

// FuzzShape: of whatever is JSON, the walk over the bytes says what a walk over
// its tokens says; of what is not, Decode takes nothing.
func FuzzShape(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `[1,"a",{"b":[true,null]}]`, `{"a":1,"a":2}`, `{"a":1,"A":2}`, `{} {}`, nested(16), nested(17), "\xff", `"\ud800"`, `1e999`,
		`{"a":"b","b":["a",{"a":"a"},"a"],"c":{}}`, `{"a\"":1,"a\u0022":2}`, `{"\\":"\\","\"":"\""}`, `{"k":1,"` + "\u212a" + `":2}`, `[[],{},[{}],""]`, `{"a" 1}`, `["a":1]`, `{"a"}`, `[,]`, `,`, `}`, ` : `,
		`{` + strings.Join(numberedKeys(60), ",") + `}`, `{` + strings.Join(append(numberedKeys(60), `"K7":0`), ",") + `}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tokens, want := walkTokens(data)
		got := checkShape(data, shapeLimits{})
		if !json.Valid(data) {
			if want == nil || Decode(data, len(data), new(any)) == nil {
				t.Fatalf("%q is no JSON", data)
			}
			return
		}
		if !errors.Is(got, want) || (got == nil) != (want == nil) {
			t.Fatalf("%q: %v, want %v", data, got, want)
		}
		if want != nil {
			return
		}
		if err := checkShape(data, shapeLimits{tokens: tokens}); err != nil {
			t.Fatalf("%q has %d tokens: %v", data, tokens, err)
		}
		if err := checkShape(data, shapeLimits{tokens: tokens - 1}); tokens > 1 && !errors.Is(err, ErrTooManyTokens) {
			t.Fatalf("%q has more than %d tokens: %v", data, tokens-1, err)
		}
	})
}

func numberedKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf(`"k%d":%d`, i, i)
	}
	return keys
}

func TestH56_ARequestHasABoundedNumberOfTokens(t *testing.T) {
	t.Parallel()
	ones := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat("1,", n), ",") + "]" }
	for name, test := range map[string]struct {
		body string
		want error
	}{
		"a million numbers":         {ones(1_000_000), ErrTooManyTokens},
		"a list with all its room":  {ones(maxItems), nil},
		"a list with one too many":  {ones(maxItems + 1), ErrTooManyTokens},
		"all tokens":                {"[" + strings.Repeat(ones(1022)+",", 63) + ones(1022) + "]", ErrTooManyTokens}, // 64 × 1,024 and two brackets
		"one bracket pair less":     {"[" + strings.Repeat(ones(1022)+",", 63) + ones(1020) + "]", nil},
		"a million lists":           {"[" + strings.Repeat("[],", 1_000_000/2) + "[]]", ErrTooManyTokens},
		"many keys":                 {"{" + strings.Join(numberedKeys(MaxTokens/2-1), ",") + "}", nil},
		"too many keys":             {"{" + strings.Join(numberedKeys(MaxTokens/2), ",") + "}", ErrTooManyTokens},
		"a key twice among many":    {"{" + strings.Join(append(numberedKeys(1000), `"K999":0`), ",") + "}", ErrDuplicateKey},
		"more bytes than it may be": {`"` + strings.Repeat("x", MaxRequest) + `"`, ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var value any
			if err := DecodeRequest([]byte(test.body), &value); !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if test.want == nil {
				return
			}
			value = nil
			if DecodeRequest([]byte(test.body), &value) == nil || value != nil {
				t.Error("something was made of it")
			}
		})
	}
}

// Whoever stores what a device sent stores no more than it sent.
func TestH56_EncodingDoesNotGrow(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("<>&", 85)
	encoded, err := Encode(map[string]any{"row": Row{VM: VM{Name: text}}, "name": text})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(encoded, []byte(text)) != 2 || !json.Valid(encoded) || bytes.HasSuffix(encoded, []byte("\n")) {
		t.Errorf("encoded as %.400s", encoded)
	}
	if _, err := Encode(make(chan int)); err == nil {
		t.Error("a channel has JSON")
	}
}

func BenchmarkCheckRequest(b *testing.B) {
	row := `{"vm_id":"8c1f","uid":501,"vm_name":"` + strings.Repeat("x", 255) + `","seen_by":[{"uid":502,"user_name":"bob"}],"gaps":{"cpu":"no_tools"}},`
	body := []byte(`{"inventory":{"vms":[` + strings.TrimSuffix(strings.Repeat(row, 2000), ",") + `]}}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := CheckRequest(body); err != nil {
			b.Fatal(err)
		}
	}
}
