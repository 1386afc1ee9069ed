package cmd_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"prlagent/launchd"
)

const readmeFile = "../README.md"

// readmeBlocks are the commands of a section of README.md, block by block.
func readmeBlocks(section string) (blocks []string, err error) {
	content, err := os.ReadFile(readmeFile)
	if err != nil {
		return nil, fmt.Errorf("read README: %w", err)
	}
	_, rest, found := strings.Cut(string(content), "\n## "+section+"\n")
	if !found {
		return nil, fmt.Errorf("README has no section %q", section)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	for _, paragraph := range strings.Split(rest, "\n\n") {
		paragraph = strings.Trim(paragraph, "\n")
		if strings.HasPrefix(paragraph, "    ") {
			blocks = append(blocks, strings.ReplaceAll(strings.TrimPrefix(paragraph, "    "), "\n    ", "\n"))
		}
	}
	return blocks, nil
}

// runReadme runs the commands of a section of README.md to the letter, in one
// shell, as a person would type them: what serves goes to another terminal, and
// the next command comes when it is ready. Only these things are others: the
// portal's name, which is this machine's, and its port, which is the script's; and
// what is for a Mac is done to the simulated one in the folder mac, see onMac. The
// programs are those that the tests have built.
func runReadme(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: readme SECTION")
	}
	blocks, err := readmeBlocks(args[0])
	ts.Check(err)
	port, err := reservePort()
	ts.Check(err)
	stageOf(ts).portal = port // released at the end
	own := strings.NewReplacer("portal.example.com", "localhost", ":8443", port.address[strings.LastIndexByte(port.address, ':'):])
	var script strings.Builder
	script.WriteString("set -e\ntrap 'for job in $jobs; do kill $job || :; done; wait' EXIT\n")
	for line := range strings.Lines(strings.ReplaceAll(strings.Join(blocks, "\n"), "\\\n", "") + "\n") {
		line = own.Replace(strings.TrimSuffix(line, "\n"))
		fmt.Fprintf(&script, "echo %s >&2\n", quoted("$ "+line))
		script.WriteString(typed(line, stageOf(ts)))
	}
	command := exec.Command("sh", "-c", script.String())
	command.Dir = ts.Getenv("WORK")
	for _, name := range []string{"PATH", "TMPDIR", "GORACE", "GOCOVERDIR"} {
		command.Env = append(command.Env, name+"="+ts.Getenv(name))
	}
	command.Env = append(command.Env, "HOME="+ts.Getenv("WORK"))
	output, err := command.CombinedOutput()
	ts.Check(os.WriteFile(ts.MkAbs("readme.out"), output, 0o600))
	if err != nil {
		ts.Fatalf("%v\n%s", err, output)
	}
}

// await is the line that waits until what serves is ready.
const await = "while ! %s; do kill -0 $job; sleep 0.02; done\n"

// typed is a line as the script's shell runs it.
func typed(line string, s *stage) string {
	switch {
	case strings.HasPrefix(line, "GOOS=darwin "), strings.HasPrefix(line, "sudo "), strings.HasPrefix(line, "prlagent "):
		return onMac(line, s)
	case line == "go build -o bin/ ./cmd/...":
		return "ln -s " + quoted(s.programs) + " bin\n"
	case strings.HasPrefix(line, "bin/prlsim "):
		return strings.Replace(line, "bin/prlsim", quoted(s.program("prlsim")), 1) + "\n"
	case strings.HasPrefix(line, "bin/prlportal serve "):
		return line + " 2>serve.log & job=$!; jobs=\"$jobs $job\"\n" + fmt.Sprintf(await, "test -e portal/local.token -a -e portal/listening")
	case strings.HasPrefix(line, "bin/prlagentd run "):
		return line + " & job=$!; jobs=\"$jobs $job\"\n" + fmt.Sprintf(await, "test -S mac/var/run/prlagent.sock")
	}
	return line + "\n"
}

