package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent"
	"prlagent/agent/localapi"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/launchd"
	"prlagent/store"
)

// uninstall takes the agent off the Mac, unless that would leave something behind that
// it has placed.
func (i *invocation) uninstall() error {
	mac, err := i.openMac()
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	document := jobDocument{Schema: localapi.Schema, Action: "uninstall"}
	err = i.uninstallFrom(ctx, mac, &document)
	state, _ := mac.describe(context.WithoutCancel(ctx), "uninstall")
	state.Placed, state.Released, state.Switches, state.Removed = document.Placed, document.Released, document.Switches, document.Removed
	return i.tell(state, err)
}

func (i *invocation) uninstallFrom(ctx context.Context, mac *managedMac, document *jobDocument) error {
	placed, answers, err := mac.placed(ctx)
	orphans := 0
	switch {
	case err != nil && (!i.release || protocol.CodeOf(err) == protocol.CodeUninstallNewer):
		return err
	case i.release && (err != nil || !placed.IsEmpty()):
		if orphans, err = i.releaseAll(ctx, mac, answers, document); err != nil {
			return err
		}
	case !placed.IsEmpty():
		return document.refuse(placed)
	}
	if err := mac.leave(ctx, orphans, document); err != nil {
		return errors.Join(err, mac.startAgain(ctx))
	}
	document.Removed = append(document.Removed, launchd.PlistPath)
	if mac.forgetReceipt(ctx) {
		document.Removed = append(document.Removed, "receipt "+launchd.Label)
	}
	removed, err := mac.removeOwned(owned, i.purge)
	document.Removed = append(document.Removed, removed...)
	return err
}

// leave takes the daemon's job away, unless it has left something in place.
func (m *managedMac) leave(ctx context.Context, orphans int, document *jobDocument) error {
	if err := m.manager.Stop(ctx); err != nil {
		return err
	}
	if err := m.checkAgain(ctx, orphans, document); err != nil {
		return err
	}
	return m.manager.Uninstall(ctx)
}

// startAgain has a daemon go on that stays after all, also when a person has had enough.
func (m *managedMac) startAgain(ctx context.Context) error {
	if !m.manager.IsInstalled() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startLimit)
	defer cancel()
	_, err := m.manager.Start(ctx)
	return err
}

// refuse is that there is something that would be left behind.
func (d *jobDocument) refuse(placed localapi.Placed) error {
	d.Placed = &placed
	return &codedError{protocol.CodeUninstallRefused, "In place: " + placed.Words() + "."}
}

// placed is what the agent has placed: the daemon says it, or what it has left. One that
// begins has its store already, and does not answer yet: it is waited for.
func (m *managedMac) placed(ctx context.Context) (placed localapi.Placed, answers bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	for {
		placed, err = m.client().Placed(ctx)
		if word := localapi.UnansweredState(err); word != localapi.NotRunning && word != localapi.NotInstalled {
			return placed, err == nil, err
		}
		placed, err = m.placedBefore(ctx)
		if !errors.Is(err, store.ErrLocked) {
			return placed, false, err
		}
		select {
		case <-ctx.Done():
			return placed, false, err
		case <-time.After(releasePoll):
		}
	}
}

// placedBefore is what a daemon that is gone has left.
func (m *managedMac) placedBefore(ctx context.Context) (localapi.Placed, error) {
	placed, err := agent.Placed(ctx, m.root, zerolog.Nop())
	switch {
	case errors.Is(err, agent.ErrForgotten):
		err = &codedError{protocol.CodeUninstallRefused, "(" + err.Error() + ")"}
	case errors.Is(err, store.ErrNewer):
		err = &codedError{protocol.CodeUninstallNewer, "(" + err.Error() + ")"}
	}
	return placed, err
}

// checkAgain looks once more when the daemon is gone: it may have placed something until
// its end. Orphans are locks of machines that nobody has any more.
func (m *managedMac) checkAgain(ctx context.Context, orphans int, document *jobDocument) error {
	placed, err := m.placedBefore(ctx)
	if err != nil {
		return err
	}
	placed.Locks = max(0, placed.Locks-orphans)
	if placed.IsEmpty() {
		return nil
	}
	return document.refuse(placed)
}

// Limits of what is asked of the daemon.
const (
	answerLimit  = 30 * time.Second
	startLimit   = time.Minute // until an agent has looked at the Mac, and answers
	releaseLimit = time.Minute // until all is lifted
	tellLimit    = 15 * time.Second
	releasePoll  = 300 * time.Millisecond

	maxRounds       = 4
	lastReleasePoll = 5 * time.Second // each time runs the product's tools
)

func (m *managedMac) client() *localapi.Client {
	client := localapi.NewClient(localapi.SocketUnder(m.root))
	client.Installed = func() bool { return localapi.InstalledUnder(m.root) }
	return client
}

// releaseAll lifts exactly what the agent has placed. If no daemon answers, one runs in
// this process for so long: it knows how, and what it does is in its events. Orphans are
// the locks that stay in its memory, of machines that nobody has any more.
func (i *invocation) releaseAll(ctx context.Context, mac *managedMac, answers bool, document *jobDocument) (orphans int, err error) {
	if answers {
		return mac.release(ctx, document)
	}
	before, err := mac.manager.State(ctx)
	if err != nil {
		return 0, err
	}
	if err = mac.manager.Stop(ctx); err == nil {
		orphans, err = i.releaseHere(ctx, mac, document)
	}
	if err != nil && before.Loaded {
		err = errors.Join(err, mac.startAgain(ctx))
	}
	return orphans, err
}

