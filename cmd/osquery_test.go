package cmd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"prlagent/agent"
	"prlagent/platform/plist"
)

// osqueryTables are the columns that the queries of our pack may use, of osquery's own
// tables (osquery/osquery: specs/darwin/plist.table, specs/processes.table,
// specs/utility/file.table).
const osqueryTables = `
CREATE TABLE plist (key TEXT, subkey TEXT, value TEXT, path TEXT);
CREATE TABLE processes (pid BIGINT, path TEXT, uid BIGINT);
CREATE TABLE file (path TEXT, uid BIGINT, mode TEXT, symlink INTEGER);
`

// runOsquery runs a query of our pack where osquery is not: sqlite3 has the tables as
// osquery fills them on the script's Mac, where root has the daemon; with a PID and a UID
// a user runs its program besides. Rows are printed as JSON; none is [].
func runOsquery(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 && len(args) != 3 {
		ts.Fatalf("usage: osquery QUERY [PID UID]")
	}
	var pack struct {
		Queries map[string]struct{ Query string }
	}
	content, err := os.ReadFile(filepath.Join(ts.Getenv("DEPLOY"), "osquery", "prlagent.conf"))
	ts.Check(err)
	ts.Check(json.Unmarshal(content, &pack))
	query, known := pack.Queries[args[0]]
	if !known {
		ts.Fatalf("the pack has no query %s", args[0])
	}
	root, program := ts.Getenv("PRLAGENT_ROOT"), agent.SupportFolder+"/bin/prlagentd"
	script := osqueryTables
	snapshot := agent.SupportFolder + "/status.plist"
	for _, path := range []string{"/Library", "/Library/Application Support", agent.SupportFolder, snapshot, agent.SupportFolder + "/bin", program} {
		script += osqueryFile(root, path)
	}
	if running := stageOf(ts).running[agentName(root)]; running != nil {
		script += insertion("processes", strconv.Itoa(running.command.Process.Pid), program, "0")
	}
	if len(args) == 3 {
		script += insertion("processes", args[1], program, args[2])
	}
	if data, err := os.ReadFile(filepath.Join(root, snapshot)); err == nil {
		values, _ := plist.DecodeDict(data) // what is none has no rows
		for key, value := range values {
			for _, leaf := range osqueryLeaves("", value) {
				script += insertion("plist", key, leaf[0], leaf[1], snapshot)
			}
		}
	}
	command := exec.Command("sqlite3", "-json")
	command.Stdin = strings.NewReader(script + query.Query)
	output, err := command.CombinedOutput()
	if err != nil {
		ts.Fatalf("%v: %s", err, output)
	}
	if len(output) == 0 {
		output = []byte("[]\n")
	}
	_, err = ts.Stdout().Write(output)
	ts.Check(err)
}

// osqueryFile is the row of a file, by osquery/tables/utility/file.cpp: of what a link
// leads to, but that it is one. Whose the script's Mac is plays root there.
func osqueryFile(root, path string) string {
	var link, file unix.Stat_t
	if unix.Lstat(filepath.Join(root, path), &link) != nil {
		return ""
	}
	if unix.Stat(filepath.Join(root, path), &file) != nil {
		file = link
	}
	if file.Uid == uint32(os.Geteuid()) {
		file.Uid = 0
	}
	symlink := map[bool]string{true: "1", false: "0"}[link.Mode&unix.S_IFMT == unix.S_IFLNK]
	return insertion("file", path, strconv.FormatUint(uint64(file.Uid), 10), fmt.Sprintf("%04o", file.Mode&0o7777), symlink)
}

// osqueryLeaves are the subkeys and values of one key, as osquery's table plist has them
// (osquery/tables/system/darwin/preferences.cpp, filesystem/darwin/plist.mm): a step down
// is a slash, an element of an array has no name, a date is in seconds, a dictionary or
// array without anything in it is an empty value.
func osqueryLeaves(subkey string, value any) (leaves [][2]string) {
	below := func(name string, value any) {
		if subkey != "" {
			name = subkey + "/" + name
		}
		leaves = append(leaves, osqueryLeaves(name, value)...)
	}
	switch value := value.(type) {
	case map[string]any:
		for name, inner := range value {
			below(name, inner)
		}
	case []any:
		for _, inner := range value {
			below("", inner)
		}
	case bool:
		return [][2]string{{subkey, map[bool]string{true: "1", false: "0"}[value]}}
	case time.Time:
		return [][2]string{{subkey, strconv.FormatInt(value.Unix(), 10)}}
	default:
		return [][2]string{{subkey, fmt.Sprint(value)}}
	}
	if len(leaves) == 0 {
		return [][2]string{{subkey, ""}}
	}
	return leaves
}

// insertion puts a row into a table.
func insertion(table string, values ...string) string {
	words := slices.Clone(values)
	for i, value := range words {
		words[i] = "'" + strings.ReplaceAll(value, "'", "''") + "'"
	}
	return "INSERT INTO " + table + " VALUES (" + strings.Join(words, ", ") + ");\n"
}
