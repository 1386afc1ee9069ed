package policy

import (
	"prlagent/agent/protocol"
)

// Product is the section of that name: preferences of Parallels Desktop for each
// user of the Mac.
type Product struct {
	Managed     bool             // the section is in the document
	Preferences map[string]Value // by the names of Preferences
	Unknown     []string         // names that the catalogue does not have, in order; at most 64
	OnExisting  OnExisting
}

// OnExisting says what becomes of a value that was there before the agent wrote
// one, as on Macs that were configured when the product was deployed (conformance
// UPD-10).
type OnExisting string

// Words of OnExisting.
const (
	Replace OnExisting = "replace" // the policy's value takes its place
	Keep    OnExisting = "keep"    // it stays, and is reported
)

// product reads the section of that name. A preference that is not in it is not
// managed; one that is false is.
func (r *documentReader) product(n *node) {
	product := &r.document.Product
	if n.isObject() {
		product.Managed, product.Preferences, product.OnExisting = true, make(map[string]Value), Replace
	}
	for _, m := range r.members(n) {
		switch preference := FindPreference(m.name); {
		case m.name == "on_existing":
			product.OnExisting = OnExisting(r.oneOf(m, string(Replace), string(Keep)))
		case preference != nil:
			r.preference(product, preference, m)
		case len(product.Unknown) < maxUnknown:
			product.Unknown = append(product.Unknown, protocol.CutText(m.name, 80))
		}
	}
}

// preference reads one preference. Two that are written under one key cannot both
// be had.
func (r *documentReader) preference(product *Product, preference *Preference, n *node) {
	value, ok := r.value(n, preference.Values)
	if !ok {
		return
	}
	for name := range product.Preferences {
		if FindPreference(name).Key == preference.Key {
			r.fail(invalid(n.path, protocol.CodePolicyConflict, "it is kept in the same place as %s", name))
			return
		}
	}
	product.Preferences[preference.Name] = value
}

// ManagesProduct reports whether the policy has a preference.
func (d *Document) ManagesProduct() bool { return len(d.Product.Preferences) > 0 }

// ReadsPreferences reports whether a plan for the policy needs to know the preferences
// of the accounts: it has some, or a control that their values take out of force.
func (d *Document) ReadsPreferences() bool {
	return d.ManagesProduct() || d.SecurityControls.Set["no_major_upgrade"]
}
