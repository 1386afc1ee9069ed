package prlctl

import (
	"context"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"prlagent/platform/tool"
)

// Limits of a guest's account and its password, in bytes.
const (
	maxGuestAccount  = 256
	maxGuestPassword = 1024
)

// SetGuestPassword runs `prlctl set ID --userpasswd ACCOUNT:PASSWORD`, which changes the
// password of an account in the guest through Parallels Tools (facts/acting.md 1, the
// guide). The machine must run. By the man page of the ancestor it makes an account that
// the guest does not have (inferred). It may ask for an administrator of the Mac, which
// is admin_password_required.
//
// The tool takes the password as an argument alone: while it runs, other processes of the
// Mac can read it. No error has any of the tool's words, which may repeat it. That there
// is none is a hint: what the password is, nobody but the guest knows.
func (c *Client) SetGuestPassword(ctx context.Context, id, account, password string) error {
	id, err := ParseID(id)
	if err != nil {
		return err
	}
	if CheckGuestAccount(account) != nil || CheckGuestPassword(password) != nil {
		return &Error{Code: tool.CodeRefused}
	}
	err = c.change(ctx, &tool.Command{
		Path: Prlctl, Args: []string{"set", id, "--userpasswd"}, SecretArg: account + ":" + password, Limit: SetLimit,
	})
	var failed *Error
	if errors.As(err, &failed) {
		return &Error{Code: failed.Code, ExitCode: failed.ExitCode}
	}
	return err
}

// CheckGuestAccount returns nil if the tool can only read the name as that of an account:
// it ends at a colon, and what begins with a dash is an option.
func CheckGuestAccount(account string) error {
	switch {
	case account == "":
		return errors.New("the account has no name")
	case len(account) > maxGuestAccount:
		return errors.New("the account's name is too long")
	case strings.ContainsRune(account, ':'):
		return errors.New("the account's name has a colon, behind which the tool reads the password")
	case account[0] == '-':
		return errors.New("the account's name begins with a dash, as an option does")
	case !isPlainText(account):
		return errors.New("the account's name has a line end, or another character that is none")
	}
	return nil
}

// CheckGuestPassword returns nil if the text can be given to the tool as a password. The
// error does not repeat it.
func CheckGuestPassword(password string) error {
	switch {
	case password == "":
		return errors.New("there is no password")
	case len(password) > maxGuestPassword:
		return errors.New("the password is too long")
	case !isPlainText(password):
		return errors.New("the password has a line end, or another character that is none")
	}
	return nil
}

// isPlainText reports whether a text is UTF-8 without control characters.
func isPlainText(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}
