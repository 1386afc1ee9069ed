package agent

import (
	"context"
	"path/filepath"
	"strings"

	"prlagent/agent/command"
	"prlagent/agent/config"
	"prlagent/agent/inventory"
	"prlagent/agent/localapi"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/agent/watch"
	"prlagent/platform"
)

// heldOn says what keeps machines suspended works with on a Mac. The tools are run
// beside the lanes: those are for one run of a user at a time, and one that hangs there
// would keep a held machine running.
func heldOn(mac *platform.Machine, streams *watch.VMEvents, timing protocol.Timing) command.HoldOptions {
	notify := notifierOf(mac)
	return command.HoldOptions{
		Directory: mac, UIDOnDisk: mac.UIDOnDisk, Poll: timing.Poll,
		Tool: func(account *command.Account) command.HoldTool {
			return clientAs(mac, streams, account.User, account.Session)
		},
		Tell: func(ctx context.Context, user *platform.User, text string) { _ = notify(ctx, *user, text) },
	}
}

// openHolds opens what is held, with what the agent knows.
func (c *commands) openHolds() (*command.Holds, error) {
	options := c.agent.parts.held
	options.Store, options.Commit, options.Folder = c.agent.store, c.agent.eventLog.commit, filepath.Dir(c.agent.parts.identity)
	options.Circumstances, options.News, options.Log = c.circumstances, c.hint, *c.agent.parts.log
	if tell := options.Tell; tell != nil {
		options.Tell = func(ctx context.Context, user *platform.User, text string) {
			if c.mayNotify() {
				tell(ctx, user, text)
			}
		}
	}
	return command.NewHolds(&options)
}

// trusts takes over what a configuration says of commands. It is known before the first
// look, so that what is held is held from the start.
func (c *commands) trusts(configuration *config.Config) {
	c.mu.Lock()
	c.trust, c.notifyUsers = trustOf(configuration), configuration.NotifyUsers
	c.mu.Unlock()
}

func (c *commands) mayNotify() bool {
	c.mu.Lock()
	may := c.notifyUsers
	c.mu.Unlock()
	return may
}

// hear takes in what a source says: a machine that runs and is held is not left to the
// loop.
func (a *agent) hear(hint watch.Hint) {
	a.commands.holds.Hint(hint.UID, hint.VMID, hint.State)
	a.inbox.Tell(hint)
}

// seenByLook is what holds need of a look.
func seenByLook(look *inventory.Look) (machines []command.SeenVM, listed []uint32) {
	for i := range look.VMs {
		vm := &look.VMs[i]
		seen := command.SeenVM{VMKey: vm.VMKey, Running: vm.State == protocol.StateRunning, Bundle: vm.Bundle, Stale: vm.Stale != ""}
		for _, account := range vm.SeenBy {
			seen.SeenBy = append(seen.SeenBy, account.UID)
		}
		machines = append(machines, seen)
	}
	for _, user := range look.Users {
		if user.IsLookedAt() && user.IsListed() && !look.Truncated {
			listed = append(listed, user.UID)
		}
	}
	return machines, listed
}

// releaseHolds ends holds because an administrator of the Mac wants it (H29).
func (a *agent) releaseHolds(request *localapi.HandRequest, by string) *localapi.HandResult {
	result := &localapi.HandResult{Schema: localapi.Schema, ReleaseHolds: true, VMs: []localapi.HandVM{}}
	ids := make([]string, 0, len(request.VMs))
	for _, id := range request.VMs {
		ids = append(ids, strings.ToLower(id))
	}
	released, err := a.commands.holds.Release(ids, request.All, by)
	switch {
	case err == command.ErrNotHeld && request.All:
	case err == command.ErrNotHeld:
		result.Code = protocol.CodeNotHeld
	case err != nil:
		a.parts.log.Error().Err(err).Msg("release holds")
		result.Code = protocol.CodeOf(err)
	}
	for _, one := range released {
		shown := localapi.HandVM{PolicyVM: localapi.PolicyVM{VMKey: one.Hold.VMKey}, Outcome: policy.HandDone}
		shown.Name, shown.Owner = one.Hold.VMName, one.Hold.Owner
		result.VMs = append(result.VMs, shown)
	}
	return result
}

// heldStatus shows what is held; nil if there never was a list.
func (a *agent) heldStatus() *localapi.Holds {
	version, held := a.commands.holds.Status()
	if version == 0 {
		return nil
	}
	shown := &localapi.Holds{Version: version, VMs: []localapi.HeldVM{}}
	for _, one := range held {
		words := one.State.Code.Text()
		vm := localapi.HeldVM{
			VMKey: one.Hold.VMKey, Name: one.Hold.VMName, Owner: one.Hold.Owner, State: one.State.State, Code: one.State.Code, Paused: one.State.Paused,
			Since: one.State.Since, Violations: one.State.Violations, ViolatedAt: one.State.ViolatedAt, LockedAt: one.Hold.Since.UTC(),
			ExpiresAt: utc(one.Hold.ExpiresAt), Force: one.Hold.Force, CommandID: one.Hold.CommandID, Reason: one.Hold.Reason,
			ReleasedBy: one.ReleasedBy, ReleasedAt: one.ReleasedAt,
		}
		if vm.Code != "" {
			vm.Text, vm.Remedy = words.Text, words.Remedy
		}
		shown.VMs = append(shown.VMs, vm)
		if !vm.IsOver() {
			shown.Held++
		}
	}
	return shown
}

// addHolds adds the machines that are held and run all the same, and those that a person
// has released.
func (f *codeList) addHolds(held *localapi.Holds) {
	if held == nil {
		return
	}
	for i := range held.VMs {
		vm := &held.VMs[i]
		one := &activeCode{Topic: topicHold, Subject: vm.ID} // a name may be what the portal is not told
		switch {
		case vm.IsLoose():
			one.Code, one.detail = protocol.CodeHoldUnenforced, vm.Name+" of "+vm.Owner+": "+string(vm.Code)
		case vm.State == protocol.HoldReleased:
			one.Code, one.detail = protocol.CodeHoldReleased, vm.Name+" of "+vm.Owner+", by "+vm.ReleasedBy
		}
		f.add(one)
	}
}
