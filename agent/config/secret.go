package config

import (
	"fmt"
	"io"

	"prlagent/platform/text"
)

// Secret is a string that no format verb, encoder or log shows; only Reveal
// does. An empty Secret looks like any other.
type Secret string

// Reveal gives the value, to be sent to the portal and nowhere else.
func (s Secret) Reveal() string { return string(s) }

// String hides the value.
func (s Secret) String() string { return text.HiddenSecret }

// GoString hides the value from %#v.
func (s Secret) GoString() string { return text.HiddenSecret }

// Format hides the value from every verb, also from those that make no sense
// for a string and would print it as part of the complaint.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, text.HiddenSecret) }

// MarshalText hides the value from text encoders and from zerolog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(text.HiddenSecret), nil }

// MarshalJSON hides the value from JSON encoders.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + text.HiddenSecret + `"`), nil }
