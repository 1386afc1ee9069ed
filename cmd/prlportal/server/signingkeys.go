package server

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/rs/zerolog"

	"prlagent/cmd/prlportal/site"
	"prlagent/platform/safefile"
)

// checkSigningKeys holds H31 and H64: what the portal can read, a thief of the
// portal can read. It looks at the portal's own folder and at the operator's as
// init put it beside, by what the files are and not by their names, and as the
// account that serves: what it cannot open is no key to it.
func checkSigningKeys(options Options, log zerolog.Logger) error {
	portal, err := filepath.EvalSymlinks(options.Folder)
	if err != nil {
		return fmt.Errorf("look for keys: %w", err)
	}
	for _, folder := range []string{portal, filepath.Join(filepath.Dir(portal), site.OperatorFolder)} {
		key, err := findSigningKey(folder)
		switch {
		case err != nil:
			return fmt.Errorf("look for keys: %w", err)
		case key == "":
		case options.Demo:
			log.Warn().Str("key", key).Msg("a signing key is readable to the portal; that is for trying things only")
		default:
			return fmt.Errorf("the signing key %s is readable to the portal: whoever takes the portal over could sign policies and commands; keep it on the operator's machine, or away from the account that serves, or try things with --demo", key)
		}
	}
	return nil
}

// maxLookedAt bounds how many files are opened in the search for keys.
const maxLookedAt = 100_000

var errTooManyFiles = errors.New("there are too many files to look at")

// findSigningKey is the path of a private Ed25519 key below folder that this
// process can read; empty if there is none. The portal's own TLS key is none.
func findSigningKey(folder string) (found string, err error) {
	looked := 0
	if resolved, err := filepath.EvalSymlinks(folder); err == nil {
		folder = resolved
	}
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist):
			return nil // not there for this account
		case err != nil:
			return err
		case entry.IsDir() || path == filepath.Join(folder, site.TLSKeyFile):
			return nil
		}
		if looked++; looked > maxLookedAt {
			return errTooManyFiles
		}
		if isSigningKey(path) {
			found = path
			return fs.SkipAll
		}
		return nil
	})
	return found, err
}

// isSigningKey follows links, as a thief would.
func isSigningKey(path string) bool {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	data, err := safefile.ReadFile(path, site.MaxKeyFile)
	return err == nil && site.HasSigningKey(data)
}
