package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const rootUser = "root"

// State is everything the Mac remembers, as kept in `.prlsim/state.json`.
type State struct {
	Seed           int64                 `json:"seed"`
	Counter        int                   `json:"counter"` // ids handed out
	ComputerName   string                `json:"computer_name"`
	SerialNumber   string                `json:"serial_number"`
	NoSerial       bool                  `json:"no_serial,omitempty"` // the hardware has no such key
	HardwareUUID   string                `json:"hardware_uuid"`
	Volume         volume                `json:"volume"`
	BootedAt       time.Time             `json:"booted_at"`
	Intel          bool                  `json:"intel,omitempty"`
	NoProcesses    bool                  `json:"no_processes,omitempty"` // none starts by itself
	Product        product               `json:"product"`
	Users          []macUser             `json:"users"`
	Console        string                `json:"console,omitempty"` // user whose session is on the screen
	VMs            []*VM                 `json:"vms"`
	Unregistered   []*VM                 `json:"unregistered,omitempty"` // whose bundles are still there
	Faults         []activeFault         `json:"faults,omitempty"`
	Assumptions    map[string]string     `json:"assumptions,omitempty"` // where they differ from the default
	DispatcherID   string                `json:"dispatcher_id"`
	DispatcherKey  string                `json:"dispatcher_hardware_id"`
	Service        dispatcherService     `json:"service"`
	Apps           []runningApp          `json:"apps,omitempty"`
	Jobs           map[string]launchdJob `json:"jobs,omitempty"`            // by label; those that were changed
	JobEnvironment map[string]string     `json:"job_environment,omitempty"` // of every job
	Receipts       map[string]receipt    `json:"receipts,omitempty"`        // of packages, by identifier

	Profiles map[string]installedProfile `json:"profiles,omitempty"` // by identifier

	Network    networkState      `json:"network"`
	Host       map[string]string `json:"host,omitempty"`        // of prlsrvctl set, by flag
	RequirePwd []string          `json:"require_pwd,omitempty"` // actions that need a password
	DueDomains []dueDomain       `json:"due_domains,omitempty"` // of preferences, for cfprefsd to write

	Feed    []feedOffer   `json:"feed,omitempty"`    // of all update servers
	Updates []productMove `json:"updates,omitempty"` // of the product, oldest first

	Persons []person   `json:"persons,omitempty"` // who keep starting a VM
	Effects effectsLog `json:"effects"`

	actor          actor          // who makes the change under way
	pendingEffects []effectRecord // of the change under way
	pendingEvents  []eventRecord  // of the change under way
	crashed        []int          // processes of applications that the change ended without a quit
}

// product is the installed Parallels Desktop and its license.
type product struct {
	Version string `json:"version"` // "26.4.0-57513"
	Edition string `json:"edition"` // standard, pro, business, enterprise
	// LicenseStatus is one of licenseStatuses; empty: no license is installed.
	LicenseStatus string `json:"license_status"`
	Activation    string `json:"activation"` // SSO, LIC_KEY
	// Synced is false from an activation to the next update-license.
	Synced      bool   `json:"synced"`
	LicenseUUID string `json:"license_uuid"`
	Key         string `json:"key"`          // masked
	ActivatedAt string `json:"activated_at"` // "2006-01-02 15:04:05"
}

// macUser is one account of the Mac.
type macUser struct {
	Name     string `json:"name"`
	FullName string `json:"full_name"`
	UID      int    `json:"uid"`
	Standard bool   `json:"standard,omitempty"` // is no administrator
	LoggedIn bool   `json:"logged_in"`          // has a GUI session, on the screen or switched out
	Home     string `json:"home,omitempty"`     // Mac path; empty: that of the name
}

// home returns the Mac path of the user's home folder.
func (u macUser) home() string {
	if u.Home != "" {
		return u.Home
	}
	return "/Users/" + u.Name
}

