package agent

import (
	"context"
	"path"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/inventory"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
	"prlagent/agent/watch"
	"prlagent/platform"
	"prlagent/platform/tool"
	"prlagent/prlctl"
)

// LicenseFile is where Parallels' service keeps the license; signed by the
// vendor and never read by us: that it changed is the hint (facts/prlctl.md 4.3).
const LicenseFile = "/Library/Preferences/Parallels/licenses.json"

// fileBackstop is how many ticks pass between two looks at a watched file of
// which no event told (facts/macos.md 4). The loop reads the profile at every
// tick anyway, and the safety net the license.
const fileBackstop = 10

// fileSettle is how long a file that is replaced must be quiet.
const fileSettle = 500 * time.Millisecond

// listen says what is watched on this Mac: the one table of sources.
func listen(mac *platform.Machine, events *watch.VMEvents, configs []string, timing protocol.Timing, log *zerolog.Logger) []watch.Source {
	sources := []watch.Source{
		{Name: "vm_events", Watch: events.Watch},
		{Name: "processes", Watch: watch.Processes{
			List: mac.Processes, Every: timing.Poll, Service: events.SetService, Log: *log,
		}.Watch},
		{Name: "license", Watch: watch.FileWatch{
			Path: mac.Path(LicenseFile), Backstop: fileBackstop * timing.Tick, Settle: min(fileSettle, timing.Debounce), Log: *log,
		}.Watch},
		{Name: "network", Watch: watch.NetworkEdges{
			State: mac.Network, Changes: mac.NetworkChanges, Quiet: timing.NetworkSettle, Poll: timing.Tick, Log: *log,
		}.Watch},
		{Name: "wake", Watch: watch.Wakes{Tick: timing.Tick, Stay: timing.WakeStay, Now: wallClock, Log: *log}.Watch},
	}
	for _, file := range configs {
		sources = append(sources, watch.Source{Name: "profile", Watch: watch.FileWatch{
			Path: file, Hint: watch.Hint{Reason: trigger.ProfileChanged},
			Backstop: fileBackstop * timing.Tick, Settle: min(fileSettle, timing.Debounce), Log: *log,
		}.Watch})
	}
	return sources
}

// streamsOf follows the virtual machines of the Mac's users; each event is heard before
// anything follows from it.
func streamsOf(mac *platform.Machine, timing protocol.Timing, heard func(uid uint32, event prlctl.Event), log *zerolog.Logger) *watch.VMEvents {
	return watch.NewVMEvents(watch.VMEventsOptions{
		Monitor: func(ctx context.Context, user platform.User, session bool, handle func(prlctl.Event)) error {
			if err := mac.Trusted(ctx, prlctl.Prlctl); err != nil {
				return err
			}
			return prlctl.Monitor(ctx, func(ctx context.Context, c *tool.Command, line func([]byte, bool)) (tool.Result, error) {
				return mac.Follow(ctx, user, session, c, line)
			}, func(event prlctl.Event) {
				heard(user.UID, event)
				handle(event)
			})
		},
		Digests: func(ctx context.Context, user platform.User, paths []string) [][32]byte {
			return digestAs(ctx, mac, user, paths)
		},
		EchoWait: timing.EchoWait, RetryBase: timing.StreamRetry, RetryCap: timing.StreamRetryCap, Log: *log,
	})
}

// digestAs has files digested as the user whose they are; zero for one that
// cannot be read.
func digestAs(ctx context.Context, mac *platform.Machine, user platform.User, paths []string) [][32]byte {
	questions := make([]platform.FileQuestion, len(paths))
	for i, file := range paths {
		questions[i] = platform.FileQuestion{Path: file, Reader: prlctl.DigestReader}
	}
	digests := make([][32]byte, len(paths))
	answers, _ := mac.LookAtFiles(ctx, user, questions) // what failed is in the answers
	for i, answer := range answers {
		if answer.Err == nil {
			digests[i], _ = prlctl.DecodeDigest(answer.Fields) // zero for nonsense
		}
	}
	return digests
}

// followed says whom to follow, from what the last look saw.
func followed(accounts []inventory.Account) []watch.Followed {
	users := make([]watch.Followed, 0, len(accounts))
	for _, account := range accounts {
		configs := make(map[string]string, len(account.Bundles))
		for id, bundle := range account.Bundles {
			configs[id] = path.Join(bundle, "config.pvs")
		}
		users = append(users, watch.Followed{User: account.User, Session: account.Session, Configs: configs})
	}
	return users
}

// announced is how every tool is run as a user: the echo of what it does, which
// the user's event stream tells as well, is not taken for news.
type announced struct {
	runner  prlctl.Runner
	reading func() (done func())
	changed func(vmID string)
}

// Run runs a tool of the vendor's.
func (a *announced) Run(ctx context.Context, c *tool.Command) (tool.Result, error) {
	defer a.reading()()
	if vmID := prlctl.ChangedBy(c); vmID != "" {
		defer a.changed(vmID)
	}
	return a.runner.Run(ctx, c)
}

// streamStatus says how the streams of events are.
func (p parts) streamStatus() []localapi.StreamStatus {
	if p.streams == nil {
		return nil
	}
	var streams []localapi.StreamStatus
	for _, one := range p.streams() {
		streams = append(streams, localapi.StreamStatus{UID: one.UID, Open: one.Open, Since: utc(one.Since), Failures: one.Failures})
	}
	return streams
}
