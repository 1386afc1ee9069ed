package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
	"prlagent/platform/text"
	"prlagent/prlctl"
)

func (p *program) passwdCommand() *cobra.Command {
	var vm, account, owner string
	command := &cobra.Command{
		Use:   "passwd --vm VM-ID --user GUESTUSER",
		Short: "Set the password of an account in a guest",
		Long: `Set the password of an account of the guest system of one virtual machine, as the
machine's owner. The new password is read from the standard input, up to the first
line end; on a terminal it is asked for twice, and not shown. It is never an argument
of this command, and not in the environment.

The machine must run, with Parallels Tools.

Visible on this Mac while it is set: Parallels Desktop takes the password in
one way only, on the command line of 'prlctl set --userpasswd', where every process of
every user of the Mac can read it for as long as that runs, some seconds. No other
program gets it so, and it is in no log, event, report or support bundle. Have the
guest ask for another one at the next sign-in where that matters.

An account that the guest does not have may be made, as the program does that prlctl
comes from. Look at the spelling first.

What is asked for cannot be seen from outside of the guest: "asked" means that Parallels
Desktop did not refuse. Where it wants a name and password of an administrator of the
Mac, that is said, and nothing is done: none is asked for or passed on. Only root may;
everybody else gets exit code 4. Exit code 1 means that it was refused, or that nobody
knows how it ended.`,
		Example: "  sudo prlagent vm passwd --vm f11d8098-10fe-40d9-871e-27af1e66161e --user max\n" +
			"  sudo prlagent vm passwd --vm f11d8098-10fe-40d9-871e-27af1e66161e --user max < new-password.txt",
		Args: func(_ *cobra.Command, given []string) error {
			if len(given) > 0 { // it may be the password: not shown
				return errors.New("there are no arguments; the password comes from the standard input")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			request, err := passwordRequest(vm, account, owner)
			if err != nil {
				return err
			}
			p.bePatient(cmd)
			return p.runPasswd(cmd.Context(), request)
		},
	}
	flags := command.Flags()
	flags.StringVar(&vm, "vm", "", "the machine with this `VM-ID`")
	flags.StringVar(&account, "user", "", "the account of the guest (`GUESTUSER`)")
	flags.StringVar(&owner, "owner", "", "the account of the Mac whose machine it is, where several have one of this id: its name or uid")
	return command
}

// passwordRequest is the request without the password. A machine is named by its id
// alone: its name is its user's text.
func passwordRequest(vm, account, owner string) (localapi.PasswordRequest, error) {
	id, err := prlctl.ParseID(vm)
	if err != nil {
		return localapi.PasswordRequest{}, fmt.Errorf("--vm %q is not the id of a machine; 'prlagent vms --columns vm_name,vm_id' shows them", text.DisplayValue(vm))
	}
	if err := prlctl.CheckGuestAccount(account); err != nil {
		return localapi.PasswordRequest{}, fmt.Errorf("--user: %w", err)
	}
	return localapi.PasswordRequest{VM: id, User: account, Owner: owner}, nil
}

func (p *program) runPasswd(ctx context.Context, request localapi.PasswordRequest) error {
	password, err := p.readPassword(ctx, text.DisplayValue(request.User))
	if err != nil {
		return exitOrUsage(ctx, err)
	}
	request.Password = localapi.GuestPassword(password)
	var result localapi.PasswordResult
	p.withProgress(ctx, "The agent asks Parallels Desktop, when it is the owner's turn; Ctrl-C stops waiting, not the agent …", func(ctx context.Context) {
		result, err = p.newClient().GuestPassword(ctx, request)
	})
	if err != nil {
		return exitFor(err)
	}
	if err := printDocument(p, result, passwordPage); err != nil {
		return exitFor(err)
	}
	if result.Outcome != localapi.PasswordAsked {
		return &exitError{code: exitDegraded}
	}
	return nil
}

// exitOrUsage is a mistake of whoever typed, unless they gave up.
func exitOrUsage(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return exitFor(ctx.Err())
	}
	return err
}

// maxPasswordInput is more than any password has, in bytes.
const maxPasswordInput = 4 << 10

// readPassword reads the password: from a terminal hidden and twice, else the first line
// of the input.
func (p *program) readPassword(ctx context.Context, account string) (password string, err error) {
	if terminal, is := p.stdin.(*os.File); is && isTerminal(terminal) {
		password, err = p.typePassword(ctx, terminal, account)
	} else {
		password, err = readLine(p.stdin)
	}
	if err != nil {
		return "", err
	}
	if err := prlctl.CheckGuestPassword(password); err != nil {
		return "", fmt.Errorf("standard input: %w", err)
	}
	return password, nil
}

// readLine is an input of one line.
func readLine(input io.Reader) (string, error) {
	content, err := io.ReadAll(io.LimitReader(input, maxPasswordInput))
	if err != nil {
		return "", fmt.Errorf("read standard input: %w", err)
	}
	line, rest, _ := strings.Cut(string(content), "\n")
	if rest != "" {
		return "", errors.New("standard input has more than one line; a password is one")
	}
	return strings.TrimSuffix(line, "\r"), nil
}

func (p *program) typePassword(ctx context.Context, terminal *os.File, account string) (string, error) {
	var typed [2]string
	for i, prompt := range []string{"New password of " + account + " in the guest: ", "The same again: "} {
		fmt.Fprint(p.stderr, prompt)
		line, err := hiddenLine(ctx, terminal)
		fmt.Fprintln(p.stderr)
		if err != nil {
			return "", err
		}
		typed[i] = line
	}
	if typed[0] != typed[1] {
		return "", errors.New("the two are not the same; nothing was done")
	}
	return typed[0], nil
}

// passwordMarks are how an outcome is marked, and its headline.
var passwordMarks = map[string]struct {
	style          textStyle
	mark, headline string
}{
	localapi.PasswordAsked:   {styleGreen, "✓", "asked for"},
	localapi.PasswordRefused: {styleRed, "✗", "refused; nothing was changed"},
	localapi.PasswordUnknown: {styleYellow, "?", "begun, and how it ended is not known"},
}

// passwordPage is what became of it.
func passwordPage(v outputView, result localapi.PasswordResult) string {
	mark := passwordMarks[result.Outcome]
	who := joinParts(" of ", result.Name, result.Owner)
	out := fmt.Sprintf("%s %s: %s\n", v.paint(mark.style, mark.mark), joinParts(" in ", "The password of "+result.User, who), mark.headline)
	return out + reasonLines(v, result.Code, "")
}
