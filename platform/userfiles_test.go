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
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"prlagent/platform/safefile"
	"prlagent/platform/tool"
)

// helperRole lets the test binary play our own program: named like it, it
// answers one request and ends.
func helperRole() {
	if filepath.Base(os.Args[0]) != filepath.Base(Helper) {
		return
	}
	if len(os.Args) != 2 || os.Args[1] != HelperCommand {
		syscall.Exit(2)
	}
	if err := AnswerFileQuestions(os.Stdin, testReaders); err != nil {
		fmt.Println(err)
		syscall.Exit(1)
	}
	syscall.Exit(0)
}

// testReaders tell all of a file, which no reader of ours does, or how large it is.
var testReaders = map[string]FileReader{
	"text": {10, func(content []byte) (any, error) { return string(content), nil }},
	"size": {maxFileContent, func(content []byte) (any, error) { return len(content), nil }},
	"none": {10, func([]byte) (any, error) { return nil, errors.New("no such form") }},
	"huge": {10, func([]byte) (any, error) { return strings.Repeat("x", maxFileFields), nil }},
}

// sudoRunner plays sudo: it starts the program behind -n -H -u '#UID'.
type sudoRunner struct {
	*tool.Runner
	calls []tool.Command
}

func (r *sudoRunner) Run(ctx context.Context, c *tool.Command) (tool.Result, error) {
	r.calls = append(r.calls, *c)
	if c.Path == sudoPath && slices.Equal(c.Args[:4], []string{"-n", "-H", "-u", "#501"}) {
		c.Path, c.Args = c.Args[4], c.Args[5:]
	}
	return r.Runner.Run(ctx, c)
}

var aliceOnDisk = User{Name: "alice", UID: 501, Home: "/Users/alice"}

// helped is a simulated Mac with our own program in its place.
func helped(t *testing.T) (*Machine, *sudoRunner, string) {
	t.Helper()
	root := t.TempDir()
	helper := filepath.Join(root, Helper)
	executable, err := os.Executable()
	errorsAreFatal(t, err, os.MkdirAll(filepath.Dir(helper), 0o755), os.Link(executable, helper))
	runner := &sudoRunner{Runner: &tool.Runner{Root: root}}
	return New(root, runner), runner, root
}

