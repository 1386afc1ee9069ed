package replay

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const emptyManifest = `{"format":1,"entries":[]}`

// packed is an archive that write fills.
func packed(t *testing.T, write func(*tar.Writer)) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipped)
	write(archive)
	if err := errors.Join(archive.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// put adds an entry to an archive; its size is that of the content.
func put(t *testing.T, archive *tar.Writer, header tar.Header, content string) {
	t.Helper()
	header.Size, header.Mode = int64(len(content)), 0o600
	if err := archive.WriteHeader(&header); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(archive, content); err != nil {
		t.Fatal(err)
	}
}

func putFile(t *testing.T, archive *tar.Writer, name, content string) {
	t.Helper()
	put(t, archive, tar.Header{Name: name, Typeflag: tar.TypeReg}, content)
}

func withManifest(t *testing.T, manifest string, write func(*tar.Writer)) []byte {
	t.Helper()
	return packed(t, func(archive *tar.Writer) {
		put(t, archive, tar.Header{Name: archiveFolder, Typeflag: tar.TypeDir}, "")
		putFile(t, archive, archiveFolder+manifestName, manifest)
		if write != nil {
			write(archive)
		}
	})
}

func TestArchiveIsRead(t *testing.T) {
	t.Parallel()
	manifest := `{"format":1,"entries":[{"command":["prlctl","--version"],"stdout":"001.out","stderr":"001.err","exit":0,"ended":"exit"}]}`
	read, err := readArchive(bytes.NewReader(withManifest(t, manifest, func(archive *tar.Writer) {
		putFile(t, archive, "first-mac/001.out", "prlctl version 26.4.0 (57513)\n")
		putFile(t, archive, "first-mac/001.err", "")
		putFile(t, archive, "first-mac/.DS_Store", "of the Finder")
		putFile(t, archive, "first-mac/._001.out", "of tar")
	})))
	if err != nil {
		t.Fatal(err)
	}
	if said := read.printed("prlctl", "--version"); said != "prlctl version 26.4.0 (57513)\n\n" {
		t.Errorf("read %q", said)
	}
}

// Whoever sends an archive chooses all of it.
func TestHostileArchivesAreRefused(t *testing.T) {
	t.Parallel()
	file := func(name, content string) func(*tar.Writer) {
		return func(archive *tar.Writer) { putFile(t, archive, name, content) }
	}
	special := func(header tar.Header) func(*tar.Writer) {
		return func(archive *tar.Writer) { put(t, archive, header, "") }
	}
	for name, write := range map[string]func(*tar.Writer){
		"path above":       file("../x", ""),
		"path out and in":  file("first-mac/../../x", ""),
		"absolute path":    file("/etc/x", ""),
		"another folder":   file("other/x", ""),
		"no folder":        file("x", ""),
		"deeper folder":    file("first-mac/a/x", ""),
		"folder's name":    file("first-mac", ""),
		"hidden file":      file("first-mac/.x", ""),
		"backslash":        file(`first-mac/a\x`, ""),
		"line end":         file("first-mac/a\nx", ""),
		"another tree":     special(tar.Header{Name: "first-mac/sub/", Typeflag: tar.TypeDir}),
		"symbolic link":    special(tar.Header{Name: "first-mac/x", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}),
		"hard link":        special(tar.Header{Name: "first-mac/x", Linkname: "first-mac/manifest.json", Typeflag: tar.TypeLink}),
		"pipe":             special(tar.Header{Name: "first-mac/x", Typeflag: tar.TypeFifo}),
		"device":           special(tar.Header{Name: "first-mac/x", Typeflag: tar.TypeChar}),
		"the same twice":   file("first-mac/manifest.json", emptyManifest),
		"one large file":   file("first-mac/x", strings.Repeat("x", maxFile+1)),
		"many small files": func(archive *tar.Writer) { putMany(t, archive, maxFiles+1, "") },
		"many large files": func(archive *tar.Writer) {
			putMany(t, archive, maxUnpacked/maxFile+1, strings.Repeat("x", maxFile))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := readArchive(bytes.NewReader(withManifest(t, emptyManifest, write))); !errors.Is(err, errBroken) {
				t.Errorf("%v", err)
			}
		})
	}
}

func putMany(t *testing.T, archive *tar.Writer, count int, content string) {
	t.Helper()
	for i := range count {
		putFile(t, archive, fmt.Sprintf("first-mac/%d", i), content)
	}
}

func TestBrokenManifestsAreRefused(t *testing.T) {
	t.Parallel()
	for name, manifest := range map[string]string{
		"no JSON":           `format 1`,
		"another format":    `{"format":2}`,
		"a large one":       `{"format":1,"skipped":["` + strings.Repeat("x", maxManifest) + `"],"entries":[]}`,
		"no command":        `{"format":1,"entries":[{"stdout":"manifest.json","stderr":"manifest.json"}]}`,
		"no such file":      `{"format":1,"entries":[{"command":["x"],"stdout":"../../x","stderr":"manifest.json"}]}`,
		"a wrong type":      `{"format":1,"entries":[{"command":"x"}]}`,
		"deeper than usual": `{"format":1,"x":` + strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := readArchive(bytes.NewReader(withManifest(t, manifest, nil))); !errors.Is(err, errBroken) {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		if _, err := readArchive(bytes.NewReader(packed(t, func(*tar.Writer) {}))); !errors.Is(err, errBroken) {
			t.Errorf("%v", err)
		}
	})
}

