package pkg

import (
	"bytes"
	"debug/macho"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// sampleVersion is the version of the programs and packages of the tests.
const sampleVersion = "1.2.3"

// sampleProgram is a program as Go's linker makes it, as far as it is looked at: a
// header, one segment with the build's facts, and a signature's place.
type sampleProgram struct {
	cpu      macho.Cpu
	kind     macho.Type
	path     string
	version  string
	revision string
	unsigned bool
	size     int // bytes of code
}

func (p sampleProgram) encode() []byte {
	const segmentSize, sectionSize, signatureSize, headerSize = 72, 80, 16, 32
	const address = 0x100000000
	le := binary.LittleEndian
	info := "path\t" + p.path + "\nbuild\tGOOS=darwin\n"
	if p.revision != "" {
		info += "build\tvcs.revision=" + p.revision + "\nbuild\tvcs.time=2026-11-29T01:02:03Z\n"
	}
	sentinel := "0123456789abcdef"
	facts := append([]byte("\xff Go buildinf:\x08\x02"), make([]byte, 16)...)
	for _, text := range []string{"go1.26", sentinel + info + sentinel} {
		facts = append(binary.AppendUvarint(facts, uint64(len(text))), text...)
	}
	offset := headerSize + segmentSize + sectionSize + signatureSize
	commands, count := uint32(segmentSize+sectionSize), uint32(1)
	if !p.unsigned {
		commands, count = commands+signatureSize, 2
	}
	content := append(facts, "version "+p.version+"\x00"...)
	content = append(content, bytes.Repeat([]byte{0x90}, p.size)...)

	data := le.AppendUint32(nil, macho.Magic64)
	for _, value := range []uint32{uint32(p.cpu), 3, uint32(p.kind), count, commands, 0, 0} {
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
	if !p.unsigned {
		for _, value := range []uint32{codeSignatureCommand, signatureSize, uint32(offset), 0} {
			data = le.AppendUint32(data, value)
		}
	}
	data = append(data, make([]byte, offset-len(data))...)
	return append(data, content...)
}

// samplePrograms are those of a folder as --programs names one, by their path.
func samplePrograms() map[string]sampleProgram {
	found := map[string]sampleProgram{}
	for i, kind := range architectures {
		for j, program := range programs {
			found["darwin-"+kind.goarch+"/"+program] = sampleProgram{
				cpu: kind.cpu, kind: macho.TypeExec, path: "prlagent/cmd/" + program, version: sampleVersion, revision: "abcdef",
				unsigned: kind.goarch == "amd64", size: 5000*(i+1) + 77*j,
			}
		}
	}
	return found
}

func writePrograms(t *testing.T, wanted map[string]sampleProgram) string {
	t.Helper()
	folder := t.TempDir()
	for name, program := range wanted {
		writeFile(t, filepath.Join(folder, name), program.encode())
	}
	return folder
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o755); err != nil {
		t.Fatal(err)
	}
}
