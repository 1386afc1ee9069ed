// Package evidence puts what is known of one command into one file, and judges such a
// file without a portal: what in it is signed by whom, and what is a portal's word alone.
package evidence

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/storage"
	"prlagent/platform/text"
)

// Schema is the version of the form of a file.
const Schema = 1

// MaxBytes is more than the file of one command has.
const MaxBytes = 16 << 20

// Bundle is the evidence of one command.
type Bundle struct {
	Schema int `json:"schema"`
	// SHA256 is of the file, byte for byte, with zeros in its own place. It finds what
	// broke on the way; whoever changes the file on purpose makes another.
	SHA256    string    `json:"sha256"`
	MadeAt    time.Time `json:"made_at"`
	Site      Site      `json:"site"`
	CommandID string    `json:"command_id"`
	Device    Device    `json:"device"`
	// Order is the command with the signatures of its issuer and of those who approved it;
	// Holds is the list of holds of a lock or unlock with theirs.
	Order protocol.Envelope  `json:"order"`
	Holds *protocol.Envelope `json:"holds,omitempty"`
	// Keys are the signed lists of policy keys and of command keys by which the portal
	// judged the signatures, oldest first.
	Keys    []protocol.Envelope `json:"keys"`
	Receipt *protocol.Envelope  `json:"receipt,omitempty"` // the Mac's
	Record  Record              `json:"record"`
	Audit   []audit.Line        `json:"audit"` // that are about the command
}

// Site is the portal that made the file.
type Site struct {
	ID      string `json:"site_id"`
	Name    string `json:"name"`
	URL     string `json:"url"`
	Version string `json:"version"` // of the program
}

// Device is the Mac that the command was for.
type Device struct {
	DeviceID     string `json:"device_id"`
	MacSerial    string `json:"mac_serial"` // or the hardware UUID where it has none
	HardwareUUID string `json:"hardware_uuid"`
	ComputerName string `json:"computer_name,omitempty"`
	// Key is what the receipt was judged by when it arrived; without one, the key of now.
	Key   ed25519.PublicKey `json:"key"`
	KeyID string            `json:"key_id"`
}

// Record is the portal's own word: nobody has signed it.
type Record struct {
	State   string                `json:"state"`
	Code    protocol.Code         `json:"code,omitempty"`
	Since   time.Time             `json:"since"`
	Needed  int                   `json:"needed"`  // signatures
	Signers []storage.Signer      `json:"signers"` // the issuer first
	Steps   []storage.CommandStep `json:"steps"`   // oldest first
	Result  *protocol.Result      `json:"result,omitempty"`
	Receipt *storage.ReceiptCheck `json:"receipt,omitempty"` // as it was judged on arrival
}

// ErrChanged says that a file is not as it was written.
var ErrChanged = errors.New("the file was changed after it was written")

// sealBegin is how each file begins; the sum follows.
var sealBegin = fmt.Sprintf("{\n  \"schema\": %d,\n  \"sha256\": \"", Schema)

const sumLength = 2 * sha256.Size

// Seal is the file of a bundle.
func Seal(bundle Bundle) ([]byte, error) {
	bundle.Schema, bundle.SHA256 = Schema, strings.Repeat("0", sumLength)
	data, err := text.EncodeJSON(bundle, "", "  ") // it may be shown (H15)
	if err != nil {
		return nil, fmt.Errorf("encode evidence: %w", err)
	}
	data = append(data, '\n')
	copy(data[len(sealBegin):], sumOf(data))
	return data, nil
}

// sumOf is the sum of a file, whatever stands in its place.
func sumOf(data []byte) string {
	sum := sha256.New()
	sum.Write(data[:len(sealBegin)])
	sum.Write([]byte(strings.Repeat("0", sumLength)))
	sum.Write(data[len(sealBegin)+sumLength:])
	return hex.EncodeToString(sum.Sum(nil))
}

// Open reads a file that is as it was written.
func Open(data []byte) (Bundle, error) {
	var bundle Bundle
	if len(data) > MaxBytes {
		return bundle, fmt.Errorf("%w: it is larger than any", ErrChanged)
	}
	if len(data) < len(sealBegin)+sumLength || !bytes.HasPrefix(data, []byte(sealBegin)) {
		return bundle, fmt.Errorf("%w, or is no evidence of this form", ErrChanged)
	}
	if string(data[len(sealBegin):len(sealBegin)+sumLength]) != sumOf(data) {
		return bundle, ErrChanged
	}
	if err := protocol.Decode(data, MaxBytes, &bundle); err != nil {
		return bundle, fmt.Errorf("read evidence: %w", err)
	}
	return bundle, nil
}
