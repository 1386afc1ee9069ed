package agent

import (
	"context"
	"path"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/config"
	"prlagent/agent/inventory"
	"prlagent/agent/trigger"
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
func listen(mac *platform.Machine, events *trigger.VMEvents, configs []string, timing config.Timing, log zerolog.Logger) []trigger.Source {
	sources := []trigger.Source{
		{Name: "vm_events", Watch: events.Watch},
		{Name: "processes", Watch: trigger.Processes{
			List: mac.Processes, Every: timing.Poll, Service: events.SetService, Log: log,
		}.Watch},
		{Name: "license", Watch: trigger.FileWatch{
			Path: mac.Path(LicenseFile), Backstop: fileBackstop * timing.Tick, Settle: min(fileSettle, timing.Debounce), Log: log,
		}.Watch},
		{Name: "network", Watch: trigger.NetworkEdges{
			State: mac.Network, Changes: mac.NetworkChanges, Quiet: timing.NetworkSettle, Poll: timing.Tick, Log: log,
		}.Watch},
		{Name: "wake", Watch: trigger.Wakes{Tick: timing.Tick, Stay: timing.WakeStay, Now: wallClock, Log: log}.Watch},
	}
	for _, file := range configs {
		sources = append(sources, trigger.Source{Name: "profile", Watch: trigger.FileWatch{
			Path: file, Hint: trigger.Hint{Reason: trigger.ProfileChanged},
			Backstop: fileBackstop * timing.Tick, Settle: min(fileSettle, timing.Debounce), Log: log,
		}.Watch})
	}
	return sources
}

// eventsOf follows the virtual machines of the Mac's users.
func eventsOf(mac *platform.Machine, timing config.Timing, log zerolog.Logger) *trigger.VMEvents {
	return trigger.NewVMEvents(trigger.VMEventsOptions{
		Monitor: func(ctx context.Context, user platform.User, session bool, handle func(prlctl.Event)) error {
			if err := mac.Trusted(ctx, prlctl.Prlctl); err != nil {
				return err
			}
			return prlctl.Monitor(ctx, func(ctx context.Context, c tool.Command, line func([]byte, bool)) (tool.Result, error) {
				return mac.Follow(ctx, user, session, c, line)
			}, handle)
		},
		Configs: func(ctx context.Context, user platform.User, paths []string) [][]byte {
			return readAs(ctx, mac, user, paths)
		},
		EchoWait: timing.EchoWait, RetryBase: timing.StreamRetry, RetryCap: timing.StreamRetryCap, Log: log,
	})
}

// readAs reads files as the user whose they are; nil for one that cannot be read.
func readAs(ctx context.Context, mac *platform.Machine, user platform.User, paths []string) [][]byte {
	questions := make([]platform.FileQuestion, len(paths))
	for i, file := range paths {
		questions[i] = platform.FileQuestion{Path: file, Max: prlctl.MaxFile}
	}
	contents := make([][]byte, len(paths))
	answers, _ := mac.LookAtFiles(ctx, user, questions) // what failed is in the answers
	for i, answer := range answers {
		if answer.Err == nil {
			contents[i] = answer.Data
		}
	}
	return contents
}

// followed says whom to follow, from what the last look saw.
func followed(accounts []inventory.Account) []trigger.Followed {
	users := make([]trigger.Followed, 0, len(accounts))
	for _, account := range accounts {
		configs := make(map[string]string, len(account.Bundles))
		for id, bundle := range account.Bundles {
			configs[id] = path.Join(bundle, "config.pvs")
		}
		users = append(users, trigger.Followed{User: account.User, Session: account.Session, Configs: configs})
	}
	return users
}

// heard is a lister whose queries are announced, so that their echo is not
// taken for news.
type heard struct {
	inventory.Lister
	reading func() (done func())
}

// List is the user's list.
func (h heard) List(ctx context.Context) (prlctl.Listing, error) {
	defer h.reading()()
	return h.Lister.List(ctx)
}

// Get is one virtual machine.
func (h heard) Get(ctx context.Context, id string) (prlctl.VM, error) {
	defer h.reading()()
	return h.Lister.Get(ctx, id)
}
