package trigger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

// The longest look and exchange of these tests.
const (
	ordersLook     = 25 * time.Second
	ordersExchange = 90 * time.Second
)

// orders is a Mac on which anything happens at any time, also while looks and
// exchanges take theirs. Nothing is looked at without a reason: stepTiming has no
// safety net.
type orders struct {
	t      *testing.T
	random *rand.Rand
	now    time.Time
	state  State
	calm   bool // portals answer well from now on

	sees     Picture
	seen     *Picture  // by the look that runs, or by the last one
	looked   time.Time // begin of that
	lookEnds time.Time
	mayErase bool // no exchange ran when the look began
	wants    []wantedLook

	origin       string              // of the portal that is configured; empty: none is
	has          map[string]*Picture // by origin: what each portal was told last
	with         string              // whom the exchange that runs is with
	sent         *Picture
	exchangeEnds time.Time
	began        time.Time // of the last exchange
	fresh        time.Time // the portal was configured then, and there was no exchange with it; zero: there was
	manual       time.Time // somebody asked then, and no look that began since has checked in; zero: nobody did

	number int
	news   map[string]*newsItem
}

// wantedLook is a look that is to begin by a time.
type wantedLook struct {
	what string
	by   time.Time
}

// newsItem is a reason that is to be told once.
type newsItem struct {
	at      time.Time
	told    int
	dropped bool // nobody needs to be told: there was no portal, or it was another Mac's
}

func (o *orders) upTo(most time.Duration) time.Duration {
	return time.Duration(o.random.Int64N(int64(most) + 1))
}

func (o *orders) tell(what Event) {
	o.t.Helper()
	before := o.state
	after, actions := Step(o.now, o.random.Float64(), before, what)
	checkStep(o.t, o.now, before, after, actions)
	o.state = after
	for _, action := range actions {
		switch action := action.(type) {
		case StartLook:
			picture := o.sees
			picture.At, picture.VMs = o.now, slices.Clone(o.sees.VMs)
			o.seen, o.looked, o.lookEnds, o.wants = &picture, o.now, o.now.Add(o.upTo(ordersLook)), nil
			o.mayErase = !after.Limits.Running
		case Conclude:
			if action.Exchange {
				o.with, o.sent, o.began, o.exchangeEnds = o.origin, o.seen, o.now, o.now.Add(o.upTo(ordersExchange))
				o.fresh = time.Time{}
				if !o.looked.Before(o.manual) {
					o.manual = time.Time{}
				}
			}
		}
	}
}

// want has a look begin within a time, or when the one that runs has ended.
func (o *orders) want(what string, within time.Duration) {
	by := o.now.Add(within)
	if o.state.Looks.Running {
		by = latest(by, o.lookEnds)
	}
	o.wants = append(o.wants, wantedLook{what, by})
}

// isBehind says whether the portal lacks what was seen last.
func (o *orders) isBehind() bool {
	return o.origin != "" && o.seen != nil && !isTold(o.has[o.origin], o.seen)
}

func (o *orders) configure(reasons ...Reason) {
	if o.origin == "" {
		o.manual = time.Time{}
		for _, item := range o.news {
			item.dropped = item.dropped || item.told == 0
		}
	}
	o.tell(Configured{Portal: o.origin != "", Origin: o.origin, DeviceID: stepDevice, Timing: stepTiming, Reasons: reasons})
}

// endLook ends the look that runs.
func (o *orders) endLook() {
	if o.mayErase && !o.calm && o.random.IntN(20) == 0 { // it turns out that this is another Mac
		o.has, o.manual = make(map[string]*Picture), time.Time{}
		for _, item := range o.news {
			item.dropped = item.dropped || item.told == 0
		}
		o.state.ForgetOtherMac()
		o.configure()
	}
	o.tell(LookDone{Picture: o.seen, PortalBehind: o.isBehind()})
}

// endExchange ends the exchange that runs: well, or before or after the report was
// stored, which is then told by a later one.
func (o *orders) endExchange() {
	done := ExchangeDone{DeviceID: stepDevice, Origin: o.with}
	kind := o.random.IntN(8)
	switch {
	case o.calm && o.with == o.origin, kind < 3:
		kind = 0
	case kind == 3:
		done.Code, done.NoRetry = protocol.CodePortalRefused, true
	case kind == 4:
		done.Code, done.RetryAfter = protocol.CodePortalBusy, o.upTo(5*time.Hour)
	default:
		done.Code = protocol.CodePortalUnreachable
	}
	switch {
	case done.Code != "" && o.random.IntN(2) == 0:
		done.Left = o.state.Reports.Carried
	default:
		for _, one := range o.state.Reports.Carried.Triggers() {
			if item := o.news[one.VMID]; item != nil {
				item.told += one.Count
			}
		}
	}
	if done.Code == "" {
		o.has[o.with] = o.sent
	}
	done.PortalBehind = o.isBehind() && (o.seen != o.sent || o.with != o.origin)
	o.tell(done)
}

