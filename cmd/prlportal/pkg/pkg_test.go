package pkg

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/macho"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/localapi"
	"prlagent/cmd/prlportal/pkg/pkgtest"
	"prlagent/launchd"
	"prlagent/platform/safefile"
	"prlagent/store"
)

var update = flag.Bool("update", false, "write the golden files anew")

// built makes all files of the sample programs, by kind.
func built(t *testing.T, allowDowngrade bool) map[string]File {
	t.Helper()
	options := Options{Programs: pkgtest.Write(t, pkgtest.Programs()), Version: pkgtest.Version}
	if allowDowngrade {
		options.AllowDowngradeTo = pkgtest.Version
	}
	files, err := Build(options)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]File{}
	for _, file := range files {
		found[file.Kind] = file
	}
	return found
}

// unpacked are the files of the sample package, by their path in it.
func unpacked(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := readXar(built(t, false)[KindPackage].Data)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func expectGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

// What is installed, byte for byte of its list: the payload and the bill of materials
// agree, and nothing is a link or below /usr/local.
func TestPayloadIsTheGoldenList(t *testing.T) {
	t.Parallel()
	files := unpacked(t)
	found, err := readOdc(files[component+"/Payload"])
	if err != nil {
		t.Fatal(err)
	}
	var list strings.Builder
	for _, file := range found {
		fmt.Fprintln(&list, file)
	}
	expectGolden(t, "payload.list", []byte(list.String()))
	rows, err := readBom(files[component+"/Bom"])
	if err != nil {
		t.Fatal(err)
	}
	billed := map[string]bomListed{}
	for _, row := range rows {
		billed[row.path] = row
	}
	for _, file := range found {
		row, want := billed[file.path], uint32(0)
		if file.mode&0o170000 == 0o100000 {
			want = sumOf(t, file.data)
		}
		if row.mode != file.mode || row.owner != file.owner || row.group != file.group || row.size != file.size || row.modified != file.modified || row.sum != want {
			t.Errorf("the payload has %v, the bill of materials %v", file, row)
		}
		if strings.Contains(file.path, "usr/local") || file.mode&0o170000 == 0o120000 {
			t.Errorf("the payload has %v", file)
		}
	}
	if len(rows) != len(found) {
		t.Errorf("%d rows for %d files", len(rows), len(found))
	}
}

// sumOf is the checksum bit by bit, without the writer's table.
func sumOf(t *testing.T, data []byte) uint32 {
	t.Helper()
	sum := uint32(0)
	shift := func(b byte) {
		for bit := 7; bit >= 0; bit-- {
			carry := sum>>31 ^ uint32(b>>bit&1)
			sum = sum<<1 ^ carry*0x04C11DB7
		}
	}
	for _, b := range data {
		shift(b)
	}
	for length := len(data); length > 0; length /= 256 {
		shift(byte(length % 256))
	}
	return ^sum
}

// 930766865 is what cksum(1) says of 123456789; the others are POSIX's too.
func TestCksumIsThatOfPOSIX(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]uint32{"": 4294967295, "123456789": 930766865, "a": 1220704766, strings.Repeat("x", 70000): 0} {
		if want == 0 {
			want = sumOf(t, []byte(text))
		}
		if got := cksum([]byte(text)); got != want {
			t.Errorf("%.9q: %d, want %d", text, got, want)
		}
	}
}

func TestThePackageIsTheSameBytesTwice(t *testing.T) {
	t.Parallel()
	first, second := built(t, false), built(t, false)
	for kind, file := range first {
		if !bytes.Equal(file.Data, second[kind].Data) || file.Name != second[kind].Name {
			t.Errorf("%s differs", kind)
		}
	}
	if bytes.Equal(first[KindPackage].Data, built(t, true)[KindPackage].Data) {
		t.Error("the permission to downgrade is not in the package")
	}
}

