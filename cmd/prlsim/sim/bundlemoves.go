package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// bundleLost makes VMs whose bundle went invalid, as those on a volume that was
// unplugged (facts/prlctl.md 8, inferred), or leaves them as they are.
func (m Mac) bundleLost(state *State, vm *VM) error {
	if !state.assumes("missing_bundle", "invalid") {
		return nil
	}
	if vm.StateBefore == "" {
		vm.StateBefore = vm.State
		if vm.hasProcess() {
			vm.StateBefore = "stopped" // its process does not outlive its disks
		}
	}
	return m.setVMState(state, vm, "invalid")
}

// bundleFound is the end of bundleLost.
func (m Mac) bundleFound(state *State, vm *VM) error {
	if vm.StateBefore == "" {
		return nil
	}
	before := vm.StateBefore
	vm.StateBefore = ""
	return m.setVMState(state, vm, before)
}

// renameBundle moves the files of a VM to another folder, and returns where they are.
func (m Mac) renameBundle(vm *VM, folder string) (string, error) {
	to := m.freePath(folder, path.Base(vm.Bundle))
	if err := os.MkdirAll(m.Path(path.Dir(to)), 0o755); err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	if err := os.Rename(m.Path(vm.Bundle), m.Path(to)); err != nil {
		return "", fmt.Errorf("move bundle: %w", err)
	}
	return to, nil
}

// freePath is a name in the folder that nothing has yet.
func (m Mac) freePath(folder, name string) string {
	extension := path.Ext(name)
	for i := 0; ; i++ {
		to := folder + "/" + name
		if i > 0 {
			to = fmt.Sprintf("%s/%s (%d)%s", folder, strings.TrimSuffix(name, extension), i, extension)
		}
		if _, err := os.Lstat(m.Path(to)); errors.Is(err, fs.ErrNotExist) {
			return to
		}
	}
}

// moveBundle moves a bundle as a person does in the Finder. Whether the product
// follows it is not known: it keeps an alias of it (captures.md 4.5).
func (m Mac) moveBundle(state *State, vm *VM, folder string) (to string, err error) {
	if to, err = m.renameBundle(vm, folder); err != nil {
		return "", err
	}
	if state.assumes("missing_bundle", "followed") {
		vm.Bundle = to
		return to, m.writeBundle(state, vm)
	}
	return to, m.bundleLost(state, vm)
}

// reregister has the VM registered from another folder, with the same id: as it was
// there before, moved, or with a copy of it and the old files left behind.
func (m Mac) reregister(state *State, vm *VM, folder string, asCopy bool) error {
	if vm.hasProcess() {
		return errBusyRunning
	}
	from := vm.Bundle
	state.addEvent(vm, "vm_unregistered", "")
	if asCopy {
		vm.Bundle = m.freePath(folder, path.Base(from))
		if err := m.copyBundle(from, vm.Bundle); err != nil {
			return err
		}
	} else {
		to, err := m.renameBundle(vm, folder)
		if err != nil {
			return err
		}
		vm.Bundle = to
	}
	state.addEvent(vm, "vm_added", "")
	return m.writeBundle(state, vm)
}

func (m Mac) copyBundle(from, to string) error {
	if err := os.MkdirAll(m.Path(path.Dir(to)), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	info, err := os.Lstat(m.Path(from))
	if err != nil {
		return fmt.Errorf("copy bundle: %w", err)
	}
	if !info.IsDir() { // a packed one
		content, err := os.ReadFile(m.Path(from))
		if err != nil {
			return fmt.Errorf("copy bundle: %w", err)
		}
		return writeFile(m.Path(to), content)
	}
	if err := copyTree(m.Path(from), m.Path(to)); err != nil {
		return fmt.Errorf("copy bundle: %w", err)
	}
	return nil
}

// linkDisks gives every disk image of the bundle a second name in a folder.
func (m Mac) linkDisks(vm *VM, folder string) (links []string, err error) {
	root := m.Path(vm.Bundle)
	return links, filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || filepath.Ext(file) != ".hds" {
			return err
		}
		link := m.freePath(folder, filepath.Base(file))
		if err := os.MkdirAll(m.Path(folder), 0o755); err != nil {
			return err
		}
		links = append(links, link)
		return os.Link(file, m.Path(link))
	})
}

