package agent

import (
	"errors"
	"io/fs"
	"maps"
	"slices"

	"github.com/rs/zerolog"

	"prlagent/agent/enforce"
	"prlagent/agent/inventory"
	"prlagent/agent/localapi"
	"prlagent/agent/policy"
	"prlagent/agent/trigger"
	"prlagent/platform"
	"prlagent/platform/plist"
	"prlagent/prlctl"
)

// accountsOf are the accounts of a look as a plan of preferences has them.
func accountsOf(look *inventory.Look, reasons trigger.Set) []enforce.Account {
	asked := slices.ContainsFunc(retryAll, reasons.Has)
	accounts := make([]enforce.Account, 0, len(look.Accounts))
	for i := range look.Accounts {
		account := &look.Accounts[i]
		accounts = append(accounts, enforce.Account{
			Owner: enforce.Owner{User: account.User, Session: account.Session}, File: account.Preferences, Runs: account.Runs, RetryNow: asked,
		})
	}
	return accounts
}

// preferencesAs is the application's preferences as one user.
func preferencesAs(mac *platform.Machine) func(platform.User, bool) enforce.PreferenceTool {
	return func(user platform.User, session bool) enforce.PreferenceTool {
		return platform.NewPreferences(mac.As(user, session), prlctl.PreferenceDomain)
	}
}

// forcedOn reads what MDM profiles force of preferences, for the Mac and for each
// user: the latter counts (facts/macos.md 5.3). A file that cannot be read forces
// nothing that we know of: what the agent then writes has no effect.
func forcedOn(mac *platform.Machine, log *zerolog.Logger) func([]platform.User) map[uint32]map[policy.ManagedKey]any {
	add := func(forced map[policy.ManagedKey]any, whose string) {
		for _, domain := range policy.ManagedDomains {
			values, err := prlctl.ReadManaged(mac.Path(prlctl.ManagedPreferences), whose, domain+".plist")
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				log.Warn().Err(err).Str("domain", domain).Msg("read what is managed")
			}
			for key, value := range values {
				forced[policy.ManagedKey{Domain: domain, Key: key}] = value
			}
		}
	}
	return func(users []platform.User) map[uint32]map[policy.ManagedKey]any {
		ofMac := make(map[policy.ManagedKey]any)
		add(ofMac, "")
		forced := make(map[uint32]map[policy.ManagedKey]any, len(users))
		for _, user := range users {
			forced[user.UID] = maps.Clone(ofMac)
			add(forced[user.UID], user.Name)
		}
		return forced
	}
}

// addPreferences adds the preferences of the policy, in the order of the catalogue.
func addPreferences(shown *localapi.Policy, product *policy.Product) {
	for i := range policy.Preferences {
		preference := &policy.Preferences[i]
		if value, managed := product.Preferences[preference.Name]; managed {
			addWanted(shown, preference.Path(), preference.Name, string(value), preference.Doc)
		}
	}
	for _, name := range product.Unknown {
		addWanted(shown, policy.ProductPath+name, name, "", "")
	}
}

// showPreferenceStep fills in what is shown of one key that is written, but for whose
// it is.
func showPreferenceStep(shown *localapi.PolicyStep, step *policy.PreferenceStep) {
	fragment, _ := plist.EncodeFragment(step.Write) // a document has no value that cannot be written
	shown.Setting, shown.Tool, shown.Call = step.Setting, "defaults", []string{"write", prlctl.PreferenceDomain, step.Key, fragment}
	shown.Shown, shown.Word = step.Prior, step.Word
}
