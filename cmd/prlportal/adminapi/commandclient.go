package adminapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/query"
)

// VMs are the virtual machines that fit the filters.
func (c *Client) VMs(ctx context.Context, filters []string) ([]protocol.Row, error) {
	var rows []protocol.Row
	_, err := c.streamRows(ctx, fleet.VMTable.Name, query.Query{Filters: filters}, func(data json.RawMessage) error {
		var row protocol.Row
		if err := json.Unmarshal(data, &row); err != nil {
			return errUnexpected
		}
		rows = append(rows, row)
		return nil
	})
	return rows, err
}

// MatchingDevices are the devices that fit the filters.
func (c *Client) MatchingDevices(ctx context.Context, filters []string) ([]fleet.Device, error) {
	var devices []fleet.Device
	_, err := c.streamRows(ctx, fleet.DeviceTable.Name, query.Query{Filters: filters}, func(data json.RawMessage) error {
		var device fleet.Device
		if err := json.Unmarshal(data, &device); err != nil {
			return errUnexpected
		}
		devices = append(devices, device)
		return nil
	})
	return devices, err
}

// Holds are the holds of a device.
func (c *Client) Holds(ctx context.Context, deviceID string) (holds DeviceHolds, err error) {
	device, err := pathElement(deviceID)
	if err != nil {
		return holds, err
	}
	err = c.exchangeJSON(ctx, http.MethodGet, []string{"v1", "admin", "devices", device, "holds"}, nil, &holds)
	return holds, err
}

// IssueCommand uploads a command that is signed.
func (c *Client) IssueCommand(ctx context.Context, upload CommandUpload) (detail CommandDetail, err error) {
	err = c.exchangeJSON(ctx, http.MethodPost, []string{"v1", "admin", "commands"}, upload, &detail)
	return detail, err
}

// Command is one command with all that the portal has of it.
func (c *Client) Command(ctx context.Context, commandID string) (detail CommandDetail, err error) {
	return c.onCommand(ctx, http.MethodGet, commandID, nil, nil)
}

// ApproveCommand uploads a second operator's signature.
func (c *Client) ApproveCommand(ctx context.Context, commandID string, approval CommandApproval) (CommandDetail, error) {
	return c.onCommand(ctx, http.MethodPost, commandID, []string{"approve"}, approval)
}

// CancelCommand asks for the end of a command.
func (c *Client) CancelCommand(ctx context.Context, commandID string, why CommandReason) (CommandDetail, error) {
	return c.onCommand(ctx, http.MethodPost, commandID, []string{"cancel"}, why)
}

// ConfirmCommand has a withheld command sent.
func (c *Client) ConfirmCommand(ctx context.Context, commandID string, why CommandReason) (CommandDetail, error) {
	return c.onCommand(ctx, http.MethodPost, commandID, []string{"confirm"}, why)
}

func (c *Client) onCommand(ctx context.Context, method, commandID string, action []string, body any) (detail CommandDetail, err error) {
	id, err := pathElement(commandID)
	if err != nil {
		return detail, err
	}
	err = c.exchangeJSON(ctx, method, append([]string{"v1", "admin", "commands", id}, action...), body, &detail)
	if err == nil && detail.CommandID != commandID {
		err = fmt.Errorf("%w: another command", errUnexpected)
	}
	return detail, err
}

// CommandKeys is who may sign commands, as the portal has it.
func (c *Client) CommandKeys(ctx context.Context) (list CommandKeyList, err error) {
	err = c.exchangeJSON(ctx, http.MethodGet, []string{"v1", "admin", "command-keys"}, nil, &list)
	return list, err
}

// SetCommandKeys uploads the signed list of who may sign commands.
func (c *Client) SetCommandKeys(ctx context.Context, file json.RawMessage) (list CommandKeyList, err error) {
	err = c.exchangeJSON(ctx, http.MethodPost, []string{"v1", "admin", "command-keys"}, file, &list)
	return list, err
}

// OpenCommands are the commands that have not ended.
func (c *Client) OpenCommands(ctx context.Context) ([]fleet.Command, error) {
	var open []fleet.Command
	_, err := c.streamRows(ctx, fleet.CommandTable.Name, query.Query{Filters: []string{"open=true"}}, func(data json.RawMessage) error {
		var one fleet.Command
		if err := json.Unmarshal(data, &one); err != nil {
			return errUnexpected
		}
		open = append(open, one)
		return nil
	})
	return open, err
}
