package cmd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "prlagent"

// room is what one part of the house may import beside the standard library:
// our own packages (a trailing /... takes the tree below) and third-party ones.
type room struct {
	ours   []string
	theirs []string
}

var (
	leaves   = []string{"platform/tool", "platform/plist", "platform/safefile"}
	machine  = append([]string{"platform", "platform/text", "prlctl", "store"}, leaves...)
	contract = []string{"agent/protocol", "agent/policy"}
)

// house are the arrows: who may import whom. A package without a row here
// does not know which room it lives in, and fails the test. The command line
// of the Mac and the daemon's start also use the contract itself, for its
// columns and codes.
var house = map[string]room{
	"platform/tool":            {nil, []string{"github.com/rs/zerolog", "golang.org/x/sys", "github.com/creack/pty"}},
	"platform/plist":           {nil, []string{"howett.net/plist"}},
	"platform/plist/plisttest": {[]string{"platform/plist"}, nil},
	"platform/safefile":        {nil, []string{"golang.org/x/sys"}},
	"platform/text":            {nil, []string{"golang.org/x/sys"}},
	"platform/text/collate":    {[]string{"platform/text"}, []string{"golang.org/x/text/unicode/norm"}}, // no part of the daemon, for its size
	"platform":                 {leaves, []string{"golang.org/x/sys", "golang.org/x/net/route"}},
	"prlctl":                   {leaves, nil},
	"launchd":                  {leaves, nil},
	"store":                    {[]string{"platform/safefile"}, []string{"go.etcd.io/bbolt", "github.com/rs/zerolog", "golang.org/x/sys"}},
	"store/storetest":          {nil, nil},
	"agent/protocol":           {nil, nil},
	"agent/policy":             {[]string{"agent/protocol", "prlctl"}, nil},
	"agent/trigger":            {[]string{"agent/protocol"}, nil}, // pure: the step of the loop
	"agent/watch":              {slices.Concat([]string{"agent/trigger"}, contract, machine), []string{"github.com/rs/zerolog", "github.com/fsnotify/fsnotify"}},
	"agent/outbox":             {slices.Concat(contract, machine), nil},
	"agent/enforce":            {slices.Concat([]string{"agent/outbox", "agent/lane"}, contract, machine), []string{"github.com/rs/zerolog"}},
	"agent/command":            {slices.Concat([]string{"agent/lane", "agent/outbox"}, contract, machine), []string{"github.com/rs/zerolog"}},
	"agent/lane":               {[]string{"agent/protocol"}, nil},
	"agent/inventory":          {slices.Concat([]string{"agent/lane"}, contract, machine), []string{"github.com/rs/zerolog"}},
	"agent/config":             {slices.Concat(contract, machine), []string{"github.com/rs/zerolog"}},
	"agent/checkin": {slices.Concat([]string{"agent/outbox"}, contract, machine),
		[]string{"github.com/rs/zerolog", "github.com/hashicorp/go-retryablehttp", "github.com/google/uuid"}},
	"agent/localapi": {slices.Concat(contract, machine), []string{"github.com/rs/zerolog", "golang.org/x/sys"}},
	"agent":          {slices.Concat([]string{"agent/..."}, machine), []string{"github.com/rs/zerolog"}},

	"cmd/prlagentd": {[]string{"cmd/prlagentd/..."}, nil},
	"cmd/prlagentd/daemon": {[]string{"agent", "agent/config", "agent/localapi", "agent/policy", "agent/protocol", "launchd", "platform/safefile", "platform/text", "platform/tool", "store"},
		[]string{"github.com/rs/zerolog", "github.com/kardianos/service"}},
	"cmd/prlagent": {[]string{"cmd/prlagent/..."}, nil},
	// The configuration is explained, and the portal tried, also while the daemon is
	// down, by the same code as the daemon's.
	"cmd/prlagent/cli": {[]string{"agent/checkin", "agent/config", "agent/localapi", "agent/policy", "agent/protocol", "launchd", "platform/...", "prlctl"}, []string{"github.com/spf13/cobra", "golang.org/x/sys"}},
	"cmd/prlportal":    {[]string{"cmd/prlportal/cli"}, nil},
	"cmd/prlportal/cli": {slices.Concat(portal("adminapi", "admins", "audit", "backup", "blobs", "content", "evidence", "fleet", "httpapi", "pkg", "profile", "query", "server", "site", "tree", "webhook"), contract, []string{"agent/config", "agent/policy/schema", "platform/plist", "platform/safefile", "platform/text", "platform/text/collate"}),
		[]string{"github.com/rs/zerolog", "github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/google/uuid"}},
	"cmd/prlportal/server": {slices.Concat(portal("adminapi", "admins", "agentapi", "audit", "backup", "blobs", "fleet", "httpapi", "limit", "metrics", "site", "storage", "webhook"), []string{"agent/protocol", "platform/safefile"}),
		[]string{"github.com/rs/zerolog"}},
	"cmd/prlportal/blobs": {[]string{"agent/protocol"}, nil},
	"cmd/prlportal/agentapi": {slices.Concat(portal("blobs", "httpapi", "limit", "secret", "site", "storage"), []string{"agent/protocol", "platform/text"}), // no query: an agent asks for nothing of another
		[]string{"github.com/rs/zerolog", "github.com/google/uuid"}},
	"cmd/prlportal/adminapi": {slices.Concat(portal("admins", "audit", "backup", "blobs", "content", "evidence", "fleet", "httpapi", "limit", "metrics", "query", "site", "storage", "webhook"), []string{"agent/policy", "agent/protocol", "platform/text"}), []string{"github.com/google/uuid", "github.com/rs/zerolog"}},
	"cmd/prlportal/admins":   {slices.Concat(portal("secret"), []string{"platform/safefile"}), nil},
	"cmd/prlportal/audit":    {[]string{"agent/protocol", "platform/text"}, nil},
	"cmd/prlportal/backup":   {portal("site", "storage"), nil},
	"cmd/prlportal/evidence": {slices.Concat(portal("audit", "site", "storage"), []string{"agent/protocol", "platform/text"}), nil},
	"cmd/prlportal/content":  {slices.Concat(portal("site", "tree"), contract), nil},
	"cmd/prlportal/pkg":      {[]string{"launchd", "platform/plist", "platform/safefile"}, nil},                                                                                                                  // packages for Macs: nothing of a portal
	"cmd/prlportal/profile":  {[]string{"agent/config", "agent/protocol", "launchd", "platform", "platform/plist", "platform/text", "prlctl"}, []string{"github.com/google/uuid", "github.com/smallstep/pkcs7"}}, // settings are checked by the agent's own reader; signing is in no program of the Mac
	"cmd/prlportal/fleet":    {slices.Concat(portal("query", "storage"), []string{"agent/policy", "agent/protocol"}), nil},
	"cmd/prlportal/httpapi":  {[]string{"agent/protocol", "cmd/prlportal/limit", "platform/text"}, []string{"github.com/rs/zerolog"}},
	"cmd/prlportal/metrics":  {nil, nil},                                                                  // pure: numbers and their text
	"cmd/prlportal/query":    {[]string{"agent/protocol", "platform/text", "platform/text/collate"}, nil}, // pure: columns and cells
	"cmd/prlportal/site":     {slices.Concat(portal("admins", "secret"), []string{"agent/protocol", "platform/safefile"}), []string{"github.com/google/uuid"}},
	"cmd/prlportal/storage":  {slices.Concat(portal("secret"), []string{"agent/protocol"}), []string{"go.etcd.io/bbolt"}},
	"cmd/prlportal/secret":   {nil, nil},
	"cmd/prlportal/tree":     {contract, []string{"go.yaml.in/yaml/v4"}}, // pure but for the folder that it is given
	"cmd/prlportal/webhook":  {slices.Concat(portal("fleet", "site", "storage"), []string{"agent/protocol", "platform/text"}), []string{"github.com/rs/zerolog", "github.com/google/uuid"}},
	"cmd/prlportal/limit":    {nil, []string{"golang.org/x/time/rate"}},
	// What only tests import.
	"cmd/prlportal/storage/storagetest": {slices.Concat(portal("secret", "storage"), []string{"agent/protocol"}), []string{"github.com/google/go-cmp"}},
	"cmd/prlportal/portaltest": {slices.Concat(portal("adminapi", "admins", "audit", "backup", "fleet", "server", "site", "storage", "webhook"), []string{"agent/protocol"}),
		[]string{"github.com/getkin/kin-openapi", "github.com/google/uuid", "github.com/rs/zerolog"}},
	"cmd/prlportal/portaltest/hostile": {nil, nil},
	"cmd/prlportal/pkg/pkgtest":        {nil, nil},
	"cmd/prlsim/simtest":               {nil, []string{"golang.org/x/sys"}},
	"cmd/prlsim":                       {[]string{"cmd/prlsim/..."}, nil},
	"cmd/prlsim/sim":                   {[]string{"platform/plist", "platform/text"}, []string{"github.com/spf13/cobra", "golang.org/x/sys", "golang.org/x/text/unicode/norm"}},
	"cmd/prlsim/demo":                  {[]string{"platform/plist"}, []string{"github.com/spf13/cobra", "golang.org/x/sys"}},
	// platform/tool for the types of prlctl's Runner; the simulator is only run.
	"cmd/prlsim/replay": {[]string{"platform/text", "platform/tool", "prlctl"}, []string{"github.com/spf13/cobra"}},

	// No program of the Mac has the policy's schema.
	"agent/policy/schema": {[]string{"agent/policy"}, []string{"github.com/google/jsonschema-go"}},
}

