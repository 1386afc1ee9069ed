package replay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"

	"prlagent/platform/tool"
	"prlagent/prlctl"
)

// The Mac to compare with has what the captured one has, and goes at the end.
func TestSimulatedMacIsLikeTheCaptured(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("prlsim")
	if err != nil {
		t.Fatal(err)
	}
	made, err := program(path).create(t.Context(), likeness{version: "18.3.0-53605", edition: "business", intel: true, machines: []guest{
		{name: "VM-1", system: "win-11", state: "running", tools: "outdated", encrypted: true},
		{name: "VM-2", system: "ubuntu", state: "suspended", shared: true},
		{name: "VM-3", system: "beos", state: "stopped"}, // which the simulator does not have
	}})
	if err != nil {
		t.Fatal(err)
	}
	client := prlctl.New(made)
	version, err := client.Version(t.Context())
	if err != nil || version.String() != "18.3.0 (53605)" {
		t.Errorf("version %s, %v", version, err)
	}
	listing, err := client.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, vm := range listing.VMs {
		got = append(got, fmt.Sprintf("%s %s %s %s %s", vm.Name, vm.OS, vm.State, vm.GuestTools.State, vm.Security.Encrypted))
	}
	if said := strings.Join(got, "; "); said != "VM-1 win-11 running outdated on; VM-2 ubuntu suspended possibly_installed off" {
		t.Errorf("machines: %s", said)
	}
	license, err := made.Run(t.Context(), &tool.Command{Path: prlctl.Prlsrvctl, Args: []string{"info", "--license"}})
	if err != nil || !strings.Contains(string(license.Stdout), noLicense) {
		t.Errorf("license: %s, %v", license.Stdout, err)
	}
	if _, err := made.readFile("/../../../etc/passwd"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a path that leads out: %v", err)
	}
	folder := made.(*macFolder).folder
	if err := made.remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
}
