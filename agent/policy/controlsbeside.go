package policy

import "fmt"

// observed is what is seen beside a control that cannot be enforced, or is out of
// force, for people.
func (cp *controlsPlan) observed(c *Control) string {
	switch c.Name {
	case "org_license_only":
		return cp.observedEncryption()
	case "no_preferences":
		return cp.observedDrift()
	case "no_major_upgrade":
		if n := cp.p.observed.Host.Updates.ByHand; n > 0 {
			return fmt.Sprintf("accounts with an update server that neither the policy nor a profile has set: %d", n)
		}
	}
	return ""
}

// observedDrift says how often preferences that the policy manages were found
// changed, as of the plan before: of others nobody knows what they should be.
func (cp *controlsPlan) observedDrift() string {
	managed := len(cp.document.Product.Preferences)
	if managed == 0 {
		return "the policy has no preferences that could be seen to change"
	}
	drifts, accounts := 0, 0
	for key, memory := range cp.p.observed.Memory {
		if key.ID != "" || key.UID == 0 {
			continue // no account's
		}
		seen := 0
		for name := range cp.document.Product.Preferences {
			seen += memory.Setting(name).Drifts()
		}
		if drifts += seen; seen > 0 {
			accounts++
		}
	}
	return fmt.Sprintf("preferences in the policy: %d; times that one was found changed: %d, in accounts: %d", managed, drifts, accounts)
}
