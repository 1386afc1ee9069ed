package sim

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// processEntry is what /proc says of one process.
type processEntry struct {
	pid, parent int
	program     string // on this disk; empty where it may not be read
	arguments   []string
	environment []string
}

// ownProcesses lists the processes of the Mac: those whose program lies in its
// folder, the agents that run for it, and all that these have started. The
// console's own process is none.
func (m Mac) ownProcesses() ([]int, error) {
	table, err := processTable()
	if err != nil {
		return nil, err
	}
	folder, err := filepath.EvalSymlinks(m.Dir)
	if err != nil {
		return nil, fmt.Errorf("find folder of the Mac: %w", err)
	}
	ours := map[int]bool{}
	for _, entry := range table {
		ours[entry.pid] = entry.liesIn(folder) || entry.isAgentOf(folder)
	}
	for grown := true; grown; {
		grown = false
		for _, entry := range table {
			if !ours[entry.pid] && ours[entry.parent] {
				ours[entry.pid], grown = true, true
			}
		}
	}
	var pids []int
	for _, entry := range table {
		if ours[entry.pid] && entry.pid != os.Getpid() {
			pids = append(pids, entry.pid)
		}
	}
	return pids, nil
}

func (e processEntry) liesIn(folder string) bool {
	return strings.HasPrefix(e.program, folder+"/") ||
		len(e.arguments) > 0 && strings.HasPrefix(e.arguments[0], folder+"/")
}

// isAgentOf reports whether the process is an agent for the folder: a flag stands
// over the variable.
func (e processEntry) isAgentOf(folder string) bool {
	if len(e.arguments) == 0 || filepath.Base(e.arguments[0]) != agentProgram {
		return false
	}
	root := ""
	for _, variable := range e.environment {
		if value, is := strings.CutPrefix(variable, agentRootVariable+"="); is {
			root = value
		}
	}
	for i, argument := range e.arguments {
		if value, is := strings.CutPrefix(argument, agentRootFlag+"="); is {
			root = value
		} else if argument == agentRootFlag && i+1 < len(e.arguments) {
			root = e.arguments[i+1]
		}
	}
	resolved, err := filepath.EvalSymlinks(root)
	return root != "" && err == nil && resolved == folder
}

func processTable() ([]processEntry, error) {
	names, err := filepath.Glob("/proc/[1-9]*")
	if err != nil {
		return nil, fmt.Errorf("read process table: %w", err)
	}
	var table []processEntry
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			continue
		}
		parent, err := parentOf(name)
		if err != nil {
			continue // it ended meanwhile
		}
		program, _ := os.Readlink(filepath.Join(name, "exe")) // not of other users' processes
		table = append(table, processEntry{pid, parent, program, readStrings(name, "cmdline"), readStrings(name, "environ")})
	}
	return table, nil
}

// parentOf reads the second field behind the program's name, which can hold
// anything.
func parentOf(folder string) (int, error) {
	line, err := os.ReadFile(filepath.Join(folder, "stat"))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(line[strings.LastIndexByte(string(line), ')')+1:]))
	if len(fields) < 2 {
		return 0, fmt.Errorf("read %s: cut short", folder)
	}
	return strconv.Atoi(fields[1])
}

func readStrings(folder, file string) []string {
	content, err := os.ReadFile(filepath.Join(folder, file))
	if err != nil || len(content) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(content), "\x00"), "\x00")
}
