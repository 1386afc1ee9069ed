package cmd_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// namesEncryption are the files that may name the tool's commands about encryption,
// with why.
var namesEncryption = map[string]string{
	"prlctl/flags.go": "the commands that a help page may have",
}

// SEC-20: the agent never encrypts or decrypts a virtual machine. Whether it may is
// between the user and the product, and the tool would be
// asked for in vain.
func TestSEC20_TheAgentNeverEncrypts(t *testing.T) {
	t.Parallel()
	named := make(map[string]bool)
	for _, tree := range []string{"agent", "prlctl", "platform", "cmd/prlagentd", "cmd/prlagent"} {
		err := filepath.WalkDir(filepath.Join("..", filepath.FromSlash(tree)), func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			source, err := os.ReadFile(name)
			if strings.Contains(string(source), `"encrypt"`) || strings.Contains(string(source), `"decrypt"`) {
				named[strings.TrimPrefix(filepath.ToSlash(name), "../")] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range named {
		if namesEncryption[name] == "" {
			t.Errorf("%s names a command that the agent must not run", name)
		}
	}
	for name := range namesEncryption {
		if !named[name] {
			t.Errorf("%s is listed, and names none", name)
		}
	}
}
