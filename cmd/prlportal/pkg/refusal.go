package pkg

import "fmt"

// Reason is a stable word for why no package was made.
type Reason string

// Why a program or a version is refused.
const (
	ReasonProgramMissing    Reason = "program_missing"
	ReasonProgramUnreadable Reason = "program_unreadable"
	ReasonNotMachO          Reason = "not_mach_o"
	ReasonAlreadyUniversal  Reason = "already_universal"
	ReasonWrongArchitecture Reason = "wrong_architecture"
	ReasonNotOurProgram     Reason = "not_our_program"
	ReasonUnsigned          Reason = "arm64_unsigned"
	ReasonOtherVersion      Reason = "other_version"
	ReasonOtherSource       Reason = "other_source"
	ReasonInvalidVersion    Reason = "invalid_version"
	ReasonOtherDowngrade    Reason = "other_downgrade"
	ReasonAlreadyThere      Reason = "already_there"
)

// remedies say what to do next.
var remedies = map[Reason]string{
	ReasonProgramMissing:    "build the programs for both kinds of Mac as the README's section Package says",
	ReasonProgramUnreadable: "--programs names a folder that has darwin-arm64 and darwin-amd64, with files that are no links",
	ReasonNotMachO:          "build it with GOOS=darwin, as the README's section Package says",
	ReasonAlreadyUniversal:  "give the two programs that it was joined from: sign those, they are joined here",
	ReasonWrongArchitecture: "build it with the GOARCH of its folder's name, as the README's section Package says",
	ReasonNotOurProgram:     "build it from this repository, as the README's section Package says",
	ReasonUnsigned:          "Apple silicon runs no program without a signature; Go's linker makes one, and stripping a program afterwards removes it: build it anew, or sign it",
	ReasonOtherVersion:      "give --version what the programs say, or build them with -X prlagent/agent/localapi.Version=VERSION",
	ReasonOtherSource:       "build all four programs from the same commit",
	ReasonInvalidVersion:    "a version is two to four numbers with dots, like 1.2.0: other forms are not compared in the same way by all tools for Macs",
	ReasonAlreadyThere:      "give the programs another version, name another folder, or say --replace if nobody has that file yet",
	ReasonOtherDowngrade:    "give --allow-downgrade-to the package's own version: the permission is for this package, onto Macs that have a newer one",
}

// Refusal is why no package was made.
type Refusal struct {
	Reason Reason
	What   string // the file or value, and what is wrong with it
}

func (r *Refusal) Error() string { return fmt.Sprintf("%s (%s)", r.What, r.Reason) }

// Remedy says what to do next.
func (r *Refusal) Remedy() string { return remedies[r.Reason] }

func refuse(reason Reason, format string, args ...any) error {
	return &Refusal{Reason: reason, What: fmt.Sprintf(format, args...)}
}
