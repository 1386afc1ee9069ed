package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/query"
	"prlagent/platform/text"
)

// deviceListing is how 'prlportal devices' shows the enrolled Macs.
var deviceListing = tableListing{
	name:         fleet.DeviceTable.Name,
	columns:      fleet.DeviceTable.Columns(),
	columnSets:   map[string]int{"all": len(fleet.DeviceTable.Fields)},
	csvSet:       "all",
	usualColumns: []string{"computer_name", "mac_serial", "state", "group", "health", "conditions", "violations", "vms", "pd_version", "agent_version", "last_checkin_at", "device_id"},
	order:        []string{"computer_name", "mac_serial"},
	printTable:   printDevices,
}

func newDevicesCommand() *cobra.Command {
	var options listOptions
	command := newListCommand(deviceListing, &options, "List the enrolled Macs, show one, and decide what waits for a person",
		`Devices prints the enrolled Macs and, below them, what a person must decide; with
DEVICE, which is a device id, a Mac serial number or a hardware UUID, all that the
portal knows of that Mac. Approve, reject and retire decide.

Health is healthy, degraded or unhealthy, as the agent reported it last, and stale
where the Mac has not checked in for longer than twice the check-in interval: it is
off or asleep, or its network or agent is down. A ! precedes such a Mac
(stale_report). Conditions are what is wrong, worst first. Violations counts what is
against security controls of the policy.`,
		`  prlportal devices --dir site/operator
  prlportal devices --dir site/operator --filter 'health in unhealthy, stale' --sort last_checkin_at
  prlportal devices --dir site/operator --filter 'conditions contains service_down'
  prlportal devices C02XL0THJGH5 --dir site/operator`)
	command.ValidArgsFunction = options.admin.completeDevice
	options.withOne(command, "DEVICE", "device", options.showDevice)
	command.AddCommand(newApproveCommand(), newRejectCommand(), newRetireCommand(), newConfirmCommand())
	return command
}

// printDevices writes the table, and below it one line for each thing that a
// person must decide.
func printDevices(w io.Writer, columns []query.Column, rows []tableRow, zone *time.Location) error {
	if err := printRows(w, columns, rows, zone); err != nil {
		return err
	}
	devices := make([]fleet.Device, 0, len(rows))
	for _, row := range rows {
		device, err := deviceOf(row)
		if err != nil {
			return err
		}
		devices = append(devices, device)
	}
	if err := writeText(w, "\n"+devicesSummary(devices)); err != nil {
		return err
	}
	for _, device := range devices {
		if err := printDecisions(w, device, zone); err != nil {
			return err
		}
	}
	return nil
}

// devicesSummary counts the devices by their health.
func devicesSummary(devices []fleet.Device) string {
	counted := make(map[string]int)
	retired := 0
	for _, device := range devices {
		counted[device.Health]++
		if device.State == fleet.StateRetired {
			retired++
		}
	}
	var parts []string
	for _, word := range fleet.HealthWords {
		if n := counted[word]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, word))
		}
	}
	if retired > 0 {
		parts = append(parts, fmt.Sprintf("%d retired", retired))
	}
	if untold := counted[""] - retired; untold > 0 {
		parts = append(parts, fmt.Sprintf("%d not reported", untold))
	}
	return countOf(len(devices), "Mac") + ": " + strings.Join(parts, ", ") + ".\n"
}

func printDecisions(w io.Writer, device fleet.Device, zone *time.Location) error {
	if err := printMissing(w, device); err != nil {
		return err
	}
	for _, pending := range device.Pending {
		if err := printPending(w, device, pending, zone); err != nil {
			return err
		}
	}
	if device.ClockAhead != 0 {
		if _, err := fmt.Fprintf(w, "\n%s: its clock is %s the portal's, and dates that it reports are as wrong.\n  Set date and time of the Mac automatically; if every Mac has this, set those of the portal.\n",
			macName(device), skewWords(device.ClockAhead)); err != nil {
			return err
		}
	}
	if device.Frozen != "" {
		if _, err := fmt.Fprintf(w, "\n%s is ahead of this portal (%s), and gets no destructive commands.\n  Look at 'prlportal commands' and at that Mac; then: prlportal devices confirm %s\n",
			macName(device), text.Display(device.Frozen), text.DisplayValue(device.DeviceID)); err != nil {
			return err
		}
	}
	return printMark(w, device, zone)
}