// VM is one registered virtual machine.
type VM struct {
	ID          string `json:"id"` // lower case, no braces
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Owner       string `json:"owner"`
	Shared      bool   `json:"shared,omitempty"`
	OS          string `json:"os"` // distribution id of facts/prlctl.md 2.2
	State       string `json:"state"`
	Bundle      string `json:"bundle"` // Mac path of the .pvm or .macvm folder
	Tools       string `json:"tools"`  // installed, outdated, none
	ToolsBuild  string `json:"tools_build,omitempty"`
	Encrypted   bool   `json:"encrypted,omitempty"`
	ByLicense   bool   `json:"by_license,omitempty"` // how it is encrypted; else by a password
	Started     bool   `json:"started"`              // ever
	Uptime      int    `json:"uptime"`               // seconds
	StartedAt   string `json:"started_at,omitempty"`
	Packed      bool   `json:"packed,omitempty"`
	StateBefore string `json:"state_before,omitempty"` // it became invalid because its bundle went
	LinkedTo    string `json:"linked_to,omitempty"`    // id of the VM whose disks a linked clone needs
	MAC         string `json:"mac"`
	Address     string `json:"address"`          // IPv4 while running
	Source      string `json:"source,omitempty"` // id of the VM that it was made of; empty: its own
	PID         int    `json:"pid,omitempty"`
	// Accounts of the guest that got a password by the tool, with its SHA-256.
	GuestPasswords map[string]string `json:"guest_passwords,omitempty"`
	// When the Tools report after a start, and whether they ever did.
	ToolsReadyAt   time.Time `json:"tools_ready_at,omitzero"`
	ToolsReported  bool      `json:"tools_reported,omitempty"`
	GuestBuild     int       `json:"guest_build,omitempty"`     // of Windows; 0: the system's
	ProductEdition int       `json:"product_edition,omitempty"` // Windows' PRODUCT_* number; 0: Pro

	Settings map[string]any    `json:"settings,omitempty"` // overrides of the document by path
	Elements map[string]string `json:"elements,omitempty"` // of config.pvs that no list shows
	Adapters []int             `json:"adapters,omitempty"` // numbers of the network adapters; none: net0 alone
	// When config.pvs is written that has the last change; zero: it is.
	ConfigDueAt time.Time `json:"config_due_at,omitzero"`
}

// isApple reports whether the VM is a macOS guest of Apple's own framework
// (Type APPLE_VZ_VM, facts/prlctl.md 2.7).
func (vm *VM) isApple() bool { return strings.HasSuffix(vm.Bundle, ".macvm") }

func (s *State) userByName(name string) (macUser, bool) {
	index := slices.IndexFunc(s.Users, func(u macUser) bool { return u.Name == name })
	if index < 0 {
		return macUser{}, false
	}
	return s.Users[index], true
}

func (s *State) userByUID(uid int) (macUser, bool) {
	index := slices.IndexFunc(s.Users, func(u macUser) bool { return u.UID == uid })
	if index < 0 {
		return macUser{}, false
	}
	return s.Users[index], true
}

// visibleTo returns the VMs in the account's directory: its own and the shared
// ones. Root sees root's own directory, which is empty (facts/prlctl.md 5).
func (s *State) visibleTo(account string) []*VM {
	var visible []*VM
	for _, vm := range s.VMs {
		if slices.Contains(s.viewersOf(vm), account) {
			visible = append(visible, vm)
		}
	}
	return visible
}

// viewersOf names the users that see the VM.
func (s *State) viewersOf(vm *VM) []string {
	if !vm.Shared {
		return []string{vm.Owner}
	}
	names := make([]string, 0, len(s.Users))
	for _, user := range s.Users {
		names = append(names, user.Name)
	}
	return names
}

// findVM looks a VM up by id (with or without braces, in any case) or by name
// among those given.
func findVM(vms []*VM, idOrName string) (*VM, error) {
	var found []*VM
	for _, vm := range vms {
		if strings.EqualFold(vm.ID, strings.Trim(idOrName, "{}")) {
			return vm, nil
		}
		if vm.Name == idOrName {
			found = append(found, vm)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("no virtual machine %q", idOrName)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("%d virtual machines are named %q: name the user or give the id", len(found), idOrName)
}

// majorVersion returns the product's major version, for example 26.
func (p product) majorVersion() int {
	var major int
	if _, err := fmt.Sscanf(p.Version, "%d.", &major); err != nil {
		return 0
	}
	return major
}

// versionAndBuild splits "26.4.0-57513" into version and build.
func (p product) versionAndBuild() (version, build string) {
	version, build, _ = strings.Cut(p.Version, "-")
	return version, build
}
