package pkg

import "fmt"

// Code is a stable word for why no package was made.
type Code string

// Why a program or a version is refused.
const (
	CodeProgramMissing    Code = "program_missing"
	CodeProgramUnreadable Code = "program_unreadable"
	CodeNotMachO          Code = "not_mach_o"
	CodeAlreadyUniversal  Code = "already_universal"
	CodeWrongArchitecture Code = "wrong_architecture"
	CodeNotOurProgram     Code = "not_our_program"
	CodeUnsigned          Code = "arm64_unsigned"
	CodeOtherVersion      Code = "other_version"
	CodeOtherSource       Code = "other_source"
	CodeInvalidVersion    Code = "invalid_version"
	CodeOtherDowngrade    Code = "other_downgrade"
	CodeAlreadyThere      Code = "already_there"
)

// remedies say what to do next.
var remedies = map[Code]string{
	CodeProgramMissing:    "build the programs for both kinds of Mac as the README's section Package says",
	CodeProgramUnreadable: "--programs names a folder that has darwin-arm64 and darwin-amd64, with files that are no links",
	CodeNotMachO:          "build it with GOOS=darwin, as the README's section Package says",
	CodeAlreadyUniversal:  "give the two programs that it was joined from: sign those, they are joined here",
	CodeWrongArchitecture: "build it with the GOARCH of its folder's name, as the README's section Package says",
	CodeNotOurProgram:     "build it from this repository, as the README's section Package says",
	CodeUnsigned:          "Apple silicon runs no program without a signature; Go's linker makes one, and stripping a program afterwards removes it: build it anew, or sign it",
	CodeOtherVersion:      "give --version what the programs say, or build them with -X prlagent/agent/localapi.Version=VERSION",
	CodeOtherSource:       "build all four programs from the same commit",
	CodeInvalidVersion:    "a version is two to four numbers with dots, like 1.2.0: other forms are not compared in the same way by all tools for Macs",
	CodeAlreadyThere:      "give the programs another version, name another folder, or say --replace if nobody has that file yet",
	CodeOtherDowngrade:    "give --allow-downgrade-to the package's own version: the permission is for this package, onto Macs that have a newer one",
}

// Refusal is why no package was made.
type Refusal struct {
	Code Code
	What string // the file or value, and what is wrong with it
}

func (r *Refusal) Error() string { return fmt.Sprintf("%s (%s)", r.What, r.Code) }

// Remedy says what to do next.
func (r *Refusal) Remedy() string { return remedies[r.Code] }

func refuse(code Code, format string, args ...any) error {
	return &Refusal{Code: code, What: fmt.Sprintf(format, args...)}
}
