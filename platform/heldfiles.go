package platform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"prlagent/platform/safefile"
	"prlagent/platform/tool"
)

// Limits of what is held at a time: each is a descriptor of the daemon's.
const (
	maxHeld        = 256  // files
	maxHeldDepth   = 8    // folders below a path
	maxHeldEntries = 4096 // that are looked at for it
	maxHeldPaths   = 64
	statLimit      = 10 * time.Second // of asking the kernel for all that is held; a dead mount may never answer
)

// Held are the files below some paths, each by an open descriptor: whatever becomes
// of their names, the kernel says of them whether anything on the disk still leads to
// them. Nothing of them is read.
type Held struct {
	Files []HeldFile
	// Problems says for each path that was asked for why there is nothing of it; nil
	// where there is.
	Problems []error
	// Whole reports whether nothing that lies below the paths is missing: not where
	// there is more than is held, where something cannot be opened, and where a link
	// leads out of a path.
	Whole bool

	mu     sync.Mutex
	asking int        // goroutines that ask the kernel, also such as nobody waits for any more
	closed []HeldFile // to be closed once none asks
}

// HeldFile is one of them. Its device and inode are the kernel's word, its path and
// volume that of the user's own process.
type HeldFile struct {
	Path   string // Mac path
	Asked  int    // which of the paths it belongs to
	Top    bool   // it lies at that path itself
	Folder bool   // only ever one at a path itself
	Volume string // its volume's id; empty where that has none that lasts
	Device uint64
	Inode  uint64
	// ID finds the file again on its volume, as FindFiles does, without a path and
	// after a restart; empty where the system has nothing like that.
	ID string

	descriptor *os.File
}

// HoldFiles has a child process with the user's uid open everything that lies below
// paths under that user's control, without following a link, and keeps the
// descriptors that it sends (H11, H25). A path that is a file is held itself.
// Whoever holds files closes them soon: what is deleted meanwhile takes its space
// until then. Errors are as those of LookAtFiles.
func (m *Machine) HoldFiles(ctx context.Context, u User, paths []string) (*Held, error) {
	return m.hold(ctx, u, paths, false)
}

// hold holds what is below the paths or, with above, the nearest folder above each
// that there is.
func (m *Machine) hold(ctx context.Context, u User, paths []string, above bool) (*Held, error) {
	request := fileRequest{UID: m.UIDOnDisk(u), Hold: &holdRequest{Above: above}}
	for _, path := range paths {
		if err := (FileQuestion{Path: path}).validate(); err != nil || len(paths) > maxHeldPaths {
			return nil, &tool.Error{Code: tool.CodeRefused, Path: Helper, Err: errors.Join(errNotAsked, err)}
		}
		request.Hold.Paths = append(request.Hold.Paths, []byte(m.Path(path)))
	}
	result, err := m.runHelper(ctx, u, request)
	held, problem := m.takeHeld(result, len(paths))
	if err == nil && problem != nil {
		err = &tool.Error{Code: tool.CodeFailed, Path: Helper, Err: problem}
	}
	if err != nil {
		held.Close()
		return nil, err
	}
	return held, nil
}

// takeHeld makes sense of what the child said, with the descriptors that it sent.
func (m *Machine) takeHeld(result tool.Result, asked int) (*Held, error) {
	held := &Held{}
	for _, descriptor := range result.Files {
		held.Files = append(held.Files, HeldFile{descriptor: descriptor})
	}
	var answer holdAnswer
	if err := json.Unmarshal(bytes.TrimSpace(result.Stdout), &answer); err != nil || len(answer.Files) != len(held.Files) || len(answer.Problems) != asked {
		return held, errAnswers
	}
	held.Whole = answer.Whole
	for i := range held.Files {
		if err := m.takeHeldFile(&held.Files[i], answer.Files[i], asked); err != nil {
			return held, err
		}
	}
	for _, word := range answer.Problems {
		if word == "" {
			held.Problems = append(held.Problems, nil)
			continue
		}
		said, err := (&answerLine{Problem: word}).errorAnswer()
		if err != nil {
			return held, err
		}
		held.Problems = append(held.Problems, said.Err)
	}
	return held, nil
}

func (m *Machine) takeHeldFile(file *HeldFile, said holdAnswerFile, asked int) error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.descriptor.Fd()), &stat); err != nil {
		return err
	}
	kind := stat.Mode & unix.S_IFMT
	if said.Asked < 0 || said.Asked >= asked || len(said.Path) > maxUserPath || !isVolumeID(said.Volume) ||
		kind != unix.S_IFREG && !(kind == unix.S_IFDIR && said.Top) {
		return errAnswers
	}
	file.Path, file.Asked, file.Top, file.Folder, file.Volume = m.macPath(string(said.Path)), said.Asked, said.Top, kind == unix.S_IFDIR, said.Volume
	file.Device, file.Inode = uint64(stat.Dev), stat.Ino
	file.ID = lastingFileID(file.descriptor, &stat)
	return nil
}