// happens has something happen.
func (o *orders) happens() {
	debounce := stepTiming.Debounce
	uid := uint32(501 + o.random.IntN(2))
	switch o.random.IntN(13) {
	case 0, 1:
		o.want("a hint", debounce<<patientAfter)
		o.tell(SourceEvent{UID: uid})
	case 2, 3: // something changes, and its stream tells so
		states := []string{protocol.StateRunning, protocol.StateStopped, protocol.StateSuspended}
		i := o.random.IntN(len(o.sees.VMs))
		o.sees.VMs = slices.Clone(o.sees.VMs)
		vm := &o.sees.VMs[i]
		vm.State = states[o.random.IntN(len(states))]
		believed := o.state.Beliefs
		if reason, sure := believed.OnVMState(o.now, vm.UID, vm.ID, vm.State); !sure || reason != "" {
			o.want("another state", debounce<<patientAfter)
		}
		o.tell(SourceEvent{UID: vm.UID, VMID: vm.ID, State: vm.State})
	case 4, 5:
		o.number++
		id, told := fmt.Sprint("news ", o.number), []Reason{VMCreated, VMRemoved, VMConfigChanged, AppLaunch, VMStarted}
		reason := told[o.random.IntN(len(told))]
		o.news[id] = &newsItem{at: o.now, dropped: o.origin == ""}
		o.want(string(reason), debounce)
		o.tell(SourceEvent{Reason: reason, VMID: id})
	case 6:
		o.tell(SourceEvent{Reason: NetworkUp})
	case 7:
		o.want("a wake", debounce)
		o.tell(SourceEvent{Reason: Wake})
	case 8:
		o.want("own hand", 0)
		o.tell(Converged{Look: true, UID: uid})
	case 9:
		o.tell(HealthChanged{PortalBehind: o.isBehind()})
	case 10:
		last := o.state.Origin
		o.origin = []string{onePortal, anotherPortal, anotherPortal, ""}[o.random.IntN(4)]
		switch {
		case o.origin == "", o.state.Limits.Running && o.with == o.origin:
			o.fresh = time.Time{}
		case o.origin != last:
			o.fresh = o.now
		}
		o.want("a profile", 0)
		o.configure(ProfileChanged)
	case 11:
		if o.origin != "" && o.manual.IsZero() {
			o.manual = o.now
		}
		o.want("somebody asks", 0)
		o.tell(SourceEvent{Reason: Manual})
	case 12:
		o.setClock(o.upTo(2*time.Hour) - time.Hour)
	}
}

// setClock sets the clock, or lets the Mac sleep: what runs goes on afterwards.
func (o *orders) setClock(by time.Duration) {
	o.tell(Tick{}) // what passed since the last one is not known on another clock
	o.now = o.now.Add(by)
	shiftEach(by, &o.looked, &o.lookEnds, &o.exchangeEnds, &o.began, &o.fresh, &o.manual)
	for i := range o.wants {
		o.wants[i].by = o.wants[i].by.Add(by)
	}
	for _, item := range o.news {
		item.at = item.at.Add(by)
	}
	o.tell(Tick{})
}

// until lets time pass, with something that happens so often on average; zero: nothing.
func (o *orders) until(end time.Time, every time.Duration) {
	o.t.Helper()
	for {
		next, _ := o.state.NextAt(o.now)
		if o.state.Looks.Running {
			next = o.lookEnds
		}
		if o.state.Limits.Running {
			next = soonest(next, o.exchangeEnds)
		}
		happens := every > 0
		if at := o.now.Add(o.upTo(2 * every)); happens && at.Before(next) {
			next = at
		} else {
			happens = false
		}
		if next.After(end) {
			o.now = end
			return
		}
		o.now = next
		switch {
		case happens:
			o.happens()
		case o.state.Looks.Running && !o.now.Before(o.lookEnds):
			o.endLook()
		case o.state.Limits.Running && !o.now.Before(o.exchangeEnds):
			o.endExchange()
		default:
			o.tell(Tick{})
		}
		for _, want := range o.wants {
			if o.now.After(want.by) {
				o.t.Fatalf("no look since %s, by %s, now %s", want.what, want.by, o.now)
			}
		}
		if most := 3*ordersLook + ordersExchange + stepTiming.MinimumGap + stepTiming.BucketRefill; !o.fresh.IsZero() && o.now.Sub(o.fresh) > most {
			o.t.Fatalf("%s is configured since %s, now %s", o.origin, o.fresh, o.now)
		}
		if most := 3*ordersLook + ordersExchange; !o.manual.IsZero() && o.now.Sub(o.manual) > most {
			o.t.Fatalf("somebody asked at %s, now %s", o.manual, o.now)
		}
	}
}

// In whatever order things happen while looks, exchanges and changes of the portal take
// their time: each look that is asked for begins after that, each reason is told once,
// and in the end the portal that is configured knows how it is.
func TestH46_AnyOrderOfEvents(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			o := &orders{
				t: t, random: rand.New(rand.NewPCG(seed, 46)), now: stepNoon, origin: onePortal,
				sees: Picture{VMs: []protocol.VM{vmRow("alice", "a", protocol.StateStopped, "1"), vmRow("bob", "b", protocol.StateRunning, "1")}, Product: valid},
				has:  make(map[string]*Picture), news: make(map[string]*newsItem),
			}
			o.configure()
			o.tell(SourceEvent{Reason: AgentStart})
			o.until(o.now.Add(10*time.Minute), time.Second+o.upTo(time.Minute))
			o.calm = true
			o.until(o.now.Add(8*time.Hour), 0)
			o.judge()
		})
		if !ok {
			return
		}
	}
}

// judge judges how it is in the end.
func (o *orders) judge() {
	o.t.Helper()
	if len(o.wants) > 0 {
		o.t.Errorf("nobody looked since %+v", o.wants)
	}
	refused := o.state.Limits.NoRetry // for good, but for what came since
	for id, item := range o.news {
		isOwed := o.origin != "" && !item.dropped && !(refused && item.at.Before(o.began))
		if item.told > 1 || item.told == 0 && isOwed {
			o.t.Errorf("%s of %s was told %d times", id, item.at, item.told)
		}
	}
	if o.origin != "" && !refused && !isTold(o.has[o.origin], &o.sees) {
		o.t.Errorf("%s has %+v, true is %+v", o.origin, o.has[o.origin], o.sees)
	}
}
