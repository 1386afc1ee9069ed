package cli

import (
	"context"
	"fmt"
	"io"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/platform/text"
)

// decisionCommand is one of the operator's decisions of a device.
type decisionCommand struct {
	admin    adminOptions
	action   string
	decision adminapi.Decision
	asJSON   bool
	// complete finds what the operator did not have to say.
	complete func(device fleet.Device, asked *adminapi.Decision) error
	// report says for people what became of the device.
	report func(w io.Writer, before, after fleet.Device, asked adminapi.Decision) error
}

const deviceWords = `

DEVICE is a device id, a Mac serial number or a hardware UUID. What is decided is added to audit.log
in the portal's folder, with --reason. --json prints the device as it is then.
The exit code is 0 if it was done, 1 if the portal refused, 2 for wrong usage.`

func newApproveCommand() *cobra.Command {
	decided := decisionCommand{action: audit.ActionApprove, complete: completeApproval, report: reportApproval}
	command := decided.command("approve", "Let in a Mac that came back with another key, or lift the mark of a device", `A Mac that the portal knows and that comes back with another key (erased, or an
impostor) waits for approval. Compare the key id with the one that 'prlagent status'
shows on that Mac, and approve it only if you know why its key changed: the Mac
with the old key loses its access at once.

A Mac with a known serial number and another hardware UUID (a new logic board, a
restored disk, or an impostor) is let in with --supersede only, which retires the
device that had the serial number before.

Without a key that waits, approve lifts the mark of a device that was served
nothing because two Macs reported as it, or takes a retirement back. A key that
was rejected can be approved with --key.`,
		`  prlportal devices approve C02XL0THJGH5 --dir site
  prlportal devices approve C02XL0THJGH5 --dir site --key 51aa0b1c2d3e4f50 --reason "erased, ticket 1042"
  prlportal devices approve C02XL0THJGH5 --dir site --supersede`)
	flags := command.Flags()
	flags.StringVar(&decided.decision.KeyID, "key", "", "id of the key to approve, where several wait")
	flags.BoolVar(&decided.decision.Supersede, "supersede", false, "retire the other device that has the serial number")
	return command
}

func newRejectCommand() *cobra.Command {
	decided := decisionCommand{action: audit.ActionReject, complete: completeRejection, report: reportRejection}
	command := decided.command("reject", "Refuse the keys that wait for approval at a device", `Reject ends the waiting of a key that asks to be a device. The portal remembers it,
tells the Mac with it, and does not ask about it again; the device itself, its key
and its tokens stay as they are. To end the device, use retire.`,
		`  prlportal devices reject C02XL0THJGH5 --dir site
  prlportal devices reject C02XL0THJGH5 --dir site --key 51aa0b1c2d3e4f50
  prlportal devices reject C02XL0THJGH5 --dir site --all --reason "nobody erased it"`)
	flags := command.Flags()
	flags.StringVar(&decided.decision.KeyID, "key", "", "id of the key to reject, where several wait")
	flags.BoolVar(&decided.decision.All, "all", false, "reject every key that waits at the device")
	return command
}

func newRetireCommand() *cobra.Command {
	decided := decisionCommand{action: audit.ActionRetire, report: reportRetirement}
	command := decided.command("retire", "End a device: a Mac that left, or a copy", `Retire ends a device: its tokens, the keys that wait at it and its mark. Its Mac is
told so and stops reporting; its policy stays in force. Its virtual machines leave
the table and stay in its history. Retire deletes nothing on the Mac.

A Mac that holds virtual machines, or that has destructive commands, is not retired: its
holds would stay in force, and nobody would hear of it. --lost gives up a Mac that was not
heard of for longer than it should be; it needs --reason, and what it holds stays held.

A retired Mac that is erased and enrolls with another key waits for approval;
'prlportal devices approve' also takes a retirement back.`,
		`  prlportal devices retire C02XL0THJGH5 --dir site
  prlportal devices retire 0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11 --dir site --json --reason "sold"
  prlportal devices retire C02XL0THJGH5 --dir site --lost --reason "fell into the sea, ticket 1042"`)
	command.Flags().BoolVar(&decided.decision.Lost, "lost", false, "the Mac does not come back, whatever it holds")
	return command
}

func newConfirmCommand() *cobra.Command {
	decided := decisionCommand{action: audit.ActionConfirm, report: reportConfirmation}
	return decided.command("confirm", "Send destructive commands again to a Mac that is ahead of this portal", `A portal that was put back to an older state may send again what was cancelled or done
since. It sees by the Mac's reports, or by its audit log, that the Mac has gone on without
it, and then sends it nothing destructive; and what a backup had open it sends to no Mac.
Look at 'prlportal commands' and at that Mac, cancel what is not wanted any more, and
confirm the rest.`,
		`  prlportal devices confirm C02XL0THJGH5 --dir site --reason "restored on Monday; nothing was open"`)
}

func reportConfirmation(w io.Writer, _, after fleet.Device, _ adminapi.Decision) error {
	_, err := fmt.Fprintf(w, "Confirmed %s; it has %s open.\n", deviceName(after), countOf(after.CommandsOpen, "command"))
	return err
}

