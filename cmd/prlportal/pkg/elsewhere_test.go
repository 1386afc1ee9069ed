package pkg

import (
	"bytes"

	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// requireVariable is set where a machine without the other readers has the tests fail
// that need them, as .ci/run does. Elsewhere they are skipped.
const requireVariable = "REQUIRE_ARCHIVE_READERS"

// otherReader is the path of a program that shares no code with ours.
func otherReader(t *testing.T, name string) string {
	t.Helper()
	required := os.Getenv(requireVariable) != "" // asked always, so that no cached result of another answer stands for this one
	found, err := exec.LookPath(name)
	if err == nil {
		return found
	}
	if required {
		t.Fatalf("no %s, although %s is set: %v", name, requireVariable, err)
	}
	t.Skipf("no %s: what we write is not read by it", name)
	return ""
}

// output runs a reader on data in a file.
func output(t *testing.T, data []byte, program string, args ...string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "FILE", file)
	}
	command := exec.CommandContext(t.Context(), program, args...)
	var complaints bytes.Buffer
	command.Stderr = &complaints
	command.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	out, err := command.Output()
	if err != nil || complaints.Len() > 0 {
		t.Fatalf("%s %v: %v: %s%s", program, args, err, out, &complaints)
	}
	return out
}

// goldenPaths are the paths of the golden list, with mode and owner as it has them.
func goldenPaths(t *testing.T) (lines []string) {
	t.Helper()
	list, err := os.ReadFile(filepath.Join("testdata", "payload.list"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	return lines
}

var bsdtarLine = regexp.MustCompile(`^([-d])([rwx-]{9}) +\d+ +(\d+) +(\d+) +\d+ .{12} (.*?)/?$`)

// bsdtar of libarchive reads the package, and the payload in it.
func TestPackageReadByBsdtar(t *testing.T) {
	t.Parallel()
	bsdtar := otherReader(t, "bsdtar")
	whole := built(t, false)[KindPackage].Data
	if diff := cmp.Diff([]string{"Distribution", "agent.pkg", "agent.pkg/Bom", "agent.pkg/PackageInfo", "agent.pkg/Payload", "agent.pkg/Scripts"},
		slices.Sorted(strings.FieldsSeq(string(output(t, whole, bsdtar, "-tf", "FILE"))))); diff != "" {
		t.Error(diff)
	}
	ours, err := readXar(whole)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range ours {
		if !bytes.Equal(output(t, whole, bsdtar, "-xOf", "FILE", name), data) {
			t.Errorf("bsdtar finds another %s", name)
		}
	}
	var found []string
	for line := range strings.Lines(string(output(t, ours[component+"/Payload"], bsdtar, "--numeric-owner", "-tvf", "FILE"))) {
		parts := bsdtarLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if parts == nil {
			t.Fatalf("%q", line)
		}
		found = append(found, modeWord(parts[1], parts[2])+" "+parts[3]+":"+parts[4]+" "+parts[5])
	}
	if diff := cmp.Diff(goldenPaths(t), found); diff != "" {
		t.Error(diff)
	}
}

// modeWord is a mode as the golden list has it.
func modeWord(kind, letters string) string {
	digits := "100"
	if kind == "d" {
		digits = "040"
	}
	for i := 0; i < len(letters); i += 3 {
		value := byte('0')
		for bit, letter := range letters[i : i+3] {
			if letter != '-' {
				value += 4 >> bit
			}
		}
		digits += string(value)
	}
	return digits
}

// 7z reads the package and its parts, and finds nothing wrong.
func TestPackageReadBy7z(t *testing.T) {
	t.Parallel()
	sevenZip := otherReader(t, "7z")
	whole := built(t, false)[KindPackage].Data
	said := string(output(t, whole, sevenZip, "t", "-txar", "FILE"))
	if !strings.Contains(said, "Everything is Ok") || strings.Contains(said, "Warnings") {
		t.Error(said)
	}
	ours, err := readXar(whole)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range ours {
		if !bytes.Equal(output(t, whole, sevenZip, "e", "-txar", "-so", "FILE", name), data) {
			t.Errorf("7z finds another %s", name)
		}
	}
	archive := output(t, ours[component+"/Payload"], sevenZip, "e", "-tgzip", "-so", "FILE")
	listing := string(output(t, archive, sevenZip, "l", "-tcpio", "-slt", "FILE"))
	for _, line := range goldenPaths(t) {
		path := strings.TrimPrefix(strings.SplitN(line, " ", 3)[2], "./")
		if !strings.Contains(listing, "Path = "+path+"\n") && !strings.Contains(listing, "Path = ./"+path+"\n") {
			t.Errorf("7z finds no %s in\n%s", path, listing)
		}
	}
}

// Readers are only worth something if they notice what is broken: of a bill of
// materials, any bit of it; of a package, of its header, table and files.
func TestOwnReadersNoticeWhatIsBroken(t *testing.T) {
	t.Parallel()
	files := unpacked(t)
	bom := files[component+"/Bom"]
	good, err := readBom(bom)
	if err != nil {
		t.Fatal(err)
	}
	for at := range bom {
		if at >= 32 && at < bomHeaderSize {
			continue // unused
		}
		for bit := range 8 {
			broken := bytes.Clone(bom)
			broken[at] ^= 1 << bit
			if rows, err := readBom(broken); err == nil && reflect.DeepEqual(rows, good) {
				t.Errorf("bit %d of byte %d is not looked at", bit, at)
			}
		}
	}
	whole := built(t, false)[KindPackage].Data
	for _, at := range []int{0, 5, 7, 15, 23, 27, 28, 40, len(whole) - 1, len(whole) / 2} {
		broken := bytes.Clone(whole)
		broken[at] ^= 1
		if _, err := readXar(broken); err == nil {
			t.Errorf("a package with another byte %d is read", at)
		}
	}
	if _, err := readOdc(files[component+"/Payload"][:1000]); err == nil {
		t.Error("half a payload is read")
	}
}
