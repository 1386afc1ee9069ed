// Package blobs keeps what Macs upload on request, such as support bundles, as files
// beside the portal's database: for a command, within quotas, and for a time.
package blobs

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"prlagent/agent/protocol"
)

// Bounds of what is kept.
const (
	MaxAge         = 30 * 24 * time.Hour
	MaxDeviceBytes = 3 * protocol.MaxBlob // of one device; its oldest make room for its newest
	MaxBytes       = 4 << 30              // of all
)

// Errors of an upload.
var (
	ErrName   = errors.New("the name is no SHA-256, or the command's or device's is none")
	ErrDigest = errors.New("the content has another SHA-256")
	ErrLarge  = errors.New("the content is larger than it may be")
	ErrFull   = errors.New("there is no room for more")
)

// Blob is one upload.
type Blob struct {
	SHA256 string    `json:"sha256"`
	Size   int64     `json:"size"`
	At     time.Time `json:"at"` // when it was taken
}

// Folder keeps blobs. It is safe for concurrent use by one process.
type Folder struct {
	path     string
	most     int64 // MaxBytes, but in tests
	mutex    sync.Mutex
	reserved int64 // of uploads that are under way
}

// New uses a folder, which is made with the first blob.
func New(path string) *Folder { return &Folder{path: path, most: MaxBytes} }

// kept is a file of the folder.
type kept struct {
	Blob
	path      string
	commandID string
}

// suffix is of every file that is whole.
const suffix = ".blob"

// Put takes in the content of size bytes for a command of a device. It has the name only
// once it is whole, on disk, and of that SHA-256; another one of the command is replaced.
// What is older than MaxAge goes, and what of the device's there is no room for.
func (f *Folder) Put(deviceID, commandID, sum string, content io.Reader, size int64, now time.Time) (Blob, error) {
	if !protocol.ValidName(deviceID) || !protocol.ValidName(commandID) || !isSum(sum) {
		return Blob{}, ErrName
	}
	if size < 0 || size > protocol.MaxBlob {
		return Blob{}, ErrLarge
	}
	if err := f.reserve(deviceID, commandID, size, now); err != nil {
		return Blob{}, err
	}
	defer f.release(size)
	folder := filepath.Join(f.path, deviceID)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return Blob{}, fmt.Errorf("keep blob: %w", err)
	}
	file, err := os.CreateTemp(folder, ".new-*") // 0600
	if err != nil {
		return Blob{}, fmt.Errorf("keep blob: %w", err)
	}
	err = receive(file, content, sum, size)
	if err = errors.Join(err, file.Close()); err != nil {
		return Blob{}, errors.Join(err, os.Remove(file.Name()))
	}
	return f.name(file.Name(), deviceID, commandID, Blob{SHA256: sum, Size: size, At: now})
}

// receive copies the content and compares its sum before anything believes in it.
func receive(file *os.File, content io.Reader, sum string, size int64) error {
	hash := sha256.New()
	written, err := io.Copy(io.MultiWriter(file, hash), io.LimitReader(content, size+1))
	switch {
	case err != nil:
		return fmt.Errorf("receive blob: %w", err)
	case written != size || hex.EncodeToString(hash.Sum(nil)) != sum:
		return ErrDigest
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("keep blob: %w", err)
	}
	return nil
}

// name gives a file that is whole its name, and takes the other ones of the command away.
func (f *Folder) name(temporary, deviceID, commandID string, blob Blob) (Blob, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	path := filepath.Join(f.path, deviceID, commandID+"_"+blob.SHA256+suffix)
	if err := errors.Join(os.Chtimes(temporary, blob.At, blob.At), os.Rename(temporary, path)); err != nil {
		return Blob{}, errors.Join(fmt.Errorf("keep blob: %w", err), os.Remove(temporary))
	}
	others, err := f.list(deviceID)
	for _, other := range others {
		if other.commandID == commandID && other.path != path {
			err = errors.Join(err, os.Remove(other.path))
		}
	}
	return blob, err
}

