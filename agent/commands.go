package agent

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"prlagent/agent/checkin"
	"prlagent/agent/command"
	"prlagent/agent/config"
	"prlagent/agent/inventory"
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
	"prlagent/agent/watch"
)

// commandPortal is what the command part needs of the client of the portal. It is
// used beside the loop.
type commandPortal interface {
	Clock() (trusted, likely time.Time, proven bool)
	SignReceipt(payload []byte) (protocol.Envelope, bool)
	// TellAll and AskForPolicy are about the next exchange.
	TellAll()
	AskForPolicy()
}

// commands is how the agent is wired to what carries out commands. They run beside
// the loop, which tells what it knows, and gets hints.
type commands struct {
	agent  *agent
	runner *command.Runner
	holds  *command.Holds
	failed error // why the journal could not be opened

	looked, exchanged moments // when the last look, and the last check-in that arrived, began

	mu          sync.Mutex
	portal      commandPortal // nil before the loop has one
	trust       command.Trust
	notifyUsers bool
	mac         command.Target
	hints       trigger.Bucket
	hintLater   *time.Timer // until the agent may be told of news
}

// newCommands opens the journal of commands and wires the executors.
func newCommands(a *agent) *commands {
	c := &commands{agent: a}
	executors := map[string]command.Executor{
		"inventory.refresh": &refresh{c, &c.looked, commandPortal.TellAll},
		"policy.refresh":    &refresh{c, &c.exchanged, commandPortal.AskForPolicy},
	}
	maps.Copy(executors, a.parts.executors)
	if c.holds, c.failed = c.openHolds(); c.failed != nil {
		return c
	}
	maps.Copy(executors, c.holds.Executors())
	if a.parts.acted != nil {
		a.parts.acted.hold(c.holds)
	}
	c.runner, c.failed = command.New(command.Options{
		Store: a.store, Commit: a.eventLog.commit, Folder: filepath.Dir(a.parts.identity), Executors: executors,
		Circumstances: c.circumstances, Sign: c.sign, News: c.hint, Log: *a.parts.log,
	})
	return c
}

// run carries commands out until ctx ends, and then waits a little for what runs. An agent
// that leaves keeps holds only, until they are released.
func (c *commands) run(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var running sync.WaitGroup
		running.Go(func() { c.holds.Run(ctx) }) // first of all: what is held must not run meanwhile
		if !c.agent.parts.isLeaving {
			c.runner.Run(ctx)
		}
		running.Wait()
	}()
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	patience := time.NewTimer(stopLimit)
	defer patience.Stop()
	select {
	case <-ended:
	case <-patience.C:
		c.agent.parts.log.Warn().Msg("stop without waiting for a command that runs")
	}
}

// How often news of commands and holds have the agent look, and check in, at once; a
// portal, and users, can bring such news about as often as they like.
const (
	newsBurst = 60
	newsEvery = 30 * time.Second
)

// hint has the agent look, and check in at once, or as soon as it may.
func (c *commands) hint() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hintLater != nil {
		return
	}
	now := wallClock()
	left, at, ok := c.hints.Take(now, newsBurst, newsEvery)
	if c.hints = left; ok {
		c.agent.inbox.Tell(watch.Hint{Reason: trigger.CommandResult})
		return
	}
	c.hintLater = time.AfterFunc(at.Sub(now), func() {
		c.mu.Lock()
		c.hintLater = nil
		c.mu.Unlock()
		c.hint()
	})
}

// know takes over what the loop knows: whom to trust, and which Mac this is.
func (c *commands) know(known *knowledge, portal exchanger) {
	if acted := c.agent.parts.acted; acted != nil {
		acted.know(known, portal)
	}
	owners := make(map[string][]uint32)
	for _, vm := range known.look.VMs {
		owners[vm.ID] = append(owners[vm.ID], vm.UID)
	}
	c.mu.Lock()
	c.portal, _ = portal.(commandPortal)
	c.trust, c.notifyUsers = trustOf(known.configuration), known.configuration.NotifyUsers
	c.mac.DeviceID = portal.State().DeviceID
	if host := known.look.Host; host.HardwareUUID != "" {
		c.mac.Serial = cmp.Or(host.Serial, host.HardwareUUID)
	}
	c.mac.Owners = func(id string) []uint32 { return owners[id] }
	c.mu.Unlock()
}