// onMac is a line for a Mac as it is run on the simulated one: with its folders,
// by the one who runs the test in the place of root. The programs are this
// machine's. launchd does not exist: what the job says is started (README says so).
func onMac(line string, s *stage) string {
	const job = "/Library/LaunchDaemons/" + launchd.Label + ".plist"
	line = strings.TrimPrefix(line, "sudo ")
	switch {
	case strings.HasPrefix(line, "GOOS=darwin "):
		return fmt.Sprintf("cp %s %s .\n", quoted(s.program("prlagentd")), quoted(s.program("prlagent")))
	case line == "launchctl bootstrap system "+job:
		return bootstrap("mac"+job, s)
	case strings.HasPrefix(line, "prlagent "):
		return "mac/usr/local/bin/" + line + " --root mac\n"
	}
	return strings.NewReplacer(`"/Library/`, `"$PWD/mac/Library/`, ` /Library/`, ` "$PWD"/mac/Library/`, ` /usr/`, ` "$PWD"/mac/usr/`,
		"launchd/testdata/", repositoryFolder()+"/launchd/testdata/", "-o root -g wheel", "-o $(id -u) -g $(id -g)").Replace(line) + "\n"
}

func repositoryFolder() string {
	folder, err := filepath.Abs("..")
	if err != nil {
		panic(err)
	}
	return folder
}

// bootstrap are the lines in the place of launchd: it starts the program that was
// installed, with the arguments of the job that was.
func bootstrap(installed string, s *stage) string {
	job := launchd.AgentJob()
	var command []string
	for i, word := range job.ProgramArguments {
		if i == 0 {
			word = "mac" + word
		}
		command = append(command, quoted(word))
	}
	return fmt.Sprintf("test -f %s\n", quoted(installed)) +
		fmt.Sprintf("%s --root mac 2>>%s & job=$!; jobs=\"$jobs $job\"\n", strings.Join(command, " "), quoted("mac"+job.StandardErrorPath)) +
		fmt.Sprintf("%s job load %s --pid $job --mac mac\n", quoted(s.program("prlsim")), job.Label) +
		fmt.Sprintf(await, "mac/usr/local/bin/prlagent status --json --root mac 2>/dev/null | grep -q last_pass") // who types takes their time
}

func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// expectIgnored runs git status over all that lies in the script's folder, with
// the .gitignore of the repository: nothing would be added.
func expectIgnored(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: ignored")
	}
	if _, err := exec.LookPath("git"); errors.Is(err, exec.ErrNotFound) {
		return
	}
	rules, err := os.ReadFile("../.gitignore")
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(".gitignore"), rules, 0o600))
	run(ts, "git", "init", "--quiet")
	run(ts, "git", "status", "--porcelain", "--untracked-files=all")
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		switch file := strings.TrimSpace(strings.TrimPrefix(line, "??")); file {
		case ".gitignore", "bin", "serve.log", "readme.out": // the script's own; bin is a link there
		default:
			ts.Fatalf("git would take up %s", file)
		}
	}
}

var readmeLink = regexp.MustCompile(`\]\(([^)#]+)\)`)

func TestREADMENamesOnlyWhatIsInTheTree(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(readmeFile)
	if err != nil {
		t.Fatal(err)
	}
	links := readmeLink.FindAllStringSubmatch(string(content), -1)
	if len(links) < 3 {
		t.Errorf("README has %d links", len(links))
	}
	for _, link := range links {
		if _, err := os.Stat(filepath.Join("..", link[1])); err != nil {
			t.Errorf("README names %s: %v", link[1], err)
		}
	}
	for _, wrong := range regexp.MustCompile(`\b(H[0-9]{2}|DESIGN|protocol\.md|hardening\.md)\b`).FindAllString(string(content), -1) {
		t.Errorf("README names %s, which its readers cannot open", wrong)
	}
	if strings.Contains(string(content), "| |\n") {
		t.Error("README has a key without a meaning")
	}
}
