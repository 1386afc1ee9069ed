package query

import (
	"testing"
	"time"

	"prlagent/agent/protocol"
)

func TestVersionsCompareAsVersions(t *testing.T) {
	t.Parallel()
	ordered := []string{"", "1.0-beta1", "1.0-rc1", "1.0", "1.0.1", "1.9", "1.10", "18.3.2 (53621)", "26.4.0", "26.4.0 (57513)", "26.10.0"}
	for i := range ordered {
		for j := range ordered {
			want := 0
			switch {
			case i < j:
				want = -1
			case i > j:
				want = 1
			}
			if got := compareVersions(parseVersion(ordered[i]), parseVersion(ordered[j])); got != want && ordered[i] != "" && ordered[j] != "" {
				t.Errorf("%q against %q is %d, want %d", ordered[i], ordered[j], got, want)
			}
		}
	}
	for _, same := range [][2]string{{"26.4", "26.4.0"}, {"v1.2", "1.2"}, {"26.4.0-57513", "26.4.0 (57513)"}, {"25E246", "25e246"}, {"007", "7"}} {
		if compareVersions(parseVersion(same[0]), parseVersion(same[1])) != 0 {
			t.Errorf("%q is not %q", same[0], same[1])
		}
	}
}

func TestConditionsOnOneCell(t *testing.T) {
	t.Parallel()
	columns := []Column{
		{ID: "text", Kind: protocol.KindText}, {ID: "version", Kind: protocol.KindVersion}, {ID: "time", Kind: protocol.KindTime}, {ID: "number", Kind: protocol.KindNumber}, {ID: "flag", Kind: protocol.KindBool},
	}
	noon := Cell{at: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for filter, cells := range map[string]map[Cell]bool{
		"text=É":                         {{text: "é"}: true, {text: "e"}: false, {}: false},
		`text=" padded "`:                {{text: " padded "}: true, {text: "padded"}: false},
		`text="a \"b\" \\ c"`:            {{text: `a "b" \ c`}: true},
		`text contains "="`:              {{text: "a=b"}: true, {text: "ab"}: false, {}: false},
		"text!=a":                        {{text: "A"}: false, {text: "b"}: true, {}: true},
		"TEXT=a":                         {{text: "A"}: true, {text: "b"}: false, {}: false},
		"text IN a , b":                  {{text: "b"}: true, {text: "a , b"}: false},
		"text empty":                     {{}: true, {text: "a"}: false},
		"text Not Empty":                 {{}: false, {text: "a"}: true},
		"text=a, b":                      {{text: "a, b"}: true},
		"version = 26.4":                 {{text: "26.4.0 (57513)"}: true, {text: "26.4.1"}: false, {text: "(devel)"}: false, {}: false},
		"version < 1.0":                  {{text: "1.0-rc1"}: true, {text: "1.0"}: false, {text: "(devel)"}: false, {}: false},
		"version > 1":                    {{text: "(devel)"}: false, {text: "1.0.1"}: true},
		"version!=1":                     {{text: "(devel)"}: true, {text: "1.0"}: false, {}: true},
		"version contains devel":         {{text: "(devel)"}: true},
		"time=2026-11-01":                {noon: true, {}: false},
		"time before 2026-11-01":         {noon: false},
		"time after 2026-10-31":          {noon: true},
		"time>2026-11-01":                {noon: false},
		"time>=2026-11-01":               {noon: true},
		"time<=2026-11-01":               {noon: true},
		"time=2026-11-01 12:00":          {noon: true},
		"time>2026-11-01T13:59:59+02:00": {noon: true},
		"time!=2026-11-01":               {noon: false, {}: true},
		"number>9":                       {{text: "10"}: true, {text: "9"}: false, {}: false},
		"number in 1, 2":                 {{text: "2"}: true, {text: "3"}: false},
		"flag=TRUE":                      {{text: "true"}: true, {text: "false"}: false},
		"flag!=true":                     {{text: "false"}: true},
	} {
		read, err := parseFilter(columns, filter, now)
		if (err != nil) != (cells == nil) {
			t.Errorf("%s: %v", filter, err)
			continue
		}
		for value, want := range cells {
			if got := read.matches(value); got != want {
				t.Errorf("%s on %v is %v", filter, value, got)
			}
		}
	}
}
