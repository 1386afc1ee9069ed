package platform

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"prlagent/platform/safefile"
)

// fileRequest is what the child reads from its socket: one JSON value.
type fileRequest struct {
	UID       uint32         `json:"uid"` // who the child must be, and whose the files must be
	Questions []pathOnDisk   `json:"questions"`
	Hold      *holdRequest   `json:"hold,omitempty"`   // in place of questions
	Search    *searchRequest `json:"search,omitempty"` // in place of questions
}

// pathOnDisk is a question as the child gets it.
type pathOnDisk struct {
	Path   []byte `json:"path"` // of this disk; bytes, because it need not be UTF-8
	Reader string `json:"reader,omitempty"`
	Space  bool   `json:"space,omitempty"`
}

// maxReaderName caps the name of a reader, in bytes.
const maxReaderName = 32

// maxRequest caps the request, in bytes: every path at its longest, in base64,
// with room for the JSON around it.
const maxRequest = maxFileQuestions * (2*maxUserPath + maxReaderName + 64)

// answerLine is one answer of the child's: a line of JSON, and Size bytes of
// fields behind it.
type answerLine struct {
	Problem string `json:"problem,omitempty"` // a word of problems
	Folder  bool   `json:"folder,omitempty"`
	Volume  string `json:"volume,omitempty"`
	Device  uint64 `json:"device,omitempty"`
	Inode   uint64 `json:"inode,omitempty"`
	UID     uint32 `json:"uid,omitempty"`
	Changed int64  `json:"changed,omitempty"` // seconds since 1970
	Size    int64  `json:"size,omitempty"`
	Used    uint64 `json:"used,omitempty"` // bytes
	Free    uint64 `json:"free,omitempty"`
}

var errUnreadable = errors.New("not readable")

// problemWords are the words for what can be wrong with a path; the first of a
// word is the error that it stands for, and the last is for everything else.
var problemWords = []struct {
	word string
	err  error
}{
	{"absent", fs.ErrNotExist},
	{"absent", unix.ENOTDIR}, // nor can there be anything
	{"private", unix.EPERM},  // macOS' privacy control, not the permissions of the file (facts/macos.md 7)
	{"denied", fs.ErrPermission},
	{"link", safefile.ErrSymlink},
	{"not_regular", safefile.ErrNotRegular},
	{"too_large", safefile.ErrTooLarge},
	{"owner", safefile.ErrOwner},
	{"not_understood", ErrNotUnderstood},
	{"unreadable", errUnreadable},
}

func wordOf(err error) string {
	for _, problem := range problemWords {
		if errors.Is(err, problem.err) {
			return problem.word
		}
	}
	return "unreadable"
}

// ErrNotDaemon refuses somebody who is not the daemon.
var ErrNotDaemon = errors.New("it answers the running agent only")

// AnswerFileQuestions is the child's side of Machine.LookAtFiles: it reads one
// request from its standard input and answers it there. The other end of that
// socket must be root's, or below a root its owner's, as the kernel says it:
// else the error is ErrNotDaemon, and nothing was read (H60). So a user who runs
// our program, which may be allowed what theirs are not, learns nothing from it:
// it tells fields and no contents, and those only to the end of a socket that
// root made. It also fails, without having looked at anything, when it does not
// run as the user whose files they are.
func AnswerFileQuestions(input *os.File, readers map[string]FileReader) error {
	root, err := rootOfProgram()
	if err != nil {
		return err
	}
	if err := checkDaemon(input, root); err != nil {
		return err
	}
	return answerRequest(input, fileLooker{root: root, readers: readers})
}

// rootOfProgram gives the root that our program lies in; empty is this Mac. It
// is found without links, which anybody may make to it.
func rootOfProgram() (string, error) {
	program, err := os.Executable()
	if err == nil {
		program, err = filepath.EvalSymlinks(program)
	}
	if err != nil {
		return "", fmt.Errorf("find own program: %w", err)
	}
	root, found := strings.CutSuffix(program, Helper)
	if !found {
		return "", ErrNotDaemon
	}
	return root, nil
}

// checkDaemon makes sure that the socket was made by who plays root.
func checkDaemon(input *os.File, root string) error {
	var owner unix.Stat_t // root's on this Mac
	if root != "" {
		if err := unix.Stat(root, &owner); err != nil {
			return fmt.Errorf("find the owner of the root: %w", err)
		}
	}
	peer, err := PeerOf(int(input.Fd()))
	if err != nil || peer.UID != owner.Uid {
		return ErrNotDaemon
	}
	return nil
}

// fileLooker looks at paths as the user that it runs as.
type fileLooker struct {
	root    string // real path; empty is this Mac
	readers map[string]FileReader
}

// answerRequest answers one request to whom it came from.
func answerRequest(asker io.ReadWriter, looker fileLooker) error {
	data, err := io.ReadAll(io.LimitReader(asker, maxRequest+1))
	if err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	var request fileRequest
	if err := json.Unmarshal(data, &request); err != nil || len(request.Questions) > maxFileQuestions {
		return errors.New("that is no request")
	}
	if int64(request.UID) != int64(os.Geteuid()) {
		return errors.New("not run as the user whose files they are")
	}
	if request.Hold != nil {
		socket, is := asker.(*os.File)
		if !is {
			return errors.New("descriptors are sent on a socket")
		}
		return looker.answerHold(socket, request.Hold)
	}
	if request.Search != nil {
		return json.NewEncoder(asker).Encode(looker.answerSearch(request.Search))
	}
	left := int64(maxFileContent)
	for _, question := range request.Questions {
		answer, size := looker.answer(question, left, request.UID)
		left -= size
		// Each answer goes out at once: when the next path turns out to lie on
		// a dead mount, those before it are not lost.
		if err := answer.writeTo(asker); err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
	}
	return nil
}

