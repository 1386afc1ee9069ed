package demo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// tableRow is one line of the guide's table, as both command lines print it.
type tableRow struct {
	User     string            `json:"user_name"`
	Name     string            `json:"vm_name"`
	ID       string            `json:"vm_id"`
	State    string            `json:"vm_state"`
	Status   string            `json:"vm_status"`
	LastUsed string            `json:"last_used"`
	Stale    string            `json:"stale"`
	SeenBy   []string          `json:"seen_by"`
	Gaps     map[string]string `json:"gaps"`
}

// checkinResult is how a check-in ended.
type checkinResult struct {
	Code string `json:"code"`
	Pass struct {
		Number   int `json:"number"`
		Requests int `json:"requests"`
		Sent     int `json:"sent_bytes"`
		ToolRuns int `json:"tool_runs"`
		Commits  int `json:"commits"`
	} `json:"pass"`
}

// daemonStatus is what the demo reads of the daemon's status.
type daemonStatus struct {
	Daemon struct {
		PID     int  `json:"pid"`
		Running bool `json:"running"`
	} `json:"daemon"`
	Health struct {
		State      string `json:"state"`
		Conditions []struct {
			Code string `json:"code"`
		} `json:"conditions"`
	} `json:"health"`
	Portal struct {
		Enrollment string `json:"enrollment"`
		DeviceID   string `json:"device_id"`
		KeyID      string `json:"key_id"`
		Sequence   uint64 `json:"sequence"`
	} `json:"portal"`
	Store struct {
		Outcome string `json:"outcome"`
		Epoch   string `json:"epoch"`
	} `json:"store"`
}

// hasCondition reports whether a condition with the code is open.
func (s daemonStatus) hasCondition(code string) bool {
	for _, condition := range s.Health.Conditions {
		if condition.Code == code {
			return true
		}
	}
	return false
}

// portalTable is the portal's table.
func (s *demoRun) portalTable() ([]tableRow, error) {
	var answer struct {
		VMs []tableRow `json:"vms"`
	}
	err := s.readJSON(&answer, "prlportal", "vms", "--dir", s.portalFolder, "--json")
	return answer.VMs, err
}

// portalRow is one machine in the portal's table.
func (s *demoRun) portalRow(id, user string) (tableRow, error) {
	rows, err := s.portalTable()
	if err != nil {
		return tableRow{}, err
	}
	for _, found := range rows {
		if found.ID == id && found.User == user {
			return found, nil
		}
	}
	return tableRow{}, fmt.Errorf("the portal has no row of virtual machine %s of %s", id, user)
}

// readStatus asks the daemon for its status.
func (s *demoRun) readStatus() (daemonStatus, error) {
	var answer daemonStatus
	err := s.readJSON(&answer, "prlagent", "status", "--json")
	return answer, err
}

// checkIn runs a check-in that must succeed.
func (s *demoRun) checkIn() (checkinResult, error) {
	s.narrator.printCommand("prlagent", []string{"checkin", "--wait"})
	var answer checkinResult
	if err := s.readJSON(&answer, "prlagent", "checkin", "--wait", "--json"); err != nil {
		return answer, err
	}
	if answer.Code != "" {
		return answer, fmt.Errorf("the check-in failed: %s", answer.Code)
	}
	return answer, nil
}

// runSim runs a command of prlsim on the simulated Mac.
func (s *demoRun) runSim(args ...string) error {
	_, err := s.mustRun("prlsim", append(args, "--mac", s.macFolder)...)
	return err
}

// checkThat makes a failed check an error that says what was seen.
func checkThat(holds bool, format string, args ...any) error {
	if holds {
		return nil
	}
	return fmt.Errorf("not as promised: "+format, args...)
}

// countOpenPorts counts the network ports on which a process listens, read from
// the kernel's own tables; an error where there is no /proc.
func countOpenPorts(pid int) (int, error) {
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return 0, fmt.Errorf("read open files: %w", err)
	}
	sockets := make(map[string]bool)
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join(folder, entry.Name()))
		if err == nil && strings.HasPrefix(target, "socket:[") {
			sockets[strings.Trim(target, "socket:[]")] = true
		}
	}
	count := 0
	var failures []error
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		found, err := countListening(fmt.Sprintf("/proc/%d/net/%s", pid, table), sockets)
		count += found
		failures = append(failures, err)
	}
	return count, errors.Join(failures...)
}

// States of a socket in /proc/net (man page proc(5)): a listening TCP socket,
// and a UDP socket that is bound and not connected.
var openSocketStates = map[string]bool{"0A": true, "07": true}

func countListening(table string, sockets map[string]bool) (int, error) {
	data, err := os.ReadFile(table)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil // a kernel without that protocol
	}
	if err != nil {
		return 0, fmt.Errorf("read open ports: %w", err)
	}
	count := 0
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) > 9 && openSocketStates[fields[3]] && sockets[fields[9]] {
			count++
		}
	}
	return count, nil
}