// macPath is the Mac path of a place on this disk.
func (m *Machine) macPath(path string) string {
	if inside, err := filepath.Rel(m.root, path); m.root != "" && err == nil {
		return filepath.Join("/", inside)
	}
	return path
}

// errKernelSilent is that the kernel does not say in time what became of a file.
var errKernelSilent = errors.New("the kernel does not answer")

// Left are those of the files that something on the disk still leads to: they have a
// name, wherever that is. A folder in which nothing is left counts as gone.
func (h *Held) Left(ctx context.Context) (left []HeldFile, err error) {
	files := h.Files // who is not waited for goes on with these, whatever becomes of the rest
	return inTime(ctx, h, func() (left []HeldFile, err error) {
		for i := range files {
			gone, err := files[i].isGone()
			if err != nil {
				return nil, fmt.Errorf("look what became of a file: %w", err)
			}
			if !gone {
				left = append(left, files[i])
			}
		}
		return left, nil
	})
}

// inTime waits for what asks the kernel, which may be held by a dead mount for ever. What
// asks may go on when nobody waits any more, and so shares nothing that changes; the
// descriptors of what is held stay open for it.
func inTime[T any](ctx context.Context, held *Held, ask func() (T, error)) (T, error) {
	type answer struct {
		found T
		err   error
	}
	answered := make(chan answer, 1)
	held.count(1)
	go func() {
		defer held.count(-1)
		found, err := ask()
		answered <- answer{found, err}
	}()
	timer := time.NewTimer(statLimit)
	defer timer.Stop()
	var nothing T
	select {
	case got := <-answered:
		return got.found, got.err
	case <-ctx.Done():
		return nothing, ctx.Err()
	case <-timer.C:
		return nothing, errKernelSilent
	}
}

func (f *HeldFile) isGone() (bool, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.descriptor.Fd()), &stat); err != nil {
		return false, err
	}
	if stat.Nlink == 0 || !f.Folder {
		return stat.Nlink == 0, nil
	}
	return isEmptyFolder(int(f.descriptor.Fd()))
}

// isEmptyFolder reports whether nothing is in a folder: what a removed one's count of
// links is, systems do not agree on.
func isEmptyFolder(descriptor int) (bool, error) {
	opened, err := unix.Openat(descriptor, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	folder := os.NewFile(uintptr(opened), ".")
	defer folder.Close()
	names, err := folder.Readdirnames(1)
	if len(names) == 0 && (err == nil || errors.Is(err, unix.ENOENT) || errors.Is(err, io.EOF)) {
		return true, nil
	}
	return false, nil
}

// Close lets go of the files, or has those do it that still ask the kernel about them.
func (h *Held) Close() {
	if h == nil {
		return
	}
	h.mu.Lock()
	h.closed, h.Files = append(h.closed, h.Files...), nil
	h.mu.Unlock()
	h.count(0)
}

// count counts those that ask the kernel, and closes what nobody asks about.
func (h *Held) count(more int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asking += more; h.asking > 0 {
		return
	}
	for i := range h.closed {
		_ = h.closed[i].descriptor.Close()
	}
	h.closed = nil
}

// Merge takes over the files of another one that it does not hold itself, and closes
// that.
func (h *Held) Merge(other *Held) {
	type number struct{ device, inode uint64 }
	has := make(map[number]bool, len(h.Files))
	for i := range h.Files {
		has[number{h.Files[i].Device, h.Files[i].Inode}] = true
	}
	for i := range other.Files {
		if file := other.Files[i]; has[number{file.Device, file.Inode}] {
			_ = file.descriptor.Close()
		} else {
			h.Files = append(h.Files, file)
		}
	}
	h.Whole, other.Files = h.Whole && other.Whole, nil
}

// ErrNotFindable is that this system, or this file system, does not find files
// without their paths.
var ErrNotFindable = errors.New("files cannot be found without their paths")

// FindFiles gives those of the files with these ids that are still on the volume that
// a path lies, or lay, on, whatever they are called now, and the id of the volume of the
// nearest folder above the path that there is: another one than before says that the
// volume is not there. The error is ErrNotFindable where the system has no such way, and
// where it does not find that folder itself by it.
func (m *Machine) FindFiles(ctx context.Context, u User, path string, ids []string) (present []string, volume string, err error) {
	held, err := m.hold(ctx, u, []string{path}, true)
	if err != nil {
		return nil, "", err
	}
	defer held.Close()
	if len(held.Files) != 1 || !held.Files[0].Folder {
		return nil, "", fs.ErrNotExist
	}
	near := held.Files[0]
	if near.ID == "" || near.Volume == "" { // of a volume without an id nobody knows whether it is the same
		return nil, near.Volume, ErrNotFindable
	}
	present, err = inTime(ctx, held, func() (present []string, err error) {
		if there, err := near.findsFile(near.ID); err != nil || !there { // the way works
			return nil, errors.Join(ErrNotFindable, err)
		}
		for _, id := range ids {
			there, err := near.findsFile(id)
			if err != nil {
				return nil, errors.Join(ErrNotFindable, err)
			}
			if there {
				present = append(present, id)
			}
		}
		return present, nil
	})
	return present, near.Volume, err
}

// holdRequest asks the child for descriptors in place of answers.
type holdRequest struct {
	Paths [][]byte `json:"paths"` // of this disk
	Above bool     `json:"above,omitempty"`
}

// holdAnswer is what the child says behind the descriptors that it sends, one for
// each file in their order.
type holdAnswer struct {
	Files    []holdAnswerFile `json:"files"`
	Problems []string         `json:"problems"`
	Whole    bool             `json:"whole"`
}

type holdAnswerFile struct {
	Path   []byte `json:"path"`
	Asked  int    `json:"asked"`
	Top    bool   `json:"top,omitempty"`
	Volume string `json:"volume,omitempty"`
}

// holder is the child's side.
type holder struct {
	looker  fileLooker
	answer  holdAnswer
	open    []int // descriptors, one for each file
	visited int
}

// answerHold opens what is asked for and sends it.
func (l fileLooker) answerHold(asker *os.File, request *holdRequest) error {
	if len(request.Paths) > maxHeldPaths {
		return errors.New("that is no request")
	}
	h := &holder{looker: l, answer: holdAnswer{Whole: true}}
	for i, path := range request.Paths {
		word := ""
		if err := h.take(string(path), i, request.Above); err != nil {
			word = wordOf(err)
		}
		h.answer.Problems = append(h.answer.Problems, word)
	}
	for at := 0; at < len(h.open); at += maxSent {
		sent := h.open[at:min(at+maxSent, len(h.open))]
		if err := unix.Sendmsg(int(asker.Fd()), []byte{' '}, unix.UnixRights(sent...), nil, 0); err != nil {
			return fmt.Errorf("send descriptors: %w", err)
		}
	}
	return json.NewEncoder(asker).Encode(h.answer)
}

// maxSent is how many descriptors go with one message.
const maxSent = 64

// take opens what is at a path and below it.
func (h *holder) take(path string, asked int, above bool) error {
	if err := h.looker.checkInside(path); err != nil && !above {
		return err
	}
	var stat unix.Stat_t
	err := unix.Lstat(path, &stat)
	for above && err != nil && path != "/" && path != h.looker.root || above && err == nil && stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		path = filepath.Dir(path)
		err = unix.Lstat(path, &stat)
	}
	if err == nil {
		err = h.looker.checkInside(path)
	}
	if err != nil {
		return err
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return safefile.ErrSymlink
	case unix.S_IFREG:
		return h.add(unix.AT_FDCWD, path, path, asked, true)
	case unix.S_IFDIR:
	default:
		return safefile.ErrNotRegular
	}
	if err := h.add(unix.AT_FDCWD, path, path, asked, true); err != nil || above {
		return err
	}
	folder, err := openFolderBelow(unix.AT_FDCWD, path)
	if err != nil {
		return err
	}
	h.walk(folder, path, path, asked, maxHeldDepth)
	return nil
}

