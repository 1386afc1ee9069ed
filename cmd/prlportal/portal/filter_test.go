package portal

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

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
	columns := []column{
		{id: "text", kind: protocol.KindText}, {id: "version", kind: protocol.KindVersion}, {id: "time", kind: protocol.KindTime}, {id: "number", kind: protocol.KindNumber}, {id: "flag", kind: protocol.KindBool},
	}
	noon := cell{at: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	for filter, cells := range map[string]map[cell]bool{
		"text=É":                         {{text: "é"}: true, {text: "e"}: false, {}: false},
		`text=" padded "`:                {{text: " padded "}: true, {text: "padded"}: false},
		`text="a \"b\" \\ c"`:            {{text: `a "b" \ c`}: true},
		`text contains "="`:              {{text: "a=b"}: true, {text: "ab"}: false, {}: false},
		"text!=a":                        {{text: "A"}: false, {text: "b"}: true, {}: true},
		"TEXT=a":                         nil,
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
		read, err := parseFilter(columns, filter, morning)
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

// A day is the whole of it: what is after it begins with the next one.
func TestINV_31_BeforeAndAfterADay(t *testing.T) {
	t.Parallel()
	columns := vmTable.columns()
	first := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	moments := []struct {
		name string
		at   time.Time
	}{
		{"the moment before", first.Add(-time.Nanosecond)},
		{"its first moment", first},
		{"its noon", first.Add(12 * time.Hour)},
		{"its last moment", first.Add(24*time.Hour - time.Nanosecond)},
		{"the next midnight", first.Add(24 * time.Hour)},
	}
	for filter, want := range map[string][]bool{
		"last_used before 2026-11-01": {true, false, false, false, false},
		"last_used < 2026-11-01":      {true, false, false, false, false},
		"last_used <= 2026-11-01":     {true, true, true, true, false},
		"last_used = 2026-11-01":      {false, true, true, true, false},
		"last_used >= 2026-11-01":     {false, true, true, true, true},
		"last_used > 2026-11-01":      {false, false, false, false, true},
		"last_used after 2026-11-01":  {false, false, false, false, true},
	} {
		read, err := parseFilter(columns, filter, morning)
		if err != nil {
			t.Errorf("%s: %v", filter, err)
			continue
		}
		for i, moment := range moments {
			if got := read.matches(cell{at: moment.at}); got != want[i] {
				t.Errorf("%s: %s matches: %v, want %v", filter, moment.name, got, want[i])
			}
		}
	}
}

func FuzzParseFilter(f *testing.F) {
	for _, wanted := range columnFilters {
		for _, filter := range wanted {
			f.Add(filter[0])
		}
	}
	f.Add(`vm_name="\\`)
	f.Add("last_used after -18446744073709551616d")
	columns := vmTable.columns()
	view := vmView{}
	f.Fuzz(func(t *testing.T, text string) {
		read, err := parseFilter(columns, text, morning)
		if err != nil {
			if utf8.ValidString(err.Error()) && !strings.ContainsAny(err.Error(), "\x1b\r") {
				return
			}
			t.Fatalf("error of %q would steer a terminal: %q", text, err)
		}
		for _, field := range vmTable.fields {
			if field.column.id == read.column.id {
				read.matches(field.cell(&view))
			}
		}
		read.matches(cell{text: text})
	})
}
