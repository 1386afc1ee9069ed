// Package policy is the policy model, shared with the portal so that what is
// linted there is what is obeyed here (protocol.md 2.8).
package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"prlagent/agent/protocol"
)

// documentSchema is the version of the document's form that this code reads.
const documentSchema = 1

// Document is one policy as published. Its sections are kept as they came:
// each is read by the catalogue that knows its settings.
type Document struct {
	Schema      int      `json:"schema"`
	PolicyID    string   `json:"policy_id"`
	Revision    uint64   `json:"revision"`
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Groups      []string `json:"groups"`             // none: not in force anywhere
	Requires    []string `json:"requires,omitempty"` // features that must be understood

	GoldenImage      json.RawMessage `json:"golden_image,omitempty"`
	SecurityControls json.RawMessage `json:"security_controls,omitempty"`
	VMSettings       json.RawMessage `json:"vm_settings,omitempty"`
	Product          json.RawMessage `json:"product,omitempty"`
	WindowsUpdates   json.RawMessage `json:"windows_updates,omitempty"`
}

// knownFeatures are the names that a document may list in requires.
var knownFeatures = []string{}

// Errors of reading a document.
var (
	ErrInvalid     = errors.New("policy is not valid")
	ErrUnsupported = errors.New("policy needs a feature that is not there")
)

// Parse reads a document of at most protocol.MaxPolicy bytes. A null anywhere
// is refused: absent means "not managed", and null is how people unset by
// accident. An unknown name in requires refuses the whole document.
func Parse(data []byte) (Document, error) {
	var document Document
	if err := protocol.Decode(data, protocol.MaxPolicy, &document); err != nil {
		return Document{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := refuseNull(data); err != nil {
		return Document{}, err
	}
	switch {
	case document.Schema != documentSchema:
		return Document{}, fmt.Errorf("%w: schema %d, this agent reads %d", ErrInvalid, document.Schema, documentSchema)
	case document.PolicyID == "" || document.Revision == 0 || strings.TrimSpace(document.Name) == "":
		return Document{}, fmt.Errorf("%w: policy_id, revision and name are mandatory", ErrInvalid)
	}
	for _, feature := range document.Requires {
		if !slices.Contains(knownFeatures, feature) {
			return Document{}, fmt.Errorf("%w: %.80q", ErrUnsupported, feature)
		}
	}
	return document, nil
}

// refuseNull reports the first null of a document whose shape is sound.
func refuseNull(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	for {
		offset := decoder.InputOffset()
		token, err := decoder.Token()
		if err != nil {
			return nil // the end: Decode has read the same bytes before
		}
		if token == nil {
			return fmt.Errorf("%w: null near byte %d; leave the setting out instead", ErrInvalid, offset)
		}
	}
}
