package platform

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"prlagent/platform/tool"
)

// firstUserUID is the lowest uid of a person's account on a Mac (H13).
const firstUserUID = 501

const (
	sudoPath      = "/usr/bin/sudo"
	launchctlPath = "/bin/launchctl"
	xargsPath     = "/usr/bin/xargs"
)

// As returns a Runner whose programs run as the user: `sudo -n -H -u '#UID'`,
// which never prompts and sets HOME, USER and LOGNAME itself. With session the
// program also joins the user's GUI session through `launchctl asuser`, which
// changes neither uid nor environment and needs a session to exist
// (facts/macos.md 7.1, DESIGN 6).
//
// A program of the vendor's runs only as Trusted says, and what it said counts
// only if it is the same file at its end: else the error is a *tool.Error with
// the code tools_changed (H58).
//
// A Command.SecretArg is no argument of sudo and launchctl, of which sudo would write it
// to the system's log (facts/macos.md 7.1): xargs -0 reads it, as the user, and starts the
// program with it, on an empty standard input. Whatever exit code of the program but 0 is
// xargs' 1 then (man xargs).
//
// A uid below 501 (H13) is refused with tool_refused before anything starts.
// So is Command.Env: sudo resets the environment, and what of our C locale
// survives is up to its configuration.
func (m *Machine) As(u User, session bool) Runner {
	return &userRunner{machine: m, uid: u.UID, session: session}
}

type userRunner struct {
	machine *Machine
	uid     uint32
	session bool
}

// Run runs c as the user.
func (r *userRunner) Run(ctx context.Context, c *tool.Command) (tool.Result, error) {
	wrapped, err := asUser(c, r.uid, r.session)
	if err != nil {
		return tool.Result{ExitCode: -1}, err
	}
	check, err := r.machine.pinTrusted(ctx, c.Path)
	if err != nil {
		return tool.Result{ExitCode: -1}, err
	}
	result, err := r.machine.tools.Run(ctx, wrapped)
	if changed := check(); changed != nil {
		return tool.Result{ExitCode: -1, Duration: result.Duration}, changed
	}
	return result, err
}

// Follow follows c as tool.Runner.Follow does, as the user. Whose program it is,
// with session or without, and what is refused is as in As.
func (m *Machine) Follow(
	ctx context.Context, u User, session bool, c *tool.Command, line func(text []byte, cut bool),
) (tool.Result, error) {
	wrapped, err := asUser(c, u.UID, session)
	if err != nil {
		return tool.Result{ExitCode: -1}, err
	}
	check, err := m.pinTrusted(ctx, c.Path)
	if err != nil {
		return tool.Result{ExitCode: -1}, err
	}
	return m.followChecked(ctx, wrapped, line, check)
}

// followChecked follows a program that lives for days, during which the vendor
// may be updated: it is checked once, before anything that it said counts.
func (m *Machine) followChecked(
	ctx context.Context, c *tool.Command, line func(text []byte, cut bool), check func() error,
) (tool.Result, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	checkOnce := sync.OnceValue(check)
	result, err := m.tools.Follow(ctx, c, func(text []byte, cut bool) {
		if checkOnce() != nil {
			stop()
			return
		}
		line(text, cut)
	})
	if changed := checkOnce(); changed != nil {
		err = changed
	}
	return result, err
}

// asUser is the command that runs c as the user; c stays as it is.
func asUser(c *tool.Command, uid uint32, session bool) (*tool.Command, error) {
	if err := checkAsUser(c, uid); err != nil {
		return nil, &tool.Error{Code: tool.CodeRefused, Path: c.Path, Err: err}
	}
	as := *c
	if c.SecretArg != "" {
		as.Stdin = []byte(c.SecretArg + "\x00")
		as.Path, as.Args, as.SecretArg = xargsPath, append([]string{"-0", c.Path}, c.Args...), ""
	}
	number := strconv.FormatUint(uint64(uid), 10)
	args := append([]string{"-n", "-H", "-u", "#" + number, as.Path}, as.Args...)
	as.Path, as.Args = sudoPath, args
	if session {
		as.Path, as.Args = launchctlPath, append([]string{"asuser", number, sudoPath}, args...)
	}
	return &as, nil
}

func checkAsUser(c *tool.Command, uid uint32) error {
	switch {
	case uid < firstUserUID:
		return errors.New("not the uid of a person's account")
	case !filepath.IsAbs(c.Path) || filepath.Clean(c.Path) != c.Path:
		return errors.New("the path is not absolute and clean")
	case len(c.Env) > 0:
		return errors.New("sudo would drop the environment")
	case c.SecretArg != "" && (c.Stdin != nil || c.Socket || strings.ContainsRune(c.SecretArg, 0)):
		return errors.New("a secret argument takes the place of the input, and has no zero byte")
	}
	return nil
}

// UIDOnDisk is who owns the user's files and processes on this machine. Below a
// root one account plays all users of the simulated Mac.
func (m *Machine) UIDOnDisk(u User) uint32 {
	if m.root != "" {
		return uint32(os.Geteuid())
	}
	return u.UID
}
