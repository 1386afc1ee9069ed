package fleet

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/query"
	"prlagent/cmd/prlportal/storage"
)

// Command is a command as the admin plane shows it, without its envelopes.
type Command struct {
	CommandID    string    `json:"command_id"`
	DeviceID     string    `json:"device_id"`
	Type         string    `json:"type"`
	State        string    `json:"state"`
	Code         string    `json:"code,omitempty"`
	Since        time.Time `json:"since"` // of the state
	ComputerName string    `json:"computer_name,omitempty"`
	MacSerial    string    `json:"mac_serial"`
	UserName     string    `json:"user_name,omitempty"`
	UID          uint32    `json:"uid,omitempty"`
	VMName       string    `json:"vm_name,omitempty"`
	VMID         string    `json:"vm_id,omitempty"`
	Params       string    `json:"params,omitempty"`
	IssuedBy     string    `json:"issued_by,omitempty"` // person that the signing key is registered for
	IssuedAt     time.Time `json:"issued_at"`
	ExpiresAt    time.Time `json:"expires_at"` // latest start
	Reason       string    `json:"reason,omitempty"`
	Signatures   int       `json:"signatures"`
	Needed       int       `json:"needed"`
	Message      string    `json:"message,omitempty"`       // of the result
	ReceiptState string    `json:"receipt_state,omitempty"` // of the result: verified, none or not_good; empty: there is no result
	DeliveredAt  time.Time `json:"delivered_at,omitzero"`
	EndedAt      time.Time `json:"ended_at,omitzero"`        // by the portal's clock
	CancelAsked  time.Time `json:"cancel_asked_at,omitzero"` // the Mac has not answered yet, where the command is open
	Withheld     string    `json:"withheld,omitempty"`       // why it waits for an administrator
	Orphan       bool      `json:"orphan,omitempty"`         // this portal has no envelope of it
	Open         bool      `json:"open"`
	Detail       string    `json:"detail"` // for people: what is to be known of the state
}

// CommandTable has the commands of all Macs.
var CommandTable = query.Table[Command]{Name: "commands", Fields: commandFields}

func commandText(id, title string, value func(v *Command) string) query.Field[Command] {
	return query.Field[Command]{Column: query.Column{ID: id, Title: title, Kind: protocol.KindText}, Text: value}
}

func commandTime(id, title string, value func(v *Command) time.Time) query.Field[Command] {
	return query.Field[Command]{Column: query.Column{ID: id, Title: title, Kind: protocol.KindTime}, At: value}
}

func commandNumber(id, title string, value func(v *Command) int) query.Field[Command] {
	return query.Field[Command]{Column: query.Column{ID: id, Title: title, Kind: protocol.KindNumber}, Text: func(v *Command) string { return strconv.Itoa(value(v)) }, Unsearched: true}
}

func commandBool(id, title string, value func(v *Command) bool) query.Field[Command] {
	return query.Field[Command]{Column: query.Column{ID: id, Title: title, Kind: protocol.KindBool}, Text: func(v *Command) string { return strconv.FormatBool(value(v)) }, Unsearched: true}
}

var commandFields = []query.Field[Command]{
	commandTime("issued_at", "Issued", func(v *Command) time.Time { return v.IssuedAt }),
	commandText("type", "Command", func(v *Command) string { return v.Type }),
	commandText("vm_name", "VM", func(v *Command) string { return v.VMName }),
	commandText("user_name", "User", func(v *Command) string { return v.UserName }),
	commandText("computer_name", "Computer name", func(v *Command) string { return v.ComputerName }),
	commandText("state", "State", func(v *Command) string { return v.State }),
	commandText("code", "Code", func(v *Command) string { return v.Code }),
	commandText("issued_by", "Issued by", func(v *Command) string { return v.IssuedBy }),
	commandText("reason", "Reason", func(v *Command) string { return v.Reason }),
	commandText("command_id", "Command ID", func(v *Command) string { return v.CommandID }),
	commandText("mac_serial", "Mac serial number", func(v *Command) string { return v.MacSerial }),
	commandText("vm_id", "VM device ID", func(v *Command) string { return v.VMID }),
	commandText("device_id", "Device ID", func(v *Command) string { return v.DeviceID }),
	commandTime("since", "Since", func(v *Command) time.Time { return v.Since }),
	commandTime("expires_at", "Latest start", func(v *Command) time.Time { return v.ExpiresAt }),
	commandTime("delivered_at", "Delivered", func(v *Command) time.Time { return v.DeliveredAt }),
	commandTime("ended_at", "Ended", func(v *Command) time.Time { return v.EndedAt }),
	commandText("params", "Parameters", func(v *Command) string { return v.Params }),
	commandNumber("signatures", "Signatures", func(v *Command) int { return v.Signatures }),
	commandNumber("needed", "Signatures needed", func(v *Command) int { return v.Needed }),
	commandText("withheld", "Withheld because", func(v *Command) string { return v.Withheld }),
	commandTime("cancel_asked_at", "Cancel asked", func(v *Command) time.Time { return v.CancelAsked }),
	commandBool("open", "Open", func(v *Command) bool { return v.Open }),
	commandBool("orphan", "Orphan", func(v *Command) bool { return v.Orphan }),
	commandText("receipt_state", "Receipt", func(v *Command) string { return v.ReceiptState }),
	commandText("message", "Message", func(v *Command) string { return v.Message }),
	commandText("detail", "Detail", func(v *Command) string { return v.Detail }),
}