func (d *decisionCommand) command(name, short, long, examples string) *cobra.Command {
	command := &cobra.Command{
		Use: name + " DEVICE --dir DIR", Short: short, Long: long + deviceWords, Example: examples,
		Args: cobra.ExactArgs(1), ValidArgsFunction: d.admin.completeDevice,
		RunE: func(command *cobra.Command, args []string) error {
			if d.decision.KeyID = text.TypedID(d.decision.KeyID); d.decision.KeyID != "" && d.decision.All {
				return usageError("give --key or --all")
			}
			client, err := d.admin.openClient()
			if err != nil {
				return err
			}
			defer client.Close()
			return d.run(command.Context(), command.OutOrStdout(), client, args[0])
		},
	}
	d.admin.addFlags(command)
	command.Flags().StringVar(&d.decision.Reason, "reason", "", "why, for the audit log")
	command.Flags().BoolVar(&d.asJSON, "json", false, "print the device as JSON")
	return command
}

func (d *decisionCommand) run(ctx context.Context, w io.Writer, client *adminapi.Client, name string) error {
	before, err := askForDevice(ctx, client, name)
	if err != nil {
		return err
	}
	asked := d.decision
	if operator, err := user.Current(); err == nil {
		asked.By = operator.Username
	}
	if d.complete != nil {
		if err := d.complete(before, &asked); err != nil {
			return err
		}
	}
	after, err := client.Decide(ctx, d.action, before.DeviceID, asked)
	if err != nil {
		return err
	}
	if d.asJSON {
		return printJSON(w, after)
	}
	return d.report(w, before, after, asked)
}

// findDevice finds a device by its id, or by what its Mac is known by, of which a
// device that is not retired comes first.
func findDevice(devices []fleet.Device, name string) (fleet.Device, error) {
	var living, retired []fleet.Device
	wanted := text.TypedID(name)
	if wanted == "" { // as the serial number of a Mac that has none
		return fleet.Device{}, usageError("name the device by its id, serial number or hardware UUID")
	}
	for _, device := range devices {
		switch {
		case text.TypedID(device.DeviceID) == wanted:
			return device, nil
		case text.TypedID(device.MacSerial) != wanted && text.TypedID(device.HardwareUUID) != wanted:
		case device.State == fleet.StateRetired:
			retired = append(retired, device)
		default:
			living = append(living, device)
		}
	}
	found := living
	if len(found) == 0 {
		found = retired
	}
	switch len(found) {
	case 0:
		return fleet.Device{}, fmt.Errorf("there is no device %s; see 'prlportal devices'", text.DisplayValue(name))
	case 1:
		return found[0], nil
	}
	return fleet.Device{}, fmt.Errorf("%d devices are %s; give the device id", len(found), text.DisplayValue(name))
}

// completeApproval names the key that waits, if it is the only one; none if the
// device is only marked or retired.
func completeApproval(device fleet.Device, asked *adminapi.Decision) error {
	if asked.KeyID != "" {
		return nil
	}
	key, err := onlyPending(device)
	if err == nil && key == "" && device.Duplicate == nil && device.State != fleet.StateRetired {
		return fmt.Errorf("nothing waits for approval at %s", text.DisplayValue(device.DeviceID))
	}
	asked.KeyID = key
	return err
}

func completeRejection(device fleet.Device, asked *adminapi.Decision) error {
	if asked.KeyID != "" || asked.All {
		return nil
	}
	key, err := onlyPending(device)
	if err == nil && key == "" {
		return fmt.Errorf("no key waits for approval at %s", text.DisplayValue(device.DeviceID))
	}
	asked.KeyID = key
	return err
}

// onlyPending is the key that waits; empty if none does.
func onlyPending(device fleet.Device) (string, error) {
	switch len(device.Pending) {
	case 0:
		return "", nil
	case 1:
		return device.Pending[0].KeyID, nil
	}
	var ids []string
	for _, pending := range device.Pending {
		ids = append(ids, fmt.Sprintf("%s (%s from %s)", text.DisplayValue(pending.KeyID), pending.AskedAt.Local().Format(timeForPeople), text.DisplayValue(pending.Source)))
	}
	return "", usageError("several keys wait; name one with --key: " + strings.Join(ids, ", "))
}

func reportApproval(w io.Writer, before, after fleet.Device, asked adminapi.Decision) error {
	var err error
	switch {
	case asked.KeyID == "" && before.State == fleet.StateRetired:
		_, err = fmt.Fprintf(w, "Took back the retirement of %s.\nIts Mac enrolls at its next attempt.\n", deviceName(after))
	case asked.KeyID == "":
		_, err = fmt.Fprintf(w, "Lifted the duplicate mark of %s.\nIts Mac proves its key anew at its next attempt.\n", deviceName(after))
	case after.DeviceID != before.DeviceID:
		_, err = fmt.Fprintf(w, "Approved key %s as the new device %s.\nRetired %s, which had the serial number before.\n",
			text.DisplayValue(asked.KeyID), deviceName(after), text.DisplayValue(before.DeviceID))
	default:
		_, err = fmt.Fprintf(w, "Approved key %s for %s.\nThe Mac enrolls at its next attempt; the old key and its tokens have ended.\n",
			text.DisplayValue(asked.KeyID), deviceName(after))
	}
	return err
}

func reportRejection(w io.Writer, before, after fleet.Device, _ adminapi.Decision) error {
	_, err := fmt.Fprintf(w, "Rejected %d of %d waiting keys at %s.\n", len(before.Pending)-len(after.Pending), len(before.Pending), deviceName(after))
	return err
}

func reportRetirement(w io.Writer, before, after fleet.Device, _ adminapi.Decision) error {
	_, err := fmt.Fprintf(w, "Retired %s.\nIts %d virtual machines left the table.\n", deviceName(after), before.VMs)
	return err
}

func deviceName(device fleet.Device) string {
	return text.DisplayValue(device.DeviceID) + " (" + macName(device) + ")"
}
