package sim

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sudo plays the one use that an agent makes of it, started by root:
// sudo -n -H -u USER|#UID PROGRAM ARGS… (facts/macos.md 7.1).
func sudo(in *invocation) int {
	target, program, code := in.parseSudo()
	if code != 0 {
		return code
	}
	if in.caller != rootUser {
		return in.failf(1, "sudo: a password is required")
	}
	account, uid, known := in.state.findAccount(target)
	if !known {
		return in.failf(1, "sudo: unknown user %s", target)
	}
	if in.state.hasFault("stopped", account) {
		if err := stopHere(); err != nil {
			return in.failf(1, "sudo: unable to stop: %v", err)
		}
	}
	return in.execProgram(program, "sudo: %s: command not found", 1, in.state.sudoEnvironment(account, uid, program))
}

// endsFirst is how long a program that goes on waits for a SIGTERM that came while it
// was stopped: the kernel ends a program by it before that does anything, and
// Go's runtime gets both signals in threads of their own.
const endsFirst = 100 * time.Millisecond

// stopHere stops this process, and returns once it was told to go on and not to end. The
// kernel may stop it some moments after kill has returned, in which it could end.
func stopHere() error {
	goesOn, ends := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(goesOn, syscall.SIGCONT)
	signal.Notify(ends, syscall.SIGTERM)
	defer signal.Stop(goesOn)
	defer signal.Stop(ends)
	if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
		return err
	}
	<-goesOn
	select {
	case <-ends:
		signal.Reset(syscall.SIGTERM)
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		select {} // it ends
	case <-time.After(endsFirst):
		return nil
	}
}

// parseSudo reads the options; every other option than -n, -H and -u, and a
// missing -n or -H, is refused.
func (in *invocation) parseSudo() (target string, program []string, code int) {
	seen := map[string]bool{}
	arguments := in.args
	for len(arguments) > 0 && strings.HasPrefix(arguments[0], "-") {
		option := arguments[0]
		arguments = arguments[1:]
		switch {
		case option == "-n" || option == "-H":
			seen[option] = true
		case option == "-u" && len(arguments) > 0:
			target, arguments = arguments[0], arguments[1:]
		case option == "-u":
			return "", nil, in.failf(1, "sudo: option requires an argument -- 'u'")
		default:
			return "", nil, in.failf(1, "sudo: invalid option -- '%s'", strings.TrimLeft(option, "-"))
		}
	}
	if !seen["-n"] || !seen["-H"] || target == "" || len(arguments) == 0 {
		return "", nil, in.failf(1, "usage: sudo -n -H -u user command [arg ...]")
	}
	return target, arguments, 0
}

// findAccount finds an account of the Mac by name or "#UID".
func (s *State) findAccount(target string) (name string, uid int, known bool) {
	number, byUID := strings.CutPrefix(target, "#")
	if !byUID {
		user, known := s.userByName(target)
		if target == rootUser {
			return rootUser, 0, true
		}
		return user.Name, user.UID, known
	}
	uid, err := strconv.Atoi(number)
	if err != nil {
		return "", 0, false
	}
	if uid == 0 {
		return rootUser, 0, true
	}
	user, known := s.userByUID(uid)
	return user.Name, uid, known
}

// sessionVariable stands for the bootstrap and audit session of a process: only
// the simulated launchctl sets it, and every program inherits it.
const sessionVariable = "PRLSIM_SESSION"

func parseSession(text string) int {
	uid, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return uid
}

// sudoKeptVariables are the variables that survive sudo's clean environment,
// and the session, which sudo does not change.
var sudoKeptVariables = []string{"LANG", "LC_ALL", "LC_CTYPE", "TERM", sessionVariable}

func (s *State) sudoEnvironment(account string, uid int, program []string) []string {
	environment := []string{
		"PATH=/usr/bin:/bin:/usr/sbin:/sbin",
		"HOME=" + s.homeOf(account), "USER=" + account, "LOGNAME=" + account, "SHELL=/bin/zsh",
		"SUDO_UID=0", "SUDO_GID=0", "SUDO_USER=" + rootUser, "SUDO_COMMAND=" + strings.Join(program, " "),
	}
	for _, name := range sudoKeptVariables {
		if value, set := os.LookupEnv(name); set {
			environment = append(environment, name+"="+value)
		}
	}
	return environment
}

