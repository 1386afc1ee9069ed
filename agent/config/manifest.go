package config

import (
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Domain is the preference domain of the agent's settings (DESIGN 4).
const Domain = "org.prlagent.agent"

// What a manifest says of itself; both are raised when it says something else.
const manifestVersion = 1

var manifestModified = time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)

// Manifest describes the keys to tools that write profiles, such as iMazing Profile
// Editor and ProfileCreator, in the format of ProfileManifests (facts/macos.md 13.4).
// Its names are those of that format, the Payload keys included, which every
// manifest there has.
func Manifest() map[string]any {
	subkeys := payloadSubkeys()
	for i := range keyTable {
		key := &keyTable[i]
		if key.name != timingKey {
			subkeys = append(subkeys, key.subkey())
		}
	}
	return map[string]any{
		"pfm_domain":         Domain,
		"pfm_title":          "prlagent",
		"pfm_description":    "Settings of prlagent, an agent for Macs that run Parallels Desktop",
		"pfm_format_version": 1,
		"pfm_version":        manifestVersion,
		"pfm_last_modified":  manifestModified,
		"pfm_platforms":      []string{"macOS"},
		"pfm_targets":        []string{"system"},
		"pfm_unique":         true,
		"pfm_subkeys":        subkeys,
	}
}

// payloadSubkeys are what every payload of a profile has beside its settings.
func payloadSubkeys() []map[string]any {
	text := func(name, title, standard, description string) map[string]any {
		one := map[string]any{"pfm_name": name, "pfm_type": kindString, "pfm_title": title, "pfm_description": description}
		if standard != "" {
			one["pfm_default"] = standard
		}
		return one
	}
	always := func(one map[string]any) map[string]any { one["pfm_require"] = "always"; return one }
	id := always(text("PayloadUUID", "Payload UUID", "", "A UUID that no other payload has."))
	id["pfm_format"] = "^[0-9A-Za-z]{8}-[0-9A-Za-z]{4}-[0-9A-Za-z]{4}-[0-9A-Za-z]{4}-[0-9A-Za-z]{12}$"
	return []map[string]any{
		text("PayloadDescription", "Payload Description", "Settings of prlagent", "What the payload is for."),
		always(text("PayloadDisplayName", "Payload Display Name", "prlagent", "What the payload is called.")),
		always(text("PayloadIdentifier", "Payload Identifier", Domain, "An identifier that no other payload of the profile has.")),
		always(text("PayloadType", "Payload Type", Domain, "The preference domain of the settings.")),
		id,
		always(map[string]any{"pfm_name": "PayloadVersion", "pfm_type": kindInteger, "pfm_title": "Payload Version", "pfm_default": 1,
			"pfm_range_list": []int{1}, "pfm_description": "The version of the payload's format."}),
		text("PayloadOrganization", "Payload Organization", "", "Who provides the profile."),
	}
}

func (k *keyRow) subkey() map[string]any {
	one := k.form.describe()
	one["pfm_name"], one["pfm_title"], one["pfm_description"] = k.name, titleOf(k.name), k.doc
	if standard := k.standardValue(); standard != nil {
		one["pfm_default"] = standard
	}
	if k.secret {
		one["pfm_sensitive"] = true
	}
	return one
}

// standardValue is the value that is in force without the key, where it is one
// value.
func (k *keyRow) standardValue() any {
	shown := k.show(defaultConfig())
	switch {
	case k.form.kind == kindBoolean:
		return shown == strconv.FormatBool(true)
	case k.form.choices != nil:
		return shown
	}
	return nil
}

// describe is the form without a name.
func (f *valueForm) describe() map[string]any {
	one := map[string]any{"pfm_type": f.kind}
	if f.choices != nil {
		one["pfm_range_list"] = f.choices
	}
	if f.pattern != "" {
		one["pfm_format"] = f.pattern
	}
	if f.example != "" {
		one["pfm_value_placeholder"] = f.example
	}
	if f.bounds != nil {
		one["pfm_range_min"], one["pfm_range_max"], one["pfm_default"] = f.bounds.minimum, f.bounds.maximum, f.bounds.defaultValue
	}
	if subkeys := f.subkeys(); len(subkeys) > 0 {
		one["pfm_subkeys"] = subkeys
	}
	return one
}

// subkeys are what is in an array or a dictionary. The names {{key}} and {{value}}
// stand for those of a dictionary that has any number of them.
func (f *valueForm) subkeys() []map[string]any {
	named := func(name, title string, form valueForm) map[string]any {
		one := form.describe()
		one["pfm_name"], one["pfm_title"] = name, title
		return one
	}
	switch {
	case f.kind == kindArray:
		return []map[string]any{f.each.describe()}
	case f.each != nil:
		return []map[string]any{named("{{key}}", "Name", *f.names), named("{{value}}", "Value", *f.each)}
	}
	var subkeys []map[string]any
	for i := range f.members {
		member := &f.members[i]
		subkeys = append(subkeys, named(member.name, titleOf(member.name), member.form))
	}
	return subkeys
}

// titleOf puts blanks between the words of a name: "Server URL".
func titleOf(name string) string {
	var title strings.Builder
	letters := []rune(name)
	for i, letter := range letters {
		begins := unicode.IsUpper(letter) && i > 0 && (!unicode.IsUpper(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1]))
		if begins {
			title.WriteByte(' ')
		}
		title.WriteRune(letter)
	}
	return title.String()
}
