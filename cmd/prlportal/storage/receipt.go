package storage

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"prlagent/agent/protocol"
)

// What a receipt was found to be when it arrived.
const (
	ReceiptVerified = "verified"
	ReceiptNone     = "none"     // the Mac sent no receipt with the result
	ReceiptNotGood  = "not_good" // what it sent proves nothing; the result stands as the Mac's word
)

// ReceiptCheck is what the portal made of the receipt of a result when that arrived.
type ReceiptCheck struct {
	Verdict string `json:"verdict"`         // one of the Receipt words
	Fault   string `json:"fault,omitempty"` // why it is not good, for people
	// Key is the device's key of then: a Mac that is erased comes back with another.
	Key ed25519.PublicKey `json:"key,omitempty"`
}

func (c *ReceiptCheck) isVerified() bool { return c != nil && c.Verdict == ReceiptVerified }

// ReceiptClaim is what the receipt of a result must say, and who must have signed it.
type ReceiptClaim struct {
	Key           ed25519.PublicKey
	DeviceID      string
	MacSerial     string
	Epochs        []string // that the device is in, or was; empty: any
	CommandSHA256 string   // of the command's payload, hex
	Result        protocol.Result
}

// Errors of a receipt that is not what it must be.
var (
	ErrReceiptMalformed = errors.New("it is no receipt")
	ErrReceiptSignature = errors.New("it is not signed with the device's key")
	ErrReceiptDevice    = errors.New("it is of another Mac")
	ErrReceiptEpoch     = errors.New("it is of an epoch that this Mac never had")
	ErrReceiptCommand   = errors.New("it is of another command, or of one with other content")
	ErrReceiptResult    = errors.New("it says something else than the result")
)

// Check reads a receipt and reports what is wrong with it. It has one signature: more
// than that no device of ours makes.
func (c ReceiptClaim) Check(receipt protocol.Envelope) (protocol.Receipt, error) {
	if len(receipt.Signatures) != 1 {
		return protocol.Receipt{}, fmt.Errorf("%w (%d signatures)", ErrReceiptSignature, len(receipt.Signatures))
	}
	payload, err := receipt.Verify(protocol.PayloadReceipt, []protocol.TrustedKey{{ID: protocol.KeyID(c.Key), Key: c.Key}}, 1)
	if err != nil {
		return protocol.Receipt{}, fmt.Errorf("%w (%w)", ErrReceiptSignature, err)
	}
	var said protocol.Receipt
	if err := protocol.Decode(payload, protocol.MaxReceipt, &said); err != nil {
		return protocol.Receipt{}, fmt.Errorf("%w (%w)", ErrReceiptMalformed, err)
	}
	switch {
	case said.DeviceID != c.DeviceID, !strings.EqualFold(said.MacSerial, c.MacSerial):
		return said, ErrReceiptDevice
	case len(c.Epochs) > 0 && !slices.Contains(c.Epochs, said.Epoch):
		return said, ErrReceiptEpoch
	case c.CommandSHA256 == "" || said.CommandSHA256 != c.CommandSHA256:
		return said, ErrReceiptCommand
	case !sameResult(said.Result, c.Result):
		return said, ErrReceiptResult
	}
	return said, nil
}

// sameResult reports whether a receipt's result is the one that was reported, which was
// cut to what a portal keeps.
func sameResult(said, reported protocol.Result) bool {
	cut := protocol.CheckinRequest{Results: []protocol.Result{said}}
	cut.Cut()
	said = cut.Results[0]
	return said.CommandID == reported.CommandID && said.State == reported.State && said.Code == reported.Code && said.Message == reported.Message &&
		said.StartedAt.Equal(reported.StartedAt) && said.EndedAt.Equal(reported.EndedAt) && maps.Equal(said.Observed, reported.Observed) && said.Receipt == nil
}

// maxReceiptBytes is more than the envelope of a receipt has that a device of ours made.
const maxReceiptBytes = 2 * protocol.MaxReceipt

// isKeptWhole reports whether a receipt is of a size that is kept.
func isKeptWhole(receipt *protocol.Envelope) bool {
	data, err := receipt.JSON()
	return err == nil && len(data) <= maxReceiptBytes
}

// checkReceipt judges the receipt of a result that has arrived.
func (w CommandWord) checkReceipt(command *Command, result protocol.Result) *ReceiptCheck {
	if result.Receipt == nil {
		return &ReceiptCheck{Verdict: ReceiptNone}
	}
	check := &ReceiptCheck{Verdict: ReceiptVerified, Key: w.Device.Key}
	claim := ReceiptClaim{
		Key: w.Device.Key, DeviceID: w.Device.ID, MacSerial: w.Device.MacSerial(), Epochs: append([]string{w.Epoch, w.Device.Epoch}, w.Device.PastEpochs...),
		CommandSHA256: command.SHA256, Result: result,
	}
	if _, err := claim.Check(*result.Receipt); err != nil {
		check.Verdict, check.Fault = ReceiptNotGood, protocol.CutText(err.Error(), protocol.MaxName)
	}
	return check
}
