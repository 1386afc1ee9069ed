package prlctl

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// edit replaces text that must be there once.
func edit(t *testing.T, output []byte, from, to string) []byte {
	t.Helper()
	if bytes.Count(output, []byte(from)) != 1 {
		t.Fatalf("%q is not there exactly once", from)
	}
	return bytes.Replace(output, []byte(from), []byte(to), 1)
}

func TestConfigHashCountsOnlyTheConfiguration(t *testing.T) {
	t.Parallel()
	base := sample(t, "list-windows-running.json")
	hash := single(t, base).ConfigHash()
	cases := map[string]struct {
		from, to string
		same     bool
	}{
		"state":               {`"State":"running"`, `"State":"stopped"`, true},
		"uptime":              {`"Uptime":"1011878"`, `"Uptime":"1011999"`, true},
		"tools":               {`{"state":"installed","version":"26.4.0-57513"}`, `{"state":"possibly_installed"}`, true},
		"no tools section":    {`"GuestTools":{"state":"installed","version":"26.4.0-57513"},`, ``, true},
		"addresses":           {`{"type":"ipv4","ip":"10.211.55.4"},`, ``, true},
		"empty home":          {`"Home":"\/Users\/user1\/Parallels\/Windows 11.pvm\/"`, `"Home":""`, true},
		"disc connected":      {`"image":"","state":"disconnected"`, `"image":""`, true},
		"escapes":             {`\/Windows 11.pvm\/harddisk1.hdd`, `/\u0057indows 11.pvm\u002fharddisk1.hdd`, true},
		"blanks":              {`"cpus":4,"auto":"off"`, "\"cpus\" :\t4 ,\n\"auto\": \"off\"", true},
		"order of keys":       {`"cpus":4,"auto":"off"`, `"auto":"off","cpus":4`, true},
		"empty section":       {`"Smart Guard"`, `"New section":{},"Smart Guard"`, true},
		"memory":              {`"8192Mb"`, `"4096Mb"`, false},
		"name":                {`"Name":"Windows 11"`, `"Name":"Windows 12"`, false},
		"disc image":          {`"image":"","state"`, `"image":"\/x.iso","state"`, false},
		"network unplugged":   {`"card":"virtio"`, `"card":"virtio","state":"disconnected"`, false},
		"type of a value":     {`"cpus":4`, `"cpus":"4"`, false},
		"an unknown key":      {`"Smart Guard"`, `"New section":{"a":"b"},"Smart Guard"`, false},
		"key with a blank":    {`"Show on all spaces "`, `"Show on all spaces"`, false},
		"state of a section":  {`"Smart Guard":{"enabled":false}`, `"Smart Guard":{"State":"x","enabled":false}`, false},
		"value moved between": {`"Restore Image":""`, `"Restore Image":"","":""`, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := single(t, edit(t, base, c.from, c.to)).ConfigHash()
			if (got == hash) != c.same {
				t.Errorf("same hash: want %t, got %s after %s", c.same, got, hash)
			}
		})
	}
}

// TestConfigHashGolden holds the hashes still: a change of the normal form
// makes every agent in the field see every VM as changed once.
func TestConfigHashGolden(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	for _, name := range []string{
		"list-windows-running.json", "list-linux-suspended.json", "list-macos-stopped.json",
		"list-packed.json", "list-invalid.json", "list-mixed-types.json",
	} {
		fmt.Fprintf(&got, "%s  %s\n", single(t, sample(t, name)).ConfigHash(), name)
	}
	golden := filepath.Join("testdata", "hashes.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("hashes (-want +got):\n%s", diff)
	}
}

func TestConfigHashIsTheSameInBulkAndSingleForm(t *testing.T) {
	t.Parallel()
	bulk := listed(t, sample(t, "list-bulk.json")).VMs
	if got, want := bulk[0].ConfigHash(), single(t, sample(t, "list-windows-running.json")).ConfigHash(); got != want {
		t.Errorf("want %s, got %s", want, got)
	}
	if len(bulk[0].ConfigHash()) != 32 {
		t.Errorf("want 32 digits, got %q", bulk[0].ConfigHash())
	}
}
