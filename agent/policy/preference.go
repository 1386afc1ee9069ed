package policy

import (
	"strconv"
	"strings"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// Preference is one row of the catalogue of preferences: what the application of
// the vendor keeps for each user in its domain (prlctl.PreferenceDomain). It says
// everything about its preference: planning, drift, the schema and the words for
// people derive from it.
type Preference struct {
	Name   string // member of product
	Doc    string // what it does, for people
	Ours   bool   // the vendor's guide has no such preference
	Values *Values

	Key string // one literal name, whatever dots and blanks it has
	// Words are what each of the values is written as: a string, a boolean or an
	// integer. A text without one is written as it is.
	Words []PreferenceWord
	// AlsoText: a text with the number's digits is understood as the number. The
	// vendor's own script writes these keys so (facts/macos.md 5.1).
	AlsoText bool
	// Shows is what the application shows people with the value, beside what Doc says.
	Shows []Meaning
	// ManagedBy are keys of MDM profiles, beside the preference's own, that decide in
	// its place.
	ManagedBy     []ManagedKey
	NotInStandard bool // the Standard edition takes no notice of it (conformance CUS-03, UPD-15)
	Evidence      *Evidence

	Strength *Strength // how firmly it holds where it can be enforced
}

// PreferenceWord is what one value is written as.
type PreferenceWord struct {
	For   Value // of the preference
	Write any
}

// ManagedKey is a key of a domain that an MDM profile forces.
type ManagedKey struct{ Domain, Key string }

// majorTemplate stands in an address for the major version of the installed product.
const majorTemplate = "{major}"

// word is what the value is written as with this version of the product; false if
// that has to be known, and is not.
func (p *Preference) word(value Value, version prlctl.Version) (any, bool) {
	word := p.template(value)
	text, is := word.(string)
	if !is || !strings.Contains(text, majorTemplate) {
		return word, true
	}
	return strings.ReplaceAll(text, majorTemplate, strconv.Itoa(version.Major)), !version.IsZero()
}

// template is the word with its template.
func (p *Preference) template(value Value) any {
	for i := range p.Words {
		if p.Words[i].For == value {
			return p.Words[i].Write
		}
	}
	return string(value)
}

// WriteTheSame reports whether two values are written as the same word, of the same
// preference or of two that are kept in one place; known is false where that depends on
// the version of the product.
func WriteTheSame(a *Preference, value Value, b *Preference, other Value) (same, known bool) {
	one, two := a.template(value), b.template(other)
	if one == two {
		return true, true
	}
	text, isText := one.(string)
	otherText, isOther := two.(string)
	if !isText || !isOther || strings.Contains(text, majorTemplate) == strings.Contains(otherText, majorTemplate) {
		return false, true
	}
	return false, !strings.Contains(text, "://") || !strings.Contains(otherText, "://") // a word is no address
}

// reads reports whether what the domain has is the word: of the same type, or a
// spelling that the row has as well. An integer is never a boolean.
func (p *Preference) reads(word, found any) bool {
	if number, is := word.(int); is && p.AlsoText && found == strconv.Itoa(number) {
		return true
	}
	return sameScalar(word, found)
}

// sameScalar compares a word of the catalogue with a value as platform/plist
// decodes it.
func sameScalar(word, found any) bool {
	switch word := word.(type) {
	case int:
		number, is := found.(uint64)
		return is && word >= 0 && number == uint64(word)
	case string, bool:
		return word == found
	}
	return false
}

// spell is a value for people and memories; empty if there is none.
func spell(value any) string {
	switch value := value.(type) {
	case nil:
		return ""
	case string:
		return strconv.Quote(protocol.CutText(value, maxAddress))
	case bool:
		return strconv.FormatBool(value)
	case int:
		return strconv.Itoa(value)
	case uint64:
		return strconv.FormatUint(value, 10)
	case int64:
		return strconv.FormatInt(value, 10)
	case float64:
		return strconv.FormatFloat(value, 'g', -1, 64)
	}
	return "a value of another type"
}

// ShownWith is what the application shows people with the value; empty if nothing is
// known of that.
func (p *Preference) ShownWith(value Value) string {
	other := ""
	for i := range p.Shows {
		switch p.Shows[i].Value {
		case value:
			return p.Shows[i].Doc
		case anyAddress:
			other = p.Shows[i].Doc
		}
	}
	return other
}

// ProductPath begins the paths of preferences in a policy.
const ProductPath = "product."

// Path is where the preference stands in a document.
func (p *Preference) Path() string { return ProductPath + p.Name }

// PreferenceAt is the row that stands there in a document; nil if it is none's place.
func PreferenceAt(path string) *Preference {
	name, is := strings.CutPrefix(path, ProductPath)
	if !is {
		return nil
	}
	return FindPreference(name)
}

// FindPreference is the row of that name; nil if the catalogue has none.
func FindPreference(name string) *Preference {
	for i := range Preferences {
		if Preferences[i].Name == name {
			return &Preferences[i]
		}
	}
	return nil
}
