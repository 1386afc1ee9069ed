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
	Volume string   // its volume's id; empty: on any volume
	Places []string // Mac paths of folders in which to look, with everything below
}

// FoundFolder is what a search found.
type FoundFolder struct {
	Paths []string // Mac paths that the folder has
	Whole bool     // everything in the places was looked at
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
		if err == nil && (search.Volume == "" || volume == search.Volume) {
			return FoundFolder{Known: true, Present: len(present) > 0}, nil
		}
	}
	request := fileRequest{UID: m.UIDOnDisk(u), Search: &searchRequest{Inode: search.Inode, Volume: search.Volume}}
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
	found := FoundFolder{Whole: answer.Whole, Present: len(answer.Paths) > 0}
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
	Places [][]byte `json:"places"` // of this disk
}

type searchAnswer struct {
	Paths [][]byte `json:"paths"`
	Whole bool     `json:"whole"`
}

// searcher is the child's side of a search.
type searcher struct {
	request *searchRequest
	answer  searchAnswer
	looked  int
}

func (l fileLooker) answerSearch(request *searchRequest) searchAnswer {
	s := &searcher{request: request, answer: searchAnswer{Whole: true}}
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

func (s *searcher) walk(folder *os.File, path string, depth int) {
	defer folder.Close()
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
		if stat.Ino == s.request.Inode && (s.request.Volume == "" || volumeID(below) == s.request.Volume) {
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
