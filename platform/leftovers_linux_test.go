package platform

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// daemonWord lets the test binary play a daemon: with it and the path of a record
// it starts programs as on a Mac, where no kernel ends them with it, and says
// which. It is killed hard.
const daemonWord = "daemon-that-is-killed"

func killedDaemonRole() {
	if len(os.Args) != 3 || os.Args[1] != daemonWord {
		return
	}
	record, err := OpenChildRecord(os.Args[2])
	if err != nil {
		syscall.Exit(1)
	}
	start := func() int {
		program := exec.Command("/bin/sh", "-c", "sleep 600 & wait") // with a child of its own in the group
		program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := program.Start(); err != nil {
			syscall.Exit(1)
		}
		go func() { _ = program.Wait() }()
		return program.Process.Pid
	}
	ours, unrecorded, finished, member := start(), start(), start(), exec.Command("/bin/sleep", "600")
	if err := member.Start(); err != nil { // it leads no group
		syscall.Exit(1)
	}
	record.Began(ours)
	record.Began(finished)
	record.Began(member.Process.Pid)
	record.Ended(finished)
	fmt.Println(ours, unrecorded, finished, member.Process.Pid)
	select {}
}

// A daemon is killed hard. The next start ends what it had started and nothing
// else: no process that is not written down, whose end was seen, that leads no
// group, or that got an id later, however alike it is.
func TestWhatAKilledDaemonLeftIsEndedAtTheNextStart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "children")
	self, err := os.Executable()
	errorsAreFatal(t, err)
	daemon := exec.Command(self, daemonWord, path)
	output, err := daemon.StdoutPipe()
	errorsAreFatal(t, err, daemon.Start())
	line, err := bufio.NewReader(output).ReadString('\n')
	errorsAreFatal(t, err)
	var pids []int
	for word := range strings.FieldsSeq(line) {
		pid, err := strconv.Atoi(word)
		errorsAreFatal(t, err)
		pids = append(pids, pid)
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL); _ = syscall.Kill(-pid, syscall.SIGKILL) })
	}
	ours, others := pids[0], pids[1:]
	errorsAreFatal(t, daemon.Process.Kill())
	_ = daemon.Wait()
	if !isAlive(ours) {
		t.Fatal("nothing is left, and nothing shown")
	}

	// Records of another boot, and of another process with the id, end nothing.
	data, err := os.ReadFile(path)
	errorsAreFatal(t, err)
	var left recordedChildren
	errorsAreFatal(t, json.Unmarshal(data, &left))
	for name, change := range map[string]func(*recordedChildren){
		"another boot":    func(left *recordedChildren) { left.Boot = "another" },
		"another process": func(left *recordedChildren) { left.Children[ours] = recordedChild{left.Children[ours].Started - 1} },
	} {
		changed := left
		changed.Children = map[int]recordedChild{ours: left.Children[ours]}
		change(&changed)
		text, err := json.Marshal(changed)
		forged := filepath.Join(t.TempDir(), "children")
		errorsAreFatal(t, err, os.WriteFile(forged, text, 0o600))
		if ended, err := EndLeftovers(forged); err != nil || len(ended) != 0 || !isAlive(ours) {
			t.Errorf("%s: ended %v, %v", name, ended, err)
		}
	}

	group := processesOfGroup(t, ours) // all of it goes
	if len(group) < 2 {
		t.Errorf("the group is %v", group)
	}
	ended, err := EndLeftovers(path)
	if err != nil || !slices.Equal(ended, []int{ours}) {
		t.Errorf("ended %v, %v; want %d", ended, err, ours)
	}
	for _, pid := range group {
		waitUntilGone(t, pid)
	}
	for _, pid := range others {
		if !isAlive(pid) {
			t.Errorf("%d of %v was ended as well", pid, others)
		}
	}
	if ended, err := EndLeftovers(path); err != nil || len(ended) != 0 {
		t.Errorf("once more: %v, %v", ended, err)
	}
}

func isAlive(pid int) bool {
	identity, err := identifyProcess(pid)
	return err == nil && !identity.ended
}

// waitUntilGone asks again until the kernel has ended the process.
func waitUntilGone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); isAlive(pid); time.Sleep(time.Millisecond) { // the kernel's own pace
		if time.Now().After(end) {
			t.Fatalf("%d does not end", pid)
		}
	}
}

func processesOfGroup(t *testing.T, group int) (members []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	errorsAreFatal(t, err)
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			if its, err := syscall.Getpgid(pid); err == nil && its == group {
				members = append(members, pid)
			}
		}
	}
	return members
}

func TestChildRecordThatIsNone(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if ended, err := EndLeftovers(filepath.Join(folder, "nothing")); err != nil || ended != nil {
		t.Errorf("no record: %v, %v", ended, err)
	}
	for name, content := range map[string]string{
		"nonsense": "x", "empty": "", "init": `{"children":{"1":{}}}`, "all of us": `{"children":{"0":{}}}`, "a group": `{"children":{"-7":{}}}`,
		"ourselves": fmt.Sprintf(`{"children":{"%d":{}}}`, os.Getpid()), "large": strings.Repeat(" ", maxRecord+1),
	} {
		path := filepath.Join(folder, "record")
		errorsAreFatal(t, os.WriteFile(path, []byte(content), 0o600))
		if ended, err := EndLeftovers(path); err == nil || ended != nil {
			t.Errorf("%s: ended %v", name, ended)
		}
	}
	errorsAreFatal(t, os.Symlink("record", filepath.Join(folder, "link")))
	if _, err := OpenChildRecord(filepath.Join(folder, "link")); err == nil {
		t.Error("a link is opened")
	}
}

// A shorter record over a longer one, of which a kill left the end.
func TestChildRecordIsReadUpToItsEnd(t *testing.T) {
	t.Parallel()
	left, err := parseChildRecord([]byte("{\"boot\":\"b\",\"children\":{\"7\":{\"started\":9}}}\n:8}}}\n"))
	if err != nil || left.Boot != "b" || len(left.Children) != 1 || left.Children[7].Started != 9 {
		t.Errorf("got %+v, %v", left, err)
	}
}

func FuzzParseChildRecord(f *testing.F) {
	f.Add([]byte(`{"boot":"b","children":{"7":{"started":9}}}`))
	f.Add([]byte(`{"children":{"-1":{}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		left, err := parseChildRecord(data)
		for pid := range left.Children {
			if err != nil || pid <= 1 || pid == os.Getpid() {
				t.Errorf("%d, %v", pid, err)
			}
		}
	})
}