// sameIn registers a copy of the VM in another account's directory, with the same id
// (facts/prlctl.md 5.2).
func (m Mac) sameIn(state *State, vm *VM, account string) (*VM, error) {
	user, known := state.userByName(account)
	switch {
	case !known:
		return nil, fmt.Errorf("no user %q on this Mac", account)
	case vm.hasProcess():
		return nil, errBusyRunning
	case slices.ContainsFunc(state.ownedBy(account), func(other *VM) bool { return other.ID == vm.ID }):
		return nil, fmt.Errorf("%s has a VM with this id already", account)
	}
	twin := *vm
	twin.Owner, twin.Shared = account, false
	twin.Bundle = m.freePath(user.home()+"/Parallels", path.Base(vm.Bundle))
	if err := m.copyBundle(vm.Bundle, twin.Bundle); err != nil {
		return nil, err
	}
	state.VMs = append(state.VMs, &twin)
	state.addEvent(&twin, "vm_added", "")
	return &twin, m.writeBundle(state, &twin)
}

// packVM makes one file of a stopped VM, or a bundle of it again (facts/prlctl.md 1.2
// and 2.8). What is in the file is invented.
func (m Mac) packVM(state *State, vm *VM, pack bool) error {
	switch {
	case vm.State != "stopped":
		return fmt.Errorf("%w: it is %s", errWrongState, vm.State)
	case pack == vm.Packed:
		return errors.New(map[bool]string{true: "the VM is packed already", false: "the VM is not packed"}[pack])
	}
	from, extension := vm.Bundle, state.bundleExtension(vm)
	if pack {
		extension = ".pvmp"
	}
	stem := strings.TrimSuffix(path.Base(from), path.Ext(from))
	vm.Bundle, vm.Packed = m.freePath(path.Dir(from), stem+extension), pack
	if pack {
		if err := writeFile(m.Path(vm.Bundle), []byte("simulated packed virtual machine {"+vm.ID+"}\n")); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(m.Path(from)); err != nil {
		return fmt.Errorf("remove %s: %w", from, err)
	}
	state.addEvent(vm, "vm_config_changed", "")
	return m.writeBundle(state, vm)
}

// volumesFolder is where volumes beside the Mac's own are mounted, and unmounted
// volumes lie in unmountedFolder meanwhile.
const (
	volumesFolder   = "/Volumes"
	unmountedFolder = "/" + markerFolder + "/unmounted"
)

// volumeOf names the volume below /Volumes on which the VM's bundle lies.
func volumeOf(vm *VM) (name string, external bool) {
	rest, external := strings.CutPrefix(vm.Bundle, volumesFolder+"/")
	name, _, _ = strings.Cut(rest, "/")
	return name, external
}

// setMounted takes the volume of a VM away, with everything on it, or brings it back.
func (m Mac) setMounted(state *State, vm *VM, mounted bool) error {
	name, external := volumeOf(vm)
	if !external {
		return fmt.Errorf("%s is on the Mac's own volume: move it first, with vm move --to %s/NAME --register", vm.Name, volumesFolder)
	}
	from, to := volumesFolder+"/"+name, unmountedFolder+"/"+name
	if mounted {
		from, to = to, from
	}
	if err := os.MkdirAll(m.Path(path.Dir(to)), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if err := os.Rename(m.Path(from), m.Path(to)); err != nil {
		return fmt.Errorf("volume %s: %w", name, err)
	}
	for _, other := range state.VMs {
		if volume, external := volumeOf(other); !external || volume != name {
			continue
		}
		change := m.bundleLost
		if mounted {
			change = m.bundleFound
		}
		if err := change(state, other); err != nil {
			return err
		}
	}
	return nil
}
