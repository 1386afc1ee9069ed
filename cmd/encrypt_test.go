package cmd_test

import (
	"os"
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
	eachRootSource(t, func(name, local string) {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(source), `"encrypt"`) || strings.Contains(string(source), `"decrypt"`) {
			named[local] = true
		}
	})
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