// CommandOf is a command of a Mac as it stands now.
func CommandOf(device storage.Device, computerName string, c *storage.Command, now time.Time) Command {
	view := Command{
		CommandID: c.ID, DeviceID: device.ID, Type: c.Type, State: c.StateAt(now), Code: string(c.Code), Since: c.Since,
		ComputerName: computerName, MacSerial: device.Serial, UserName: c.Target.Owner, UID: c.Target.UID, VMName: c.Target.VMName, VMID: c.Target.VMID,
		Params: c.Params, IssuedBy: c.IssuedBy, IssuedAt: c.IssuedAt, ExpiresAt: c.ExpiresAt, Reason: c.Reason,
		Signatures: len(c.Signers), Needed: c.Needed, DeliveredAt: c.DeliveredAt, CancelAsked: c.CancelAsked, Orphan: c.Orphan,
	}
	view.Open = !protocol.CommandEnded(view.State)
	if view.State != c.State {
		view.Code, view.Since = string(protocol.CodeCommandExpired), c.ExpiresAt
	}
	if !view.Open {
		view.EndedAt = view.Since
	}
	if c.Withheld != nil && view.Open {
		view.Withheld = c.Withheld.Because
	}
	if c.Result != nil {
		view.Message, view.ReceiptState = c.Result.Message, receiptState(c)
	}
	view.Detail = commandDetail(&view)
	return view
}

// receiptState is what the receipt of a result was found to be. What was kept before
// receipts were judged has none that anybody vouches for.
func receiptState(c *storage.Command) string {
	if c.Receipt == nil {
		return storage.ReceiptNone
	}
	return c.Receipt.Verdict
}

// commandDetail says in words what the state is worth knowing.
func commandDetail(v *Command) string {
	parts := []string{strings.ReplaceAll(v.State, "_", " ") + " since " + v.Since.UTC().Format(time.RFC3339)}
	if v.State == protocol.CommandAwaitingApproval {
		parts = append(parts, fmt.Sprintf("%d of %d signatures", v.Signatures, v.Needed))
	}
	if v.Withheld != "" {
		parts = append(parts, "withheld ("+v.Withheld+")")
	}
	if v.Open && !v.CancelAsked.IsZero() {
		parts = append(parts, "cancel asked, the Mac has not answered")
	}
	switch {
	case v.Message != "":
		parts = append(parts, strings.TrimSuffix(v.Code+": "+v.Message, ": "))
	case v.Code != "":
		parts = append(parts, v.Code+": "+protocol.Code(v.Code).Text().Text)
	}
	if v.ReceiptState == storage.ReceiptNotGood {
		parts = append(parts, "its receipt is not good")
	}
	return protocol.CutText(strings.Join(parts, "; ")+" ["+v.CommandID+"]", protocol.MaxText)
}

// CommandCounts are the commands and holds of one device.
type CommandCounts struct {
	Open       int
	Withheld   int
	Frozen     string // why nothing destructive is delivered; empty: it is
	Held       int    // virtual machines that are held, as the Mac reports them
	Unenforced int    // of those, the ones that run all the same
	changedAt  time.Time
}

// noteCommands keeps what the tables show of the commands. A command belongs to the
// machine that it names and to the epoch in which the Mac had it: what ended before the
// Mac began anew says nothing of the machine that has the id now (INV-15).
func (m *cachedDevice) noteCommands(log *storage.CommandLog) {
	m.last, m.holds = make(map[protocol.VMKey]storage.Command), make(map[protocol.VMKey]protocol.HoldState)
	for i := range log.Commands {
		c := log.Commands[i]
		m.counts.changedAt = latestTime(m.counts.changedAt, c.Since)
		if c.IsOpen() {
			m.counts.Open++
			if c.Withheld != nil {
				m.counts.Withheld++
			}
		}
		key := c.Target.VM()
		before, known := m.last[key]
		if key.ID == "" || known && c.IssuedAt.Before(before.IssuedAt) || !c.IsOpen() && c.Epoch != "" && c.Epoch != m.device.Epoch {
			continue
		}
		c.Steps, c.Signers = nil, nil
		m.last[key] = c
		m.size += bytesPerRow / 2
	}
	if log.Frozen != nil {
		m.counts.Frozen = log.Frozen.Because
		m.counts.changedAt = latestTime(m.counts.changedAt, log.Frozen.At)
	}
	if log.Reported == nil {
		return
	}
	m.counts.changedAt = latestTime(m.counts.changedAt, log.ReportedAt)
	for _, hold := range log.Reported.Holds {
		m.holds[hold.VMKey] = hold
		switch hold.State {
		case protocol.HoldUnenforced:
			m.counts.Unenforced++
			m.counts.Held++
		case protocol.HoldKept, protocol.HoldSuspending:
			m.counts.Held++
		}
	}
}

