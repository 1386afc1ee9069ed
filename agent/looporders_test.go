package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/checkin"
	"prlagent/agent/config"
	"prlagent/agent/inventory"
	"prlagent/agent/outbox"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
	"prlagent/agent/watch"
	"prlagent/store"
)

// loopOrders is the whole loop on a Mac where everything takes its time, with portals that
// answer as it comes. Nothing is looked at without a reason.
type loopOrders struct {
	*policyMac
	t       *testing.T
	drawing sync.Mutex
	random  *rand.Rand
	calm    atomic.Bool // tools are quick and portals answer well from now on

	configuration atomic.Pointer[config.Config]
	portals       map[string]*orderedPortal
	number        int
	asked         sync.WaitGroup

	mu      sync.Mutex
	pending *orderedReport // that was stored, and not acknowledged
	told    map[string]int // by the number of an event, or the virtual machine of a reason
}

// orderedPortal is a portal and what it was told.
type orderedPortal struct {
	orders *loopOrders
	mode   atomic.Value // of the policy that its next answer brings

	mu      sync.Mutex
	last    *protocol.Report // that it has acknowledged
	content string           // the mode of the head that is in force
}

type orderedReport struct {
	portal   *orderedPortal
	report   *protocol.Report
	triggers []protocol.Trigger
	events   []protocol.Event
}

func (o *loopOrders) draw(below int) int {
	o.drawing.Lock()
	defer o.drawing.Unlock()
	return o.random.IntN(below)
}

// takes waits as long as something takes.
func (o *loopOrders) takes(most time.Duration) {
	if o.calm.Load() {
		most = min(most, time.Second)
	}
	time.Sleep(time.Duration(o.draw(int(most))))
}

// Collect looks at the Mac at some moment of a look.
func (o *loopOrders) Collect(ctx context.Context, patience time.Duration) (*inventory.Look, error) {
	began := wallClock().UTC()
	o.takes(10 * time.Second)
	look, err := o.mac.Collect(ctx, patience)
	o.takes(10 * time.Second)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	look.At = began
	return look, err
}

func (o *loopOrders) Recall() (*inventory.Look, error) { return o.mac.Recall() }
func (o *loopOrders) Visiting() []inventory.Visiting   { return nil }
func (o *loopOrders) Close()                           {}

func (o *loopOrders) note(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told[what]++
}

// orderedClient is a client of a portal.
type orderedClient struct {
	*orderedPortal
	box *outbox.Outbox
}

// Do delivers a report, which may be lost before or after it is stored.
func (c *orderedClient) Do(ctx context.Context, report *protocol.Report, _ checkin.Extra) (*checkin.Outcome, error) {
	o := c.orders
	kind := 0
	if !o.calm.Load() {
		kind = o.draw(6)
	}
	failed := func(code protocol.Code) (*checkin.Outcome, error) {
		return &checkin.Outcome{Code: code, NoRetry: code == protocol.CodePortalRefused}, errors.New("not acknowledged")
	}
	o.takes(30 * time.Second)
	if kind == 1 {
		return failed(protocol.CodePortalUnreachable)
	}
	o.mu.Lock()
	before := o.pending
	o.mu.Unlock()
	var inherited []protocol.Trigger
	switch {
	case before == nil:
	case before.portal == c.orderedPortal:
		c.acknowledge(before)
	default:
		inherited = before.triggers
	}
	copied := *report
	sent := &orderedReport{portal: c.orderedPortal, report: &copied, triggers: protocol.CoalesceTriggers(inherited, c.box.Carried())}
	var err error
	if sent.events, err = c.box.Unsent(); err != nil {
		return failed(protocol.CodeInternal)
	}
	if err := c.box.Update(func(_ *store.Tx, change *outbox.Change) error { change.Seal(); return nil }); err != nil {
		return failed(protocol.CodeInternal)
	}
	o.mu.Lock()
	o.pending = sent
	o.mu.Unlock()
	o.takes(30 * time.Second)
	switch {
	case ctx.Err() != nil, kind == 2:
		return failed(protocol.CodePortalTimeout)
	case kind == 3:
		return failed(protocol.CodePortalRefused)
	}
	c.acknowledge(sent)
	o.takes(5 * time.Second)
	c.mu.Lock()
	c.content, _ = c.mode.Load().(string)
	c.mu.Unlock()
	return &checkin.Outcome{}, nil
}

