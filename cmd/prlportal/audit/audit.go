// Package audit is the portal's record of what administrators decided: a file of
// one JSON object a line, which is only ever added to. It lies beside the
// database and not in it, so that it outlives a database that is put back (H30).
//
// Each line names the hash of everything before it, so that a line which was changed,
// taken out or put in between is seen. What was taken off the end is seen where the
// newest hash is known elsewhere: the database has it, and a person can write it down.
package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform/text"
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

	ActionCommand        = "command"
	ActionApproveCommand = "approve_command"
	ActionCancelCommand  = "cancel_command"
	ActionConfirmCommand = "confirm_command"
	ActionConfirm        = "confirm" // a device that is ahead of the portal
	ActionCommandKeys    = "command_keys"

	// ActionLogChanged notes that the log was found changed when the portal began to serve.
	ActionLogChanged = "log_changed"
)

// Outcomes.
const (
	OutcomeDecided = "decided" // it is about to be kept
	OutcomeFailed  = "failed"  // it could not be kept; a line before has what
	OutcomeFound   = "found"   // nobody decided it
)

// Entry is one decision.
type Entry struct {
	Number     uint64    `json:"n,omitempty"`     // of the line, from 1; set by Append
	Chain      string    `json:"chain,omitempty"` // hash of all lines before; set by Append
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
	Lost       bool      `json:"lost,omitempty"`    // the device was given up with what it holds
	Command    *Command  `json:"command,omitempty"` // that it is about
}

// Command is what the record has of a command: enough to know it again where the
// database was put back to a time before it.
type Command struct {
	ID        string                 `json:"id"`
	Type      string                 `json:"type"`
	Target    protocol.CommandTarget `json:"target,omitzero"`
	IssuedBy  string                 `json:"issued_by,omitempty"`
	IssuedAt  time.Time              `json:"issued_at,omitzero"`
	ExpiresAt time.Time              `json:"expires_at,omitzero"`
	SHA256    string                 `json:"sha256,omitempty"` // of the payload
}

// Log adds to one file. It is safe for concurrent use, also by another process that does as
// it does.
type Log struct {
	mutex sync.Mutex
	file  *os.File
	flush func(*os.File) error
	mark  Mark
	size  int64 // of the file up to mark; where it has another, mark is to be read anew
}

// Open opens or makes the file at path, with mode 0600; it is no link.
func Open(path string) (*Log, error) { return OpenWithFlush(path, (*os.File).Sync) }

// OpenWithFlush is Open with another function that flushes the file, and the name of the
// file in its folder, to the disk, which may count it.
func OpenWithFlush(path string, flush func(*os.File) error) (*Log, error) {
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
	log := &Log{file: file, flush: flush}
	if err := errors.Join(flushFolder(path, flush), log.readMark()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return log, nil
}

// flushFolder makes sure that a power loss takes no new file away with all its lines.
func flushFolder(path string, flush func(*os.File) error) error {
	folder, err := os.Open(filepath.Dir(path))
	if err == nil {
		err = errors.Join(flush(folder), folder.Close())
	}
	if err != nil {
		return fmt.Errorf("open audit log: %w", err)
	}
	return nil
}

// readMark reads the whole file.
func (l *Log) readMark() error {
	info, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("read audit log: %w", err)
	}
	chain := chain{}
	if err := eachLine(io.NewSectionReader(l.file, 0, info.Size()), func(line []byte) error {
		chain.add(line)
		return nil
	}); err != nil {
		return err
	}
	l.mark, l.size = chain.mark(), info.Size()
	return nil
}

// Mark is the newest line, by which a copy of it elsewhere knows it again.
func (l *Log) Mark() Mark {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.mark
}

// Close closes the file.
func (l *Log) Close() error { return l.file.Close() }

// Append adds a line and waits until it is on disk. What a crash or a full disk
// left of a line before ends there.
func (l *Log) Append(entry Entry) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock audit log: %w", err)
	}
	defer func() { _ = syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN) }() // closing it would, too
	if info, err := l.file.Stat(); err != nil || info.Size() != l.size {
		if err := l.readMark(); err != nil {
			return err
		}
	}
	entry.Number, entry.Chain = l.mark.Number+1, l.mark.Hash
	line, err := text.EncodeJSON(entry, "", "") // people look at it (H15)
	if err != nil {
		return fmt.Errorf("encode audit entry: %w", err)
	}
	if len(line) > maxEntry {
		return fmt.Errorf("encode audit entry: it has %d bytes, at most %d are read again", len(line), maxEntry)
	}
	written := append(slices.Clone(line), '\n')
	if l.isCut() {
		written = append([]byte{'\n'}, written...)
	}
	if _, err := l.file.Write(written); err != nil {
		return fmt.Errorf("write audit log: %w", err) // what of it is there makes the file longer
	}
	l.mark, l.size = l.mark.after(line), l.size+int64(len(written))
	if err := l.flush(l.file); err != nil {
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
