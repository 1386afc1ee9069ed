package policy

import (
	"net/url"
	"strings"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// vendorUpdateHost is the vendor's own update server (facts/prlctl.md 1.1).
const vendorUpdateHost = "update.parallels.com"

// isUpdateServer reports whether the product takes its updates from a server of the
// organization with this value of update_policy: an address that is not the vendor's
// own. All other words are no address.
func isUpdateServer(value any) bool {
	text, _ := value.(string)
	parsed, err := url.Parse(strings.ReplaceAll(text, majorTemplate, "1"))
	return err == nil && (parsed.Scheme == "https" || parsed.Scheme == "http") &&
		parsed.Host != "" && !strings.EqualFold(parsed.Hostname(), vendorUpdateHost)
}

// HasUpdateServer reports whether the policy has the product take its updates from
// another address than the vendor's own (conformance CFP-08).
func (d *Document) HasUpdateServer() bool {
	return isUpdateServer(string(d.Product.Preferences["update_policy"]))
}

// UpdateSource is who decides on the updates of a Mac in the place of the control
// no_major_upgrade.
type UpdateSource struct {
	// Elsewhere is why the control has no effect; empty if it has.
	Elsewhere protocol.Code
	// ByHand is how many accounts have a local update server that neither the policy
	// nor a profile has set, where nothing else is the reason.
	ByHand int
	// Unread: of an account it is not known what it has set.
	Unread bool
}

// UpdateSource finds who decides on the updates: a server of the organization, which
// the policy, a profile or an account itself has set, or a profile that forces an
// update preference of an account (conformance SEC-14, SEC-15).
func (d *Document) UpdateSource(accounts []*Account) (source UpdateSource) {
	isLocal, isForced := d.HasUpdateServer(), false
	for _, account := range accounts {
		value, is := account.Forced[ManagedKey{prlctl.PreferenceDomain, updatePolicyKey}]
		isLocal = isLocal || isUpdateServer(value)
		for _, key := range []string{updateCheckKey, downloadKey} {
			_, other := account.Forced[ManagedKey{prlctl.PreferenceDomain, key}]
			isForced = isForced || other
		}
		isForced = isForced || is
		if !is && isUpdateServer(account.Domain[updatePolicyKey]) {
			source.ByHand++
		}
		source.Unread = source.Unread || account.Unread != ""
	}
	switch {
	case isLocal:
		return UpdateSource{Elsewhere: protocol.CodeLocalUpdateServer}
	case source.ByHand > 0:
		source.Elsewhere = protocol.CodeLocalUpdateServer
	case isForced:
		source.Elsewhere = protocol.CodeManagedByMDM
	}
	return source
}