func eventName(event *protocol.Event) string { return fmt.Sprint("event ", event.Seq) }

func (c *orderedClient) acknowledge(sent *orderedReport) {
	for _, event := range sent.events {
		c.orders.note(eventName(&event))
	}
	for _, one := range sent.triggers {
		if one.VMID != "" && one.VMID != policyVM {
			c.orders.note(one.VMID)
		}
	}
	err := c.box.Update(func(_ *store.Tx, change *outbox.Change) error {
		if n := len(sent.events); n > 0 {
			change.Settle(sent.events[n-1].Seq)
		}
		return nil
	})
	if err != nil {
		c.orders.t.Error(err)
	}
	c.orders.mu.Lock()
	c.orders.pending = nil
	c.orders.mu.Unlock()
	c.mu.Lock()
	c.last = sent.report
	c.mu.Unlock()
}

func (c *orderedClient) Acknowledged(report *protocol.Report) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last != nil && reflect.DeepEqual(newsOfReport(c.last.Health), newsOfReport(report.Health)) &&
		reflect.DeepEqual(c.last.Policy, report.Policy) && reflect.DeepEqual(c.last.VMs, report.VMs) && c.last.Agent.Mode == report.Agent.Mode
}

func (c *orderedClient) State() *checkin.State {
	return &checkin.State{Enrollment: checkin.EnrollmentDone, DeviceID: "device-1"}
}

func (c *orderedClient) Content() *policy.Content {
	c.mu.Lock()
	defer c.mu.Unlock()
	document := []byte(clipboardPolicy)
	return &policy.Content{Verified: true, Source: policy.FromHead, HeadVersion: 1, Mode: c.content, Document: document, Pointer: protocol.PointTo("finance", 7, document)}
}

func (c *orderedClient) Refresh(context.Context, bool) []protocol.Event {
	c.orders.takes(5 * time.Second)
	return nil
}

func (c *orderedClient) Close() {}

func newLoopOrders(t *testing.T, seed uint64) *loopOrders {
	o := &loopOrders{
		policyMac: newPolicyMac(t, config.ModeEnforce), t: t, random: rand.New(rand.NewPCG(seed, 59)),
		portals: make(map[string]*orderedPortal), told: make(map[string]int),
	}
	o.parts.looker = o
	for _, host := range []string{"portal.example.com", "other.example.com", ""} {
		o.portals[host] = &orderedPortal{orders: o, content: protocol.ModeEnforce}
		o.portals[host].mode.Store(protocol.ModeEnforce)
	}
	first := *o.parts.loadConfig()
	first.Timing.SafetyNet = 1000 * trigger.Day
	o.configuration.Store(&first)
	o.parts.loadConfig = o.configuration.Load
	o.parts.connect = func(c *config.Config, _ protocol.Host, _ *store.Store, box *outbox.Outbox) exchanger {
		return &orderedClient{o.portalOf(c), box}
	}
	return o
}

func (o *loopOrders) portalOf(c *config.Config) *orderedPortal {
	if c.ServerURL == nil {
		return o.portals[""]
	}
	return o.portals[c.ServerURL.Host]
}

// configure changes the configuration, with a hint or without.
func (o *loopOrders) configure(change func(*config.Config)) {
	next := *o.configuration.Load()
	change(&next)
	o.configuration.Store(&next)
	if o.draw(2) == 0 {
		o.inbox.Tell(watch.Hint{Reason: trigger.ProfileChanged})
	}
}

func (o *loopOrders) happens() {
	switch o.draw(8) {
	case 0, 1: // a user changes what the policy wants otherwise
		o.becomes("on")
		o.inbox.Tell(watch.Hint{UID: 501, VMID: policyVM})
	case 2:
		o.number++
		o.inbox.Tell(watch.Hint{Reason: trigger.VMCreated, VMID: fmt.Sprint("news ", o.number)})
	case 3:
		o.asked.Go(func() {
			ctx, cancel := context.WithTimeout(o.t.Context(), 6*time.Minute)
			defer cancel()
			asked := wallClock()
			answer := o.Checkin(ctx, true)
			if answer.Code == protocol.CodeTooManyRequests {
				return
			}
			if answer.Pass == nil || answer.Pass.StartedAt.Before(asked) {
				o.t.Errorf("who asked at %s was answered %+v", asked, answer)
			}
		})
	case 4:
		host := []string{"portal.example.com", "other.example.com", "other.example.com", ""}[o.draw(4)]
		o.configure(func(c *config.Config) {
			if c.ServerURL = nil; host != "" {
				c.ServerURL = &url.URL{Scheme: "https", Host: host}
			}
		})
	case 5:
		o.configure(func(c *config.Config) { c.Mode = []string{config.ModeEnforce, config.ModeMonitor}[o.draw(2)] })
	case 6:
		o.portalOf(o.configuration.Load()).mode.Store([]string{protocol.ModeEnforce, protocol.ModeMonitor}[o.draw(2)])
	case 7:
		o.eventLog.add(newEvent(wallClock(), "test", ""))
	}
}

