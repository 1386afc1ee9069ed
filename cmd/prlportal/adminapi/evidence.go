package adminapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/evidence"
	"prlagent/cmd/prlportal/storage"
)

// showEvidence answers with the file of one command: what was signed about it, by whom,
// what the Mac says, and the lines of the audit log.
func (s *Server) showEvidence(w http.ResponseWriter, r *http.Request) error {
	deviceID, commandID, err := s.commandByID(r)
	if err != nil {
		return err
	}
	bundle, err := s.gatherEvidence(r.Context(), deviceID, commandID)
	if err != nil {
		return err
	}
	file, err := evidence.Seal(bundle)
	if err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(file)))
	_, _ = w.Write(file) // a client that is gone is no failure of ours
	return nil
}

func (s *Server) gatherEvidence(ctx context.Context, deviceID, commandID string) (evidence.Bundle, error) {
	device, err := s.devices.Device(ctx, storage.ByID(deviceID))
	log, failed := s.devices.Commands(ctx, deviceID)
	report, unread := s.devices.Report(ctx, deviceID)
	if err = cmp.Or(err, failed, unread); err != nil {
		return evidence.Bundle{}, fmt.Errorf("load command: %w", err)
	}
	command := log.Find(commandID)
	if command == nil {
		return evidence.Bundle{}, noSuchCommand()
	}
	kept, err := s.devices.CommandEnvelopes(ctx, deviceID, commandID)
	if errors.Is(err, storage.ErrNotFound) || err == nil && kept.Command.Payload == "" {
		return evidence.Bundle{}, protocol.NewProblem(protocol.ProblemInvalidRequest, "The portal has no envelope of this command: there is nothing to show.")
	}
	if err != nil {
		return evidence.Bundle{}, fmt.Errorf("load command: %w", err)
	}
	lines, err := s.record.LinesOf(commandID)
	if err != nil {
		return evidence.Bundle{}, err
	}
	key, check := device.Key, command.Receipt
	if check != nil && check.Key != nil {
		key, check = check.Key, &storage.ReceiptCheck{Verdict: check.Verdict, Fault: check.Fault} // the key stands once in the file
	}
	return evidence.Bundle{
		MadeAt: s.now().UTC(), CommandID: commandID,
		Site: evidence.Site{ID: s.config.SiteID, Name: s.config.Name, URL: s.config.URL, Version: s.version},
		Device: evidence.Device{
			DeviceID: device.ID, MacSerial: device.MacSerial(), HardwareUUID: device.HardwareUUID, ComputerName: report.Host.ComputerName,
			Key: key, KeyID: protocol.KeyID(key),
		},
		Order: kept.Command, Holds: kept.Holds, Keys: append([]protocol.Envelope{}, kept.Keys...), Receipt: kept.Receipt, Audit: lines,
		Record: evidence.Record{
			State: command.StateAt(s.now().UTC()), Code: command.Code, Since: command.Since, Needed: command.Needed,
			Signers: append([]storage.Signer{}, command.Signers...), Steps: append([]storage.CommandStep{}, command.Steps...), Result: command.Result, Receipt: check,
		},
	}, nil
}

// Evidence is the file of one command, byte for byte.
func (c *Client) Evidence(ctx context.Context, commandID string) ([]byte, error) {
	id, err := pathElement(commandID)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	response, err := c.doRequest(ctx, http.MethodGet, c.baseURL.JoinPath("v1", "admin", "commands", id, "evidence"), nil, "application/json")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return protocol.ReadLimited(response.Body, evidence.MaxBytes)
}
