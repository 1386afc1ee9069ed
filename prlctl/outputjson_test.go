package prlctl

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"prlagent/platform/tool"
)

// oneMachine is a list of one, without words.
const oneMachine = `[{"ID":"` + windowsID + `","Name":"One","Network":{"ipAddresses":[{"type":"ipv4","ip":"10.211.55.4"}]}}]`

// prompt is what an encrypted machine of that name makes the tool say
// (captures 4.2).
func prompt(name string) string {
	return "Virtual machine '" + name + "' is encrypted - password required to continue operation\nPlease enter password: "
}

// Captures 4.2: the name in the prompt is free text that comes before any JSON.
func TestCaptures_4_2_PromptBeforeTheList(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"Windows 11", "{}", "[]", `x {"a`, `x [{"a`, `{"a":1}`, `[{"a":"`, "{ }", "[warning]", `"`, `\"`, "{\"", "[]\n[]", "'", "a\nb", "no licenses installed\rUnrecognized option: x", strings.Repeat(`{"`, 200),
	} {
		listing, err := readListing([]byte(prompt(name) + oneMachine + "\n"))
		if err != nil || len(listing.VMs) != 1 || listing.VMs[0].Name != "One" || len(listing.Unreadable) != 0 {
			t.Errorf("prompt for %q before the list: %d machines, %v", name, len(listing.VMs), err)
		}
		for _, output := range []string{prompt(name), prompt(name) + "[]", "[]" + prompt(name), prompt(name) + oneMachine[:len(oneMachine)-1]} {
			_, err := New(&scripted{result: tool.Result{Stdout: []byte(output)}}).List(context.Background())
			if errorCode(err) == "" {
				t.Errorf("%q is taken for a list", output)
			}
		}
		_, err = New(&scripted{result: tool.Result{Stdout: []byte(prompt(name))}}).List(context.Background())
		if errorCode(err) != CodeVMPassword {
			t.Errorf("prompt for %q alone: %v, want %s", name, err, CodeVMPassword)
		}
	}
	for _, name := range []string{oneMachine, oneMachine[1 : len(oneMachine)-1], "a\n" + oneMachine, oneMachine + "' is encrypted", `{"a` + oneMachine} {
		for _, output := range []string{prompt(name), "Operation progress 10 %\r" + prompt(name), prompt("x") + prompt(name), prompt(name) + "\n"} {
			listing, err := New(&scripted{result: tool.Result{Stdout: []byte(output)}}).List(context.Background())
			if errorCode(err) != CodeVMPassword {
				t.Errorf("a name that is a list, and no list: %q gives %d machines, %v", output, len(listing.VMs), err)
			}
		}
	}
	twice := prompt(`[{"ID":"11111111-1111-4111-8111-111111111111"}]`) + oneMachine
	if listing, err := readListing([]byte(twice)); err == nil {
		t.Errorf("a name that is a list of its own: %d machines, want an error", len(listing.VMs))
	}
}

// Captures 3: text before the JSON (versions 8 and 11), progress glued to it
// (11); the sentence of the edition gate (facts/prlctl.md 1.1).
func TestCaptures_3_WordsAroundTheJSON(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		output string
		want   int // machines; -1 is an error
	}{
		"progress, glued":                      {"Operation progress 0 %\rOperation progress 100 %" + oneMachine, 1},
		"an INFO line":                         {"[INFO] Starting {list} …\n" + oneMachine, 1},
		"the edition gate":                     {"This feature is not available in this edition of Parallels Desktop. \n" + oneMachine, 1},
		"words behind":                         {oneMachine + "\nDone {}. []", 1},
		"words behind that break off":          {oneMachine + ` {"a`, 1},
		"an empty list":                        {" [ ]\r\n", 0},
		"an empty list behind progress":        {"Operation progress 100 %[]", 0},
		"an empty list behind the gate":        {"This feature is not available in this edition of Parallels Desktop. \n[]\n", 0},
		"an empty list with words behind":      {"[]\nDone.", -1},
		"an empty object with words behind":    {"{} and more", -1},
		"an empty list behind a failure":       {"Operation canceled\n[]", -1},
		"two empty lists":                      {"[]\n[]", -1},
		"an empty list behind an object":       {`{"a":1}[]`, -1},
		"an empty list behind a broken list":   {`[{"ID":"` + windowsID + `", []`, -1},
		"a list whose first machine is bad":    {`[{"ID":"a", bad},{"ID":"` + windowsID + `"}]`, -1},
		"a list whose last machine is bad":     {`[{"ID":"` + windowsID + `"},{"ID":"b", bad "ips":[{"type":"ipv4"}]}]`, -1},
		"a list that a word interrupts":        {strings.Replace(oneMachine, `,"Network"`, "\nOperation canceled\n"+`,"Network"`, 1), -1},
		"the addresses of a list cut in half":  {oneMachine[60:], -1},
		"an empty list behind two objects":     {`{"a":1}{"b":2}[]`, -1},
		"a list inside of a broken one":        {`[{"ID":"` + windowsID + `","a":` + oneMachine + `, bad`, -1},
		"a list in the middle of a broken one": {`[{"ID":"a", bad "ips" : ` + oneMachine + `},{"ID":"b"}]`, -1},
		"a list that a broken one ends with":   {`[{"ID":"a", bad "ips" : ` + oneMachine, -1},
		"a list behind a broken word of one":   {`[{"ID":"a", bad ` + oneMachine + `}]`, -1},
		"and as an item of it":                 {`[{"ID":"a", bad "ips" : [1, ` + oneMachine, -1},
		"two lists":                            {oneMachine + oneMachine, -1},
		"words that enclose the list":          {`[{"k":` + oneMachine + `}]`, 0},
		"and more words":                       {`x [{"k":` + oneMachine + `}] y`, -1},
		"nothing but a bad object in words":    {`x [{"k":1}] y`, -1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listing, err := readListing([]byte(c.output))
			if got := len(listing.VMs); (err != nil) != (c.want < 0) || err == nil && got != c.want {
				t.Errorf("%q: %d machines and %v, want %d", c.output, got, err, c.want)
			}
		})
	}
}

