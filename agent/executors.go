package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/command"
	"prlagent/agent/enforce"
	"prlagent/agent/lane"
	"prlagent/agent/protocol"
	"prlagent/agent/watch"
	"prlagent/platform"
	"prlagent/platform/safefile"
	"prlagent/platform/tool"
	"prlagent/prlctl"
)

// uploader is who sends what the portal has asked for.
type uploader interface {
	UploadBlob(ctx context.Context, content []byte) (sha256Hex string, err error)
}

// actedOn is what the executors of commands know of the loop, and of the machines'
// events. It is safe for concurrent use.
type actedOn struct {
	mu       sync.Mutex
	bundles  map[protocol.VMKey]string
	ranAt    map[protocol.VMKey]time.Time // the last event that told of a running state
	version  prlctl.Version
	gates    bool
	portal   commandPortal  // nil before the loop has one
	uploader uploader       // nil before the loop has a portal
	holds    *command.Holds // nil before they are read
}

// maxRan is of how many machines it is known when they ran: a user's stream of events
// can name any number.
const maxRan = 2 * protocol.MaxVMs

// know takes over what the loop knows.
func (k *actedOn) know(known *knowledge, portal exchanger) {
	bundles := make(map[protocol.VMKey]string)
	for i := range known.look.Machines {
		if machine := &known.look.Machines[i]; machine.Bundle.Path != "" {
			bundles[machine.Key()] = machine.Bundle.Path
		}
	}
	version, _ := prlctl.ParseVersion(known.look.Product.Version)
	k.mu.Lock()
	k.bundles, k.version, k.gates = bundles, version, known.configuration.VendorGates
	k.uploader, _ = portal.(uploader)
	k.portal, _ = portal.(commandPortal)
	k.mu.Unlock()
}

// now is the likely time of day, which nobody on the Mac can put back.
func (k *actedOn) now() time.Time {
	k.mu.Lock()
	portal := k.portal
	k.mu.Unlock()
	if portal == nil {
		return wallClock()
	}
	_, likely, _ := portal.Clock()
	return likely
}

// onEvent notes an event of a user's machine.
func (k *actedOn) onEvent(uid uint32, event prlctl.Event) {
	if event.VMID == "" || event.State != string(prlctl.StateRunning) {
		return
	}
	key := protocol.VMKey{ID: event.VMID, UID: uid}
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, known := k.ranAt[key]; !known && len(k.ranAt) >= maxRan {
		clear(k.ranAt) // who floods loses the evidence of a restart, and nothing else
	}
	if k.ranAt == nil {
		k.ranAt = make(map[protocol.VMKey]time.Time)
	}
	k.ranAt[key] = wallClock()
}

// hold takes over what holds are in force from now on.
func (k *actedOn) hold(holds *command.Holds) {
	k.mu.Lock()
	k.holds = holds
	k.mu.Unlock()
}

func (k *actedOn) isHeld(key protocol.VMKey) bool {
	k.mu.Lock()
	holds := k.holds
	k.mu.Unlock()
	return holds != nil && holds.Keeps(key)
}

func (k *actedOn) lastBundle(key protocol.VMKey) string {
	k.mu.Lock()
	bundle := k.bundles[key]
	k.mu.Unlock()
	return bundle
}

// lastRun is when a machine's events told last that it runs. A time that is to come is of a
// clock that was set back since, and no evidence of anything.
func (k *actedOn) lastRun(key protocol.VMKey) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	ran := k.ranAt[key]
	if ran.After(wallClock()) {
		delete(k.ranAt, key)
		return time.Time{}
	}
	return ran
}

// signOnVersion is the first version with sign-on (conformance LIC-03).
var signOnVersion = prlctl.Version{Major: 20, Minor: 1}

func (k *actedOn) isTooOldForSSO() bool {
	k.mu.Lock()
	isTooOld := k.gates && !k.version.IsZero() && k.version.Compare(signOnVersion) < 0
	k.mu.Unlock()
	return isTooOld
}

func (k *actedOn) upload(ctx context.Context, content []byte) (string, error) {
	k.mu.Lock()
	portal := k.uploader
	k.mu.Unlock()
	if portal == nil {
		return "", errors.New("there is no portal yet")
	}
	return portal.UploadBlob(ctx, content)
}

