package pkg

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"time"

	"prlagent/platform/safefile"
)

// maxProgram is the most that one slice of a program may have; ours have 10 MB.
const maxProgram = 64 << 20 // bytes

// Options are what a package is made of.
type Options struct {
	// Programs is a folder with darwin-arm64 and darwin-amd64, each with the programs
	// prlagentd and prlagent, built or signed for that kind of Mac.
	Programs string
	// Version is the programs' version: two to four numbers.
	Version string
	// AllowDowngradeTo is Version, to let the package replace a newer one, after a copy
	// of the state was made; empty, to have it refuse. MDM gives no arguments, so the
	// permission is in the package.
	AllowDowngradeTo string
}

// Kinds of files that are made.
const (
	KindPackage   = "package"
	KindTar       = "tar"
	KindUninstall = "uninstall_script"
	KindPkginfo   = "munki_pkginfo"
)

// File is one file that was made.
type File struct {
	Name string
	Kind string
	Mode fs.FileMode
	Data []byte
}

// validVersion is what installer, Munki, Jamf and the package's own scripts compare in
// the same way. Each number fits the arithmetic of any shell.
var validVersion = regexp.MustCompile(`^(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){1,3}$`)

// Build makes the package, the tar, the uninstall script and Munki's pkginfo. What it refuses is a
// *Refusal. It writes nothing.
func Build(options Options) ([]File, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	built, modified, err := options.readPrograms()
	if err != nil {
		return nil, err
	}
	return options.Pack(built, modified)
}

func (o Options) check() error {
	if !validVersion.MatchString(o.Version) {
		return refuse(ReasonInvalidVersion, "%q is no version for a package", o.Version)
	}
	if o.AllowDowngradeTo != "" && o.AllowDowngradeTo != o.Version {
		return refuse(ReasonOtherDowngrade, "the package is of version %s, not %q", o.Version, o.AllowDowngradeTo)
	}
	return nil
}

// Pack makes the same files of programs as they are, by name: whether a Mac can run
// them is not looked at. The time is that of all files.
func (o Options) Pack(programs map[string][]byte, modified time.Time) ([]File, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	entries := payload(o.Version, programs["prlagentd"], programs["prlagent"])
	scripts := renderScripts(o.Version, o.AllowDowngradeTo != "", entries)
	whole, err := encodePackage(o.Version, entries, scripts, modified)
	if err != nil {
		return nil, fmt.Errorf("make package: %w", err)
	}
	packed, err := encodeTar(entries, modified)
	if err != nil {
		return nil, fmt.Errorf("make tar: %w", err)
	}
	name := "prlagent-" + o.Version
	installer := File{Name: name + ".pkg", Kind: KindPackage, Mode: 0o644, Data: whole}
	info, err := describeForMunki(installer, o.Version, entries, scripts)
	if err != nil {
		return nil, err
	}
	return []File{
		installer,
		{Name: name + ".tar.gz", Kind: KindTar, Mode: 0o644, Data: packed},
		{Name: name + "-uninstall.sh", Kind: KindUninstall, Mode: 0o755, Data: scripts.uninstall},
		{Name: name + ".pkginfo", Kind: KindPkginfo, Mode: 0o644, Data: info},
	}, nil
}

// encodePackage makes the flat package.
func encodePackage(version string, entries []entry, scripts scripts, modified time.Time) ([]byte, error) {
	distribution, err := encodeXML(describeDistribution(version))
	if err != nil {
		return nil, err
	}
	info, err := encodeXML(describePackage(version, entries))
	if err != nil {
		return nil, err
	}
	bom, err := encodeBom(entries, modified)
	if err != nil {
		return nil, fmt.Errorf("make bill of materials: %w", err)
	}
	files, err := encodePayload(entries, modified)
	if err != nil {
		return nil, fmt.Errorf("make payload: %w", err)
	}
	packed, err := encodePayload(scripts.entries(), modified)
	if err != nil {
		return nil, fmt.Errorf("make scripts: %w", err)
	}
	return encodeXar([]xarMember{
		{name: "Distribution", data: distribution},
		{name: component, members: []xarMember{
			{name: "PackageInfo", data: info}, {name: "Bom", data: bom}, {name: "Payload", data: files}, {name: "Scripts", data: packed},
		}},
	}, modified)
}

// programs are those that the package installs.
var programs = []string{"prlagentd", "prlagent"}

// readPrograms reads the programs and joins the slices of each. The time is that of
// their common source, so that the same source gives the same bytes.
func (o Options) readPrograms() (universal map[string][]byte, modified time.Time, err error) {
	universal = map[string][]byte{}
	var first slice
	for _, program := range programs {
		read := make([]slice, len(architectures))
		for i, kind := range architectures {
			if read[i], err = o.readSlice(program, kind); err != nil {
				return nil, time.Time{}, err
			}
			if first.name == "" {
				first = read[i]
			}
			if read[i].revision != first.revision {
				return nil, time.Time{}, refuse(ReasonOtherSource, "%s and %s were built from different sources", first.name, read[i].name)
			}
		}
		universal[program] = join(read)
	}
	if known, err := time.Parse(time.RFC3339, first.time); err == nil && known.Year() > 2000 && known.Year() < 2100 {
		return universal, known.UTC(), nil
	}
	return universal, timeOfArchives, nil
}

func (o Options) readSlice(program string, kind architecture) (slice, error) {
	name := "darwin-" + kind.goarch + "/" + program
	data, err := safefile.ReadFile(filepath.Join(o.Programs, filepath.FromSlash(name)), maxProgram)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return slice{}, refuse(ReasonProgramMissing, "there is no %s in %s", name, o.Programs)
	case err != nil:
		return slice{}, refuse(ReasonProgramUnreadable, "read %s: %v", name, withoutPath(err))
	}
	return checkSlice(name, program, kind, o.Version, data)
}

// withoutPath is what is wrong with a file, for who knows which.
func withoutPath(err error) error {
	var known *fs.PathError
	if errors.As(err, &known) {
		return known.Err
	}
	return err
}