// releaseHere has an agent of this process release everything.
func (i *invocation) releaseHere(ctx context.Context, mac *managedMac, document *jobDocument) (orphans int, err error) {
	log, err := openLog(filepath.Join(mac.root, agent.LogFile), i.logLevel)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	if mac.root != "" {
		if err := installSelf(mac.root); err != nil {
			return 0, err
		}
	}
	running, stop := context.WithCancel(ctx)
	var ofAgent error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ofAgent = agent.Run(running, &agent.Options{Root: mac.root, Config: i.config, LogLevel: i.logLevel, Log: &log.logger, IsLeaving: true})
	}()
	if err = mac.awaitAnswer(ctx, ended); err == nil {
		orphans, err = mac.release(ctx, document)
	}
	stop()
	<-ended // it has the store until then
	return orphans, errors.Join(ofAgent, err)
}

// awaitAnswer waits until the agent of this process answers, or has ended.
func (m *managedMac) awaitAnswer(ctx context.Context, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		_, err := m.client().Placed(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return err
		case <-ctx.Done():
			return err
		case <-time.After(releasePoll):
		}
	}
}

// release asks the agent to lift everything, until all is lifted but orphans.
func (m *managedMac) release(ctx context.Context, document *jobDocument) (orphans int, err error) {
	limited, cancel := context.WithTimeout(ctx, releaseLimit)
	defer cancel()
	client := m.client()
	placed, err := client.Placed(limited)
	if err != nil {
		return 0, err
	}
	orphans, err = document.liftAll(limited, client, &placed)
	if err != nil && limited.Err() != nil && ctx.Err() == nil { // whatever was asked last
		err = document.incomplete(placed)
	}
	if err != nil {
		return 0, err
	}
	telling, cancel := context.WithTimeout(ctx, tellLimit)
	defer cancel()
	_, _ = client.Checkin(telling, true) // the portal hears of it if it can
	return orphans, nil
}

// liftAll asks until nothing is in place, or only what a person has to do is left.
func (d *jobDocument) liftAll(ctx context.Context, client *localapi.Client, placed *localapi.Placed) (orphans int, err error) {
	if placed.Holds > 0 {
		if err := askHands(ctx, client, localapi.HandRequest{ReleaseHolds: true, All: true}, d); err != nil {
			return 0, err
		}
	}
	rounds := 0 // in which only what a person has to do was left
	for wait := releasePoll; ; wait = min(2*wait, lastReleasePoll) {
		if placed.Locks+placed.Leases+len(placed.Switches) > 0 {
			asked := jobDocument{}
			if err := askHands(ctx, client, localapi.HandRequest{ReleaseLocks: true}, &asked); err != nil {
				return 0, err
			}
			d.Released, d.Switches = asked.Released, asked.Switches
		}
		now, err := client.Placed(ctx)
		if err != nil {
			return 0, err
		}
		if *placed = now; d.left() == "" { // locks are of machines that nobody has any more
			orphans, placed.Locks = placed.Locks, 0
		}
		if placed.IsEmpty() {
			return orphans, nil
		}
		if rounds++; placed.Holds+placed.Autostarts+placed.Leases > 0 {
			rounds = 0
		}
		if rounds >= maxRounds {
			return 0, d.incomplete(*placed)
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// incomplete is that not all could be lifted.
func (d *jobDocument) incomplete(placed localapi.Placed) error {
	d.Placed = &placed
	return &codedError{protocol.CodeReleaseIncomplete, "In place: " + placed.Words() + "." + d.left()}
}

// askHands asks for something by hand; an agent that has not looked yet is asked again.
func askHands(ctx context.Context, client *localapi.Client, request localapi.HandRequest, document *jobDocument) error {
	for {
		result, err := client.ByHand(ctx, request)
		if err != nil {
			return err
		}
		if result.Code == "" {
			document.Released = append(document.Released, result.VMs...)
			document.Switches = append(document.Switches, result.Switches...)
			return nil
		}
		if result.Code != protocol.CodeNotLookedYet {
			return &codedError{code: result.Code}
		}
		select {
		case <-ctx.Done():
			return &codedError{code: result.Code}
		case <-time.After(releasePoll):
		}
	}
}

// left names what could not be lifted, with what a person types instead.
func (d *jobDocument) left() (words string) {
	for i := range d.Released {
		if vm := &d.Released[i]; vm.Outcome != policy.HandDone {
			words += fmt.Sprintf(" %s of uid %d: %s.", vm.ID, vm.UID, joined(vm.Code, vm.Command))
		}
	}
	for i := range d.Switches {
		if one := &d.Switches[i]; one.Outcome != policy.HandDone {
			words += fmt.Sprintf(" %s: %s.", one.Target, joined(one.Code, one.Command))
		}
	}
	return words
}

func joined(code protocol.Code, command string) string {
	if command == "" {
		return string(code)
	}
	return string(code) + ", or by hand: " + command
}
