// Package audit is the portal's record of what administrators decided: a file of
// one JSON object a line, which is only ever added to. It lies beside the
// database and not in it, so that it outlives a database that is put back (H30).
package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"
)

// Actions.
const (
	ActionApprove = "approve"
	ActionReject  = "reject"
	ActionRetire  = "retire"

	ActionAddAdmin    = "add_admin"
	ActionRevokeAdmin = "revoke_admin"
	ActionBackup      = "backup"
	ActionPublish     = "publish"
)

// Outcomes.
const (
	OutcomeDecided = "decided" // it is about to be kept
	OutcomeFailed  = "failed"  // it could not be kept; the line before has what
)

// Entry is one decision.
type Entry struct {
	At         time.Time `json:"at"`
	Action     string    `json:"action"`
	Outcome    string    `json:"outcome"`
	DeviceID   string    `json:"device_id,omitempty"`
	MacSerial  string    `json:"mac_serial,omitempty"`
	KeyIDs     []string  `json:"key_ids,omitempty"`
	Supersedes []string  `json:"supersedes,omitempty"` // ids of devices that it retires
	Groups     []string  `json:"groups,omitempty"`     // whose heads were published
	Source     string    `json:"source"`               // network address that it came from
	Name       string    `json:"name,omitempty"`       // of the admin that it is about
	Role       string    `json:"role,omitempty"`       // of that admin
	Admin      string    `json:"admin,omitempty"`      // who decided, by their token
	By         string    `json:"by,omitempty"`         // account of the operator, as the operator's machine says
	Reason     string    `json:"reason,omitempty"`
}

// Log adds to one file. It is safe for concurrent use.
type Log struct {
	mutex sync.Mutex
	file  *os.File
}

// Open opens or makes the file at path, with mode 0600; it is no link.
func Open(path string) (*Log, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrInvalid
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open audit log: %w", err), file.Close())
	}
	return &Log{file: file}, nil
}

// Close closes the file.
func (l *Log) Close() error { return l.file.Close() }

// Append adds a line and waits until it is on disk. What a crash or a full disk
// left of a line before ends there.
func (l *Log) Append(entry Entry) error {
	line, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("encode audit entry: %w", err)
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.isCut() {
		line = append([]byte{'\n'}, line...)
	}
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write audit log: %w", err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("write audit log: %w", err)
	}
	return nil
}

// isCut reports whether the file does not end with the end of a line.
func (l *Log) isCut() bool {
	info, err := l.file.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	last := make([]byte, 1)
	_, err = l.file.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}
