package adminapi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/blobs"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
	"prlagent/platform/text"
)

// CommandUpload is a command that an operator has signed. The portal can sign none.
type CommandUpload struct {
	Command protocol.Envelope `json:"command"`
	// Confirm is the name of the virtual machine, or the serial number of the Mac where
	// the command is for all of it: what the operator was asked to confirm (CMD-02).
	Confirm string `json:"confirm"`
}

// CommandApproval is a second operator's signature under the same payload. A lock or
// unlock is signed with its list of holds.
type CommandApproval struct {
	Signature protocol.Signature  `json:"signature"`
	Holds     *protocol.Signature `json:"holds,omitempty"`
}

// CommandReason is why an administrator decides of a command.
type CommandReason struct {
	Reason string `json:"reason,omitempty"`
}

// CommandDetail is one command with all that is kept of it.
type CommandDetail struct {
	fleet.Command
	Target  protocol.CommandTarget `json:"target"`
	SHA256  string                 `json:"sha256,omitempty"` // of the payload
	Steps   []storage.CommandStep  `json:"steps"`            // oldest first
	Signers []storage.Signer       `json:"signers"`          // the issuer first
	Epoch   string                 `json:"epoch,omitempty"`
	Result  *protocol.Result       `json:"result,omitempty"` // without its receipt
	// ReceiptFault is why the receipt of the result is not good.
	ReceiptFault string `json:"receipt_fault,omitempty"`
	// Blob is what the Mac uploaded for the command, as long as it is kept.
	Blob *blobs.Blob `json:"blob,omitempty"`
	// Envelope, Holds and Receipt are as they were signed, byte for byte.
	Envelope *protocol.Envelope `json:"envelope,omitempty"`
	Holds    *protocol.Envelope `json:"holds,omitempty"`
	Receipt  *protocol.Envelope `json:"receipt,omitempty"`
}

// maxCommandBody is the largest upload: a command in base64, with its signatures.
const maxCommandBody = 2 * protocol.MaxHoldsCommand

// commandList is the reply to a list.
type commandList struct {
	Commands []fleet.Command `json:"commands"`
	Page
}

func (s *Server) listCommands(w http.ResponseWriter, r *http.Request) error {
	return answerList(s, w, r, fleet.CommandTable, fleet.Scan.Commands, func(rows []fleet.Command, part Page) any { return commandList{rows, part} })
}

// commandProblem makes a problem of what an administrator cannot have.
func commandProblem(err error) error {
	for _, refusal := range []error{
		storage.ErrCommandKnown, storage.ErrCommandOpen, storage.ErrTooManyCommands, storage.ErrCommandEnded, storage.ErrNotAwaiting, storage.ErrSameSigner,
		storage.ErrHoldsMoved, storage.ErrHoldsBuiltUpon, storage.ErrNotWithheld, storage.ErrOldEpoch,
		errSignerEnded, site.ErrNoCommandKeys, site.ErrCommandKeys, site.ErrOldCommandKeys, protocol.ErrCommandInvalid, protocol.ErrSignature, protocol.ErrPayloadType,
		protocol.ErrEnvelopeInvalid, protocol.ErrWrongSite,
	} {
		if errors.Is(err, refusal) {
			return protocol.NewProblem(protocol.ProblemInvalidRequest, protocol.CutText("Refused: "+err.Error()+".", protocol.MaxText))
		}
	}
	if errors.Is(err, storage.ErrNoCommand) {
		return noSuchCommand()
	}
	return err
}

// NoSuchCommand is the detail of the problem that an id is of no command.
const NoSuchCommand = "There is no such command."

func noSuchCommand() error {
	return protocol.NewProblem(protocol.ProblemNotFound, NoSuchCommand)
}

// commandByID is the device of the command that a request names.
func (s *Server) commandByID(r *http.Request) (deviceID, commandID string, err error) {
	commandID = text.TypedID(r.PathValue("id"))
	if !protocol.ValidName(commandID) {
		return "", "", noSuchCommand()
	}
	deviceID, err = s.devices.CommandDevice(r.Context(), commandID)
	if errors.Is(err, storage.ErrNotFound) {
		return s.orphanByID(r.Context(), commandID)
	}
	if err != nil {
		return "", "", fmt.Errorf("find command: %w", err)
	}
	return deviceID, commandID, nil
}

// orphanByID finds a command that has no envelope, which no index has.
func (s *Server) orphanByID(ctx context.Context, commandID string) (string, string, error) {
	deviceID := ""
	_, err := s.newScan(s.now().UTC(), time.Time{}).Commands(ctx, func(c *fleet.Command) error {
		if c.CommandID == commandID {
			deviceID = c.DeviceID
		}
		return nil
	})
	if err == nil && deviceID == "" {
		err = noSuchCommand()
	}
	return deviceID, commandID, err
}

// showCommand answers with all that is known of one command.
func (s *Server) showCommand(w http.ResponseWriter, r *http.Request) error {
	deviceID, commandID, err := s.commandByID(r)
	if err != nil {
		return err
	}
	detail, err := s.commandDetail(r.Context(), deviceID, commandID)
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, detail)
}

func (s *Server) commandDetail(ctx context.Context, deviceID, commandID string) (CommandDetail, error) {
	device, err := s.devices.Device(ctx, storage.ByID(deviceID))
	if err != nil {
		return CommandDetail{}, fmt.Errorf("find device: %w", err)
	}
	log, err := s.devices.Commands(ctx, deviceID)
	if err != nil {
		return CommandDetail{}, fmt.Errorf("load commands: %w", err)
	}
	report, err := s.devices.Report(ctx, deviceID)
	if err != nil {
		return CommandDetail{}, fmt.Errorf("load report: %w", err)
	}
	command := log.Find(commandID)
	if command == nil {
		return CommandDetail{}, noSuchCommand()
	}
	kept, err := s.devices.CommandEnvelopes(ctx, deviceID, commandID)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return CommandDetail{}, fmt.Errorf("load command: %w", err)
	}
	detail := CommandDetail{
		Command: fleet.CommandOf(device, report.Host.ComputerName, command, s.now().UTC()), Target: command.Target, SHA256: command.SHA256,
		Steps: command.Steps, Signers: append([]storage.Signer{}, command.Signers...), Epoch: command.Epoch, Result: command.Result,
		Holds: kept.Holds, Receipt: kept.Receipt,
	}
	if blob, err := s.blobs.Find(deviceID, commandID, s.now().UTC()); err == nil {
		detail.Blob = &blob
	} else if !errors.Is(err, fs.ErrNotExist) {
		return CommandDetail{}, err
	}
	if command.Receipt != nil {
		detail.ReceiptFault = command.Receipt.Fault
	}
	if kept.Command.Payload != "" {
		detail.Envelope = &kept.Command
	}
	return detail, nil
}
