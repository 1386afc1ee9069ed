package cmd_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// kills is how often the daemon is killed; the moments are drawn by a fixed seed.
var kills = flag.Int("kills", 50, "kill -9 the daemon this often")

// TestKill9AtRandomMoments kills the real daemon while it looks, enrolls,
// reports and writes, with the Mac changing meanwhile. It must start every
// time, and in the end the portal has every row once, from one device that it
// never took for two.
func TestKill9AtRandomMoments(t *testing.T) {
	t.Parallel()
	own := newSite(t)
	folder, mac, site := own.folder, own.mac, own.portal
	runProgram(t, folder, "prlsim", "mac", "create", mac, "--no-processes", "--users", "alice")
	own.serve(t, map[string]any{})

	const seed = 20261123
	moments := rand.New(rand.NewPCG(seed, seed))
	for round := range *kills {
		daemon := exec.Command(filepath.Join(folder, "prlagentd"), "run", "--root", mac)
		if err := daemon.Start(); err != nil {
			t.Fatal(err)
		}
		runProgram(t, folder, "prlsim", "vm", "rename", "macOS", fmt.Sprintf("macOS %d", round), "--mac", mac)
		time.Sleep(time.Duration(moments.IntN(200)) * time.Millisecond) // the moment is what is tested
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
		runProgram(t, folder, "prlsim", "vm", "rename", fmt.Sprintf("macOS %d", round), "macOS", "--mac", mac)
	}

	startProgram(t, folder, "prlagentd", "run", "--root", mac)
	waitUntil(t, func() bool { // the minimum gap after the exchanges that were killed holds, unless a person asks
		return exec.Command(filepath.Join(folder, "prlagent"), "checkin", "--wait", "--root", mac).Run() == nil
	})
	var devices struct {
		Devices []struct{ State string }
	}
	readJSON(t, &devices, folder, "prlportal", "devices", "--dir", site, "--json")
	if len(devices.Devices) != 1 || devices.Devices[0].State != "ok" {
		t.Errorf("the portal knows %+v, want one device without a mark", devices.Devices)
	}
	var local, portal struct {
		Rows []vmRow `json:"rows"`
		VMs  []vmRow `json:"vms"`
	}
	readJSON(t, &local, folder, "prlagent", "vms", "--json", "--root", mac)
	readJSON(t, &portal, folder, "prlportal", "vms", "--dir", site, "--json")
	if !slices.Equal(byID(local.Rows), byID(portal.VMs)) || len(local.Rows) != 4 {
		t.Errorf("the Mac has %v, the portal %v", local.Rows, portal.VMs)
	}
}

// exitNotRunning is the exit code of a command that no daemon answers (DESIGN 4).
const exitNotRunning = 3

// Every signal that ends a program and can be caught is an orderly stop.
func TestEverySignalThatCanBeCaughtIsAStop(t *testing.T) {
	t.Parallel()
	own := newSite(t)
	runProgram(t, own.folder, "prlsim", "mac", "create", own.mac, "--no-processes", "--users", "alice")
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		daemon := exec.Command(filepath.Join(own.folder, "prlagentd"), "run", "--root", own.mac)
		if err := daemon.Start(); err != nil {
			t.Fatal(err)
		}
		waitUntil(t, func() bool { // get would answer from the snapshot of the one before
			status := exec.Command(filepath.Join(own.folder, "prlagent"), "status", "--root", own.mac)
			_ = status.Run()
			return status.ProcessState.ExitCode() < exitNotRunning
		})
		if err := daemon.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if err := daemon.Wait(); err != nil {
			t.Errorf("%v: %v", signal, err)
		}
	}
}

// vmRow is what tells one row of a table from another.
type vmRow struct {
	ID    string `json:"vm_id"`
	Name  string `json:"vm_name"`
	State string `json:"vm_state"`
}

func byID(rows []vmRow) []vmRow {
	return slices.SortedFunc(slices.Values(rows), func(a, b vmRow) int { return strings.Compare(a.ID, b.ID) })
}

func readJSON(t *testing.T, into any, folder, program string, args ...string) {
	t.Helper()
	output, err := exec.Command(filepath.Join(folder, program), args...).Output()
	if err != nil {
		t.Fatalf("%s %v: %v", program, args, err)
	}
	if err := json.Unmarshal(output, into); err != nil {
		t.Fatalf("%s %v: %v", program, args, err)
	}
}
