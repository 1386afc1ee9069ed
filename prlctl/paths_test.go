package prlctl

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestPathsRead(t *testing.T) {
	t.Parallel()
	const text = `{"ID":"F11D8098-10FE-40D9-871E-27AF1E66161E","Name":"a \"}{ b","State":"stopped",
		"Host Shared Folders":{"enabled":true,"Projects":{"enabled":false,"path":"~\/co,de","mode":"rw"}},
		"Host defined sharing":"Off","List":[{"enabled":true},["x"]],"Empty":{},"Nothing":null,
		"Hardware":{"cpu":{"cpus":4,"auto":"off"},"net10":{"enabled":true,"type":"bridged","iface":"en\u0030"},"net9":{"enabled":false,"type":"host","state":"disconnected"},
			"network":{"type":"shared"},"net":{"type":"shared"},"net0":"shared"}}`
	var vm VM
	if err := vm.UnmarshalJSON([]byte(text)); err != nil {
		t.Fatal(err)
	}
	wanted := []struct{ path, want string }{
		{"Host Shared Folders/enabled", "true"},
		{"Host defined sharing", "Off"},
		{"Hardware/cpu/cpus", "4"},
		{"Hardware/cpu/auto", "off"},
		{"Hardware/net10/iface", "en0"},
		{"Name", `a "}{ b`},
		{"Host Shared Folders/Projects/path", "~/co,de"},
		{"Host Shared Folders", ""},
		{"List", ""}, {"Empty", ""}, {"Empty/x", ""}, {"Nothing", ""}, {"Absent", ""}, {"State/x", ""},
		{"State", "stopped"},
	}
	var paths []string
	for _, row := range wanted {
		paths = append(paths, row.path)
	}
	got := NewPaths(paths...).Read(&vm, make([]string, 2))
	for i, row := range wanted {
		if got[i] != row.want {
			t.Errorf("%s is %q, want %q", row.path, got[i], row.want)
		}
	}
	want := []Adapter{
		{Name: "net9", Type: "host", State: "disconnected", Enabled: SwitchOff},
		{Name: "net10", Type: "bridged", Iface: "en0", Enabled: SwitchOn},
	}
	if !slices.Equal(vm.Adapters, want) {
		t.Errorf("adapters %+v, want %+v", vm.Adapters, want)
	}
	if nothing := NewPaths("a").Read(&VM{}, nil); len(nothing) != 1 || nothing[0] != "" {
		t.Errorf("a VM without a description reads as %q", nothing)
	}
}

// What Paths read of any description is what its document says.
func FuzzPathsRead(f *testing.F) {
	f.Add(`{"ID":"f11d8098-10fe-40d9-871e-27af1e66161e","A":{"b":"c\n","d":[1,{"b":2}],"e":-1.5e3},"b":true}`)
	f.Add(`{"ID":"f11d8098-10fe-40d9-871e-27af1e66161e","A":[],"b":{"b":{}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var vm VM
		paths := NewPaths("A/b", "b", "A", "A/e")
		broken := paths.Read(&VM{Raw: json.RawMessage(text)}, nil) // whatever it is, it ends
		if len(broken) != 4 {
			t.Fatalf("%d values", len(broken))
		}
		if vm.UnmarshalJSON([]byte(text)) != nil || vm.Raw == nil {
			return
		}
		doc := document{source: vm.Raw}
		root, err := doc.readValue()
		if err != nil {
			t.Fatal(err)
		}
		got := paths.Read(&vm, nil)
		for i, path := range []string{"A/b", "b", "A", "A/e"} {
			want := root.at(strings.Split(path, "/")...).textOrLiteral()
			if got[i] != want {
				t.Errorf("%s of %s is %q, want %q", path, vm.Raw, got[i], want)
			}
		}
	})
}

func BenchmarkPathsRead(b *testing.B) {
	vm := VM{Raw: json.RawMessage(`{` + strings.Repeat(`"Section":{"Key":"value","Other":"on","list":[1,2,3]},`, 80) + `"Last":{"key":"on"}}`)}
	paths, into := NewPaths("Last/key", "Section/Other"), []string(nil)
	b.SetBytes(int64(len(vm.Raw)))
	for b.Loop() {
		into = paths.Read(&vm, into)
	}
}