// Who built the programs, when, with which rights and in which order they were written,
// is nowhere in the package.
func TestThePackageSaysNothingOfItsMaker(t *testing.T) {
	t.Parallel()
	folder := pkgtest.Write(t, pkgtest.Programs())
	options := Options{Programs: folder, Version: pkgtest.Version}
	before, err := Build(options)
	if err != nil {
		t.Fatal(err)
	}
	for name, program := range pkgtest.Programs() {
		path := filepath.Join(folder, name)
		if err := errors.Join(os.Remove(path), os.WriteFile(path, program.Encode(), 0o600), os.Chtimes(path, time.Unix(1, 0), time.Unix(2, 0))); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() == 0 {
			if err := os.Chown(path, 12345, 12345); err != nil {
				t.Fatal(err)
			}
		}
	}
	after, err := Build(options)
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range before {
		if !bytes.Equal(file.Data, after[i].Data) || file.Mode != after[i].Mode || file.Name != after[i].Name {
			t.Errorf("%s differs", file.Name)
		}
	}
}

func TestThePackageHasTheDocumentsOfTheGoldenFiles(t *testing.T) {
	t.Parallel()
	files := unpacked(t)
	expectGolden(t, "PackageInfo", files[component+"/PackageInfo"])
	expectGolden(t, "Distribution", files["Distribution"])
	if len(files) != 5 {
		t.Errorf("%d files", len(files))
	}
}

// installer shows nothing and asks nothing: no page, no license, no choice, no script of
// the installer's own, no restart; and our scripts talk to nobody.
func TestPKG12NothingIsAsked(t *testing.T) {
	t.Parallel()
	files := unpacked(t)
	known := map[string]string{
		"installer-gui-script": "minSpecVersion", "title": "", "options": "customize require-scripts hostArchitectures", "choices-outline": "", "line": "choice",
		"choice": "id title", "pkg-ref": "id version auth", "pkg-info": "format-version identifier version install-location auth overwrite-permissions relocatable",
		"payload": "numberOfFiles installKBytes", "scripts": "", "preinstall": "file", "postinstall": "file",
	}
	var check func(node *xmlNode)
	check = func(node *xmlNode) {
		allowed, isKnown := known[node.name]
		if !isKnown {
			t.Errorf("an element %s", node.name)
		}
		for name := range node.attributes {
			if !slices.Contains(strings.Fields(allowed), name) {
				t.Errorf("%s has %s", node.name, name)
			}
		}
		for _, child := range node.children {
			check(child)
		}
	}
	for _, name := range []string{"Distribution", component + "/PackageInfo"} {
		tree, err := readTree(files[name])
		if err != nil {
			t.Fatal(err)
		}
		check(tree)
		if options := tree.child("options"); tree.name == "installer-gui-script" && (options.attributes["customize"] != "never" || options.attributes["require-scripts"] != "false") {
			t.Errorf("options %v", options.attributes)
		}
	}
	for name, script := range sampleScripts(false).byName() {
		for _, word := range []string{"read ", "osascript", "open ", "sudo -", "curl", "defaults "} {
			for line := range strings.Lines(string(script)) {
				if strings.HasPrefix(strings.TrimSpace(line), word) {
					t.Errorf("%s: %s", name, line)
				}
			}
		}
	}
}

// The times in the package are those of the programs' source.
func TestTheTimeIsThatOfTheSource(t *testing.T) {
	t.Parallel()
	found, err := readOdc(unpacked(t)[component+"/Payload"])
	if err != nil {
		t.Fatal(err)
	}
	if got := time.Unix(int64(found[0].modified), 0).UTC(); got != time.Date(2026, 11, 29, 1, 2, 3, 0, time.UTC) {
		t.Error(got)
	}
}

// The programs are universal: each slice is found by debug/macho, as it was given.
func TestProgramsAreUniversal(t *testing.T) {
	t.Parallel()
	found, err := readOdc(unpacked(t)[component+"/Payload"])
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, file := range found {
		name := filepath.Base(file.path)
		if !slices.Contains(programs, name) || file.mode != 0o100755 {
			continue
		}
		checked++
		fat, err := macho.NewFatFile(bytes.NewReader(file.data))
		if err != nil {
			t.Fatal(err)
		}
		if len(fat.Arches) != len(architectures) {
			t.Fatalf("%d slices", len(fat.Arches))
		}
		for i, arch := range fat.Arches {
			want := pkgtest.Programs()["darwin-"+architectures[i].goarch+"/"+name].Encode()
			if arch.Cpu != architectures[i].cpu || arch.SubCpu != 3 || arch.Offset%(1<<arch.Align) != 0 || !bytes.Equal(file.data[arch.Offset:arch.Offset+arch.Size], want) {
				t.Errorf("%s: slice %+v", name, arch.FatArchHeader)
			}
			if pages := uint32(4096) << (2 * i); arch.Offset%pages != 0 {
				t.Errorf("%s: slice %d begins within a page", name, i)
			}
		}
	}
	if checked != len(programs) {
		t.Errorf("%d programs", checked)
	}
}

