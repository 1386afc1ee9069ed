package webhook

import (
	"context"
	"fmt"
	"strconv"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// TellCommands adds the messages of what happens to commands with a change, which are kept
// with it.
func (s *Sender) TellCommands(ctx context.Context, change *storage.Change) error {
	if len(change.News) == 0 || !s.isOn() {
		return nil
	}
	report, err := s.reportOf(ctx, change)
	if err != nil {
		return fmt.Errorf("load report: %w", err)
	}
	for _, news := range change.News {
		kind := kindOfStep(news.Step)
		if kind == "" {
			continue
		}
		queued, err := commandMessage(change.Device, report.Host.ComputerName, kind, &news.Command, news.Step)
		if err != nil {
			return err
		}
		change.Outgoing = append(change.Outgoing, queued)
	}
	return nil
}

func (s *Sender) reportOf(ctx context.Context, change *storage.Change) (storage.Report, error) {
	if change.Report != nil {
		return *change.Report, nil
	}
	return s.parts.Fleet.Report(ctx, change.Device.ID)
}

// kindOfStep is the type of the message of a step; empty where it is not told.
func kindOfStep(step storage.CommandStep) string {
	switch step.What {
	case storage.StepIssued:
		return protocol.WebhookCommandIssued
	case storage.StepApproved:
		return protocol.WebhookCommandApproved
	case storage.StepWithheld:
		return protocol.WebhookCommandWithheld
	case "":
		if step.State == protocol.CommandDelivered {
			return protocol.WebhookCommandDelivered
		}
		if protocol.CommandEnded(step.State) {
			return protocol.WebhookCommandEnded
		}
	}
	return ""
}

// commandMessage is the message of one step of a command. That something was sent leaves
// room for others: a Mac that begins one epoch after the other makes many of them.
func commandMessage(device storage.Device, computerName, kind string, command *storage.Command, step storage.CommandStep) (storage.Outgoing, error) {
	message := aboutDevice(device, computerName, kind, step.At)
	message.ID = stableID(device.ID, command.ID, kind, step.State, strconv.FormatInt(step.At.UnixNano(), 10), step.By)
	data, target := &message.Data, command.Target
	data.Code = protocol.Code(shown(string(step.Code)))
	if step.Code != "" {
		data.Text = step.Code.Text().Text
	}
	if target.VMID != "" {
		data.User = &User{UID: target.UID, Name: shown(target.Owner)}
		data.VM = &VM{ID: shown(target.VMID), Name: shown(target.VMName)}
	}
	data.Detail = make(map[string]string)
	for key, value := range map[string]string{
		"command_id": command.ID, "command": command.Type, "state": step.State, "issued_by": command.IssuedBy, "by": step.By, "reason": step.Reason,
	} {
		if value != "" {
			data.Detail[key] = shown(value)
		}
	}
	room := storage.MaxOutgoingPerDevice
	if kind == protocol.WebhookCommandDelivered {
		room = routineRoom
	}
	return message.queued(step.At, room)
}
