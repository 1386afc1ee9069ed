package site

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"prlagent/platform/safefile"
)

// headVersionsFile has, in the operator's folder, the versions of the heads that
// were signed last: what a portal shows may be older, from a backup or from a thief,
// and Macs take no version twice.
const headVersionsFile = "head-versions.json"

// HeadVersions are versions of heads by where they were published, then by group.
type HeadVersions map[string]map[string]uint64

// LoadHeadVersions reads the versions of the operator's folder.
func LoadHeadVersions(folder string) (HeadVersions, error) {
	versions := make(HeadVersions)
	data, err := safefile.ReadFile(filepath.Join(folder, headVersionsFile), maxSiteFile)
	if errors.Is(err, fs.ErrNotExist) {
		return versions, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &versions)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", headVersionsFile, err)
	}
	return versions, nil
}

// Save writes the versions.
func (v HeadVersions) Save(folder string) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode versions: %w", err)
	}
	if err := safefile.WriteFile(filepath.Join(folder, headVersionsFile), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write versions: %w", err)
	}
	return nil
}
