package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// LicenseTool is prlsrvctl as one user. What Deactivate says is a hint.
type LicenseTool interface {
	License(context.Context) (prlctl.License, error)
	DeactivateLicense(ctx context.Context, skipNetworkErrors bool) error
}

// PreferenceTool is the preferences of the application of one user.
type PreferenceTool interface {
	// Export gives the whole domain, as platform/plist decodes it.
	Export(context.Context) (map[string]any, error)
	// Write writes one key; what it says is a hint.
	Write(ctx context.Context, key string, value any) error
}

// Deactivation gives the license of the Mac back (license.deactivate). It hits everybody
// who uses the product on this Mac. What is seen afterwards is the state of the product
// here; whether the seat is free, only the vendor knows.
type Deactivation struct {
	Mac *Mac
	// Tool gives prlsrvctl as the user. It never runs as root.
	Tool        func(*Account) LicenseTool
	Preferences func(*Account) PreferenceTool
	// HasProfile reports whether a profile of the MDM activates the product again.
	HasProfile func() (bool, error)
	// TooOldForSSO reports whether the vendor's guide has no sign-on for the product's
	// version, and such gates are to be kept (LIC-03).
	TooOldForSSO func() bool

	said sync.Map // by command id: the code of what the tool said last
}

// What the vendor's guide has written for a user who is to sign in (LIC-02,
// facts/acting.md 2): a string and a boolean.
var signOnKeys = []struct {
	key   string
	value any
}{{"ActivationExperience", "sso"}, {"isSSOExperienceForced", false}}

// restartText is what users are told whose application runs on (LIC-04).
const restartText = "The license of Parallels Desktop on this Mac was changed by your organization. Please quit Parallels Desktop and open it again."

// deactivateIntent is what is on record before.
type deactivateIntent struct {
	Standing prlctl.LicenseStanding `json:"standing"`
}

// Prepare only reads.
func (d *Deactivation) Prepare(ctx context.Context, job *Job) (*Readiness, error) {
	var params protocol.DeactivateParams
	if err := job.Command.DecodeParams(&params); err != nil {
		return rejectedAs(protocol.CodeCommandInvalid, ""), nil
	}
	if params.SSO && d.TooOldForSSO != nil && d.TooOldForSSO() {
		return rejectedAs(protocol.CodePDVersionTooOld, "Sign-on needs version 20.1.0."), nil
	}
	if params.SSO {
		console, err := d.console(ctx)
		if err != nil {
			return nil, err
		}
		if console == nil {
			return deferredAs(protocol.CodeUserSession, "Nobody sits at the Mac who could be offered to sign in.", time.Time{}), nil
		}
	}
	license, err := d.license(ctx)
	if err != nil {
		return nil, err
	}
	if license.Standing() == prlctl.LicenseNone && !params.SSO {
		return &Readiness{State: protocol.CommandSucceeded, Code: protocol.CodeLicenseDeactivated, Observed: observedLicense(license)}, nil
	}
	intent, err := json.Marshal(deactivateIntent{Standing: license.Standing()})
	if err != nil {
		return nil, fmt.Errorf("make intent: %w", err)
	}
	return &Readiness{Intent: intent}, nil
}

// console is the account that sits at the Mac; nil if none does.
func (d *Deactivation) console(ctx context.Context) (*Account, error) {
	console, err := d.Mac.Directory.Console(ctx)
	if err != nil || console.User == "" {
		return nil, err
	}
	return d.Mac.account(ctx, console.UID)
}

