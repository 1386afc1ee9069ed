package prlctl

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
)

// Version is a version of Parallels Desktop or of Parallels Tools.
type Version struct {
	Major, Minor, Patch int
	Build               int // 0 if it is not known
}

// maxVersionText is the longest text in bytes that is looked at.
const maxVersionText = 128

// versionPattern finds "26.3.2 (57398)", "26.4.0-57513" and "26.3.2" at the
// end of a text, behind nothing or a blank.
var versionPattern = pattern(`(?:^|\s)(\d{1,5})\.(\d{1,5})(?:\.(\d{1,5}))?(?:\s*\((\d{1,9})\)|-(\d{1,9}))?\s*$`)

// errNotVersion is a text that names no version.
var errNotVersion = errors.New("not a version of Parallels Desktop")

// ParseVersion reads a version as the tools write it: "26.3.2 (57398)",
// "26.4.0-57513", "Desktop 26.3.2-57398", "prlctl version 26.3.2 (57398)"
// (facts/prlctl.md 1.1). The build may be missing, and so may the patch level.
// The error is errNotVersion.
func ParseVersion(text string) (Version, error) {
	if len(text) > maxVersionText {
		return Version{}, errNotVersion
	}
	found := versionPattern().FindStringSubmatch(text)
	if found == nil {
		return Version{}, errNotVersion
	}
	return Version{
		Major: numberOf(found[1]),
		Minor: numberOf(found[2]),
		Patch: numberOf(found[3]),
		Build: numberOf(found[4] + found[5]),
	}, nil
}

// numberOf reads digits that the pattern has found, of which none is 0.
func numberOf(digits string) int {
	value, _ := strconv.Atoi(digits)
	return value
}

// Compare orders versions; the result is -1, 0 or 1. An unknown build is not
// compared.
func (v Version) Compare(other Version) int {
	order := cmp.Or(
		cmp.Compare(v.Major, other.Major),
		cmp.Compare(v.Minor, other.Minor),
		cmp.Compare(v.Patch, other.Patch),
	)
	if order != 0 || v.Build == 0 || other.Build == 0 {
		return order
	}
	return cmp.Compare(v.Build, other.Build)
}

// IsZero reports whether the version is not known.
func (v Version) IsZero() bool { return v == Version{} }

// String returns "26.3.2 (57398)", without the build if it is not known, and
// nothing for the zero version.
func (v Version) String() string {
	switch {
	case v.IsZero():
		return ""
	case v.Build == 0:
		return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
	}
	return fmt.Sprintf("%d.%d.%d (%d)", v.Major, v.Minor, v.Patch, v.Build)
}

// MarshalText writes String.
func (v Version) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText wrote; an empty text is the zero
// version. The error is errNotVersion.
func (v *Version) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*v = Version{}
		return nil
	}
	read, err := ParseVersion(string(text))
	if err != nil {
		return err
	}
	*v = read
	return nil
}