// reserve makes room: what is too old goes, then the oldest of the device's own. No device
// makes another's go.
func (f *Folder) reserve(deviceID, commandID string, size int64, now time.Time) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if err := f.prune(now); err != nil {
		return err
	}
	own, err := f.list(deviceID)
	if err != nil {
		return err
	}
	total := sizeOf(own) + size
	for _, one := range own {
		if total <= MaxDeviceBytes {
			break
		}
		if one.commandID == commandID { // goes when the new one is whole
			continue
		}
		if err := os.Remove(one.path); err != nil {
			return fmt.Errorf("make room: %w", err)
		}
		total -= one.Size
	}
	all, err := f.listAll()
	if err != nil {
		return err
	}
	if sizeOf(all)+f.reserved+size > f.most {
		return ErrFull
	}
	f.reserved += size
	return nil
}

func (f *Folder) release(size int64) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.reserved -= size
}

// Prune takes away what is older than MaxAge, and what broke off.
func (f *Folder) Prune(now time.Time) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.prune(now)
}

func (f *Folder) prune(now time.Time) error {
	all, err := f.listAll()
	for _, one := range all {
		if now.Sub(one.At) >= MaxAge {
			err = errors.Join(err, os.Remove(one.path))
		}
	}
	if f.reserved > 0 { // a file without its name may be of an upload that is under way
		return err
	}
	broken, _ := filepath.Glob(filepath.Join(f.path, "*", ".new-*"))
	for _, path := range broken {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// Find is the blob of a command; fs.ErrNotExist if there is none, or none any more.
func (f *Folder) Find(deviceID, commandID string, now time.Time) (Blob, error) {
	one, err := f.find(deviceID, commandID, now)
	return one.Blob, err
}

// Open opens the blob of a command; fs.ErrNotExist as Find.
func (f *Folder) Open(deviceID, commandID string, now time.Time) (*os.File, Blob, error) {
	one, err := f.find(deviceID, commandID, now)
	if err != nil {
		return nil, Blob{}, err
	}
	file, err := os.Open(one.path)
	return file, one.Blob, err
}

func (f *Folder) find(deviceID, commandID string, now time.Time) (kept, error) {
	if !protocol.ValidName(deviceID) {
		return kept{}, fs.ErrNotExist
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	own, err := f.list(deviceID)
	if err != nil {
		return kept{}, err
	}
	for _, one := range slices.Backward(own) {
		if one.commandID == commandID && now.Sub(one.At) < MaxAge {
			return one, nil
		}
	}
	return kept{}, fs.ErrNotExist
}

// list are a device's blobs, oldest first. With mutex.
func (f *Folder) list(deviceID string) (list []kept, err error) {
	folder := filepath.Join(f.path, deviceID)
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	for _, entry := range entries {
		name, isBlob := strings.CutSuffix(entry.Name(), suffix)
		at := strings.LastIndexByte(name, '_')
		info, err := entry.Info()
		if !isBlob || at < 0 || err != nil || !info.Mode().IsRegular() {
			continue
		}
		list = append(list, kept{Blob{SHA256: name[at+1:], Size: info.Size(), At: info.ModTime().UTC()}, filepath.Join(folder, entry.Name()), name[:at]})
	}
	slices.SortFunc(list, func(a, b kept) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.path, b.path)) })
	return list, nil
}

func (f *Folder) listAll() (all []kept, err error) {
	entries, err := os.ReadDir(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		own, err := f.list(entry.Name())
		if err != nil {
			return nil, err
		}
		all = append(all, own...)
	}
	return all, nil
}

func sizeOf(list []kept) (size int64) {
	for _, one := range list {
		size += one.Size
	}
	return size
}

// isSum reports whether a text is a SHA-256 in hex as we write it.
func isSum(text string) bool {
	sum, err := hex.DecodeString(text)
	return err == nil && len(sum) == sha256.Size && text == strings.ToLower(text)
}
