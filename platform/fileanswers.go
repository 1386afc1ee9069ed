package platform

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"prlagent/platform/safefile"
)

// fileRequest is what the child reads from its standard input: one JSON value.
type fileRequest struct {
	UID       uint32       `json:"uid"` // who the child must be, and whose the files must be
	Questions []pathOnDisk `json:"questions"`
}

// pathOnDisk is a question as the child gets it.
type pathOnDisk struct {
	Path []byte `json:"path"` // of this disk; bytes, because it need not be UTF-8
	Max  int64  `json:"max,omitempty"`
}

// maxRequest caps the request, in bytes: every path at its longest, in base64,
// with room for the JSON around it.
const maxRequest = maxFileQuestions * (2*maxUserPath + 64)

// answerLine is one answer on the child's standard output: a line of JSON, and
// Size bytes of content behind it.
type answerLine struct {
	Problem string `json:"problem,omitempty"` // a word of problems
	Folder  bool   `json:"folder,omitempty"`
	Volume  string `json:"volume,omitempty"`
	Device  uint64 `json:"device,omitempty"`
	Inode   uint64 `json:"inode,omitempty"`
	UID     uint32 `json:"uid,omitempty"`
	Changed int64  `json:"changed,omitempty"` // seconds since 1970
	Size    int64  `json:"size,omitempty"`
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
	{"denied", fs.ErrPermission},
	{"link", safefile.ErrSymlink},
	{"not_regular", safefile.ErrNotRegular},
	{"too_large", safefile.ErrTooLarge},
	{"owner", safefile.ErrOwner},
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

// AnswerFileQuestions is the child's side of Machine.LookAtFiles: it reads one
// request and answers it. It fails, without having looked at anything, when it
// does not run as the user whose files they are.
func AnswerFileQuestions(in io.Reader, out io.Writer) error {
	data, err := io.ReadAll(io.LimitReader(in, maxRequest+1))
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
	left := int64(maxFileContent)
	for _, question := range request.Questions {
		answer := answerQuestion(question, min(question.Max, left), request.UID)
		left -= int64(len(answer.Data))
		// Each answer goes out at once: when the next path turns out to lie on
		// a dead mount, those before it are not lost.
		if err := answer.writeTo(out); err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
	}
	return nil
}

func answerQuestion(question pathOnDisk, max int64, uid uint32) FileAnswer {
	path := string(question.Path)
	if question.Max > 0 {
		data, err := safefile.ReadOwnedFile(path, uid, max)
		return FileAnswer{Data: data, Err: err}
	}
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		return FileAnswer{Err: err}
	}
	answer := FileAnswer{
		Folder: stat.Mode&unix.S_IFMT == unix.S_IFDIR,
		Device: uint64(stat.Dev), Inode: stat.Ino, UID: stat.Uid, ModifiedAt: time.Unix(stat.Mtim.Unix()).Truncate(time.Second),
	}
	if answer.Folder {
		answer.Volume = volumeID(path)
	}
	return answer
}

func (a FileAnswer) writeTo(out io.Writer) error {
	line := answerLine{Folder: a.Folder, Volume: a.Volume, Device: a.Device, Inode: a.Inode, UID: a.UID, Size: int64(len(a.Data))}
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
	_, err = out.Write(a.Data)
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
	if !isVolumeID(line.Volume) || line.Size < 0 || line.Size > question.Max || line.Size > int64(len(rest)) {
		return FileAnswer{}, nil, errAnswers
	}
	answer := FileAnswer{Folder: line.Folder, Volume: line.Volume, Device: line.Device, Inode: line.Inode, UID: line.UID}
	if line.Changed != 0 {
		answer.ModifiedAt = time.Unix(line.Changed, 0)
	}
	if question.Max > 0 {
		answer = FileAnswer{Data: rest[:line.Size:line.Size]}
	}
	return answer, rest[line.Size:], nil
}

// isVolumeID reports whether a child that may be anything names a volume in no
// other signs than ours does.
func isVolumeID(id string) bool {
	return len(id) <= maxVolumeID && strings.Trim(id, "0123456789abcdefABCDEF-") == ""
}

// maxVolumeID is the length of a UUID.
const maxVolumeID = 36

func (l answerLine) errorAnswer() (FileAnswer, error) {
	for _, known := range problemWords {
		if known.word == l.Problem && l == (answerLine{Problem: l.Problem}) {
			return FileAnswer{Err: known.err}, nil
		}
	}
	return FileAnswer{}, errAnswers
}
