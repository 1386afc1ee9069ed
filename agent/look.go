package agent

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"prlagent/agent/checkin"
	"prlagent/agent/config"
	"prlagent/agent/enforce"
	"prlagent/agent/inventory"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
	"prlagent/platform/safefile"
	"prlagent/prlctl"
	"prlagent/store"
)

// knowledge is what the loop knows after a look, and what the next one starts
// from. A configuration and a look are read by whoever has them, and changed by
// nobody once another goroutine may have them.
type knowledge struct {
	configuration *config.Config
	look          *inventory.Look
	identityOf    string   // the Mac and configuration whose identity was checked
	unsafe        []string // which folders others can change, and how
	licensing     string   // whose licensing profiles say different things (CFP-16)

	// profile is what the first of those profiles says; nil: there is none (CFP-12).
	profile *localapi.LicensingProfile
	mark    enforce.Mark // of when the look began
	// hostOwner is as whom the Mac as a whole is asked and set; nil: nobody is there.
	hostOwner *enforce.Owner
}

// look is one look at the Mac. It belongs to the goroutine that runs it, which
// hands it to the loop when it is over.
type look struct {
	agent    *agent
	ctx      context.Context
	pass     *pass
	known    knowledge // before, and then after
	mayErase bool      // no exchange runs that uses the identity
	asked    []question

	failed protocol.Code // why nothing was seen; empty = it was
	erased bool          // the state was another Mac's, and is discarded
	fatal  error         // the state database is damaged: a restart restores it
}

// run looks, and hands the look over.
func (l *look) run(ended chan<- *look) {
	l.pass.did(stepObserve, time.Now(), l.observe())
	ended <- l
}

// observe re-reads the configuration and looks at the Mac.
func (l *look) observe() localapi.Step {
	parts := l.agent.parts
	l.known.configuration = parts.loadConfig()
	parts.setLevel(l.known.configuration.LogLevel)
	l.agent.eventLog.add(parts.enforcer.RestoreLeases(l.ctx)...)
	l.known.unsafe = unsafeFolders(parts.ownFolders, parts.owner)
	if profiles, err := prlctl.ReadLicensingProfiles(parts.managedPreferences); err == nil { // else doctor says why not
		l.known.licensing, l.known.profile = prlctl.LicensingConflict(profiles), licensingProfile(profiles)
	}
	now, err := l.collect()
	if err != nil {
		l.failed = cmp.Or(protocol.CodeOf(err), protocol.CodeInternal)
		if errors.Is(err, store.ErrDamaged) {
			l.fatal = err
		}
		return failed(l.failed, err.Error())
	}
	if now = l.checkIdentity(now); !l.erased {
		l.agent.eventLog.add(l.agent.quota.limit(changes(l.known.look, now), wallClock())...)
	}
	l.known.look, l.known.hostOwner = now, hostOwnerOf(now, parts.authorize)
	if now.Code != "" && now.Code.Text().Severity != protocol.Info {
		return failed(now.Code, now.Detail)
	}
	return localapi.Step{Outcome: localapi.StepDone, Code: now.Code, Detail: now.Detail}
}

// licensingProfile is what people are told of the profiles.
func licensingProfile(profiles []prlctl.LicensingProfile) *localapi.LicensingProfile {
	if len(profiles) == 0 {
		return nil
	}
	return &localapi.LicensingProfile{Activation: profiles[0].Activation(), HasKey: profiles[0].Key != "", Count: len(profiles)}
}

// unsafeFolders says which of the folders, or of those above them, others than
// root can change (H53), each once.
func unsafeFolders(folders []string, owner uint32) (found []string) {
	for _, folder := range folders {
		err := safefile.CheckFolder(folder, owner)
		if errors.Is(err, safefile.ErrUnsafeDirectory) && !slices.Contains(found, err.Error()) {
			found = append(found, err.Error())
		}
	}
	return found
}

func (l *look) collect() (*inventory.Look, error) {
	return l.agent.parts.looker.Collect(l.ctx, l.known.configuration.Timing.UserLook)
}

// checkIdentity discards everything that belongs to another Mac, as after a
// disk was cloned or migrated: identity, epoch, and all that the store holds
// (H02). It gives the look, made anew where it had another Mac's memory.
func (l *look) checkIdentity(now *inventory.Look) *inventory.Look {
	of := identityOf(l.known.configuration, now.Host)
	if of == "" || of == l.known.identityOf || !l.mayErase {
		return now
	}
	l.known.identityOf = of
	fresh, err := checkin.LoadIdentity(l.agent.parts.identity, &now.Host)
	if !errors.Is(err, checkin.ErrForeign) {
		return now // the exchange reports every other error by itself
	}
	if err := l.erase(fresh); err != nil {
		l.agent.parts.log.Error().Err(err).Msg("discard the identity of another Mac")
		l.known.identityOf = "" // the next look tries again
		return now
	}
	again, err := l.collect()
	if err != nil {
		l.agent.parts.log.Error().Err(err).Msg("look again after the identity was discarded")
		return now
	}
	return again
}

func (l *look) erase(fresh *checkin.Identity) error {
	state := l.agent.store
	err := state.Erase()
	if err == nil {
		_, err = state.NewEpoch()
	}
	if err == nil {
		err = fresh.Save(l.agent.parts.identity)
	}
	if err != nil {
		return err
	}
	l.erased = true
	l.agent.outbox.Forget()
	l.agent.parts.enforcer.Recall()
	l.agent.commands.runner.Recall()
	l.agent.commands.holds.Recall()
	l.agent.eventLog.restart()
	l.agent.eventLog.add(newEvent(wallClock(), string(protocol.CodeIdentityReset), protocol.CodeIdentityReset))
	return nil
}

// identityOf names the Mac and the configuration that an identity belongs to;
// empty where there is no portal, or the Mac does not say who it is.
func identityOf(c *config.Config, host protocol.Host) string {
	if c.ServerURL == nil || host.HardwareUUID == "" { // a Mac can be without a serial number
		return ""
	}
	return c.Fingerprint() + "/" + host.Serial + "/" + host.HardwareUUID
}

// picture is what step must know of the look; nil if it failed.
func (l *look) picture() *trigger.Picture {
	if l.failed != "" {
		return nil
	}
	now := l.known.look
	return &trigger.Picture{At: now.At, VMs: settledRows(now.VMs, l.agent.parts.enforcer, l.known.mark), Truncated: now.Truncated, Product: now.Product}
}