func TestH11_AUsersFilesAreSeenThroughTheUsersProcess(t *testing.T) {
	t.Parallel()
	machine, runner, root := helped(t)
	place(t, root, "/Users/alice/a.pvm/config.pvs", "<xml/>")
	place(t, root, "/Users/alice/large", strings.Repeat("x", 11))
	place(t, root, "/Users/alice/empty", "")
	inAlice := func(name string) string { return filepath.Join(root, "Users/alice", name) }
	changed := time.Date(2024, 3, 1, 9, 15, 0, 0, time.UTC)
	err := errors.Join(
		os.Chtimes(inAlice("a.pvm/config.pvs"), changed, changed),
		os.Symlink("/dev/zero", inAlice("zero")),
		os.Symlink("a.pvm", inAlice("folder-link")),
		unix.Mkfifo(inAlice("fifo"), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		path   string
		reader string
		folder bool
		fields string
		err    error
	}{
		{"/Users/alice/a.pvm", "", true, "", nil},
		{"/Users/alice/a.pvm/config.pvs", "", false, "", nil},
		{"/Users/alice/folder-link", "", false, "", nil},
		{"/Users/alice/a.pvm/config.pvs", "text", false, `"\u003cxml/\u003e"`, nil},
		{"/Users/alice/a.pvm/config.pvs", "size", false, "6", nil},
		{"/Users/alice/a.pvm/config.pvs", "none", false, "", ErrNotUnderstood},
		{"/Users/alice/a.pvm/config.pvs", "huge", false, "", safefile.ErrTooLarge},
		{"/Users/alice/a.pvm/config.pvs", "unknown", false, "", errUnreadable},
		{"/Users/alice/a.pvm/config.pvs", strings.Repeat("x", maxReaderName+1), false, "", errNotAsked},
		{"/Users/alice/empty", "text", false, `""`, nil},
		{"/Users/alice/large", "text", false, "", safefile.ErrTooLarge},
		{"/Users/alice/fifo", "text", false, "", safefile.ErrNotRegular},
		{"/Users/alice/a.pvm", "text", false, "", safefile.ErrNotRegular},
		{"/Users/alice/zero", "text", false, "", safefile.ErrSymlink},
		{"/Users/alice/nothing", "text", false, "", fs.ErrNotExist},
		{"/Users/alice/nothing", "", false, "", fs.ErrNotExist},
		{"/Users/alice/empty/below", "", false, "", fs.ErrNotExist},
		{"/Users/alice/../../etc/passwd", "text", false, "", errNotAsked},
		{"Parallels/relative", "text", false, "", errNotAsked},
		{"/Users/alice/\x00", "text", false, "", errNotAsked},
		{"/" + strings.Repeat("x", 64<<10), "", false, "", errNotAsked},
		{"/Users/alice/\xff\n%s$(id)\u202e", "text", false, "", fs.ErrNotExist},
	}
	var questions []FileQuestion
	for _, c := range cases {
		questions = append(questions, FileQuestion{Path: c.path, Reader: c.reader})
	}
	answers, err := machine.LookAtFiles(t.Context(), aliceOnDisk, questions)
	if err != nil || len(answers) != len(cases) {
		t.Fatalf("%d answers, %v", len(answers), err)
	}
	for i, c := range cases {
		got := answers[i]
		if got.Folder != c.folder || string(got.Fields) != c.fields || !errors.Is(got.Err, c.err) {
			t.Errorf("%.40q with %q: got %+v, want %+v", c.path, c.reader, got, c)
		}
		if c.reader == "" && got.Err == nil && (got.Inode == 0 || got.UID != uint32(os.Geteuid())) {
			t.Errorf("%.40q: inode %d of %d", c.path, got.Inode, got.UID)
		}
		if c.reader == "" && got.Err == nil && (got.Device == 0 || got.Volume != "" && !got.Folder) {
			t.Errorf("%.40q: device %d, volume %q", c.path, got.Device, got.Volume)
		}
		if got.Err != nil && strings.Contains(got.Err.Error(), "alice") {
			t.Errorf("%.40q is in its error: %v", c.path, got.Err)
		}
	}
	if at := answers[1].ModifiedAt; !at.Equal(changed) || !answers[3].ModifiedAt.IsZero() {
		t.Errorf("changed at %s, with content at %s", at, answers[3].ModifiedAt)
	}
	if len(runner.calls) != 1 || !slices.Equal(runner.calls[0].Args, []string{"-n", "-H", "-u", "#501", Helper, HelperCommand}) {
		t.Errorf("calls %v", runner.calls)
	}
}

// A user links a file of somebody else into a bundle: the child, which can read
// it, does not.
func TestH11_ContentOfSomebodyElsesFileIsNotRead(t *testing.T) {
	t.Parallel()
	foreign := "/etc/passwd" // root's, for everybody to read
	if os.Geteuid() == 0 {
		foreign = filepath.Join(t.TempDir(), "file")
		errorsAreFatal(t, os.WriteFile(foreign, []byte("content"), 0o644), os.Chown(foreign, 501, -1))
	}
	request, err := json.Marshal(map[string]any{
		"uid": os.Geteuid(), "questions": []map[string]any{{"path": []byte(foreign), "reader": "size"}, {"path": []byte(foreign)}},
	})
	errorsAreFatal(t, err)
	talk := &talk{Reader: bytes.NewReader(request)}
	if err := answerRequest(talk, fileLooker{readers: testReaders}); err != nil {
		t.Fatal(err)
	}
	content, rest, _ := strings.Cut(talk.String(), "\n")
	if content != `{"problem":"owner"}` || !strings.Contains(rest, `"inode":`) {
		t.Errorf("its content is answered with %.100s, what it is with %.100s", content, rest)
	}
}

// talk is one end of a conversation.
type talk struct {
	io.Reader
	bytes.Buffer // what was answered
}

func (t *talk) Read(into []byte) (int, error) { return t.Reader.Read(into) }

func TestH11_TheChildIsKilledAtItsLimit(t *testing.T) {
	t.Parallel()
	machine, runner, _ := helped(t)
	if _, err := machine.LookAtFiles(t.Context(), aliceOnDisk, []FileQuestion{{Path: "/Users/alice"}}); err != nil {
		t.Fatal(err)
	}
	if len(runner.calls) != 1 || runner.calls[0].Limit != 20*time.Second {
		t.Errorf("calls %+v, want one with a limit of 20 s", runner.calls)
	}
}

func TestH11_FilesOfOneLookAreCappedTogether(t *testing.T) {
	t.Parallel()
	machine, _, root := helped(t)
	place(t, root, "/Users/alice/large", strings.Repeat("x", maxFileContent/2+1))
	place(t, root, "/Users/alice/small", "x")
	var questions []FileQuestion
	for _, name := range []string{"large", "large", "small"} {
		questions = append(questions, FileQuestion{Path: "/Users/alice/" + name, Reader: "size"})
	}
	for range maxFileQuestions {
		questions = append(questions, FileQuestion{Path: "/Users/alice"})
	}
	answers, err := machine.LookAtFiles(t.Context(), aliceOnDisk, questions)
	if err != nil || answers[0].Err != nil || !errors.Is(answers[1].Err, safefile.ErrTooLarge) || string(answers[2].Fields) != "1" {
		t.Errorf("got %v, %v, %q, %v", answers[0].Err, answers[1].Err, answers[2].Fields, err)
	}
	last := answers[len(answers)-1]
	if !errors.Is(last.Err, errNotAsked) || answers[maxFileQuestions-1].Err != nil {
		t.Errorf("question %d: %v", maxFileQuestions, last.Err)
	}
}

// What the child says is the user's word: nothing of it is taken that was not
// asked for, and what came before nonsense still counts.
func TestH11_HostileAnswers(t *testing.T) {
	t.Parallel()
	questions := []FileQuestion{{Path: "/Users/alice/a"}, {Path: "/Users/alice/b", Reader: "text"}}
	cases := map[string]struct {
		reply answer
		want  []string // fields or error of each answer
		code  string
	}{
		"as asked":          {answer{stdout: "{\"inode\":7}\n{\"size\":3}\n[7]"}, []string{"", "[7]"}, ""},
		"no JSON":           {answer{stdout: "{\"inode\":7}\n{\"size\":3}\nabc"}, []string{"", "tool_failed"}, tool.CodeFailed},
		"no fields":         {answer{stdout: "{\"inode\":7}\n{\"inode\":7}\n"}, []string{"", "tool_failed"}, tool.CodeFailed},
		"problem":           {answer{stdout: "{\"problem\":\"link\"}\n{\"problem\":\"denied\"}\n"}, []string{"is a symbolic link", "permission denied"}, ""},
		"privacy":           {answer{stdout: "{\"problem\":\"private\"}\n{\"problem\":\"denied\"}\n"}, []string{"operation not permitted", "permission denied"}, ""},
		"cut short":         {answer{stdout: "{\"inode\":7}\n{\"size\":3}\na"}, []string{"", "tool_failed"}, tool.CodeFailed},
		"larger than asked": {answer{stdout: fmt.Sprintf("{\"inode\":7}\n{\"size\":%d}\n\"%s\"", maxFileFields+2, strings.Repeat("x", maxFileFields))}, []string{"", "tool_failed"}, tool.CodeFailed},
		"not asked for":     {answer{stdout: "{\"inode\":7,\"size\":1}\nx{}\n"}, []string{"tool_failed", "tool_failed"}, tool.CodeFailed},
		"negative":          {answer{stdout: "{}\n{\"size\":-1}\n"}, []string{"", "tool_failed"}, tool.CodeFailed},
		"own words":         {answer{stdout: "{\"problem\":\"rm -rf\"}\n"}, []string{"tool_failed", "tool_failed"}, tool.CodeFailed},
		"problem and size":  {answer{stdout: "{\"problem\":\"link\",\"size\":3}\n"}, []string{"tool_failed", "tool_failed"}, tool.CodeFailed},
		"volume":            {answer{stdout: "{\"volume\":\"0E5C2F1A-9C3B-4B7E-8D55-6A0F4C1B7D21\"}\n{\"size\":2}\n[]"}, []string{"", "[]"}, ""},
		"text as volume":    {answer{stdout: "{\"volume\":\"\\u001b[31m\"}\n"}, []string{"tool_failed", "tool_failed"}, tool.CodeFailed},
		"endless volume":    {answer{stdout: "{\"volume\":\"" + strings.Repeat("0", 37) + "\"}\n"}, []string{"tool_failed", "tool_failed"}, tool.CodeFailed},
		"unknown field":     {answer{stdout: "{\"path\":\"/etc\"}\n"}, []string{"tool_failed", "tool_failed"}, tool.CodeFailed},
		"endless line":      {answer{stdout: "{" + strings.Repeat(" ", 1<<16) + "}\n"}, []string{"tool_failed", "tool_failed"}, tool.CodeFailed},
		"more than asked":   {answer{stdout: "{}\n{\"size\":2}\n[]{}\n"}, []string{"", "[]"}, tool.CodeFailed},
		"nothing":           {answer{}, []string{"tool_failed", "tool_failed"}, tool.CodeFailed},
		"exit code":         {answer{stdout: "{}\n", exit: 1}, []string{"", "tool_failed"}, tool.CodeFailed},
		"killed in between": {answer{stdout: "{}\n", err: &tool.Error{Code: tool.CodeTimeout, Path: sudoPath, Err: errors.New("killed")}},
			[]string{"", "tool_timeout"}, tool.CodeTimeout},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, root := helped(t)
			asked := strings.Join([]string{sudoPath, "-n -H -u #501", Helper, HelperCommand}, " ")
			machine := New(root, &fakeRunner{answers: map[string]answer{asked: c.reply}})
			answers, err := machine.LookAtFiles(t.Context(), aliceOnDisk, questions)
			var failed *tool.Error
			if errors.As(err, &failed) != (c.code != "") || failed != nil && failed.Code != c.code {
				t.Errorf("got %v, want %q", err, c.code)
			}
			for i, want := range c.want {
				got := string(answers[i].Fields)
				if answers[i].Err != nil {
					got = answers[i].Err.Error()
				}
				if !strings.HasPrefix(got, want) || want == "" && got != "" {
					t.Errorf("answer %d: got %q, want %q", i, got, want)
				}
			}
		})
	}
}