// answer looks at one path, and reads and answers at most as many bytes as are
// left. size is what that took of them.
func (l fileLooker) answer(question pathOnDisk, left int64, uid uint32) (answer FileAnswer, size int64) {
	path := string(question.Path)
	if err := l.checkInside(path); err != nil {
		return FileAnswer{Err: err}, 0
	}
	if question.Reader != "" {
		return l.read(path, question.Reader, left, uid)
	}
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		return FileAnswer{Err: err}, 0
	}
	answer = FileAnswer{
		Folder: stat.Mode&unix.S_IFMT == unix.S_IFDIR,
		Device: uint64(stat.Dev), Inode: stat.Ino, UID: stat.Uid, ModifiedAt: time.Unix(stat.Mtim.Unix()).Truncate(time.Second),
	}
	if answer.Folder {
		answer.Volume = VolumeID(path)
	}
	if answer.Folder && question.Space {
		answer.Space = spaceOf(path)
	}
	return answer, 0
}

// checkInside refuses what lies outside of a root: who owns one is anybody, and
// must not look at this Mac through our program.
func (l fileLooker) checkInside(path string) error {
	if l.root == "" {
		return nil
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return err
	}
	if folder != l.root && !isInside(folder, l.root) {
		return errUnreadable
	}
	return nil
}

func (l fileLooker) read(path, name string, left int64, uid uint32) (answer FileAnswer, size int64) {
	reader, known := l.readers[name]
	if !known {
		return FileAnswer{Err: errUnreadable}, 0
	}
	content, err := safefile.ReadOwnedFile(path, uid, min(left, reader.Max))
	if err != nil {
		return FileAnswer{Err: err}, 0
	}
	size = int64(len(content))
	fields, err := reader.Read(content)
	if err != nil {
		return FileAnswer{Err: ErrNotUnderstood}, size
	}
	answer.Fields, err = json.Marshal(fields)
	switch {
	case err != nil:
		return FileAnswer{Err: ErrNotUnderstood}, size
	case int64(len(answer.Fields)) > min(left, maxFileFields):
		return FileAnswer{Err: safefile.ErrTooLarge}, size
	}
	return answer, max(size, int64(len(answer.Fields)))
}

func (a *FileAnswer) writeTo(out io.Writer) error {
	line := answerLine{Folder: a.Folder, Volume: a.Volume, Device: a.Device, Inode: a.Inode, UID: a.UID, Size: int64(len(a.Fields)), Used: a.Space.Used, Free: a.Space.Free}
	if !a.ModifiedAt.IsZero() {
		line.Changed = a.ModifiedAt.Unix()
	}
	if a.Err != nil {
		line = answerLine{Problem: wordOf(a.Err)}
	}
	head, err := json.Marshal(line)
	if err != nil {
		return err
	}
	if _, err := out.Write(append(head, '\n')); err != nil {
		return err
	}
	_, err = out.Write(a.Fields)
	return err
}

var errAnswers = errors.New("its answers make no sense")

// parseAnswers reads what a child printed, which may be hostile and may be cut
// short: the answers up to the first that makes no sense.
func parseAnswers(output []byte, questions []pathOnDisk) ([]FileAnswer, error) {
	var answers []FileAnswer
	for _, question := range questions {
		answer, rest, err := parseAnswer(output, question)
		if err != nil {
			return answers, err
		}
		answers, output = append(answers, answer), rest
	}
	if len(output) > 0 {
		return answers, errAnswers
	}
	return answers, nil
}

func parseAnswer(output []byte, question pathOnDisk) (FileAnswer, []byte, error) {
	end := bytes.IndexByte(output[:min(len(output), maxAnswerLine)], '\n')
	if end < 0 {
		return FileAnswer{}, nil, errAnswers
	}
	head, rest := output[:end], output[end+1:]
	var line answerLine
	decoder := json.NewDecoder(bytes.NewReader(head))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&line); err != nil || decoder.More() {
		return FileAnswer{}, nil, errAnswers
	}
	if line.Problem != "" {
		answer, err := line.errorAnswer()
		return answer, rest, err
	}
	if !isVolumeID(line.Volume) || line.Size < 0 || line.Size > maxFileFields || line.Size > int64(len(rest)) {
		return FileAnswer{}, nil, errAnswers
	}
	fields := rest[:line.Size:line.Size]
	rest = rest[line.Size:]
	if question.Reader != "" {
		if !json.Valid(fields) {
			return FileAnswer{}, nil, errAnswers
		}
		return FileAnswer{Fields: fields}, rest, nil
	}
	if len(fields) > 0 {
		return FileAnswer{}, nil, errAnswers
	}
	answer := FileAnswer{Folder: line.Folder, Volume: line.Volume, Device: line.Device, Inode: line.Inode, UID: line.UID, Space: Space{line.Used, line.Free}}
	if line.Changed != 0 {
		answer.ModifiedAt = time.Unix(line.Changed, 0)
	}
	return answer, rest, nil
}

// isVolumeID reports whether a child that may be anything names a volume in no
// other signs than ours does.
func isVolumeID(id string) bool {
	return len(id) <= maxVolumeID && strings.Trim(id, "0123456789abcdefABCDEF-") == ""
}

// maxVolumeID is the length of a UUID.
const maxVolumeID = 36

func (l *answerLine) errorAnswer() (FileAnswer, error) {
	for _, known := range problemWords {
		if known.word == l.Problem && *l == (answerLine{Problem: l.Problem}) {
			return FileAnswer{Err: known.err}, nil
		}
	}
	return FileAnswer{}, errAnswers
}
