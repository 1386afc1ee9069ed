// Package schema gives the form of a policy document as a JSON Schema (draft
// 2020-12), made from the catalogue of settings: for editors, and for whoever
// writes policies by program. It is stricter than the agent, which ignores
// members of a later version; policy.Check says more than a schema can.
package schema

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"prlagent/agent/policy"
)

// Policy is the schema as indented JSON.
func Policy() ([]byte, error) {
	root := object("A policy of prlagent.",
		field{"schema", &jsonschema.Schema{Description: "Version of this form.", Const: constant(1)}},
		field{"policy_id", named("What the policy is called by programs.")},
		field{"revision", whole("Rises with every change.", 1, 1<<53)},
		field{"name", text("What people call it.")},
		field{"description", &jsonschema.Schema{Type: "string"}},
		field{"groups", list("The groups that it is for; without one it is in force nowhere.", named(""))},
		field{"requires", list("Features that an agent must have to obey this policy. An agent without one keeps the policy before.", &jsonschema.Schema{Type: "string"})},
		field{"golden_image", goldenImage()},
		field{"vm_settings", vmSettings()},
		field{"adopt", adopt()},
		field{"security_controls", securityControls()},
		field{"product", product()},
		field{"windows_updates", &jsonschema.Schema{Type: "object", Description: "Not carried out by this version."}},
	)
	root.Schema = "https://json-schema.org/draft/2020-12/schema"
	root.Title = "prlagent policy"
	root.Required = []string{"schema", "policy_id", "revision", "name"}
	root.Defs = map[string]*jsonschema.Schema{"settings": settings()}
	data, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode schema: %w", err)
	}
	return append(data, '\n'), nil
}

// vmSettings is the section of that name.
func vmSettings() *jsonschema.Schema {
	golden, other := settingsRef("Settings of virtual machines from the organization's golden images."), settingsRef("Settings of all other virtual machines.")
	return object("How virtual machines are set. A scope or a setting that is left out is not managed; one that is false is.",
		field{"golden_image", golden},
		field{"other", other},
		field{"beyond_guide", truth("true also sets what the vendor's guide rules out for macOS guests, where the tools take it.")},
		field{"on_unsupported", &jsonschema.Schema{
			Type: "string", Enum: []any{string(policy.Leave), string(policy.Stricter)}, Default: json.RawMessage(`"leave"`),
			Description: "What becomes of a value that cannot be set: it is left and reported, or the next stricter one is set where there is one.",
		}},
		field{"max_wait_h", whole("Hours that a change waits for the virtual machine to be suspended or shut down. After them, what would interrupt somebody is set all the same; nothing is ever shut down for a setting. Without it there is no end.", 1, policy.MaxWaitHours)},
		field{"remind_every_weeks", whole("How often, at most, a user is reminded of a virtual machine that has to be shut down; 0: never. Without it: 1.", 0, policy.MaxRemindWeeks)},
	)
}

func settingsRef(description string) *jsonschema.Schema {
	return &jsonschema.Schema{Ref: "#/$defs/settings", Description: description}
}

// settings is one scope: a member for each row of the catalogue.
func settings() *jsonschema.Schema {
	fields := make([]field, 0, len(policy.Settings))
	for i := range policy.Settings {
		setting := &policy.Settings[i]
		value := valueOf(setting.Values)
		value.Description = describe(setting)
		fields = append(fields, field{setting.Name, value})
	}
	return object("Settings of a virtual machine.", fields...)
}

// product is the section of that name: a member for each row of the catalogue of
// preferences.
func product() *jsonschema.Schema {
	fields := make([]field, 0, len(policy.Preferences)+1)
	names := make(map[string]string) // of the first preference of a key
	var pairs []*jsonschema.Schema
	for i := range policy.Preferences {
		preference := &policy.Preferences[i]
		value := valueOf(preference.Values)
		value.Description = describeRow(preference.Doc, preference.Values, preference.Ours)
		fields = append(fields, field{preference.Name, value})
		if other, taken := names[preference.Key]; taken {
			pairs = append(pairs, &jsonschema.Schema{Required: []string{other, preference.Name}})
		}
		names[preference.Key] = preference.Name
	}
	fields = append(fields, field{"on_existing", &jsonschema.Schema{
		Type: "string", Enum: []any{string(policy.Replace), string(policy.Keep)}, Default: json.RawMessage(`"replace"`),
		Description: "What becomes of a value that was there before the agent wrote one: the policy's takes its place, or it is kept and reported.",
	}})
	schema := object("Preferences of Parallels Desktop, for each user of the Mac. One that is left out is not managed; one that is false is.", fields...)
	schema.Not = &jsonschema.Schema{AnyOf: pairs}
	return schema
}

// describe is the setting's documentation with its values and where it is from.
func describe(setting *policy.Setting) string {
	return describeRow(setting.Doc, setting.Values, setting.Ours)
}

func describeRow(text string, values *policy.Values, ours bool) string {
	doc := []string{text}
	for _, only := range values.Only {
		doc = append(doc, fmt.Sprintf("%s: %s.", cmp.Or(string(only.Value), "An empty text"), only.Doc))
	}
	if ours {
		doc = append(doc, "Not in the vendor's guide.")
	}
	return strings.Join(doc, " ")
}