func TestH11_OneUserNeverRunsWhatAnotherCouldHavePutThere(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		spoil func(helper string) error
		code  string
	}{
		"program for all to write": {func(helper string) error {
			return errors.Join(os.Remove(helper), os.WriteFile(helper, nil, 0o755), os.Chmod(helper, 0o757))
		}, tool.CodeRefused},
		"folder for all to write": {func(helper string) error { return os.Chmod(filepath.Dir(helper), 0o777) }, tool.CodeRefused},
		"link": {func(helper string) error {
			return errors.Join(os.Rename(helper, helper+"2"), os.Symlink(helper+"2", helper))
		}, tool.CodeRefused},
		"folder":         {func(helper string) error { return errors.Join(os.Remove(helper), os.Mkdir(helper, 0o755)) }, tool.CodeRefused},
		"missing":        {os.Remove, tool.CodeMissing},
		"folder missing": {func(helper string) error { return os.RemoveAll(filepath.Dir(helper)) }, tool.CodeMissing},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			machine, runner, root := helped(t)
			if err := c.spoil(filepath.Join(root, Helper)); err != nil {
				t.Fatal(err)
			}
			answers, err := machine.LookAtFiles(t.Context(), aliceOnDisk, []FileQuestion{{Path: "/Users/alice"}})
			var refused *tool.Error
			if !errors.As(err, &refused) || refused.Code != c.code || !errors.Is(answers[0].Err, err) {
				t.Errorf("got %v, %v", answers, err)
			}
			if err != nil && strings.Contains(err.Error(), root) {
				t.Errorf("a path of this disk is in %v", err)
			}
			if len(runner.calls) != 0 {
				t.Errorf("it ran: %v", runner.calls)
			}
		})
	}
}

