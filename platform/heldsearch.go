package platform

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"prlagent/platform/tool"
)

// FolderSearch asks where a folder is now, by what outlives its name.
type FolderSearch struct {
	Inode  uint64
	Volume string   // its volume's id; empty where that has none
	Device uint64   // of a volume without an id, in this boot; 0 as well: on any volume
	Places []string // Mac paths of folders in which to look, with everything below
}

// FoundFolder is what a search found.
type FoundFolder struct {
	Paths []string // Mac paths that the folder has
	Whole bool     // everything in the places was looked at
	// Mounted reports whether the folder's volume is there: else it was not looked for.
	Mounted bool
	// Known says that the system itself finds folders by their numbers: then Present
	// is right for the whole volume, whatever the places are.
	Known, Present bool
}

// FindFolder looks for a folder that lay at, or near, a path: by its number, where the
// system can do that, and else in some places, as the user. What it finds there is the
// user's word.
func (m *Machine) FindFolder(ctx context.Context, u User, near string, search FolderSearch) (FoundFolder, error) {
	if id := inodeID(search.Inode); id != "" {
		present, volume, err := m.FindFiles(ctx, u, near, []string{id})
		if err == nil && volume == search.Volume {
			return FoundFolder{Known: true, Mounted: true, Present: len(present) > 0}, nil
		}
	}
	request := fileRequest{UID: m.UIDOnDisk(u), Search: &searchRequest{Inode: search.Inode, Volume: search.Volume, Device: search.Device}}
	for _, place := range search.Places {
		if (FileQuestion{Path: place}).validate() == nil {
			request.Search.Places = append(request.Search.Places, []byte(m.Path(place)))
		}
	}
	result, err := m.runHelper(ctx, u, request)
	if err != nil {
		return FoundFolder{}, err
	}
	var answer searchAnswer
	if err := json.Unmarshal(result.Stdout, &answer); err != nil {
		return FoundFolder{}, &tool.Error{Code: tool.CodeFailed, Path: Helper, Err: errAnswers}
	}
	found := FoundFolder{Whole: answer.Whole, Mounted: answer.Mounted, Present: len(answer.Paths) > 0}
	for _, path := range answer.Paths {
		found.Paths = append(found.Paths, m.macPath(string(path)))
	}
	return found, nil
}

// Limits of a search in places.
const (
	maxSearched    = 20_000 // entries of folders
	maxSearchDepth = 12
	maxFoundPaths  = 8
)

type searchRequest struct {
	Inode  uint64   `json:"inode"`
	Volume string   `json:"volume,omitempty"`
	Device uint64   `json:"device,omitempty"`
	Places [][]byte `json:"places"` // of this disk
}

// isOn reports whether the folder can lie on a volume.
func (r *searchRequest) isOn(volume string, device uint64) bool {
	if r.Volume == "" {
		return r.Device == 0 || r.Device == device
	}
	return r.Volume == volume
}

type searchAnswer struct {
	Paths   [][]byte `json:"paths"`
	Whole   bool     `json:"whole"`
	Mounted bool     `json:"mounted"`
}

// searcher is the child's side of a search.
type searcher struct {
	request *searchRequest
	answer  searchAnswer
	looked  int
	devices map[uint64]bool // that were seen, and whether the wanted volume is there
}

func (l fileLooker) answerSearch(request *searchRequest) searchAnswer {
	s := &searcher{request: request, answer: searchAnswer{Whole: true}, devices: make(map[uint64]bool)}
	for _, place := range request.Places {
		if l.checkInside(string(place)) != nil {
			continue
		}
		folder, err := openFolderBelow(unix.AT_FDCWD, string(place))
		if err == nil {
			s.walk(folder, string(place), maxSearchDepth)
			continue
		}
		s.answer.Whole = s.answer.Whole && wordOf(err) == "absent"
	}
	return s.answer
}

// isWanted reports whether a folder lies on the wanted volume, and notes that this is
// there.
func (s *searcher) isWanted(path string, device uint64) bool {
	if _, seen := s.devices[device]; !seen {
		s.devices[device] = s.request.isOn(VolumeID(path), device)
		s.answer.Mounted = s.answer.Mounted || s.devices[device]
	}
	return s.devices[device]
}

func (s *searcher) walk(folder *os.File, path string, depth int) {
	defer folder.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(int(folder.Fd()), &stat); err != nil {
		s.answer.Whole = false
		return
	}
	s.isWanted(path, uint64(stat.Dev))
	names, err := folder.Readdirnames(maxSearched - s.looked + 1)
	if s.looked += len(names); err != nil && len(names) > 0 || s.looked > maxSearched || depth == 0 {
		s.answer.Whole = s.answer.Whole && len(names) == 0
		return
	}
	for _, name := range names {
		var stat unix.Stat_t
		if unix.Fstatat(int(folder.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW) != nil || stat.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		below := filepath.Join(path, name)
		if isWanted := s.isWanted(below, uint64(stat.Dev)); isWanted && stat.Ino == s.request.Inode {
			if len(s.answer.Paths) < maxFoundPaths {
				s.answer.Paths = append(s.answer.Paths, []byte(below))
			}
			continue
		}
		inner, err := openFolderBelow(int(folder.Fd()), name)
		if err != nil {
			s.answer.Whole = false
			continue
		}
		s.walk(inner, below, depth-1)
	}
}