// In whatever order users, people who ask, profiles, portals and policies come while looks,
// exchanges and tools take their time: who asks is answered by a pass that began after that,
// every event is told once, what is wanted last is in force, the portal knows it, and the
// Mac comes to rest.
func TestH46_H59_AnyOrderInTheLoop(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newLoopOrders(t, seed)
				defer o.run(t)()
				every := time.Second + time.Duration(o.draw(int(20*time.Second)))
				for end := wallClock().Add(5 * time.Minute); wallClock().Before(end); {
					time.Sleep(time.Duration(o.draw(int(2 * every))))
					o.happens()
				}
				o.calm.Store(true)
				last := o.settle()
				time.Sleep(90 * time.Minute) // for one that was refused; and what a user changes within an hour is contended
				o.asked.Wait()
				synctest.Wait()
				o.judge(last)
				o.becomes("on")
				o.inbox.Tell(watch.Hint{UID: 501, VMID: policyVM})
				time.Sleep(30 * time.Minute)
				synctest.Wait()
				o.judge(last)
				if vm, _ := o.Get(t.Context(), policyVM); string(vm.Raw) != string(o.vm("off").Raw) || last.last.Policy.State != protocol.PolicyConverged {
					t.Errorf("it is %s, the portal knows %+v", vm.Raw, last.last.Policy)
				}
				looks, status := o.mac.looks, o.Status()
				if time.Sleep(30 * time.Minute); o.mac.looks != looks {
					t.Errorf("%d looks more, because %+v, %+v", o.mac.looks-looks, status.Pass, status.Schedule)
				}
			})
		})
	}
}

// settle says for the last time what is wanted, and which portal is to know.
func (o *loopOrders) settle() (last *orderedPortal) {
	host := []string{"portal.example.com", "other.example.com"}[o.draw(2)]
	o.configure(func(c *config.Config) {
		c.Mode, c.ServerURL = config.ModeEnforce, &url.URL{Scheme: "https", Host: host}
	})
	o.number++
	o.inbox.Tell(watch.Hint{Reason: trigger.VMCreated, VMID: fmt.Sprint("news ", o.number)})
	for _, portal := range o.portals {
		portal.mode.Store(protocol.ModeEnforce)
	}
	return o.portals[host]
}

// judge judges how it is in the end.
func (o *loopOrders) judge(last *orderedPortal) {
	o.t.Helper()
	o.mac.mu.Lock()
	rows := slices.Clone(o.mac.look.VMs)
	o.mac.mu.Unlock()
	last.mu.Lock()
	defer last.mu.Unlock()
	if last.last == nil || !reflect.DeepEqual(last.last.VMs, rows) || last.last.Agent.Mode != config.ModeEnforce || !reflect.DeepEqual(last.last.Policy, o.Status().Policy) {
		o.t.Errorf("the portal knows %+v, true is %+v, %+v", last.last, rows, o.Status().Policy)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	events := allEvents(o.t, o.daemon)
	for len(events) > 0 && events[len(events)-1].Type != "test" && o.told[eventName(&events[len(events)-1])] == 0 {
		events = events[:len(events)-1] // that it checks in again is told with the next reason
	}
	for i := range events {
		if events[i].Code == protocol.CodeMacUnidentified {
			o.t.Errorf("%+v: an exchange with the client of a configuration without a portal", events[i])
		}
		if told := o.told[eventName(&events[i])]; told != 1 {
			o.t.Errorf("%+v was told %d times", events[i], told)
		}
	}
	for what, count := range o.told {
		if count > 1 {
			o.t.Errorf("%s was told %d times", what, count)
		}
	}
	if news := fmt.Sprint("news ", o.number); o.told[news] != 1 {
		o.t.Errorf("%s was told %d times", news, o.told[news])
	}
}