// trustOf is what a configuration says of commands.
func trustOf(c *config.Config) command.Trust {
	return command.Trust{
		Keys: c.CommandKeys, Thresholds: c.CommandThreshold, Allowed: c.AllowedCommands, Mode: c.Mode,
		Limit: c.DestructiveLimit.Count, Window: time.Duration(c.DestructiveLimit.WindowHours) * time.Hour,
	}
}

func (c *commands) circumstances() *command.Circumstances {
	c.mu.Lock()
	now := &command.Circumstances{Trust: c.trust, Target: c.mac}
	portal := c.portal
	c.mu.Unlock()
	now.Target.Epoch = c.agent.store.Epoch()
	wall := wallClock()
	now.Clock = command.Clock{Wall: wall, Trusted: wall, Likely: wall}
	if portal != nil {
		now.Clock.Trusted, now.Clock.Likely, now.Clock.Proven = portal.Clock()
	}
	return now
}

func (c *commands) sign(payload []byte) (protocol.Envelope, bool) {
	c.mu.Lock()
	portal := c.portal
	c.mu.Unlock()
	if portal == nil {
		return protocol.Envelope{}, false
	}
	return portal.SignReceipt(payload)
}

// extra is what a check-in carries of commands and holds.
func (c *commands) extra() checkin.Extra {
	extra := checkin.Extra{Settler: c.runner}
	extra.OpenCommands, extra.Results = c.runner.Report()
	extra.Holds = c.holds.Report()
	return extra
}

// take takes in what the portal has answered: what is cancelled, what is ordered,
// and then what is to be held.
func (c *commands) take(reply *protocol.CheckinReply, portal exchanger) {
	if reply == nil {
		return
	}
	id := portal.State().DeviceID // which the exchange itself may have brought
	c.mu.Lock()
	c.mac.DeviceID = id
	c.mu.Unlock()
	c.runner.Take(reply.Cancel, reply.Commands)
	if reply.Holds != nil {
		c.holds.Take(reply.Holds)
	}
}

// onLook is told of a look that has seen the Mac: what waits may go on.
func (c *commands) onLook(began time.Time, seen *inventory.Look) {
	c.looked.note(began)
	c.holds.Saw(seenByLook(seen))
	c.runner.Look()
}

// refresh is the executor of what only asks the loop for something: it is done once
// one has begun after it, and has ended well.
type refresh struct {
	commands *commands
	done     *moments
	ask      func(commandPortal)
}

var errNoPortal = errors.New("there is no portal yet")

// Prepare says that it can be asked for once there is a portal.
func (r *refresh) Prepare(context.Context, *command.Job) (*command.Readiness, error) {
	r.commands.mu.Lock()
	defer r.commands.mu.Unlock()
	if r.commands.portal == nil {
		return nil, errNoPortal
	}
	return &command.Readiness{}, nil
}

// Act asks for it and waits until it is done. What began before that was asked for does
// not know of it.
func (r *refresh) Act(ctx context.Context, _ *command.Job) error {
	r.commands.mu.Lock()
	portal := r.commands.portal
	r.commands.mu.Unlock()
	if portal == nil {
		return errNoPortal
	}
	r.ask(portal)
	asked := wallClock()
	r.commands.hint()
	return r.done.wait(ctx, asked)
}

// Verify sees whether it is done.
func (r *refresh) Verify(_ context.Context, job *command.Job) (*command.Outcome, error) {
	last := r.done.newest()
	if job.BegunAt.IsZero() || last.Before(job.BegunAt) {
		return &command.Outcome{}, nil
	}
	return &command.Outcome{
		State: protocol.CommandSucceeded, Code: protocol.CodeCommandDone,
		Observed: map[string]string{"at": last.UTC().Format(time.RFC3339)},
	}, nil
}

// moments is when something began last that has ended well; who waits for a newer
// one is woken.
type moments struct {
	mu      sync.Mutex
	last    time.Time
	changed chan struct{} // closed and replaced at each change
}

func (m *moments) note(began time.Time) {
	m.mu.Lock()
	m.last = began
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
	m.mu.Unlock()
}

func (m *moments) newest() time.Time {
	m.mu.Lock()
	last := m.last
	m.mu.Unlock()
	return last
}

// wait returns once there is one that began at a time or later.
func (m *moments) wait(ctx context.Context, since time.Time) error {
	for {
		m.mu.Lock()
		if !m.last.Before(since) {
			m.mu.Unlock()
			return nil
		}
		if m.changed == nil {
			m.changed = make(chan struct{})
		}
		changed := m.changed
		m.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