// Whatever stands around a list, it is read right, or the output is an error: it
// is never shorter without one.
func TestPropertyWordsNeverShortenAList(t *testing.T) {
	t.Parallel()
	words := rapid.SliceOfN(rapid.OneOf(
		rapid.SampledFrom([]string{
			"{}", "[]", `x {"a`, `[{"`, `[{"k":`, `{"k":`, `}]`, "}", "]", `"`, `\`, ",", ":", "[", "{", " ", "\n", "\x01", "null", "1",
			"[INFO] ", "Operation progress 10 %", "Please enter password: ", "' is encrypted", `{"a":1}`, `[{"a":1}]`, `[{"ID":"`, "é",
		}),
		rapid.Custom(func(t *rapid.T) string { return prompt(rapid.String().Draw(t, "name")) }),
	), 0, 6)
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(0, 4).Draw(t, "machines")
		var objects, want []string
		for i := range count {
			id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", i+1)
			want = append(want, id)
			objects = append(objects, fmt.Sprintf(`{"ID":"%s","Name":%q,"Network":{"ipAddresses":[{"type":"ipv4","ip":"10.0.0.1"}]},"Host Shared Folders":{}}`,
				id, rapid.SampledFrom([]string{"Windows 11", "[]", "{}", `x {"a`, `[{"ID":"x"}]`}).Draw(t, "name")))
		}
		list := "[" + strings.Join(objects, ",") + "]"
		before := strings.Join(words.Draw(t, "before"), "")
		behind := strings.Join(words.Draw(t, "behind"), "")
		listing, err := readListing([]byte(before + list + behind))
		if err != nil {
			return
		}
		var got []string
		for _, vm := range listing.VMs {
			got = append(got, vm.ID)
		}
		if len(listing.Unreadable) > 0 && len(got) == 0 {
			return // who is there is not known, and nobody is taken for gone
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q\n%s", before+list+behind, diff)
		}
	})
}

// A prompt for whatever name is no list, also where the name is one.
func TestPropertyAPromptIsNoList(t *testing.T) {
	t.Parallel()
	parts := rapid.SliceOfN(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		oneMachine, oneMachine[1 : len(oneMachine)-1], "[]", "{}", "[", "]", "{", `{"a`, `"`, `\`, "\n", "\r", "' is encrypted", "Virtual machine '", "Please enter password: ",
	})), 0, 5)
	rapid.Check(t, func(t *rapid.T) {
		output := ""
		for range rapid.IntRange(1, 3).Draw(t, "prompts") {
			output += prompt(strings.Join(parts.Draw(t, "name"), ""))
		}
		if listing, err := readListing([]byte(output)); err == nil {
			t.Fatalf("%q: %d machines", output, len(listing.VMs))
		}
	})
}

// An output in which much begins like JSON costs no more than some readings.
func TestScanOfBrokenOutputIsBounded(t *testing.T) {
	t.Parallel()
	for _, piece := range []string{`{"a":[`, `[{"a":`, `{"`, `[{`} {
		output := []byte(strings.Repeat(piece, 1<<20/len(piece)))
		scan, err := scanOutput(output, readObjects)
		if err == nil && scan.done > maxRereads*len(output)+maxMessage+len(output) {
			t.Errorf("%q…: %d bytes read of %d", piece, scan.done, len(output))
		}
		if _, err := readListing(output); errorCode(err) == "" {
			t.Errorf("%q… is a list", piece)
		}
	}
}
