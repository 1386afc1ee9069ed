package pkg

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"debug/macho"
	"encoding/binary"
	"runtime/debug"
	"strings"
)

// architecture is one kind of Mac that the programs are built for.
type architecture struct {
	goarch string
	cpu    macho.Cpu
	// align is the power of two at which its slice begins, in a universal program:
	// that of its pages.
	align uint32
}

// architectures are those of a universal program, in the order of its slices.
var architectures = []architecture{
	{goarch: "amd64", cpu: macho.CpuAmd64, align: 12},
	{goarch: "arm64", cpu: macho.CpuArm64, align: 14},
}

// Offsets and marks of a Mach-O file that debug/macho does not name.
const (
	subCPUOffset         = 8
	codeSignatureCommand = 0x1d // LC_CODE_SIGNATURE
	fatArchSize          = 20
	fatHeaderSize        = 8
)

// slice is a program for one kind of Mac, as it was read.
type slice struct {
	name     string // for people
	data     []byte
	revision string // of its source; empty if it says nothing
	time     string // of the revision, RFC 3339
}

// checkSlice refuses what is not the program of ours, for that kind of Mac, of that
// version. The linker's version is no field of a program whose paths were trimmed, so
// what can be said is that a program without the text, which the linker ends with a
// zero, does not have the version. What is before the text is anything.
func checkSlice(name, program string, wanted architecture, version string, data []byte) (slice, error) {
	if err := checkMachO(name, wanted, data); err != nil {
		return slice{}, err
	}
	info, err := buildinfo.Read(bytes.NewReader(data))
	if err != nil || info.Path != "prlagent/cmd/"+program {
		return slice{}, refuse(ReasonNotOurProgram, "%s is not our %s", name, program)
	}
	if strings.TrimPrefix(info.Main.Version, "v") != version && !bytes.Contains(data, []byte(version+"\x00")) {
		return slice{}, refuse(ReasonOtherVersion, "%s is not of version %s", name, version)
	}
	return slice{name: name, data: data, revision: settingOf(info, "vcs.revision") + settingOf(info, "vcs.modified"), time: settingOf(info, "vcs.time")}, nil
}

func settingOf(info *debug.BuildInfo, key string) string {
	for _, setting := range info.Settings {
		if setting.Key == key {
			return setting.Value
		}
	}
	return ""
}

// checkMachO refuses what is no program for that kind of Mac.
func checkMachO(name string, wanted architecture, data []byte) error {
	switch {
	case bytes.HasPrefix(data, []byte(elf.ELFMAG)):
		return refuse(ReasonNotMachO, "%s is a program for Linux", name)
	case bytes.HasPrefix(data, numbers(macho.MagicFat)):
		return refuse(ReasonAlreadyUniversal, "%s is universal already", name)
	}
	file, err := macho.NewFile(bytes.NewReader(data))
	switch {
	case err != nil || file.Type != macho.TypeExec:
		return refuse(ReasonNotMachO, "%s is no program for macOS", name)
	case file.Cpu != wanted.cpu:
		return refuse(ReasonWrongArchitecture, "%s is built for %s, not %s", name, goarchOf(file.Cpu), wanted.goarch)
	case wanted.cpu == macho.CpuArm64 && !hasSignature(file):
		return refuse(ReasonUnsigned, "%s has no signature", name)
	}
	return nil
}

func goarchOf(cpu macho.Cpu) string {
	for _, known := range architectures {
		if known.cpu == cpu {
			return known.goarch
		}
	}
	return cpu.String()
}

// hasSignature reports whether the program has a signature, of whomever
// (facts/macos.md 13.2).
func hasSignature(file *macho.File) bool {
	for _, load := range file.Loads {
		if raw := load.Raw(); len(raw) >= 4 && file.ByteOrder.Uint32(raw) == codeSignatureCommand {
			return true
		}
	}
	return false
}

// join makes a universal program of one slice for each architecture, in their order:
// magic and number of slices; for each its processor, offset, size and alignment; and
// the slices, as they are, so that the signature of each stays valid.
func join(slices []slice) []byte {
	offset := uint32(fatHeaderSize + fatArchSize*len(slices))
	header, body := numbers(macho.MagicFat, uint32(len(slices))), []byte(nil)
	for i, one := range slices {
		begin := alignUp(offset, architectures[i].align)
		body = append(append(body, make([]byte, begin-offset)...), one.data...)
		subCPU := binary.LittleEndian.Uint32(one.data[subCPUOffset:])
		header = append(header, numbers(uint32(architectures[i].cpu), subCPU, begin, uint32(len(one.data)), architectures[i].align)...)
		offset = begin + uint32(len(one.data))
	}
	return append(header, body...)
}

func alignUp(offset, power uint32) uint32 {
	return (offset + 1<<power - 1) &^ (1<<power - 1)
}
