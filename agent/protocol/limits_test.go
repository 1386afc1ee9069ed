package protocol

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// nested is a list in a list … of that many levels.
func nested(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }

// protocol.md 2.14, test 7.
func TestDecode(t *testing.T) {
	t.Parallel()
	anyError := errors.New("any error")
	cases := map[string]struct {
		data string
		want error
	}{
		"an object":                {`{"a":[1,{"b":null}],"c":"d"} ` + "\n", nil},
		"same keys, other objects": {`{"a":{"a":1},"b":{"a":2}}`, nil},
		"16 levels":                {nested(16), nil},
		"17 levels":                {nested(17), ErrTooDeep},
		"17 levels of objects":     {strings.Repeat(`{"a":`, 17) + "1" + strings.Repeat("}", 17), ErrTooDeep},
		"100,000 levels, cut off":  {strings.Repeat("[", 100_000), ErrTooDeep},
		"a key twice":              {`{"a":1,"b":2,"a":1}`, ErrDuplicateKey},
		"a key twice, escaped":     {`{"a":1,"\u0061":2}`, ErrDuplicateKey},
		"a key twice, deep inside": {`[{"x":{"a":1,"a":2}}]`, ErrDuplicateKey},
		"a key twice, by case":     {`{"policy":null,"Policy":1}`, ErrDuplicateKey},
		"by case beyond ASCII":     {`{"sk":1,"ſ\u212a":2}`, ErrDuplicateKey},
		"an empty key twice":       {`{"":1,"":2}`, ErrDuplicateKey},
		"broken text as keys":      {"{\"\xff\":1,\"\xfe\":2}", ErrDuplicateKey},
		"two values":               {`{} {}`, ErrTrailingBytes},
		"words behind":             {`{} x`, ErrTrailingBytes},
		"a bracket behind":         {`{}}`, ErrTrailingBytes},
		"nothing":                  {``, anyError},
		"blanks":                   {"  ", anyError},
		"cut off":                  {`{"a":`, anyError},
		"not closed":               {`[1,2`, anyError},
		"a comma too many":         {`[1,]`, anyError},
		"a comma missing":          {`[1 2]`, anyError},
		"a key that is no text":    {`{1:2}`, anyError},
		"a number beyond all":      {`1e999`, anyError},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var value any
			err := Decode([]byte(c.data), MaxRequest, &value)
			switch {
			case c.want == nil && err != nil, c.want != nil && err == nil:
				t.Errorf("got %v, want %v", err, c.want)
			case c.want != anyError && !errors.Is(err, c.want):
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestDecodeCapsBeforeItReads(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, MaxHead, MaxRequest} {
		body := `"` + strings.Repeat("a", size-2) + `"`
		var text string
		if err := Decode([]byte(body), size, &text); err != nil || len(text) != size-2 {
			t.Errorf("%d bytes: %v", size, err)
		}
		if err := Decode([]byte(body+" "), size, &text); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d bytes and one more: %v", size, err)
		}
	}
}

func TestDecodeIgnoresUnknownFieldsAndRefusesWrongTypes(t *testing.T) {
	t.Parallel()
	var head Head
	if err := Decode([]byte(`{"site_id":"a","of_the_future":{"x":[1]}}`), MaxHead, &head); err != nil || head.SiteID != "a" {
		t.Errorf("%+v, %v", head, err)
	}
	if err := Decode([]byte(`{"head_version":-1}`), MaxHead, &Head{}); err == nil {
		t.Error("a negative version")
	}
	if err := Decode([]byte(`{"head_version":18446744073709551616}`), MaxHead, &Head{}); err == nil {
		t.Error("a version beyond 64 bits")
	}
}

func TestReadLimited(t *testing.T) {
	t.Parallel()
	if data, err := ReadLimited(strings.NewReader("1234"), 4); err != nil || string(data) != "1234" {
		t.Errorf("%q, %v", data, err)
	}
	endless := io.MultiReader(strings.NewReader("12345"), iotest.ErrReader(errors.New("read too far")))
	if _, err := ReadLimited(endless, 4); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	broken := errors.New("connection reset")
	if _, err := ReadLimited(iotest.ErrReader(broken), 4); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}
