package enforce

import (
	"fmt"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/store"
)

// noteVersion tells that the product is another version although the policy in force
// has its updates turned off (conformance UPD-03): the key is judged by what the
// product does. The version is remembered only under such a policy. The caller holds
// the lock.
func (e *Enforcer) noteVersion(s *Situation, planned *Planned) error {
	off := planned.Document != nil && planned.Document.Product.Preferences["update_policy"] == policy.UpdatesOff
	now := ""
	if off {
		if now = s.Version.String(); now == "" {
			return nil // not known now
		}
	}
	before := e.seenVersion
	if now == before {
		return nil
	}
	err := e.options.Store.Update(func(tx *store.Tx) error {
		if now == "" {
			return records.Delete(tx, versionKey)
		}
		return records.Put(tx, versionKey, &record{Seen: now})
	})
	if err != nil {
		return fmt.Errorf("keep the version of the product: %w", err)
	}
	if e.seenVersion = now; before != "" && now != "" {
		planned.tellOfMac(&planned.Events, eventUpdatedAnyway, protocol.CodeUpdatedAnyway, "from", before, "to", now)
	}
	return nil
}
