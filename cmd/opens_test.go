package cmd_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rootPrograms are the trees whose code runs as root on a Mac.
var rootPrograms = []string{"agent", "cmd/prlagent", "cmd/prlagentd", "launchd", "platform", "prlctl", "store"}

// safeRoom is where files are opened for all others: relative to a folder that
// was looked at, without following a link (H53).
const safeRoom = "platform/safefile"

// directOpens are the functions that open, make, remove or change what is at a
// path.
var directOpens = map[string][]string{
	"os": {"Open", "OpenFile", "OpenInRoot", "OpenRoot", "Create", "CreateTemp", "WriteFile", "ReadFile", "ReadDir", "Rename", "Remove",
		"RemoveAll", "Mkdir", "MkdirAll", "MkdirTemp", "Chmod", "Chown", "Lchown", "Chtimes", "Symlink", "Link", "Truncate", "CopyFS", "DirFS"},
	"golang.org/x/sys/unix": {"Open", "Openat", "Openat2", "Creat", "Rename", "Renameat", "Renameat2", "Unlink", "Unlinkat", "Mkdir", "Mkdirat",
		"Mkfifo", "Chmod", "Fchmodat", "Chown", "Lchown", "Fchownat", "Symlink", "Symlinkat", "Link", "Linkat", "Truncate", "Utimes", "Mknod", "Clonefile"},
	"syscall":                          {"Open", "Creat", "Rename", "Unlink", "Mkdir", "Rmdir", "Mkfifo", "Chmod", "Chown", "Lchown", "Symlink", "Link", "Truncate", "Mknod"},
	"path/filepath":                    {"Walk", "WalkDir", "Glob"},
	"net":                              {"ListenUnix", "ListenUnixgram", "Listen"},
	"go.etcd.io/bbolt":                 {"Open"},
	"io/ioutil":                        {"ReadFile", "WriteFile", "ReadDir", "TempFile", "TempDir"},
	module + "/platform/safefile":      {"ReadFile", "ReadOwnedFile", "WriteFile"}, // these look at the last folder at most
	"gopkg.in/natefinch/lumberjack.v2": {"Logger"},
}

// allowedOpens are those outside the room, each with why it may be there.
var allowedOpens = map[string]map[string]string{
	"agent/agent.go": {
		"os.MkdirAll": "the folder of the socket, which every Mac has; for simulated ones",
		"os.Remove":   "removes a name in our own folder, and opens nothing",
	},
	"agent/localapi/snapshot.go": {"safefile.ReadFile": "the command line reads, as whoever runs it, what everybody may read"},
	"agent/localapi/socket.go": {
		"net.ListenUnix": "a socket is bound by its path only",
		"unix.Fchmodat":  "the socket's own mode, without following a link",
		"os.Chmod":       "the same on a Linux that cannot",
		"os.Remove":      "removes the name itself: our socket, or one that nobody answers",
	},
	"agent/watch/filewatch.go":      {"os.Open": "counts the names in a folder, opens none of them"},
	"cmd/prlagent/cli/lint.go":      {"os.Open": "reads the file that a person named to the command, and nothing else"},
	"cmd/prlagentd/daemon/look.go":  installsBelowRoot,
	"cmd/prlagentd/daemon/owned.go": {"os.OpenRoot": "removes names and opens no file, in folders that safefile accepts; beside these a link and a socket, whose folders may be others'"},
	"platform/awake_linux.go":       {"safefile.ReadFile": kernelFiles},
	"platform/fileanswers.go":       {"safefile.ReadOwnedFile": "runs with the user's uid (H11)"},
	"platform/heldfiles.go":         {"unix.Openat": "runs with the user's uid (H11); as root only the folder itself that a descriptor is of"},
	"platform/heldfiles_linux.go":   {"unix.Openat": "the folder itself that a descriptor is of"},
	"platform/host.go":              {"safefile.ReadFile": "facts: the version of macOS, on the sealed volume"},
	"platform/kernelcall.go":        {"safefile.ReadFile": "facts: the version in the application's bundle, which decides nothing"},
	"platform/leftovers_linux.go":   {"os.ReadFile": kernelFiles},
	"platform/network_resolvers.go": {"safefile.ReadFile": "facts: the resolvers, which are compared only"},
	"platform/processes_linux.go":   {"os.ReadFile": kernelFiles, "os.Open": kernelFiles, "unix.Open": kernelFiles, "unix.Openat": kernelFiles},
	"platform/space.go":             {"filepath.WalkDir": "runs with the user's uid (H11), and opens no file"},
	"platform/processname_linux.go": {"os.ReadFile": kernelFiles},
	"store/database.go":             {"bbolt.Open": "gets a file that is open, through its option OpenFile"},
}

var installsBelowRoot = map[string]string{
	"os.MkdirAll": onlyBelowRoot, "os.Remove": onlyBelowRoot, "os.Link": onlyBelowRoot, "os.Rename": onlyBelowRoot,
	"os.Open": onlyBelowRoot, "os.OpenFile": onlyBelowRoot,
}

const kernelFiles = "the kernel's own files; no Mac has them"

const onlyBelowRoot = "with --root only, where the owner of the folder plays root"

// H53: what runs as root opens its files in one room. A new direct open fails
// here, and so does a row of the table for one that is gone.
func TestH53_RootOpensFilesInOneRoom(t *testing.T) {
	t.Parallel()
	unused := make(map[string]bool)
	for file, rows := range allowedOpens {
		for name := range rows {
			unused[file+": "+name] = true
		}
	}
	files := 0
	eachRootSource(t, func(name, local string) {
		if path.Dir(local) == safeRoom {
			return
		}
		files++
		for _, found := range directOpensIn(t, name) {
			delete(unused, local+": "+found)
			if allowedOpens[local][found] == "" {
				t.Errorf("%s uses %s: use a safefile.Folder, or say in allowedOpens why not", local, found)
			}
		}
	})
	for row := range unused {
		t.Errorf("%s is allowed, and gone", row)
	}
	if files < 100 {
		t.Errorf("only %d files were looked at", files)
	}
}

// eachRootSource visits the sources of what runs as root, but for tests: by the name
// that opens one here, and by its path in the tree.
func eachRootSource(t *testing.T, visit func(name, local string)) {
	t.Helper()
	for _, tree := range rootPrograms {
		err := filepath.WalkDir(filepath.Join("..", filepath.FromSlash(tree)), func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			visit(name, strings.TrimPrefix(filepath.ToSlash(name), "../"))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// directOpensIn gives the direct opens that a file names, called or not. All
// systems' files are read: what a build leaves out runs elsewhere.
func directOpensIn(t *testing.T, name string) (found []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	imported := make(map[string]string)
	for _, one := range parsed.Imports {
		location, _ := strconv.Unquote(one.Path.Value)
		local := path.Base(location)
		if one.Name != nil {
			local = one.Name.Name
		}
		if local == "." && directOpens[location] != nil {
			t.Errorf("%s imports %s without its name", name, location)
		}
		imported[local] = location
	}
	ast.Inspect(parsed, func(node ast.Node) bool {
		selector, is := node.(*ast.SelectorExpr)
		if !is {
			return true
		}
		if of, is := selector.X.(*ast.Ident); is {
			location := imported[of.Name]
			if slices.Contains(directOpens[location], selector.Sel.Name) {
				found = append(found, path.Base(location)+"."+selector.Sel.Name)
			}
		}
		return true
	})
	return found
}
