// Package pkgtest makes programs for macOS that have just enough for a package of them:
// tests make packages without building for a Mac.
package pkgtest

import (
	"bytes"
	"debug/macho"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// Version is the version of the programs.
const Version = "1.2.3"

// codeSignature is the load command of a signature, which debug/macho does not name.
const codeSignature = 0x1d

// Program is a program as Go's linker makes it, as far as it is looked at: a
// header, one segment with the build's facts, and a signature's place.
type Program struct {
	CPU      macho.Cpu
	Type     macho.Type
	Path     string // of its package
	Version  string
	Revision string // of its source; empty: not known
	Unsigned bool
	Size     int // bytes of code
}

// Encode gives the program's file.
func (p Program) Encode() []byte {
	const segmentSize, sectionSize, signatureSize, headerSize = 72, 80, 16, 32
	const address = 0x100000000
	le := binary.LittleEndian
	info := "path\t" + p.Path + "\nbuild\tGOOS=darwin\n"
	if p.Revision != "" {
		info += "build\tvcs.revision=" + p.Revision + "\nbuild\tvcs.time=2026-11-29T01:02:03Z\n"
	}
	sentinel := "0123456789abcdef"
	facts := append([]byte("\xff Go buildinf:\x08\x02"), make([]byte, 16)...)
	for _, text := range []string{"go1.26", sentinel + info + sentinel} {
		facts = append(binary.AppendUvarint(facts, uint64(len(text))), text...)
	}
	offset := headerSize + segmentSize + sectionSize + signatureSize
	commands, count := uint32(segmentSize+sectionSize), uint32(1)
	if !p.Unsigned {
		commands, count = commands+signatureSize, 2
	}
	content := append(facts, "version "+p.Version+"\x00"...)
	content = append(content, bytes.Repeat([]byte{0x90}, p.Size)...)

	data := le.AppendUint32(nil, macho.Magic64)
	for _, value := range []uint32{uint32(p.CPU), 3, uint32(p.Type), count, commands, 0, 0} {
		data = le.AppendUint32(data, value)
	}
	name := func(text string) { data = append(data, append([]byte(text), make([]byte, 16-len(text))...)...) }
	data = le.AppendUint32(le.AppendUint32(data, uint32(macho.LoadCmdSegment64)), segmentSize+sectionSize)
	name("__DATA")
	for _, value := range []uint64{address, uint64(len(content)), uint64(offset), uint64(len(content))} {
		data = le.AppendUint64(data, value)
	}
	for _, value := range []uint32{3, 3, 1, 0} {
		data = le.AppendUint32(data, value)
	}
	name("__go_buildinfo")
	name("__DATA")
	data = le.AppendUint64(le.AppendUint64(data, address), uint64(len(facts)))
	for _, value := range []uint32{uint32(offset), 4, 0, 0, 0, 0, 0, 0} {
		data = le.AppendUint32(data, value)
	}
	if !p.Unsigned {
		for _, value := range []uint32{codeSignature, signatureSize, uint32(offset), 0} {
			data = le.AppendUint32(data, value)
		}
	}
	data = append(data, make([]byte, offset-len(data))...)
	return append(data, content...)
}

// Programs are those of a folder as 'prlportal package --programs' wants it, by path.
func Programs() map[string]Program {
	found := map[string]Program{}
	for i, kind := range []macho.Cpu{macho.CpuAmd64, macho.CpuArm64} {
		folder := "darwin-" + []string{"amd64", "arm64"}[i]
		for j, program := range []string{"prlagentd", "prlagent"} {
			found[folder+"/"+program] = Program{
				CPU: kind, Type: macho.TypeExec, Path: "prlagent/cmd/" + program, Version: Version, Revision: "abcdef",
				Unsigned: kind == macho.CpuAmd64, Size: 5000*(i+1) + 77*j,
			}
		}
	}
	return found
}

// Write makes a folder of programs.
func Write(t testing.TB, wanted map[string]Program) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for name, program := range wanted {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, program.Encode(), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}