// addCommand shows in a row the last command on its machine, and its hold.
func (m *cachedDevice) addCommand(view *VM, now time.Time) {
	if last, known := m.last[view.VMKey]; known {
		command := CommandOf(m.device, "", &last, now)
		view.LastCommand = lastCommandCell(command)
		view.Extra.LastCommandDetail = command.Detail
		view.Status = protocol.StatusOf(m.report.Product, isFailedDelete(command))
		view.ChangedAt = latestTime(view.ChangedAt, command.Since.UTC())
	}
	if hold, held := m.holds[view.VMKey]; held {
		view.Hold = &hold
	}
}

// WithheldTexts are the words for people of why a command is withheld.
var WithheldTexts = map[string]string{
	storage.WithheldEnrolled: "The Mac enrolled again after the command was issued.",
	storage.WithheldRestored: "This portal was put back to an older state, and may not know that it was cancelled or done.",
	storage.WithheldEpoch:    "The Mac began a new epoch after the command was signed for the one before.",
}

// ReceiptTexts are the words for people of what a receipt is worth.
var ReceiptTexts = map[string]string{
	storage.ReceiptVerified: "signed with the Mac's own key",
	storage.ReceiptNone:     "the result is the word of whoever had the Mac's token",
	storage.ReceiptNotGood:  "the result is the word of whoever had the Mac's token",
}

// lastCommandCell is the guide's word for the last command (protocol.md 2.9).
func lastCommandCell(c Command) string {
	verb := commandVerb(c.Type)
	switch {
	case c.Open:
		return "Pending " + verb
	case c.State == protocol.CommandSucceeded, c.State == protocol.CommandCancelled:
		return protocol.CommandNone
	}
	return "Failed to " + verb
}

// commandVerb is what a command does in one word: "vm.delete" deletes.
func commandVerb(kind string) string {
	_, verb, found := strings.Cut(kind, ".")
	if !found {
		verb = kind
	}
	return strings.ReplaceAll(verb, "_", " ")
}

// isFailedDelete reports whether the VM status is that of a delete that failed.
func isFailedDelete(c Command) bool {
	if c.Type != "vm.delete" && c.Type != "vm.redownload" {
		return false
	}
	switch c.State {
	case protocol.CommandFailed, protocol.CommandRejected, protocol.CommandExpired:
		return true
	}
	return false
}

// Commands calls visit with the commands of every Mac; where since is set, with those
// whose state changed since then.
func (s Scan) Commands(ctx context.Context, visit func(*Command) error) (short Shortfall, err error) {
	return short, s.Fleet.eachDevice(ctx, func(m *cachedDevice) error {
		if !m.device.HasCommands || m.counts.changedAt.Before(s.Since) {
			return nil
		}
		log, err := s.Fleet.Commands(ctx, m.device.ID)
		if err != nil {
			return fmt.Errorf("load commands: %w", err)
		}
		for i := range log.Commands {
			view := CommandOf(m.device, m.report.Host.ComputerName, &log.Commands[i], s.Now)
			if view.Since.Before(s.Since) {
				continue
			}
			if err := visit(&view); err != nil {
				return err
			}
		}
		return nil
	})
}

// holdColumns are how the Mac says that a hold stands, whatever became of the command
// that placed it.
var holdColumns = []query.Field[VM]{
	{Column: query.Column{ID: "hold_state", Title: "Hold", Kind: protocol.KindText}, Text: func(v *VM) string { return v.hold().State }, Unsearched: true},
	{Column: query.Column{ID: "hold_code", Title: "Hold code", Kind: protocol.KindText}, Text: func(v *VM) string { return string(v.hold().Code) }, Unsearched: true},
	{Column: query.Column{ID: "hold_since", Title: "Hold since", Kind: protocol.KindTime}, At: func(v *VM) time.Time { return v.hold().Since }},
	{Column: query.Column{ID: "hold_violations", Title: "Hold violations", Kind: protocol.KindNumber}, Text: func(v *VM) string {
		return strings.TrimPrefix(strconv.Itoa(v.hold().Violations), "0")
	}, Unsearched: true},
}

func (v *VM) hold() protocol.HoldState {
	if v.Hold == nil {
		return protocol.HoldState{}
	}
	return *v.Hold
}
