package cmd_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"prlagent/agent"
	"prlagent/agent/protocol"
	"prlagent/launchd"
)

// toolsOfOthers are the commands of Apple and Parallels that a remedy may name.
var toolsOfOthers = []string{"chmod", "chown", "codesign", "ioreg", "launchctl", "ls", "plutil", "prlctl", "prlsrvctl", "rm"}

// ourPrograms are those with a help of their own.
var ourPrograms = []string{"prlagent", "prlagentd", "prlportal", "prlsim"}

// Commands in a remedy stand in quotation marks, or behind sudo.
var (
	quotedCommand = regexp.MustCompile(`(?:^|[^\p{L}])'([a-z][^']*)'`)
	sudoCommand   = regexp.MustCompile(`\bsudo ([a-z][^;,]*)`)
)

// daemonFolder is where prlagentd is, as a shell wants it; it is on no search path.
const daemonFolder = `/Library/Application\ Support/prlagent/bin/`

func commandsIn(remedy string) (commands []string) {
	remedy = strings.ReplaceAll(remedy, daemonFolder+"prlagentd", "prlagentd")
	for _, pattern := range []*regexp.Regexp{quotedCommand, sudoCommand} {
		for _, match := range pattern.FindAllStringSubmatch(remedy, -1) {
			commands = append(commands, strings.TrimPrefix(strings.TrimRight(match[1], ". "), "sudo "))
		}
	}
	return commands
}

// Each command that a remedy names is one of ours that has a help with the flags
// that are named, or a tool from a short list.
func TestRemediesNameCommandsThatExist(t *testing.T) {
	t.Parallel()
	programs, err := builtPrograms()
	if err != nil {
		t.Fatal(err)
	}
	helps, found := make(map[string]string), 0
	for _, words := range protocol.Codes {
		code := words.Code
		for _, command := range commandsIn(words.Remedy) {
			found++
			fields := strings.Fields(command)
			switch {
			case slices.Contains(toolsOfOthers, fields[0]):
			case slices.Contains(ourPrograms, fields[0]):
				checkOurCommand(t, programs, helps, code, fields)
			default:
				t.Errorf("%s: nobody knows the command %q", code, command)
			}
			if !fitsCode(code, fields) {
				t.Errorf("%s: %q does not fit", code, command)
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d commands found", found)
	}
}

// A command of prlagentd is one that a shell finds.
func TestRemediesNameTheDaemonByItsPath(t *testing.T) {
	t.Parallel()
	ofDaemon, found := regexp.MustCompile(`\S*\\? ?\S*prlagentd [a-z]+( --[a-z]+)*\.`), 0
	for _, words := range protocol.Codes {
		code := words.Code
		for _, command := range ofDaemon.FindAllString(words.Remedy, -1) {
			if found++; !strings.HasPrefix(strings.TrimLeft(command, " "), daemonFolder) {
				t.Errorf("%s: nobody finds %q", code, command)
			}
		}
		if strings.Contains(words.Remedy, "'prlagentd ") {
			t.Errorf("%s: nobody finds prlagentd: %s", code, words.Remedy)
		}
	}
	if found < 5 {
		t.Errorf("only %d commands found", found)
	}
}

func checkOurCommand(t *testing.T, programs string, helps map[string]string, code protocol.Code, fields []string) {
	t.Helper()
	path, flags := fields[:1:1], []string(nil)
	for _, word := range fields[1:] {
		switch {
		case strings.HasPrefix(word, "-"):
			flags = append(flags, word)
		case word == strings.ToLower(word) && flags == nil:
			path = append(path, word)
		}
	}
	name := strings.Join(path, " ")
	help, known := helps[name]
	if !known {
		out, err := exec.CommandContext(t.Context(), filepath.Join(programs, path[0]), append(path[1:], "--help")...).CombinedOutput()
		if err != nil {
			t.Errorf("%s: '%s --help': %v\n%s", code, name, err, out)
		}
		help = string(out)
		helps[name] = help
	}
	if usage := regexp.MustCompile(`(?m)^\s+` + regexp.QuoteMeta(name) + `( |$)`); !usage.MatchString(help) {
		t.Errorf("%s: there is no %q:\n%s", code, name, help)
	}
	for _, flag := range flags {
		if !strings.Contains(help, flag+" ") {
			t.Errorf("%s: %q has no %s", code, name, flag)
		}
	}
}

// withoutDaemon are the codes of a daemon that gives no answer, or of its job.
var withoutDaemon = []protocol.Code{
	protocol.CodeDaemonMissing, protocol.CodeDaemonNotRunning, protocol.CodeDaemonSilent,
	protocol.CodeJobNotLoaded, protocol.CodeJobNotRunning, protocol.CodeJobDisabled,
}

// operatorCodes are the beginnings of codes that the portal's operator mends.
var operatorCodes = []string{"enrollment_", "pending_keys", "device_", "duplicate_identity", "head_", "policy_", "content_", "rollback_", "portal_certificate_", "webhook_", "command_", "target_", "epoch_", "portal_restored", "privacy_requirement_", "licensing_profile_"}

// fitsCode reports whether who meets the code can run the command with some use.
func fitsCode(code protocol.Code, command []string) bool {
	switch {
	case slices.Contains(withoutDaemon, code):
		return command[0] == "launchctl" || command[0] == "prlagentd" && code != protocol.CodeDaemonMissing
	case command[0] == "prlportal":
		return slices.ContainsFunc(operatorCodes, func(begin string) bool { return strings.HasPrefix(string(code), begin) })
	case command[0] == "launchctl":
		return false // nothing else is mended by a restart
	}
	return true
}

// Where the log has more, its path is there; and the job is called as it is.
func TestRemediesNameTheLogAndTheJob(t *testing.T) {
	t.Parallel()
	aLog, logs := regexp.MustCompile(`\bthe log\b`), 0
	for _, words := range protocol.Codes {
		code := words.Code
		if aLog.MatchString(words.Remedy) {
			if logs++; !strings.Contains(words.Remedy, agent.LogFile) {
				t.Errorf("%s: which log? %s", code, words.Remedy)
			}
		}
		for _, command := range commandsIn(words.Remedy) {
			if strings.HasPrefix(command, "launchctl ") && !strings.HasSuffix(command, "system/"+launchd.Label) && !strings.HasSuffix(command, "system "+launchd.PlistPath) {
				t.Errorf("%s: %s is about another job", code, command)
			}
		}
	}
	if logs < 5 {
		t.Errorf("only %d remedies name the log", logs)
	}
}
