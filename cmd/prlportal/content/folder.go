package content

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/site"
)

// Folder is a folder of content, which any web server can serve. Its methods are
// safe for concurrent use within one process.
type Folder struct {
	root  *os.Root
	mutex sync.Mutex
}

// NewFolder is the folder that root is open at.
func NewFolder(root *os.Root) *Folder { return &Folder{root: root} }

// maxDocuments bounds the index: some of it is read for every question.
const maxDocuments = 20_000

// Published reads all heads and the index of policies.
func (f *Folder) Published(ctx context.Context) (Published, error) {
	published, err := f.Heads(ctx)
	if err != nil {
		return Published{}, err
	}
	published.Policies, err = f.index()
	return published, err
}

// Heads reads all heads and the list of keys, without the policies.
func (f *Folder) Heads(context.Context) (Published, error) {
	var published Published
	entries, err := f.list(site.HeadFolder)
	if err != nil {
		return Published{}, err
	}
	for _, entry := range entries {
		group, isHead := site.GroupOfHead(entry.Name())
		if !isHead {
			continue
		}
		data, err := f.read(site.HeadPath(group), protocol.MaxHead)
		if err != nil {
			return Published{}, err
		}
		published.Heads = append(published.Heads, Head{GroupID: group, Envelope: data})
	}
	published.Keys, err = f.read(site.PolicyKeysFile, protocol.MaxHead)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return published, err
}

// index lists the policies that are there and whole.
func (f *Folder) index() ([]Document, error) {
	entries, err := f.list(site.PolicyFolder)
	if err != nil {
		return nil, err
	}
	if len(entries) > maxDocuments {
		return nil, fmt.Errorf("there are %d policies, at most %d are read", len(entries), maxDocuments)
	}
	var documents []Document
	for _, entry := range entries {
		sha256, isPolicy := strings.CutSuffix(entry.Name(), policySuffix)
		if !isPolicy || !protocol.ValidName(sha256) {
			continue
		}
		document, err := f.document(entry)
		if err != nil {
			return nil, err
		}
		if document.Pointer.SHA256 == sha256 {
			documents = append(documents, document)
		}
	}
	sortDocuments(documents)
	return documents, nil
}

const policySuffix = ".json"

// document is a policy in the index. One that no agent reads has no id.
func (f *Folder) document(entry fs.DirEntry) (Document, error) {
	data, err := f.read(site.PolicyPath(entry.Name()), protocol.MaxPolicy)
	if err != nil {
		return Document{}, err
	}
	info, err := entry.Info()
	if err != nil {
		return Document{}, fmt.Errorf("read policy: %w", err)
	}
	var named struct {
		PolicyID string `json:"policy_id"`
		Revision uint64 `json:"revision"`
	}
	_ = json.Unmarshal(data, &named) // one that cannot be read has no name
	return Document{Pointer: protocol.PointTo(named.PolicyID, named.Revision, data), PublishedAt: info.ModTime().UTC()}, nil
}

func (f *Folder) list(folder string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(f.root.FS(), folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", folder, err)
	}
	return entries, nil
}

// read reads a regular file that does not lie outside of the folder; a pipe in its
// place does not hold it up.
func (f *Folder) read(name string, limit int) ([]byte, error) {
	file, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read content: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read content: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read content: %w", &fs.PathError{Op: "read", Path: name, Err: fs.ErrInvalid})
	}
	return protocol.ReadLimited(file, limit)
}

// Policy is the policy with this hash.
func (f *Folder) Policy(_ context.Context, sha256 string) ([]byte, error) {
	if !protocol.ValidName(sha256) {
		return nil, fs.ErrNotExist
	}
	return f.read(site.PolicyPath(sha256+policySuffix), protocol.MaxPolicy)
}

// Add keeps what the operator has signed here; nothing is judged. Policies come
// first and heads last, so that a copy of the half of it is consistent.
func (f *Folder) Add(_ context.Context, upload Upload) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.add(upload, time.Now())
}