// portal gives the portal's own packages below its folder. The two planes do
// not know each other; they meet in server, over one database.
func portal(names ...string) []string {
	paths := make([]string, 0, len(names))
	for _, name := range names {
		paths = append(paths, "cmd/prlportal/"+name)
	}
	return paths
}

func TestImportArrows(t *testing.T) {
	t.Parallel()
	for _, system := range []string{"linux", "darwin"} {
		t.Run(system, func(t *testing.T) {
			t.Parallel()
			for _, listed := range packagesOn(t, system) {
				name := strings.TrimPrefix(strings.TrimPrefix(listed.ImportPath, module), "/")
				if len(listed.GoFiles) == 0 {
					continue // tests only
				}
				allowed, known := house[name]
				if !known {
					t.Errorf("%s has no room in the house", listed.ImportPath)
					continue
				}
				for _, imported := range listed.Imports {
					if !allowed.permits(imported) {
						t.Errorf("%s imports %s: there is no such arrow", listed.ImportPath, imported)
					}
				}
			}
		})
	}
}

// The step of the loop is pure: nothing it imports reads a file, a network, a
// process or a clock that is not its argument.
func TestTheStepDoesNoIO(t *testing.T) {
	t.Parallel()
	pure := []string{"cmp", "encoding/binary", "fmt", "hash/fnv", "maps", "slices", "strings", "time", module + "/agent/protocol"}
	for _, listed := range packagesOn(t, "linux") {
		if listed.ImportPath != module+"/agent/trigger" {
			continue
		}
		for _, imported := range listed.Imports {
			if !slices.Contains(pure, imported) {
				t.Errorf("%s imports %s", listed.ImportPath, imported)
			}
		}
		return
	}
	t.Fatal("there is no agent/trigger")
}

