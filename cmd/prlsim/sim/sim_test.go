package sim

import (
	"bufio"
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"prlagent/cmd/prlsim/simtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMain lets the test binary play the console and every tool. They end with
// syscall.Exit, because os.Exit waits a second in a program built with -race.
func TestMain(m *testing.M) {
	play := func() { syscall.Exit(Main()) }
	commands := map[string]func(){"prlsim": play}
	for _, name := range toolNames() {
		commands[name] = play
	}
	if filepath.Base(os.Args[0]) == agentProgram {
		agentStandIn()
	}
	testscript.Main(keeping{m}, commands)
}

// keeping keeps the Macs of tests until the last test has ended: while files
// are removed, a file system without a journal is slow to make others.
type keeping struct{ *testing.M }

var keptMacs string // folder

func (k keeping) Run() int {
	defer simtest.UseMemory()()
	folder, err := os.MkdirTemp("", "macs")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	keptMacs = folder
	return k.M.Run()
}

// macFolder is an empty folder for a Mac. One with processes goes with its
// test: they end when it is gone.
func macFolder(t *testing.T, wanted newMacOptions) string {
	t.Helper()
	if !wanted.NoProcesses {
		return t.TempDir()
	}
	folder, err := os.MkdirTemp(keptMacs, "")
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// agentStandIn plays an agent: called prlagentd it says that it is there and
// lives until its input ends.
func agentStandIn() {
	_, _ = os.Stdout.WriteString("there\n")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	syscall.Exit(0)
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: filepath.Join("..", "..", "..", "testdata", "scripts", "sim")})
}

// standardMac is the Mac of `prlsim mac create DIR --no-processes`.
func standardMac() newMacOptions {
	return newMacOptions{
		Users: []string{"alice", "bob"}, Seed: 1, ProductVersion: "26.4.0-57513",
		ComputerName: "Alice's MacBook Pro", NoProcesses: true,
	}
}

func newMac(t *testing.T, wanted newMacOptions) Mac {
	t.Helper()
	mac, err := makeMac(filepath.Join(macFolder(t, wanted), "mac"), wanted)
	if err != nil {
		t.Fatal(err)
	}
	return mac
}

// toolProgram is this test as a program, for the tools of all Macs.
var toolProgram = sync.OnceValues(func() (string, error) {
	executable, err := os.Executable()
	if err != nil {
		return "", err
	}
	program := filepath.Join(keptMacs, "tool")
	return program, copyProgram(executable, program)
})

// makeMac makes a Mac whose tools are links to one copy of this program. A copy of 20 MB
// for each Mac was two thirds of what these tests computed, and no agent is here that
// would distrust a tool whose links become more.
func makeMac(dir string, wanted newMacOptions) (Mac, error) {
	program, err := toolProgram()
	if err != nil {
		return Mac{}, err
	}
	first := filepath.Join(dir, toolPaths[0])
	if err := os.MkdirAll(filepath.Dir(first), 0o755); err != nil {
		return Mac{}, err
	}
	if err := os.Link(program, first); err != nil {
		return Mac{}, err
	}
	return createMac(dir, program, wanted)
}

// outcome is what a run of a tool left.
type outcome struct {
	code           int
	stdout, stderr string
}

// call is one run of a tool inside the test process.
type call struct {
	mac    Mac
	caller string
	stdin  string
}

func callAs(mac Mac, caller string) call { return call{mac: mac, caller: caller} }

func (c call) run(t *testing.T, name string, args ...string) outcome {
	t.Helper()
	return c.runIn(t, 0, name, args...)
}

// runIn runs a tool in the session of the user with this uid.
func (c call) runIn(t *testing.T, session int, name string, args ...string) outcome {
	t.Helper()
	play, ok := toolByName(name)
	if !ok {
		t.Fatalf("no tool %q", name)
	}
	state, err := c.mac.Load()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code := play(&invocation{
		mac: c.mac, state: state, caller: c.caller, session: session, name: name, args: args,
		stdin: strings.NewReader(c.stdin), stdout: &stdout, stderr: &stderr,
	})
	return outcome{code, stdout.String(), stderr.String()}
}

// idOf returns the id of a user's VM.
func idOf(t *testing.T, mac Mac, owner, name string) string {
	t.Helper()
	state, err := mac.Load()
	if err != nil {
		t.Fatal(err)
	}
	vm, err := findVM(state.ownedBy(owner), name)
	if err != nil {
		t.Fatal(err)
	}
	return vm.ID
}

func mustUpdate(t *testing.T, mac Mac, apply func(*State) error) {
	t.Helper()
	if err := mac.update(apply); err != nil {
		t.Fatal(err)
	}
}

func checkGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := writeFile(path, []byte(got)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}