func TestH11_TheChildRefusesToBeSomebodyElse(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"another uid": fmt.Sprintf(`{"uid":%d,"questions":[{"path":"Lw=="}]}`, os.Geteuid()+1),
		"not JSON":    "look at /",
		"too many":    fmt.Sprintf(`{"uid":%d,"questions":[%s{}]}`, os.Geteuid(), strings.Repeat("{},", maxFileQuestions)),
		"endless":     strings.Repeat(" ", maxRequest+1),
	}
	for name, request := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			talk := &talk{Reader: strings.NewReader(request)}
			if err := answerRequest(talk, fileLooker{readers: testReaders}); err == nil || talk.Len() > 0 {
				t.Errorf("answered %q, %v", talk.String(), err)
			}
		})
	}
	if err := answerRequest(&talk{Reader: failingReader{}}, fileLooker{}); err == nil {
		t.Error("no request, no error")
	}
}

// runHelperBy runs our program below a root with a socket that somebody made.
func runHelperBy(t *testing.T, program string, input *os.File) (output string, err error) {
	t.Helper()
	command := exec.Command(program, HelperCommand)
	command.Stdin = input
	text, err := command.CombinedOutput()
	return string(text), err
}

// Whoever runs the child learns nothing from it: it wants a socket, of who plays
// root where it lies. A link to it lies nowhere else, and a copy below a root of
// somebody else's looks at nothing outside of it.
func TestH60_TheChildAnswersNobodyButItsDaemon(t *testing.T) {
	t.Parallel()
	_, _, root := helped(t)
	place(t, root, "/Users/alice/secret", "secret")
	helper := filepath.Join(root, Helper)
	outside := t.TempDir()
	link := filepath.Join(outside, Helper)
	errorsAreFatal(t, os.MkdirAll(filepath.Dir(link), 0o755), os.Symlink(helper, link), os.Symlink(outside, filepath.Join(root, "out")))
	place(t, outside, "/secret", "secret")
	elsewhere := filepath.Join(outside, filepath.Base(Helper))
	errorsAreFatal(t, os.Link(helper, elsewhere))
	request := func(path string) []byte {
		data, err := json.Marshal(fileRequest{UID: uint32(os.Geteuid()), Questions: []pathOnDisk{{[]byte(path), "text", false}}})
		errorsAreFatal(t, err)
		return data
	}
	file := filepath.Join(outside, "request")
	errorsAreFatal(t, os.WriteFile(file, request(filepath.Join(root, "Users/alice/secret")), 0o644))
	opened, err := os.Open(file)
	errorsAreFatal(t, err)
	defer opened.Close()
	reading, writing, err := os.Pipe()
	errorsAreFatal(t, err)
	defer reading.Close()
	_, err = writing.Write(request(filepath.Join(root, "Users/alice/secret")))
	errorsAreFatal(t, err, writing.Close())
	for name, input := range map[string]*os.File{"nothing": nil, "a file": opened, "a pipe": reading} {
		output, err := runHelperBy(t, helper, input)
		if err == nil || output != ErrNotDaemon.Error()+"\n" {
			t.Errorf("%s: %q, %v", name, output, err)
		}
	}

	sockets := map[string]struct{ program, path, answer string }{
		"the daemon's":         {helper, filepath.Join(root, "Users/alice/secret"), `"secret"`},
		"through a link":       {link, filepath.Join(root, "Users/alice/secret"), `"secret"`}, // it lies where it leads
		"outside of the root":  {helper, filepath.Join(outside, "secret"), `{"problem":"unreadable"}`},
		"outside by a link":    {helper, filepath.Join(root, "out/secret"), `{"problem":"unreadable"}`},
		"outside by a dot":     {helper, root + "/../" + filepath.Base(outside) + "/secret", `{"problem":"unreadable"}`},
		"outside through link": {link, filepath.Join(outside, "secret"), `{"problem":"unreadable"}`},
		"not where it belongs": {elsewhere, filepath.Join(outside, "secret"), ""},
	}
	for name, c := range sockets {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		errorsAreFatal(t, err)
		ours, theirs := os.NewFile(uintptr(pair[0]), ""), os.NewFile(uintptr(pair[1]), "")
		_, err = ours.Write(request(c.path))
		errorsAreFatal(t, err, unix.Shutdown(pair[0], unix.SHUT_WR))
		output, failed := runHelperBy(t, c.program, theirs)
		theirs.Close()
		answer, err := io.ReadAll(ours)
		if err != nil && !errors.Is(err, unix.ECONNRESET) || !strings.Contains(string(answer), c.answer) || c.answer == "" && (len(answer) > 0 || failed == nil) {
			t.Errorf("%s: answered %q, printed %q, %v", name, answer, output, err)
		}
		ours.Close()
	}
}

