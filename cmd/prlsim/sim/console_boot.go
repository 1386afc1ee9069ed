package sim

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// volume is what tells the Mac's volume apart: its UUID stays, its device number
// is another one after each boot, and so is the id of the boot session.
type volume struct {
	UUID        string `json:"uuid"`
	Device      int    `json:"device"`
	BootSession string `json:"boot_session"`
	Boots       int    `json:"boots"`
}

// firstDevice is a device number as a Mac's root volume has it: major 1.
const firstDevice = 1 << 24

func newVolume(seed int64) volume {
	return volume{UUID: seededUUID(seed, "volume"), Device: firstDevice + 4, BootSession: seededUUID(seed, "boot 0")}
}

func (v volume) summary() string {
	return fmt.Sprintf("%s, device %d", strings.ToUpper(v.UUID), v.Device)
}

// afterBoot is the volume as the next boot finds it.
func (v volume) afterBoot(seed int64) volume {
	v.Boots++
	v.Device = firstDevice + 4 + v.Boots*7%40 // another one than before
	v.BootSession = seededUUID(seed, fmt.Sprintf("boot %d", v.Boots))
	return v
}

// writeVolume renders `.prlsim/volume.json`. The files of the Mac lie on a file
// system of this machine, whose numbers no reboot of the Mac changes: who
// plays the Mac's file system to a program reads them here.
func (m Mac) writeVolume(state *State) error {
	content, err := json.MarshalIndent(map[string]any{
		"uuid": strings.ToUpper(state.Volume.UUID), "device": state.Volume.Device,
		"boot_session": strings.ToUpper(state.Volume.BootSession), "booted_at": state.BootedAt.UTC(),
	}, "", " ")
	if err != nil {
		return fmt.Errorf("encode volume: %w", err)
	}
	return writeFile(m.markerPath("volume.json"), append(content, '\n'))
}

func macRebootCommand() *cobra.Command {
	var login string
	command := &cobra.Command{
		Use: "reboot", Short: "Reboot the Mac", Args: argumentCount(0, 0),
		Long: `Reboot the Mac: sessions, applications and the processes of VMs end, running VMs
are suspended or stopped as their setting Autostop says, the service is started
anew, and the boot time and the volume's device number are others. Afterwards
nobody is logged in, unless told otherwise; VMs with Autostart start-host run.
Jobs that launchd keeps are killed, and those of /Library/LaunchDaemons start anew. An
agent that was started otherwise is no part of the simulated Mac: stop it before, start
it afterwards.`,
		Example: "  prlsim mac reboot --login alice",
		RunE: func(command *cobra.Command, _ []string) error {
			return changeMac(command, func(mac Mac, state *State) (string, error) {
				if err := mac.reboot(state, login, time.Now()); err != nil {
					return "", err
				}
				return "The Mac has rebooted: device " + fmt.Sprint(state.Volume.Device), nil
			})
		},
	}
	command.Flags().StringVar(&login, "login", "", "who logs in afterwards")
	return command
}

// stateAfterShutdown is where a VM's Autostop leaves it (facts/prlctl.md 1.5).
var stateAfterShutdown = map[string]string{"suspend": "suspended", "stop": "stopped", "shutdown": "stopped"}

var effectAfterShutdown = map[string]string{"suspend": "suspend", "stop": "stop --kill", "shutdown": "stop"}

// reboot ends what runs and begins again.
func (m Mac) reboot(state *State, login string, now time.Time) error {
	for _, vm := range state.VMs {
		if !vm.hasProcess() {
			continue
		}
		word, err := state.settingOf(vm, "Startup and Shutdown/Autostop")
		if err != nil {
			return err
		}
		state.addEffect(effectAfterShutdown[word], vm, "shutdown of the Mac")
		if err := m.setVMState(state, vm, stateAfterShutdown[word]); err != nil {
			return err
		}
	}
	for i := range state.Users {
		state.logOut(i)
	}
	if login != "" {
		if err := state.logInByName(login); err != nil {
			return err
		}
	}
	state.Service.Running = false // the service is another process from now on
	state.Volume, state.BootedAt = state.Volume.afterBoot(state.Seed), now.Truncate(time.Second)
	if err := m.bootJobs(state); err != nil {
		return err
	}
	return m.autostart(state)
}

// autostart starts the VMs that start with the Mac.
func (m Mac) autostart(state *State) error {
	for _, vm := range state.VMs {
		word, err := state.settingOf(vm, "Startup and Shutdown/Autostart")
		if err != nil {
			return err
		}
		if word == "start-host" && vm.State != "invalid" && !vm.Packed {
			state.addEffect("start", vm, "autostart")
			if err := m.setVMState(state, vm, "running"); err != nil {
				return err
			}
		}
	}
	return m.writeVolume(state)
}

// settingOf is a value of what the list shows of a VM.
func (s *State) settingOf(vm *VM, path string) (string, error) {
	document, err := s.sectionedDocument(vm, false)
	return textAt(document, path), err
}

func macSerialCommand() *cobra.Command {
	var none bool
	command := &cobra.Command{
		Use: "serial SERIAL | --none", DisableFlagsInUseLine: true, Short: "Change the serial number, as a new board does; it may be blank", Args: argumentCount(0, 1),
		Example: "  prlsim mac serial ' '\n  prlsim mac serial --none",
		RunE: func(command *cobra.Command, given []string) error {
			if none == (len(given) > 0) {
				return fmt.Errorf("%w: usage: %s", errUsage, command.UseLine())
			}
			return changeMac(command, func(_ Mac, state *State) (string, error) {
				if state.NoSerial = none; none {
					return "The hardware tells no serial number", nil
				}
				state.SerialNumber = given[0]
				return fmt.Sprintf("The serial number is %q", given[0]), nil
			})
		},
	}
	command.Flags().BoolVar(&none, "none", false, "the hardware has no such key")
	return command
}