// add opens one file, by its name in a folder.
func (h *holder) add(folder int, name, path string, asked int, top bool) error {
	if len(h.open) == maxHeld {
		h.answer.Whole = false
		return nil
	}
	descriptor, err := unix.Openat(folder, name, holdFlags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	h.open = append(h.open, descriptor)
	h.answer.Files = append(h.answer.Files, holdAnswerFile{Path: []byte(path), Asked: asked, Top: top, Volume: VolumeID(path)})
	return nil
}

func openFolderBelow(parent int, name string) (*os.File, error) {
	descriptor, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(descriptor), name), nil
}

// walk takes what is in a folder. What cannot be taken makes the whole a part.
func (h *holder) walk(folder *os.File, path, top string, asked, depth int) {
	defer folder.Close()
	names, err := folder.Readdirnames(maxHeldEntries - h.visited + 1)
	if h.visited += len(names); err != nil && len(names) > 0 || h.visited > maxHeldEntries || depth == 0 && len(names) > 0 {
		h.answer.Whole = false
		return
	}
	for _, name := range names {
		if err := h.takeEntry(folder, name, filepath.Join(path, name), top, asked, depth); err != nil {
			h.answer.Whole = false
		}
	}
}

func (h *holder) takeEntry(folder *os.File, name, path, top string, asked, depth int) error {
	var stat unix.Stat_t
	if err := unix.Fstatat(int(folder.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return h.add(int(folder.Fd()), name, path, asked, false)
	case unix.S_IFDIR:
		below, err := openFolderBelow(int(folder.Fd()), name)
		if err == nil {
			h.walk(below, path, top, asked, depth-1)
		}
		return err
	case unix.S_IFLNK:
		return checkLinkInside(path, top)
	}
	return nil // a FIFO, a socket or a device holds nothing
}

// checkLinkInside refuses a link that leads out of the folder at the top.
func checkLinkInside(path, top string) error {
	target, err := os.Readlink(path)
	if err != nil {
		return err
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(path), target)
	}
	if !isInside(filepath.Clean(target), top) {
		return safefile.ErrSymlink
	}
	return nil
}
