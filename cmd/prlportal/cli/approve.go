package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/platform/text"
)

func newApproveCommand() *cobra.Command {
	var options adminOptions
	var keyID string
	command := &cobra.Command{
		Use:   "approve DEVICE --dir DIR",
		Short: "Let a Mac that lost its key be the device it was, or lift a duplicate mark",
		Long: `A Mac that the portal knows and that comes back with another key (erased, or an
impostor) waits for approval. Approve it only if you know why its key changed:
the Mac with the old key loses its access as soon as the new one checks in.

DEVICE is a device id, a Mac serial number or a hardware UUID.`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			client, err := options.openClient()
			if err != nil {
				return err
			}
			defer client.Close()
			return approveDevice(command.Context(), command.OutOrStdout(), client, args[0], text.TypedID(keyID))
		},
	}
	options.addFlags(command.Flags())
	command.Flags().StringVar(&keyID, "key", "", "id of the key to approve, where several wait")
	return command
}

func approveDevice(ctx context.Context, w io.Writer, client *adminapi.Client, name, keyID string) error {
	devices, err := client.Devices(ctx)
	if err != nil {
		return err
	}
	device, err := findDevice(devices, name)
	if err != nil {
		return err
	}
	if keyID == "" {
		if keyID, err = onlyPending(device); err != nil {
			return err
		}
	}
	approved, err := client.Approve(ctx, device.DeviceID, adminapi.Approval{KeyID: keyID})
	if err != nil {
		return err
	}
	if keyID == "" {
		_, err = fmt.Fprintf(w, "Lifted the duplicate mark of %s (%s).\n", text.DisplayValue(approved.DeviceID), macName(approved))
		return err
	}
	_, err = fmt.Fprintf(w, "Approved key %s for %s (%s).\nThe Mac enrolls at its next attempt; the old token ends with its first check-in.\n",
		text.DisplayValue(keyID), text.DisplayValue(approved.DeviceID), macName(approved))
	return err
}

func findDevice(devices []fleet.Device, name string) (fleet.Device, error) {
	var found []fleet.Device
	wanted := text.TypedID(name)
	if wanted == "" { // as the serial number of a Mac that has none
		return fleet.Device{}, usageError("name the device by its id, serial number or hardware UUID")
	}
	for _, device := range devices {
		ids := []string{text.TypedID(device.DeviceID), text.TypedID(device.MacSerial), text.TypedID(device.HardwareUUID)}
		if slices.Contains(ids, wanted) {
			found = append(found, device)
		}
	}
	switch len(found) {
	case 0:
		return fleet.Device{}, fmt.Errorf("there is no device %s", text.DisplayValue(name))
	case 1:
		return found[0], nil
	}
	return fleet.Device{}, fmt.Errorf("%d devices are %s; give the device id", len(found), text.DisplayValue(name))
}

// onlyPending is the key that waits; empty if the device is only marked.
func onlyPending(device fleet.Device) (string, error) {
	switch {
	case len(device.Pending) == 1:
		return device.Pending[0].KeyID, nil
	case len(device.Pending) > 1:
		var ids []string
		for _, pending := range device.Pending {
			ids = append(ids, fmt.Sprintf("%s (%s from %s)", text.DisplayValue(pending.KeyID), pending.AskedAt.Local().Format(timeForPeople), text.DisplayValue(pending.Source)))
		}
		return "", usageError("several keys wait; name one with --key: " + strings.Join(ids, ", "))
	case device.Duplicate == nil:
		return "", fmt.Errorf("nothing waits for approval at %s", text.DisplayValue(device.DeviceID))
	}
	return "", nil
}