// A socket of another account's is refused: who may be root makes one.
func TestH60_ASocketOfAnotherAccountIsRefused(t *testing.T) {
	t.Parallel()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	errorsAreFatal(t, err)
	ours, theirs := os.NewFile(uintptr(pair[0]), ""), os.NewFile(uintptr(pair[1]), "")
	defer ours.Close()
	defer theirs.Close()
	root := t.TempDir()
	if err := checkDaemon(theirs, root); err != nil {
		t.Errorf("the owner's own: %v", err)
	}
	notMine := "/proc/1" // of root
	if os.Geteuid() == 0 {
		errorsAreFatal(t, os.Chown(root, 501, -1))
		notMine = root
	} else if err := checkDaemon(theirs, ""); !errors.Is(err, ErrNotDaemon) {
		t.Errorf("root's on a Mac: %v", err)
	}
	if err := checkDaemon(theirs, notMine); !errors.Is(err, ErrNotDaemon) {
		t.Errorf("somebody else's: %v", err)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("closed") }

func FuzzParseAnswers(f *testing.F) {
	f.Add([]byte("{\"folder\":true,\"device\":1,\"inode\":7,\"uid\":501}\n{\"size\":3}\n[7]"))
	f.Add([]byte("{\"problem\":\"absent\"}\n{\"problem\":\"unreadable\"}\n"))
	f.Add([]byte("{\"size\":-1}\n"))
	questions := []pathOnDisk{{[]byte("/a"), "", false}, {[]byte("/b"), "text", false}}
	f.Fuzz(func(t *testing.T, output []byte) {
		answers, err := parseAnswers(output, questions)
		if len(answers) > len(questions) || err == nil && len(answers) != len(questions) {
			t.Fatalf("%d answers, %v", len(answers), err)
		}
		for i, answer := range answers {
			if len(answer.Fields) > maxFileFields || questions[i].Reader == "" && len(answer.Fields) > 0 {
				t.Errorf("%d bytes of fields about question %d", len(answer.Fields), i)
			}
		}
	})
}
