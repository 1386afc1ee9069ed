package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

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
	usualColumns: query.ColumnIDs(fleet.DeviceTable.Columns()[:10]),
	printTable:   printDevices,
}

func newDevicesCommand() *cobra.Command {
	return newListCommand(deviceListing, "List the enrolled Macs and what waits for a person",
		`Devices prints the enrolled Macs and, below them, what a person must decide.
A ! precedes a Mac that has not checked in for longer than twice the check-in
interval (stale_report).`,
		`  prlportal devices --dir site/operator
  prlportal devices --dir site/operator --search macbook --json`)
}

// printDevices writes the table, and below it one line for each thing that a
// person must decide.
func printDevices(w io.Writer, columns []query.Column, rows []tableRow, zone *time.Location) error {
	if err := printRows(w, columns, rows, zone); err != nil {
		return err
	}
	for _, row := range rows {
		if err := printDecisions(w, row, zone); err != nil {
			return err
		}
	}
	return nil
}

func printDecisions(w io.Writer, row tableRow, zone *time.Location) error {
	device, err := deviceOf(row)
	if err != nil {
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
	return printMark(w, device, zone)
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
	_, err := fmt.Fprintf(w, "\n%s %s, %s, since %s from %s.\n  If 'prlagent status' on that Mac shows this key and that is right: prlportal approve %s%s\n  If not: prlportal reject %s%s\n",
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
		_, err := fmt.Fprintf(w, "\n%s: since %s it reports as another Mac, %s, and is served nothing.\n  Look at that Mac; then: prlportal approve %s, or: prlportal retire %s\n",
			macName(device), localTime(mark.At, zone), text.DisplayValue(mark.Reported), id, id)
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s: two Macs report under this identity (%s, since %s), and neither is served.\n  Find the copy; then: prlportal approve %s\n",
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