// printMissing says how many virtual machines no row is for.
func printMissing(w io.Writer, device fleet.Device) error {
	switch {
	case device.VMsMissing > 0:
		_, err := fmt.Fprintf(w, "\n%s: %d of its %d virtual machines are in no row; a report has room for %d at most.\n",
			macName(device), device.VMsMissing, device.VMs+device.VMsMissing, protocol.MaxVMs)
		return err
	case device.Truncated:
		_, err := fmt.Fprintf(w, "\n%s: it has more virtual machines than its report has room for; its agent does not say how many.\n", macName(device))
		return err
	}
	return nil
}

// printPending says what a waiting key asks for, and with what it is let in or
// refused.
func printPending(w io.Writer, device fleet.Device, pending fleet.PendingKey, zone *time.Location) error {
	asks, flags := "asks to be enrolled with another key", ""
	if len(device.Pending) > 1 {
		flags = " --key " + text.DisplayValue(pending.KeyID)
	}
	approve := flags
	if pending.HardwareUUID != "" {
		asks = "asks to be enrolled as another Mac, " + text.DisplayValue(pending.HardwareUUID) + ", with the key"
		approve += " --supersede"
	}
	id := text.DisplayValue(device.DeviceID)
	_, err := fmt.Fprintf(w, "\n%s %s, %s, since %s from %s.\n  If 'prlagent status' on that Mac shows this key and that is right: prlportal devices approve %s%s\n  If not: prlportal devices reject %s%s\n",
		macName(device), asks, text.DisplayValue(pending.KeyID), localTime(pending.AskedAt, zone), text.DisplayValue(pending.Source), id, approve, id, flags)
	return err
}

// printMark says why a device is served nothing.
func printMark(w io.Writer, device fleet.Device, zone *time.Location) error {
	mark, id := device.Duplicate, text.DisplayValue(device.DeviceID)
	if mark == nil {
		return nil
	}
	if device.State == fleet.StateDiffers {
		_, err := fmt.Fprintf(w, "\n%s: since %s it reports as another Mac, %s, and is served nothing.\n  Look at that Mac; then: prlportal devices approve %s, or: prlportal devices retire %s\n",
			macName(device), localTime(mark.At, zone), text.DisplayValue(mark.Reported), id, id)
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s: two Macs report under this identity (%s, since %s), and neither is served.\n  Find the copy; then: prlportal devices approve %s\n",
		macName(device), text.DisplayValue(mark.Reason), localTime(mark.At, zone), id)
	return err
}

// macName is what people know a Mac by: its serial number, or where it has none
// its hardware UUID.
func macName(device fleet.Device) string {
	if device.MacSerial == "" {
		return "hardware UUID " + text.DisplayValue(device.HardwareUUID)
	}
	return text.DisplayValue(device.MacSerial)
}

// skewWords says how far a clock is ahead of another one or behind it.
func skewWords(aheadSecs int64) string {
	ahead := time.Duration(aheadSecs) * time.Second
	side := "ahead of"
	if ahead < 0 {
		side = "behind"
	}
	const day = 24 * time.Hour
	if ahead = ahead.Abs(); ahead >= 2*day {
		return fmt.Sprintf("%d days %s", ahead/day, side)
	}
	return fmt.Sprintf("%d h %d min %s", ahead/time.Hour, ahead%time.Hour/time.Minute, side)
}

// deviceOf reads a row of the devices' table as what it was made from.
func deviceOf(row tableRow) (fleet.Device, error) {
	var device fleet.Device
	data, err := json.Marshal(row)
	if err == nil {
		err = json.Unmarshal(data, &device)
	}
	if err != nil {
		return fleet.Device{}, fmt.Errorf("read device: %w", err)
	}
	return device, nil
}

func orEmpty(text string) string {
	if text == "" {
		return emptyCell
	}
	return text
}

func localTime(at time.Time, zone *time.Location) string {
	if at.IsZero() {
		return emptyCell
	}
	return at.In(zone).Format(timeForPeople)
}