// execProgram replaces this process by the program at a Mac path, so that no
// extra process stays between the caller and the program. Where the program is this
// one by another name, it goes on as that at once: to start anew takes longer than
// most tools do. Its arguments in the process table stay those of the first name.
func (in *invocation) execProgram(program []string, missing string, code int, environment []string) int {
	if !strings.HasPrefix(program[0], "/") {
		return in.failf(code, missing, program[0])
	}
	path := in.mac.Path(program[0])
	info, err := os.Stat(path)
	if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return in.failf(code, missing, program[0])
	}
	name, arguments := filepath.Base(path), append([]string{path}, program[1:]...)
	if play, is := toolByName(name); is && isThisProgram(info) {
		os.Args = arguments
		os.Clearenv()
		for _, variable := range environment {
			name, value, _ := strings.Cut(variable, "=")
			if err := os.Setenv(name, value); err != nil {
				return in.failf(code, "%s: unable to execute %s: %v", in.name, program[0], err)
			}
		}
		return runAsTool(name, play)
	}
	err = syscall.Exec(path, arguments, environment)
	return in.failf(code, "%s: unable to execute %s: %v", in.name, program[0], err)
}

// isThisProgram reports whether a file is the program that runs.
func isThisProgram(file os.FileInfo) bool {
	executable, err := os.Executable()
	if err != nil {
		return false
	}
	own, err := os.Stat(executable)
	return err == nil && os.SameFile(own, file)
}

// asUser runs a program in a user's bootstrap. It changes neither the account
// nor the environment. What happens without a GUI session is unknown
// (facts/macos.md 15.3).
func asUser(in *invocation, uidText string, program []string) int {
	uid, err := strconv.Atoi(uidText)
	user, known := in.state.userByUID(uid)
	if err != nil || !known || in.caller != rootUser {
		return in.failf(1, "Could not switch to audit session of user %s: 1: Operation not permitted", uidText)
	}
	missing := !user.LoggedIn && in.state.assumes("asuser_without_session", "fails")
	if missing || in.state.hasFault("no_session", user.Name) {
		return in.failf(1, "Could not switch to audit session of user %s: 3: No such process", uidText)
	}
	return in.execProgram(program, "launchctl: could not execute %s: No such file or directory", 1,
		append(os.Environ(), sessionVariable+"="+strconv.Itoa(user.UID)))
}

// consoleUserText is the text of `show State:/Users/ConsoleUser`
// (facts/macos.md 8): one session for every user who is logged in, on the
// screen or switched out.
func (s *State) consoleUserText() string {
	var out strings.Builder
	name, uid, gid := "loginwindow", 0, 0
	if user, ok := s.userByName(s.Console); ok {
		name, uid, gid = user.Name, user.UID, 20
	}
	fmt.Fprintf(&out, "<dictionary> {\n  GID : %d\n  Name : %s\n  SessionInfo : <array> {\n", gid, name)
	session := 0
	for _, user := range s.Users {
		if user.LoggedIn {
			writeSession(&out, session, user, user.Name == s.Console)
			session++
		}
	}
	fmt.Fprintf(&out, "  }\n  UID : %d\n}\n", uid)
	return out.String()
}

func writeSession(out *strings.Builder, number int, user macUser, onConsole bool) {
	fmt.Fprintf(out, "    %d : <dictionary> {\n", number)
	for _, line := range [][2]string{
		{"kCGSSessionAuditIDKey", strconv.Itoa(100000 + user.UID)},
		{"kCGSSessionGroupIDKey", "20"},
		{"kCGSSessionIDKey", strconv.Itoa(257 + number)},
		{"kCGSSessionLoginwindowSafeLogin", "FALSE"},
		{"kCGSSessionOnConsoleKey", strings.ToUpper(strconv.FormatBool(onConsole))},
		{"kCGSSessionSystemSafeBoot", "FALSE"},
		{"kCGSSessionUserIDKey", strconv.Itoa(user.UID)},
		{"kCGSSessionUserNameKey", user.Name},
		{"kCGSessionLoginDoneKey", "TRUE"},
		{"kCGSessionLongUserNameKey", user.FullName},
		{"kSCSecuritySessionID", strconv.Itoa(100000 + user.UID)},
	} {
		fmt.Fprintf(out, "      %s : %s\n", line[0], line[1])
	}
	out.WriteString("    }\n")
}