// executorsOf says what carries out the commands that act on this Mac: the one table of
// executors that need more than the loop.
func executorsOf(
	mac *platform.Machine, streams *watch.VMEvents, lanes *lane.Lanes, enforcer *enforce.Enforcer,
	known *actedOn, timing protocol.Timing, log *zerolog.Logger,
) map[string]command.Executor {
	client := func(account *command.Account) *prlctl.Client {
		return clientAs(mac, streams, account.User, account.Session)
	}
	preferences, notify := preferencesAs(mac), notifierOf(mac)
	on := &command.Mac{
		Directory: mac, Files: mac, Lanes: lanes, LastBundle: known.lastBundle, Now: known.now, Log: *log,
		Pause: func(ctx context.Context, wait time.Duration) {
			pauseFor(ctx, time.Duration(float64(wait)*timing.CommandLook.Seconds()))
		},
		Tool: func(account *command.Account) command.VMTool { return client(account) },
		Tell: func(ctx context.Context, user *platform.User, text string) {
			if err := notify(ctx, *user, text); err != nil {
				log.Warn().Err(err).Uint32("uid", user.UID).Msg("tell a user of a command")
			}
		},
	}
	return map[string]command.Executor{
		"vm.delete": command.NewDeletion(command.DeleteOptions{
			Mac: on, IsHeld: known.isHeld, Lift: liftRemovals(enforcer, known.now),
			RemovalAsksPassword: func(ctx context.Context, account *command.Account) (asks bool, err error) {
				err = lanes.Run(ctx, account.User.UID, probeLimit, func() error {
					info, err := client(account).ServerInfo(ctx)
					asks = slices.Contains(info.RequirePassword, removeVM)
					return err
				})
				return asks, err
			},
		}),
		"vm.restart":    &command.Restart{Mac: on, RanAt: known.lastRun, IsHeld: known.isHeld},
		"vm.redownload": &command.Redownload{},
		"license.deactivate": &command.Deactivation{
			Mac:  on,
			Tool: func(account *command.Account) command.LicenseTool { return client(account) },
			Preferences: func(account *command.Account) command.PreferenceTool {
				return preferences(account.User, account.Session)
			},
			TooOldForSSO: known.isTooOldForSSO,
			HasProfile: func() (bool, error) {
				profiles, err := prlctl.ReadLicensingProfiles(mac.Path(prlctl.ManagedPreferences))
				return len(profiles) > 0, err
			},
		},
		"diagnostics": &command.Diagnostics{
			Make:   func(ctx context.Context) ([]byte, error) { return supportBundle(ctx, mac) },
			Upload: known.upload,
		},
	}
}

// removeVM is the action that asks for an administrator under no_removal.
const removeVM = "remove-vm"

// liftRemovals lifts no_removal for a deletion (SEC-10): with the lease of what carries
// the policy out, so that the control is put back whatever ends the daemon (H68).
func liftRemovals(enforcer *enforce.Enforcer, now func() time.Time) func(context.Context, time.Time) (func(context.Context) error, error) {
	return func(ctx context.Context, until time.Time) (func(context.Context) error, error) {
		until = wallClock().Add(until.Sub(now())) // leases go by the Mac's own clock
		lease, err := enforcer.TakeLease(ctx, "vm.delete", []string{removeVM}, until)
		if err != nil {
			return nil, err
		}
		return lease.Restore, nil
	}
}

func pauseFor(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Where a bundle for the portal is made, in the folder of our own state, and how long
// that may take.
const (
	diagnosticsFile  = StateFolder + "/diagnostics.zip"
	diagnosticsLimit = 5 * time.Minute
)

// supportBundle has our own command line make a bundle, as a person does who is asked for
// one, and takes it away again.
func supportBundle(ctx context.Context, mac *platform.Machine) ([]byte, error) {
	folder, err := safefile.OpenFolder(mac.Path(StateFolder))
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	remove := func() error {
		if err := folder.Remove(path.Base(diagnosticsFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := remove(); err != nil { // of one that was interrupted
		return nil, err
	}
	args := []string{"support-bundle", "--json", mac.Path(diagnosticsFile)}
	if root := mac.Path("/"); root != "/" {
		args = append(args, "--root", root)
	}
	result, err := mac.RunCommandLine(ctx, &tool.Command{Args: args, Limit: diagnosticsLimit, MaxOutput: 1 << 20})
	if err == nil && result.ExitCode != 0 {
		err = &tool.Error{Code: tool.CodeFailed, Path: platform.CommandLine, Err: fmt.Errorf("exit code %d", result.ExitCode)}
	}
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	content, err := folder.ReadOwnedFile(path.Base(diagnosticsFile), uint32(os.Geteuid()), protocol.MaxBlob)
	return content, errors.Join(err, remove())
}
