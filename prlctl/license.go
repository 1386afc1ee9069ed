package prlctl

import (
	"context"
	"errors"
	"strings"
)

// License is what `prlsrvctl info --license` says (facts/prlctl.md 4.2). The
// zero License is that none is installed.
type License struct {
	Status               string // the tool's word, see Standing
	Serial               string // masked: at most the first and last group are shown
	UUID                 string
	Edition              string // standard, pro, business, enterprise
	ActivationType       string // LIC_KEY, SSO or empty
	Trial                Switch
	Volume               Switch
	Expiration           string // a date; its form was not seen; it may be the end of the grace period
	MainPeriodEndsAt     string // a date; its form was not seen
	GracePeriodEndsAt    string // a date; its form was not seen
	CPUTotal             int64  // most virtual CPUs of a machine
	MaxMemory            int64  // most memory of a machine in MB; -1 is unlimited
	AdvancedRestrictions string
	DeferredActivation   string
	Notes                []string // oddities of the output, see the Note constants
}

// LicenseStanding is what a license is worth now.
type LicenseStanding string

// Values of LicenseStanding.
const (
	LicenseNone     LicenseStanding = "none"     // none is installed
	LicenseInForce  LicenseStanding = "in_force" //
	LicenseInGrace  LicenseStanding = "in_grace" // over, but for some days the product works on
	LicenseExpired  LicenseStanding = "expired"  //
	LicenseInvalid  LicenseStanding = "invalid"  //
	LicenseInactive LicenseStanding = "inactive" // a word that we do not know: not in force, for all that is known
)

// Standing tells what the license is worth by the word of `status`: ACTIVE and
// EXPIRED were seen, GRACED and INVALID are inferred from the tool's ancestor
// (facts/captures.md 2, 4.2).
func (l *License) Standing() LicenseStanding {
	switch strings.ToUpper(l.Status) {
	case "":
		return LicenseNone
	case "ACTIVE":
		return LicenseInForce
	case "GRACED":
		return LicenseInGrace
	case "EXPIRED":
		return LicenseExpired
	case "INVALID":
		return LicenseInvalid
	}
	return LicenseInactive
}

// Allows reports whether the license's edition is not known to close a command
// of prlctl, such as set. Standard lists, registers and shows its license
// (facts/captures.md 4.1).
func (l *License) Allows(command string) bool {
	isStandard := strings.EqualFold(l.Edition, "standard")
	return !isStandard || command != "set" && command != "exec"
}

// License reads the license; the zero License is that none is installed. Tools
// that do not know --json are asked for the text. A license that the product
// itself cannot read is license_unreadable. Every error is an *Error.
func (c *Client) License(ctx context.Context) (License, error) {
	result, err := c.runQuery(ctx, Prlsrvctl, "info", "--license", "--json")
	if errorCode(err) == CodeUnrecognizedOption {
		result, err = c.runQuery(ctx, Prlsrvctl, "info", "--license")
	}
	var license License
	if err == nil {
		license, err = readLicense(result.Stdout)
		err = noAnswerError(result, err)
	}
	if errorCode(err) == CodeNoLicense {
		return License{}, nil
	}
	return license, err
}

// readLicense reads the JSON, or the text form.
func readLicense(output []byte) (License, error) {
	answer, err := readObject(output, licenseOf)
	if err != nil {
		if fields := licenseFields(output); fields != nil {
			return licenseOfText(fields)
		}
		return License{}, err
	}
	content, filled := answer.content.(*licenseAnswer)
	switch {
	case !filled:
		return License{Notes: answer.notes}, nil
	case content.repeated:
		return License{}, &Error{Code: CodeDuplicateKey}
	case content.hasKeys && content.license.Status == "":
		return License{}, outputError(errNoStatus)
	}
	content.license.Notes = answer.notes
	return content.license, nil
}

// licenseAnswer is what an object says.
type licenseAnswer struct {
	license  License
	repeated bool // it has a key twice, and so two readings
	hasKeys  bool
}

// licenseOf is the contentReader of a *licenseAnswer.
func licenseOf(doc *document) (any, error) {
	root, err := doc.readValue()
	if err != nil {
		return nil, err
	}
	license := License{
		Status:               root.field("status").text(),
		Serial:               maskKeys(root.field("serial").text()),
		UUID:                 root.field("uuid").text(),
		Edition:              root.field("edition").text(),
		ActivationType:       root.field("activation_type").text(),
		Trial:                root.field("is_trial").switchValue(),
		Volume:               root.field("is_volume").switchValue(),
		Expiration:           root.field("expiration").text(),
		MainPeriodEndsAt:     root.field("main_period_ends_at").text(),
		GracePeriodEndsAt:    root.field("grace_period_ends_at").text(),
		CPUTotal:             root.field("cpu_total").integer(),
		MaxMemory:            root.field("max_memory").integer(),
		AdvancedRestrictions: root.field("advanced_restrictions").textOrLiteral(),
		DeferredActivation:   root.field("deferred_activation").textOrLiteral(),
	}
	return &licenseAnswer{license, root.node().repeated, root.node().count > 0}, nil
}

// errNoStatus is a license of a form that we do not know. That none is installed
// is told by an object without keys, or by a text.
var errNoStatus = errors.New("a license without a status")

// licenseField is a line of the text form, such as `    status="ACTIVE"`
// (facts/captures.md 4.1).
var licenseField = pattern(`(?m)^[ \t]*([a-z_]{1,40})="([^"\r\n]{0,200})"[ \t\r]*$`)

// licenseFields are the lines of the text form, by name; nil if the output has
// no status.
func licenseFields(output []byte) map[string][]string {
	fields := make(map[string][]string)
	for _, found := range licenseField().FindAllSubmatch(cappedMessage(output), -1) {
		fields[string(found[1])] = append(fields[string(found[1])], string(found[2]))
	}
	if len(fields["status"]) == 0 {
		return nil
	}
	return fields
}

func licenseOfText(fields map[string][]string) (License, error) {
	value := func(name string) string {
		if len(fields[name]) == 0 {
			return ""
		}
		return fields[name][0]
	}
	for _, values := range fields {
		if len(values) > 1 {
			return License{}, &Error{Code: CodeDuplicateKey}
		}
	}
	if value("status") == "" {
		return License{}, outputError(errNoStatus)
	}
	return License{
		Status: value("status"), Serial: maskKeys(value("serial")), UUID: value("uuid"),
		Edition: value("edition"), ActivationType: value("activation_type"),
		Trial: ParseSwitch(value("is_trial")), Volume: ParseSwitch(value("is_volume")),
		Expiration: value("expiration"), MainPeriodEndsAt: value("main_period_ends_at"), GracePeriodEndsAt: value("grace_period_ends_at"),
	}, nil
}