func (r room) permits(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	if first != module && !strings.Contains(first, ".") {
		return true // the standard library
	}
	if local, ours := strings.CutPrefix(imported, module+"/"); ours {
		return slices.ContainsFunc(r.ours, func(pattern string) bool {
			tree, all := strings.CutSuffix(pattern, "/...")
			return local == pattern || all && (local == tree || strings.HasPrefix(local, tree+"/"))
		})
	}
	return slices.ContainsFunc(r.theirs, func(theirs string) bool {
		return imported == theirs || strings.HasPrefix(imported, theirs+"/")
	})
}

// TestTopLevel holds the owner's list of top-level entries.
func TestTopLevel(t *testing.T) {
	t.Parallel()
	allowed := []string{"cmd", "agent", "platform", "prlctl", "store", "launchd", "testdata", "go.mod", "go.sum", "README.md"}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !slices.Contains(allowed, entry.Name()) && !strings.HasPrefix(entry.Name(), ".") {
			t.Errorf("%s does not belong at the top level", path.Base(entry.Name()))
		}
	}
}

type listedPackage struct {
	ImportPath string
	GoFiles    []string
	Imports    []string
}

func packagesOn(t *testing.T, system string) []listedPackage {
	t.Helper()
	command := exec.Command("go", "list", "-json=ImportPath,GoFiles,Imports", module+"/...")
	command.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
	output, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []listedPackage
	decoder := json.NewDecoder(bytes.NewReader(output))
	for {
		var listed listedPackage
		err := decoder.Decode(&listed)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		packages = append(packages, listed)
	}
}