func (f *Folder) add(upload Upload, now time.Time) error {
	for _, folder := range []string{site.PolicyFolder, site.HeadFolder} {
		if err := f.root.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	if upload.Keys != nil {
		if err := f.write(site.PolicyKeysFile, upload.Keys, now); err != nil {
			return err
		}
	}
	for _, data := range upload.Policies {
		pointer := protocol.PointTo("", 0, data)
		if err := f.write(site.PolicyPath(pointer.SHA256+policySuffix), data, now); err != nil {
			return err
		}
	}
	if err := f.sync(site.PolicyFolder); err != nil { // no loss of power leaves a head without its policy
		return err
	}
	for _, envelope := range upload.Heads {
		head, err := Head{Envelope: envelope}.Decode()
		if err != nil {
			return fmt.Errorf("write head: %w", err)
		}
		if err := f.write(site.HeadPath(head.GroupID), envelope, now); err != nil {
			return err
		}
	}
	return f.sync(site.HeadFolder)
}

// sync makes the names in a folder survive a loss of power.
func (f *Folder) sync(folder string) error {
	file, err := f.root.Open(folder)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", folder, err)
	}
	return nil
}

// write writes a file that has its name only once it is whole and on disk.
func (f *Folder) write(name string, data []byte, now time.Time) (err error) {
	temporary := path.Join(path.Dir(name), ".new-"+path.Base(name))
	if err := f.root.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a write that broke off
		return fmt.Errorf("write content: %w", err)
	}
	file, err := f.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("write content: %w", err)
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Sync(), file.Close(), f.root.Chtimes(temporary, now, now), f.root.Rename(temporary, name))
	if err != nil {
		return fmt.Errorf("write content: %w", errors.Join(err, f.root.Remove(temporary)))
	}
	return nil
}

// KeyLists are the signed lists of policy keys and of command keys as they are now, as
// far as there are any.
func (f *Folder) KeyLists(context.Context) (lists []protocol.Envelope, err error) {
	for _, name := range []string{site.PolicyKeysFile, site.CommandKeysFile} {
		file, err := f.read(name, protocol.MaxPolicy)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list, err := protocol.ParseEnvelope(file, protocol.MaxPolicy)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		lists = append(lists, list)
	}
	return lists, nil
}

// CommandKeys is who may sign commands; nobody where no list was uploaded yet. It was
// verified when it was taken in.
func (f *Folder) CommandKeys(context.Context) (keys site.CommandKeys, file []byte, err error) {
	file, err = f.read(site.CommandKeysFile, protocol.MaxPolicy)
	if errors.Is(err, fs.ErrNotExist) {
		return site.CommandKeys{}, nil, nil
	}
	if err != nil {
		return site.CommandKeys{}, nil, err
	}
	keys, err = site.ParseCommandKeys(file, nil)
	return keys, file, err
}

// SetCommandKeys takes in a newer list of this site that one of its policy keys signed.
func (f *Folder) SetCommandKeys(ctx context.Context, siteID string, file []byte, now time.Time) (site.CommandKeys, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	published, err := f.read(site.PolicyKeysFile, protocol.MaxHead)
	if errors.Is(err, fs.ErrNotExist) {
		return site.CommandKeys{}, ErrNoPolicyKeys
	}
	if err != nil {
		return site.CommandKeys{}, err
	}
	policyKeys, err := site.ParsePolicyKeys(published, nil)
	if err != nil {
		return site.CommandKeys{}, err
	}
	next, err := site.ParseCommandKeys(file, policyKeys.Trusted())
	if err != nil {
		return site.CommandKeys{}, err
	}
	present, _, err := f.CommandKeys(ctx)
	switch {
	case err != nil:
		return site.CommandKeys{}, err
	case next.SiteID != siteID:
		return site.CommandKeys{}, protocol.ErrWrongSite
	case next.Version <= present.Version:
		return site.CommandKeys{}, site.ErrOldCommandKeys
	}
	return next, f.write(site.CommandKeysFile, file, now)
}
