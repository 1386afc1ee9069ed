package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"prlagent/agent/lane"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/agent/watch"
	"prlagent/platform"
	"prlagent/platform/tool"
	"prlagent/prlctl"
)

// guestTool is prlctl as one user.
type guestTool interface {
	Get(ctx context.Context, id string) (prlctl.VM, error)
	SetGuestPassword(ctx context.Context, id, account, password string) error
}

// accounts says who uses the Mac, and who is logged in. *platform.Machine does.
type accounts interface {
	Users(context.Context) (platform.Users, error)
	Console(context.Context) (platform.Console, error)
}

// guests is what setting a password in a guest works with.
type guests struct {
	accounts accounts
	lanes    *lane.Lanes
	tool     func(user platform.User, session bool) guestTool
}

func guestsOf(mac *platform.Machine, streams *watch.VMEvents, lanes *lane.Lanes) guests {
	return guests{accounts: mac, lanes: lanes, tool: func(user platform.User, session bool) guestTool { return clientAs(mac, streams, user, session) }}
}

// Limits of setting a password in a guest.
const (
	guestHangs    = 10 * time.Second // a run gives its slot to others
	guestPatience = 3 * time.Minute  // for the lane of its owner, and the tool
)

// eventGuestPassword tells, before it is done, that root wants the password of an account
// in a guest set. It has neither the account nor the password.
const eventGuestPassword = "guest_password"

// GuestPassword sets the password of an account in the guest of a machine, as the
// machine's owner (VMF-05). Once it has begun it goes on, whoever waits. The password is
// in nothing that is kept.
func (a *agent) GuestPassword(ctx context.Context, request *localapi.PasswordRequest, by string) *localapi.PasswordResult {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), guestPatience)
	defer cancel()
	result := &localapi.PasswordResult{Schema: localapi.Schema, VMKey: protocol.VMKey{ID: request.VM}, User: request.User}
	vm, refused := a.guestOf(request)
	var err error
	if vm != nil {
		result.VMKey, result.Name, result.Owner = vm.VMKey, vm.Name, vm.Owner
		refused, err = a.setGuestPassword(ctx, vm.VMKey, request, by)
	}
	result.Outcome, result.Code = passwordOutcome(refused, err)
	words := result.Code.Text()
	result.Text, result.Remedy = words.Text, words.Remedy
	a.parts.log.Info().Str("vm", result.ID).Uint32("uid", result.UID).Str("by", by).Str("outcome", result.Outcome).
		Str("code", string(result.Code)).Msg("password of a guest")
	return result
}

// guestOf is the machine that is meant, as the last look saw it. The same id can be in
// two accounts (H21). Without one it says why.
func (a *agent) guestOf(request *localapi.PasswordRequest) (found *protocol.Row, refused protocol.Code) {
	inventory := a.Inventory()
	for i := range inventory.Rows {
		row := &inventory.Rows[i]
		isMeant := request.Owner == "" || request.Owner == row.Owner || request.Owner == fmt.Sprint(row.UID)
		switch {
		case !isMeant || !strings.EqualFold(row.ID, request.VM):
		case found != nil:
			return nil, protocol.CodeVMOfSeveral
		default:
			found = row
		}
	}
	switch {
	case found != nil:
		return found, ""
	case inventory.At.IsZero():
		return nil, protocol.CodeNotLookedYet
	}
	return nil, protocol.CodeVMNotFound
}

// setGuestPassword asks for it when it is the owner's turn, if the machine is as that
// needs; else it says why nothing is begun.
func (a *agent) setGuestPassword(ctx context.Context, key protocol.VMKey, request *localapi.PasswordRequest, by string) (refused protocol.Code, err error) {
	guests := &a.parts.guests
	user, session, refused := guests.account(ctx, key.UID)
	if refused != "" {
		return refused, nil
	}
	client := guests.tool(user, session)
	err = guests.lanes.Run(ctx, key.UID, guestHangs, func() error {
		if refused = whyNotReady(ctx, client, key.ID); refused != "" {
			return nil
		}
		a.eventLog.add(newEvent(wallClock(), eventGuestPassword, "", "by", by, "vm_id", key.ID, "uid", fmt.Sprint(key.UID)))
		if refused = a.eventLog.failure(); refused != "" {
			return nil
		}
		return client.SetGuestPassword(ctx, key.ID, request.User, string(request.Password))
	})
	return refused, err
}

// account is the account of a uid, and whether it has a GUI session; without one it says
// why.
func (g *guests) account(ctx context.Context, uid uint32) (user platform.User, session bool, refused protocol.Code) {
	users, err := g.accounts.Users(ctx)
	if err != nil {
		return platform.User{}, false, cmp.Or(protocol.CodeOf(err), tool.CodeFailed)
	}
	console, err := g.accounts.Console(ctx)
	if err != nil {
		return platform.User{}, false, cmp.Or(protocol.CodeOf(err), tool.CodeFailed)
	}
	for _, user := range users.People {
		if user.UID == uid {
			return user, slices.Contains(console.Sessions, uid), ""
		}
	}
	return platform.User{}, false, protocol.CodeVMNotFound
}

// Words of the tool for Parallels Tools that do not answer (facts/captures.md 2.2: it says
// possibly_installed of a machine whose guest has just begun to start).
const (
	toolsAbsent  = "not_installed"
	toolsUnheard = "possibly_installed"
)

// whyNotReady is empty if the machine runs, with Tools that are heard of (VMF-05).
func whyNotReady(ctx context.Context, client guestTool, id string) protocol.Code {
	vm, err := client.Get(ctx, id)
	switch {
	case err != nil:
		return cmp.Or(protocol.CodeOf(err), protocol.CodeInternal)
	case vm.State != prlctl.StateRunning:
		return protocol.CodeNeedsRunning
	case vm.GuestTools.State == toolsAbsent, vm.GuestTools.State == toolsUnheard, vm.GuestTools.State == "":
		return protocol.CodeNeedsTools
	}
	return ""
}

// surelyRefused are the codes of the tool after which nothing was changed: it said so
// before it did anything.
var surelyRefused = []protocol.Code{
	protocol.CodeAdminPassword, protocol.CodeVMPassword, protocol.CodeVMNotFound, protocol.CodeUnrecognized, protocol.CodeEdition,
	protocol.CodeServiceDown, protocol.CodeGuestOS, protocol.CodeVMBusy, protocol.CodeNoLicense, protocol.CodeLicenseExpired,
	protocol.CodeInvalidVMID, tool.CodeRefused, tool.CodeMissing, protocol.CodeToolsUntrusted,
}

// passwordOutcome says what is known of how it ended. That there is no error is no proof.
func passwordOutcome(refused protocol.Code, err error) (outcome string, code protocol.Code) {
	switch code = protocol.CodeOf(err); {
	case refused != "":
		return localapi.PasswordRefused, refused
	case err == nil:
		return localapi.PasswordAsked, protocol.CodePasswordUnproven
	case slices.Contains(surelyRefused, code):
		return localapi.PasswordRefused, code
	case errors.Is(err, context.DeadlineExceeded) && code == "": // its turn did not come
		return localapi.PasswordRefused, protocol.CodeUserLate
	}
	return localapi.PasswordUnknown, cmp.Or(code, protocol.CodeInternal)
}