// The tar has what is ours and nothing of the system's.
func TestTarHasOursAlone(t *testing.T) {
	t.Parallel()
	packed, err := gzip.NewReader(bytes.NewReader(built(t, false)[KindTar].Data))
	if err != nil {
		t.Fatal(err)
	}
	var list strings.Builder
	reader := tar.NewReader(packed)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&list, "%c %04o %d:%d %s:%s %s\n", header.Typeflag, header.Mode, header.Uid, header.Gid, header.Uname, header.Gname, header.Name)
	}
	expectGolden(t, "tar.list", []byte(list.String()))
}

// Nobody else's names for the same places.
func TestPathsAreThoseOfTheAgent(t *testing.T) {
	t.Parallel()
	for ours, theirs := range map[string]string{
		supportFolder: localapi.SupportFolder, stateFolder: localapi.StateFolder, logFolder: localapi.LogFolder,
		daemonFile: localapi.SupportFolder + "/bin/prlagentd", cliFile: localapi.SupportFolder + "/bin/prlagent", Identifier: launchd.Label,
		permissionFile: localapi.DowngradeFile, socketFile: localapi.SocketUnder(""), strings.Join(runtimeFiles, "\n"): strings.Join([]string{
			localapi.SupportFolder + "/" + localapi.StatusJSON, localapi.SupportFolder + "/" + localapi.StatusPlist,
			localapi.SupportFolder + "/" + localapi.InventoryPlist, localapi.SupportFolder + "/bin/prlagentd.new"}, "\n"),
	} {
		if ours != theirs {
			t.Errorf("%q is not %q", ours, theirs)
		}
	}
}

// StoreFormat is the format that the store writes.
func TestStoreFormatIsThatOfTheStore(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	opened, _, err := store.Open(t.Context(), folder, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := safefile.ReadFile(filepath.Join(folder, "state.db"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(`{"format":%d,`, StoreFormat); !bytes.Contains(data, []byte(want)) {
		t.Errorf("the store has no %s", want)
	}
}

func TestEntriesThatArePackedByNobody(t *testing.T) {
	t.Parallel()
	volume := entry{path: ".", mode: fs.ModeDir | 0o755}
	for name, entries := range map[string][]entry{
		"a link":                {volume, {path: "a", mode: fs.ModeSymlink | 0o755}},
		"a device":              {volume, {path: "a", mode: fs.ModeDevice | 0o644}},
		"a file for all":        {volume, {path: "a", mode: 0o666}},
		"a folder for a group":  {volume, {path: "a", mode: fs.ModeDir | 0o775}},
		"set user id":           {volume, {path: "a", mode: fs.ModeSetuid | 0o755}},
		"a path that leads out": {volume, {path: "../a", mode: 0o644}},
		"a path from the root":  {volume, {path: "/a", mode: 0o644}},
		"a path of two lines":   {volume, {path: "a\nb", mode: 0o644}},
		"a file in no folder":   {volume, {path: "a/b", mode: 0o644}},
		"a file in a file":      {volume, {path: "a", mode: 0o644}, {path: "a/b", mode: 0o644}},
		"a file twice":          {volume, {path: "a", mode: 0o644}, {path: "a", mode: 0o644}},
		"no order":              {volume, {path: "b", mode: 0o644}, {path: "a", mode: 0o644}},
		"no volume":             {{path: "a", mode: 0o644}},
		"/usr/local":            {volume, {path: "usr", mode: fs.ModeDir | 0o755}, {path: "usr/local", mode: fs.ModeDir | 0o755}},
		"a folder with data":    {volume, {path: "a", mode: fs.ModeDir | 0o755, data: []byte("x")}},
	} {
		if _, err := encodePayload(entries, timeOfArchives); err == nil {
			t.Errorf("%s is in the payload", name)
		}
		if _, err := encodeBom(entries, timeOfArchives); err == nil {
			t.Errorf("%s is in the bill of materials", name)
		}
		if _, err := encodeTar(entries, timeOfArchives); err == nil {
			t.Errorf("%s is in the tar", name)
		}
	}
}
