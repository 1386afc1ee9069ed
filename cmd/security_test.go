package cmd_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// securityPage says what is trusted, what is done against the rest, and by which
// test that is shown.
const securityPage = "../agent/SECURITY.md"

var (
	namedProof  = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+|[\w.-]+\.txtar`)
	provenIDs   = regexp.MustCompile(`\((H\d\d)\)`)
	testsOfFile = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	pageLink    = regexp.MustCompile(`\]\(([^)]+)\)`)
)

// TestSecurityPage walks the page: each test and script that it names exists, each
// row of a table with claims has one that bears the row's id, each decision of
// this kind occurs, and each link leads somewhere.
func TestSecurityPage(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(securityPage)
	if err != nil {
		t.Fatal(err)
	}
	page, exists := string(data), everyProof(t)
	for _, name := range namedProof.FindAllString(page, -1) {
		if !exists[name] {
			t.Errorf("%s does not exist", name)
		}
	}
	rows := 0
	_, claims, _ := strings.Cut(page, "\n| claim |")
	for line := range strings.Lines(claims) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 4 || strings.HasPrefix(cells[1], "---") || cells[1] == " claim " || strings.TrimSpace(cells[1]) == "shown by" {
			continue
		}
		rows++
		proofs := namedProof.FindAllString(cells[2], -1)
		if len(proofs) == 0 {
			t.Errorf("nothing shows that %s", cells[1])
		}
		for _, id := range provenIDs.FindAllStringSubmatch(cells[1], -1) {
			if !strings.Contains(strings.Join(proofs, " "), id[1]) {
				t.Errorf("nothing that bears %s shows that %s", id[1], cells[1])
			}
		}
	}
	if rows < 20 {
		t.Errorf("only %d claims were looked at", rows)
	}
	for number := 51; number <= 66; number++ {
		if id := fmt.Sprintf("(H%d)", number); !strings.Contains(claims, id) {
			t.Errorf("%s is nowhere", id)
		}
	}
	for _, link := range pageLink.FindAllStringSubmatch(page, -1) {
		if _, err := os.Stat(filepath.Join(filepath.Dir(securityPage), filepath.FromSlash(link[1]))); err != nil {
			t.Errorf("link %s: %v", link[1], err)
		}
	}
}

// everyProof gives the tests of all packages, and the scripts.
func everyProof(t *testing.T) map[string]bool {
	t.Helper()
	found := make(map[string]bool)
	err := filepath.WalkDir("..", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		switch {
		case strings.HasSuffix(name, ".txtar"):
			found[entry.Name()] = true
		case strings.HasSuffix(name, "_test.go"):
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			for _, test := range testsOfFile.FindAllSubmatch(data, -1) {
				found[string(test[1])] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