// A gzip bomb costs no more than the cap: what follows is never unpacked.
func TestGzipBombIsNotUnpacked(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int64{"a file of a terabyte": 1 << 40, "files without an end": maxFile, "empty files without an end": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bomb := &endlessFiles{size: size}
			if _, err := readFiles(bomb); err == nil {
				t.Error("it was read")
			}
			if bomb.count > maxUnpacked {
				t.Errorf("%d bytes were unpacked", bomb.count)
			}
		})
	}
}

// endlessFiles is an unpacked archive of zeros that has no end.
type endlessFiles struct {
	size    int64
	files   int
	pending []byte // of a header
	body    int64
	count   int64
}

func (e *endlessFiles) Read(p []byte) (int, error) {
	if len(e.pending) == 0 && e.body == 0 {
		var header bytes.Buffer
		e.files++
		_ = tar.NewWriter(&header).WriteHeader(&tar.Header{Name: fmt.Sprintf("first-mac/%d", e.files), Typeflag: tar.TypeReg, Size: e.size, Format: tar.FormatGNU})
		e.pending, e.body = header.Bytes(), (e.size+511)/512*512
	}
	n := copy(p, e.pending)
	e.pending = e.pending[n:]
	if n == 0 {
		n = int(min(int64(len(p)), e.body))
		clear(p[:n])
		e.body -= int64(n)
	}
	e.count += int64(n)
	return n, nil
}

// A sparse file is larger than what it takes in the archive: its size counts.
func TestSparseFilesCount(t *testing.T) {
	t.Parallel()
	var archive bytes.Buffer
	for i := range maxUnpacked/maxFile + 1 {
		var records string
		for _, record := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", fmt.Sprintf("GNU.sparse.name=first-mac/%d", i), fmt.Sprintf("GNU.sparse.realsize=%d", maxFile)} {
			records += fmt.Sprintf("%d %s\n", len(record)+4, record) // two digits, a blank, a line end
		}
		archive.Write(tarEntry(t, 'x', "pax", records))
		archive.Write(tarEntry(t, tar.TypeReg, "sparse", "0\n"+strings.Repeat("\x00", 510)))
	}
	archive.Write(make([]byte, 1024))
	if _, err := readFiles(&archive); err == nil || !strings.Contains(err.Error(), "too much") {
		t.Errorf("%v", err)
	}
}

// tarEntry is one entry with a type that tar.Writer does not write.
func tarEntry(t *testing.T, kind byte, name, content string) []byte {
	t.Helper()
	var out bytes.Buffer
	writer := tar.NewWriter(&out)
	put(t, writer, tar.Header{Name: name, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}, content)
	if err := writer.Flush(); err != nil {
		t.Fatal(err)
	}
	entry := out.Bytes()
	entry[156] = kind
	copy(entry[148:156], "        ")
	sum := 0
	for _, b := range entry[:512] {
		sum += int(b)
	}
	copy(entry[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return entry
}

func TestArchiveFilesThatAreNone(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	text, pipe, cut := filepath.Join(folder, "text"), filepath.Join(folder, "pipe"), filepath.Join(folder, "cut")
	whole := withManifest(t, emptyManifest, nil)
	if err := errors.Join(os.WriteFile(text, []byte("no archive"), 0o600), syscall.Mkfifo(pipe, 0o600),
		os.WriteFile(cut, whole[:len(whole)-20], 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{text, pipe, cut, folder} {
		if _, err := openArchive(path); !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
	if _, err := openArchive(filepath.Join(folder, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// FuzzArchive: whatever is in an archive, it is read or refused.
func FuzzArchive(f *testing.F) {
	f.Add([]byte(emptyManifest), []byte("out"))
	f.Add([]byte(`{"format":1,"entries":[{"command":["prlctl","list","-a","-i","--json"],"stdout":"a","stderr":"a","exit":0,"ended":"exit"}]}`),
		[]byte(`[{"ID":"aaaaaaaa-0000-4000-8000-000000000001","Name":"x","Boot order":1,"Hardware":{"net0":[]}}]`))
	f.Fuzz(func(t *testing.T, manifest, content []byte) {
		read := capture{files: map[string][]byte{"a": content}}
		if json.Unmarshal(manifest, &read.manifest) != nil || read.check() != nil {
			return
		}
		reading := readByClient(t.Context(), read)
		reading.compareWithFacts()
		if err := reading.report().write(io.Discard); err != nil {
			t.Fatal(err)
		}
	})
}
