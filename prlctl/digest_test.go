package prlctl

import (
	"bytes"
	"crypto/sha256"
	"regexp"
	"strings"
	"testing"
)

// edited is config.pvs of a machine with one piece of text replaced.
func edited(t *testing.T, old, replacement string) []byte {
	t.Helper()
	config := sample(t, "config.pvs")
	if !bytes.Contains(config, []byte(old)) {
		t.Fatalf("the sample has no %q", old)
	}
	return bytes.Replace(config, []byte(old), []byte(replacement), 1)
}

func TestTRG_09_ConfigDigest(t *testing.T) {
	t.Parallel()
	before := ConfigDigest(sample(t, "config.pvs"))
	cases := map[string]struct {
		old, replacement string
		same             bool
	}{
		"uptime":                    {">1011878<", ">1011999<", true},
		"uptime, empty":             {">1011878<", "><", true},
		"uptime counter was reset":  {">2026-11-20 07:58:12<", ">2026-11-24 10:00:00<", true},
		"a setting":                 {"<IsolatedVm>0<", "<IsolatedVm>1<", false},
		"the name":                  {"Windows &amp; 11", "Windows &amp; 12", false},
		"an attribute":              {`schemaVersion="1.0"`, `schemaVersion="1.1"`, false},
		"a comment":                 {"<ValidRc>", "<!-- --><ValidRc>", false},
		"something in the uptime":   {">1011878<", ">1011878; see below<", false},
		"an element in the uptime":  {">1011878<", "><Isolated>1</Isolated><", false},
		"a number beyond its form":  {">1011878<", ">" + strings.Repeat("1", 25) + "<", false},
		"an end that is another's":  {"</VmUptimeInSeconds>", "</VmUptimeStartDateTime>", false},
		"a date where a number was": {">1011878<", ">2026-11-20<", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if same := ConfigDigest(edited(t, c.old, c.replacement)) == before; same != c.same {
				t.Errorf("want the same digest: %v, got %v", c.same, same)
			}
		})
	}
}

func TestConfigDigestOfOtherText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "no XML at all", "<a><b>", "\x00\xff<", "<VmUptimeInSeconds>", "<VmUptimeInSeconds>1<VmUptimeInSeconds>"} {
		if ConfigDigest([]byte(text)) != sha256.Sum256([]byte(text)) {
			t.Errorf("%q is not digested as it is", text)
		}
	}
}

// What a user may write to make the reading slow is read in a time like any
// other text of that length. The figures are in the benchmark.
var hostileConfigs = map[string]string{
	"beginnings":    "<VmUptimeInSeconds>",
	"first letters": "<VmUptime",
	"long values":   "<VmUptimeInSeconds>" + strings.Repeat("1", 30),
	"elements":      "<VmUptimeInSeconds>1</VmUptimeInSeconds>",
	"nearly":        "<VmUptimeInSeconds>1</VmUptimeInSecondz>",
	"open brackets": "<",
}

func TestH11_HostileConfigDigest(t *testing.T) {
	t.Parallel()
	for name, part := range hostileConfigs {
		text := []byte(strings.Repeat(part, MaxFile/8/len(part)))
		want := sha256.Sum256(text)
		if name == "elements" {
			want = sha256.Sum256(nil)
		}
		if ConfigDigest(text) != want {
			t.Errorf("%s: another digest", name)
		}
	}
}

func BenchmarkConfigDigest(b *testing.B) {
	texts := map[string][]byte{"real": sample(b, "config.pvs")}
	for name, part := range hostileConfigs {
		texts[name] = []byte(strings.Repeat(part, MaxFile/len(part)))
	}
	for name, text := range texts {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				ConfigDigest(text)
			}
		})
	}
}

// FuzzConfigDigest holds that what changes by itself does not count, wherever it
// stands, and that any other byte does.
func FuzzConfigDigest(f *testing.F) {
	f.Add(sample(f, "config.pvs"), uint32(1))
	f.Add([]byte("<VmUptimeInSeconds>1</VmUptimeInSeconds"), uint32(7))
	f.Add([]byte("<VmUptimeStartDateTime>2026-11-20 07:58:12</VmUptimeStartDateTime><VmUptimeIn"), uint32(9))
	f.Fuzz(func(t *testing.T, config []byte, seconds uint32) {
		digest := ConfigDigest(config)
		if digest != ConfigDigest(config) || digest != sha256.Sum256(uptimes.ReplaceAll(config, nil)) {
			t.Fatal("another digest")
		}
		if digest == ConfigDigest(append(bytes.Clone(config), 'x')) {
			t.Fatal("a byte does not count")
		}
		element := []byte("<VmUptimeInSeconds>" + strings.Repeat("1", int(seconds%25)) + "</VmUptimeInSeconds>")
		if digest != ConfigDigest(append(bytes.Clone(config), element...)) {
			t.Fatal("an uptime counts")
		}
	})
}

// uptimes are the elements that do not count, as another reader finds them.
var uptimes = regexp.MustCompile(
	`<VmUptimeInSeconds>[0-9 ]{0,24}</VmUptimeInSeconds>|<VmUptimeStartDateTime>[0-9: -]{0,24}</VmUptimeStartDateTime>`)