func valueOf(values *policy.Values) *jsonschema.Schema {
	switch values.Kind {
	case policy.KindNumber:
		return whole("", values.Min, values.Max)
	case policy.KindText:
		return &jsonschema.Schema{Type: "string", Pattern: policy.TextPattern, MaxLength: &values.Max}
	case policy.KindSwitch:
		schema := truth("")
		if len(values.Only) == 1 {
			schema.Enum = []any{values.Only[0].Value == policy.True}
		}
		return schema
	}
	schema := &jsonschema.Schema{Type: "string"}
	for _, only := range values.Only {
		schema.Enum = append(schema.Enum, string(only.Value))
	}
	if values.Kind == policy.KindAddress {
		return addressOr(schema, values)
	}
	return schema
}

// addressOr is one of some words, or an address.
func addressOr(words *jsonschema.Schema, values *policy.Values) *jsonschema.Schema {
	pattern := `^https://[!-~]+$`
	if values.Plain {
		pattern = `^https?://[!-~]+$`
	}
	address := &jsonschema.Schema{Pattern: pattern, MaxLength: &values.Max}
	return &jsonschema.Schema{Type: "string", AnyOf: []*jsonschema.Schema{{Enum: words.Enum}, address}}
}

// securityControls is the section of that name: a member for each row of the
// catalogue.
func securityControls() *jsonschema.Schema {
	fields := make([]field, 0, len(policy.Controls)+2)
	for i := range policy.Controls {
		doc := policy.Controls[i].Doc
		if why := policy.Controls[i].NotEnforceable; why != "" {
			doc += " It is reported as not_enforceable: " + why + "."
		}
		fields = append(fields, field{policy.Controls[i].Name, truth(doc)})
	}
	fields = append(fields,
		field{"on_violation", &jsonschema.Schema{
			Type: "string", Enum: []any{string(policy.ReportOnly), string(policy.Suspend)}, Default: json.RawMessage(`"report"`),
			Description: "What is done about a virtual machine that is against a control: it is reported, or suspended after grace_s as well. One that is older than the control is left alone, and nothing is ever deleted.",
		}},
		field{"grace_s", whole(fmt.Sprintf("Seconds until it is suspended. Without it: %d.", policy.DefaultGraceSeconds), policy.MinGraceSeconds, policy.MaxGraceSeconds)},
	)
	return object("What users may not do. A control that is left out is not managed.", fields...)
}

func goldenImage() *jsonschema.Schema {
	address := &jsonschema.Schema{Type: "string", Pattern: "^https://"}
	image := object("", field{"url", address}, field{"mirrors", list("", address)},
		field{"sha256", &jsonschema.Schema{Type: "string", Pattern: "^[0-9a-f]{64}$"}},
		field{"size", whole("Bytes.", 1, 1<<50)},
		field{"format", &jsonschema.Schema{Type: "string", Enum: []any{"pvmp", "zip", "tgz"}}})
	image.Required = []string{"url", "sha256", "format"}
	images := object("At most one image for each architecture.", field{"arm64", image}, field{"x86_64", image})
	one := 1
	images.MinProperties = &one
	golden := object("What new virtual machines are made from.",
		field{"id", named("")}, field{"name", text("")}, field{"description", &jsonschema.Schema{Type: "string"}}, field{"images", images},
		field{"rollout_percent", whole("The share of Macs that are offered it.", 0, 100)},
		field{"download", object("", field{"max_kbps", whole("", 1, 1<<30)}, field{"window", text("")})})
	golden.Required = []string{"id", "name", "images"}
	return golden
}

func adopt() *jsonschema.Schema {
	adopted := object("Virtual machines that count as from a golden image although the agent did not provision them: those with these ids, and those that the agent saw first before a day.",
		field{"vm_ids", list("", &jsonschema.Schema{Type: "string", Pattern: `^\{?[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}?$`})},
		field{"first_seen_before", &jsonschema.Schema{Type: "string", Pattern: `^[0-9]{4}-[0-9]{2}-[0-9]{2}$`}},
		field{"bundle_names", list("Patterns of names of bundles, which narrow first_seen_before: a user can name a bundle.", text(""))})
	adopted.DependentRequired = map[string][]string{"bundle_names": {"first_seen_before"}}
	return adopted
}

// field is a member of an object.
type field struct {
	name   string
	schema *jsonschema.Schema
}

// object has these members, in this order, and no others.
func object(description string, fields ...field) *jsonschema.Schema {
	schema := &jsonschema.Schema{
		Type: "object", Description: description, Properties: make(map[string]*jsonschema.Schema, len(fields)),
		AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}}, // false
	}
	for _, field := range fields {
		schema.Properties[field.name] = field.schema
		schema.PropertyOrder = append(schema.PropertyOrder, field.name)
	}
	return schema
}

func constant(value any) *any { return &value }

func truth(description string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "boolean", Description: description}
}

func text(description string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Description: description, Pattern: `\S`}
}

// named is a name that ends in paths and addresses.
func named(description string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Description: description, Pattern: `^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$`}
}

func whole(description string, least, most int) *jsonschema.Schema {
	minimum, maximum := float64(least), float64(most)
	return &jsonschema.Schema{Type: "integer", Description: description, Minimum: &minimum, Maximum: &maximum}
}

func list(description string, item *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "array", Description: description, Items: item}
}
