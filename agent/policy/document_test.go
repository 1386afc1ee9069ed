package policy_test

import (
	"errors"
	"strings"
	"testing"

	"prlagent/agent/policy"
)

func TestParse(t *testing.T) {
	t.Parallel()
	const sound = `{"schema":1,"policy_id":"finance","revision":7,"name":"Finance","groups":["finance"],
		"vm_settings":{"other":{"no_share_mac_folders":false}},"of_tomorrow":{"x":1}}`
	for name, test := range map[string]struct {
		data string
		want error
	}{
		"a sound document":                {sound, nil},
		"unknown members are ignored":     {`{"schema":1,"policy_id":"a","revision":1,"name":"A","groups":[],"x":[1]}`, nil},
		"null deep inside is refused":     {strings.Replace(sound, "false", "null", 1), policy.ErrInvalid},
		"another schema is refused":       {strings.Replace(sound, `"schema":1`, `"schema":2`, 1), policy.ErrInvalid},
		"a nameless document is refused":  {strings.Replace(sound, `"Finance"`, `" "`, 1), policy.ErrInvalid},
		"a duplicate key is refused":      {strings.Replace(sound, `"revision":7`, `"revision":7,"revision":8`, 1), policy.ErrInvalid},
		"an unknown feature is refused":   {strings.Replace(sound, `"groups"`, `"requires":["time_travel"],"groups"`, 1), policy.ErrUnsupported},
		"half a document is refused":      {sound[:60], policy.ErrInvalid},
		"an empty document is refused":    {"", policy.ErrInvalid},
		"a document too large is refused": {sound + strings.Repeat(" ", 256<<10), policy.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			document, err := policy.Parse([]byte(test.data))
			if !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if err != nil && document.PolicyID != "" {
				t.Error("a refused document still returned content")
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schema":1,"policy_id":"a","revision":1,"name":"A","groups":[]}`))
	f.Add([]byte(`{"schema":1,"a":null}`))
	f.Add([]byte(`[[[[[[[[[[[[[[[[[[[[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		document, err := policy.Parse(data)
		if err == nil && (document.PolicyID == "" || document.Revision == 0) {
			t.Error("accepted a document without identity")
		}
	})
}