// eachAccount asks as one account after the other, until one of them is answered.
func (d *Deactivation) eachAccount(ctx context.Context, ask func(LicenseTool) error) error {
	accounts, err := d.Mac.accounts(ctx)
	if err != nil {
		return err
	}
	if len(accounts) == 0 {
		return newCodeError(protocol.CodeTargetUnlisted, "Nobody uses the product as whom its tool could be run.")
	}
	var failures []error
	for _, account := range accounts {
		err := d.Mac.Lanes.Run(ctx, account.User.UID, hangsAfter, func() error { return ask(d.Tool(account)) })
		if err == nil {
			return nil
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

func (d *Deactivation) license(ctx context.Context) (*prlctl.License, error) {
	var license prlctl.License
	err := d.eachAccount(ctx, func(tool LicenseTool) (err error) {
		license, err = tool.License(ctx)
		return err
	})
	return &license, err
}

// Act deactivates the license, as one of the accounts, and then has each account offered
// to sign in, if that is signed. Network errors are passed over only if that is signed.
func (d *Deactivation) Act(ctx context.Context, job *Job) error {
	var params protocol.DeactivateParams
	if err := job.Command.DecodeParams(&params); err != nil {
		return err
	}
	var failures []error
	if license, err := d.license(ctx); err != nil || license.Standing() != prlctl.LicenseNone {
		said := d.deactivate(ctx, params.SkipNetworkErrors)
		d.said.Store(job.Command.CommandID, cmp.Or(protocol.CodeOf(said), protocol.CodeCommandDone))
		failures = append(failures, said)
	}
	if params.SSO {
		failures = append(failures, d.offerSignOn(ctx))
	}
	d.tellUsers(ctx)
	return errors.Join(failures...)
}

// deactivate runs the tool once, as the first account that it answers.
func (d *Deactivation) deactivate(ctx context.Context, skipNetworkErrors bool) (said error) {
	err := d.eachAccount(ctx, func(tool LicenseTool) error {
		if _, err := tool.License(ctx); err != nil {
			return err
		}
		said = tool.DeactivateLicense(ctx, skipNetworkErrors)
		return nil
	})
	return errors.Join(said, err)
}

// tellUsers tells those who have the application open.
func (d *Deactivation) tellUsers(ctx context.Context) {
	accounts, err := d.Mac.accounts(ctx)
	if err != nil || !d.isApplicationRunning(ctx) {
		return
	}
	for _, account := range accounts {
		d.Mac.tell(ctx, account, restartText)
	}
}

// offerSignOn writes the keys for each account.
func (d *Deactivation) offerSignOn(ctx context.Context) error {
	accounts, err := d.Mac.accounts(ctx)
	failures := []error{err}
	for _, account := range accounts {
		for _, wanted := range signOnKeys {
			failures = append(failures, d.Mac.Lanes.Run(ctx, account.User.UID, hangsAfter, func() error {
				return d.Preferences(account).Write(ctx, wanted.key, wanted.value)
			}))
		}
	}
	return errors.Join(failures...)
}

// Verify only reads: the state of the product, and for sign-on the preferences.
func (d *Deactivation) Verify(ctx context.Context, job *Job) (*Outcome, error) {
	var params protocol.DeactivateParams
	if err := job.Command.DecodeParams(&params); err != nil {
		return failedAs(protocol.CodeCommandInvalid, ""), nil
	}
	license, err := d.license(ctx)
	if err != nil {
		return nil, err
	}
	observed := observedLicense(license)
	if license.Standing() != prlctl.LicenseNone {
		message := "The license is " + string(license.Standing()) + "."
		if said, known := d.said.Load(job.Command.CommandID); known && said != protocol.CodeCommandDone {
			message += fmt.Sprintf(" The tool says: %v", said)
		}
		return &Outcome{Code: protocol.CodeNotDone, Message: message, Observed: observed}, nil
	}
	if params.SSO {
		if offered, err := d.countOffers(ctx, observed); err != nil || !offered {
			return &Outcome{Code: protocol.CodeNotDone, Message: "The license is gone; nobody is offered to sign in.", Observed: observed}, err
		}
	}
	return d.done(ctx, observed), nil
}

// Forget forgets what the tool said of a command that has ended.
func (d *Deactivation) Forget(commandID string) { d.said.Delete(commandID) }

func (d *Deactivation) done(ctx context.Context, observed map[string]string) *Outcome {
	outcome := &Outcome{State: protocol.CommandSucceeded, Code: protocol.CodeLicenseDeactivated, Observed: observed}
	if hasProfile, err := d.HasProfile(); err == nil && hasProfile {
		outcome.Code = protocol.CodeWillReactivate
	}
	if d.isApplicationRunning(ctx) {
		outcome.Observed["restart"] = string(protocol.CodePendingRestart)
	}
	return outcome
}

// observedLicense is the result in its two parts.
func observedLicense(license *prlctl.License) map[string]string {
	return map[string]string{"license": string(license.Standing()), "seat": "unknown"}
}

// countOffers counts the accounts that are offered to sign in, and reports whether who
// sits at the Mac is among them; if nobody does any more, whether any is.
func (d *Deactivation) countOffers(ctx context.Context, observed map[string]string) (offered bool, err error) {
	accounts, err := d.Mac.accounts(ctx)
	if err != nil {
		return false, err
	}
	console, err := d.console(ctx)
	if err != nil {
		return false, err
	}
	count, atConsole := 0, false
	for _, account := range accounts {
		if !d.isOffered(ctx, account) {
			continue
		}
		count++
		atConsole = atConsole || console != nil && console.User.UID == account.User.UID
	}
	observed["sign_on_offered"] = strconv.Itoa(count) + " of " + strconv.Itoa(len(accounts))
	return atConsole || console == nil && count > 0, nil
}

func (d *Deactivation) isOffered(ctx context.Context, account *Account) bool {
	var domain map[string]any
	err := d.Mac.Lanes.Run(ctx, account.User.UID, hangsAfter, func() (err error) {
		domain, err = d.Preferences(account).Export(ctx)
		return err
	})
	for _, wanted := range signOnKeys {
		if err != nil || domain[wanted.key] != wanted.value {
			return false
		}
	}
	return true
}

// isApplicationRunning reports whether somebody has the application open, which takes
// notice when it is opened again.
func (d *Deactivation) isApplicationRunning(ctx context.Context) bool {
	processes, err := d.Mac.Directory.Processes(ctx)
	if err != nil {
		return true // whoever has it open should know
	}
	for i := range processes {
		if strings.HasPrefix(processes[i].Path, prlctl.AppBundle+"/") && path.Base(processes[i].Path) == path.Base(prlctl.ClientApp) {
			return true
		}
	}
	return false
}
