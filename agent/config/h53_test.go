package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prlagent/agent/protocol"
)

// H53: a file in a folder that others can change, or exchange, may be anybody's:
// neither configuration is believed there, and the reason names the folder.
func TestH53_ConfigurationInAFolderThatOthersCanChange(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]func(mac) (path string, write func(dict)){
		"the profile":  func(m mac) (string, func(dict)) { return m.paths.Managed, m.managed },
		"config.plist": func(m mac) (string, func(dict)) { return m.paths.Local, m.local },
	} {
		for where, depth := range map[string]int{"its folder": 0, "the one above": 1} {
			t.Run(name+", "+where, func(t *testing.T) {
				t.Parallel()
				m := newMac(t)
				top := filepath.Dir(m.paths.Managed)
				m.paths.Managed = filepath.Join(top, "above/managed/managed.plist")
				m.paths.Local = filepath.Join(top, "above/local/config.plist")
				for _, path := range []string{m.paths.Managed, m.paths.Local} {
					if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
						t.Fatal(err)
					}
				}
				path, write := file(m)
				write(dict{"ServerURL": "https://portal.example.com", "Mode": "enforce"})
				if c := loadNow(m.paths); len(c.Problems) != 0 || c.ServerURL == nil {
					t.Fatalf("before: %+v", c.Problems)
				}
				folder := filepath.Dir(path)
				for range depth {
					folder = filepath.Dir(folder)
				}
				if err := os.Chmod(folder, 0o777); err != nil {
					t.Fatal(err)
				}
				c := loadNow(m.paths)
				if c.ServerURL != nil || c.Mode != "monitor" || len(c.Problems) == 0 {
					t.Errorf("it is believed: %v, %v, %+v", c.ServerURL, c.Mode, c.Problems)
				}
				named := false
				for _, problem := range c.Problems {
					named = named || problem.Key == path && problem.Code == protocol.CodeFolderWritable && strings.Contains(problem.Text, "everybody can write in it")
				}
				if !named {
					t.Errorf("the folder is not named: %+v", c.Problems)
				}
			})
		}
	}
}

// H53: a link in the place of either file leads nowhere.
func TestH53_ConfigurationThatIsALink(t *testing.T) {
	t.Parallel()
	m := newMac(t)
	m.managed(dict{"ServerURL": "https://portal.example.com"})
	real := m.paths.Managed + ".real"
	if err := errors.Join(os.Rename(m.paths.Managed, real), os.Symlink(real, m.paths.Managed)); err != nil {
		t.Fatal(err)
	}
	if c := loadNow(m.paths); c.ServerURL != nil || len(c.Problems) != 1 || c.Problems[0].Code != protocol.CodeConfigUnreadable {
		t.Errorf("got %v, %+v", c.ServerURL, c.Problems)
	}
}
