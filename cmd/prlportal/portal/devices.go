package portal

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"prlagent/agent/protocol"
)

func newDevicesCommand() *cobra.Command {
	var options adminOptions
	var asJSON bool
	command := &cobra.Command{
		Use:   "devices --dir DIR",
		Short: "List the enrolled Macs and what waits for a person",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			client, err := options.open()
			if err != nil {
				return err
			}
			defer client.close()
			list, err := client.devices(command.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return writeIndented(command.OutOrStdout(), list)
			}
			return printDevices(command.OutOrStdout(), list.Devices, time.Local)
		},
	}
	options.addFlags(command.Flags())
	command.Flags().BoolVar(&asJSON, "json", false, "JSON with stable names and UTC")
	return command
}

// printDevices writes the table, and below it one line for each thing that a
// person must decide.
func printDevices(w io.Writer, devices []deviceView, zone *time.Location) error {
	if len(devices) == 0 {
		_, err := fmt.Fprintln(w, "No Mac has enrolled yet.")
		return err
	}
	shown := table{head: []string{"Computer name", "Mac serial number", "State", "Group", "Mode", "VMs", "Parallels Desktop", "Agent", "Last check-in", "Device ID"}}
	for _, device := range devices {
		shown.rows = append(shown.rows, []string{
			orEmpty(device.ComputerName), device.MacSerial, device.State, device.Group.ID, orEmpty(device.Mode),
			strconv.Itoa(device.VMs), orEmpty(device.PDVersion), orEmpty(device.AgentVersion),
			localTime(device.LastCheckinAt, zone), device.DeviceID,
		})
	}
	if err := shown.write(w); err != nil {
		return err
	}
	return printDecisions(w, devices, zone)
}

func printDecisions(w io.Writer, devices []deviceView, zone *time.Location) error {
	for _, device := range devices {
		for _, pending := range device.Pending {
			if _, err := fmt.Fprintf(w, "\n%s asks to be enrolled with another key, %s, since %s from %s.\n  If that is right: prlportal approve %s\n",
				protocol.Display(device.MacSerial), pending.KeyID, localTime(pending.AskedAt, zone), protocol.Display(pending.Source), device.DeviceID); err != nil {
				return err
			}
		}
		if mark := device.Duplicate; mark != nil {
			if _, err := fmt.Fprintf(w, "\n%s: two Macs report under this identity (%s, %d times, last %s).\n  Find the copy; then: prlportal approve %s\n",
				protocol.Display(device.MacSerial), mark.Reason, mark.Count, localTime(mark.At, zone), device.DeviceID); err != nil {
				return err
			}
		}
	}
	return nil
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
