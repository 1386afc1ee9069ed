package sim

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// element is one XML element of a bundle's files: either text or children.
type element struct {
	Name       string
	Attributes [][2]string
	Text       string
	Children   []element
}

func textElement(name, value string) element { return element{Name: name, Text: value} }
func parentElement(name string, inner ...element) element {
	return element{Name: name, Children: inner}
}

// encodeXML renders an element tree with the XML header.
func encodeXML(root element) []byte {
	var out strings.Builder
	out.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	writeElement(&out, root, "")
	return []byte(out.String())
}

func writeElement(out *strings.Builder, e element, indent string) {
	fmt.Fprintf(out, "%s<%s", indent, e.Name)
	for _, attribute := range e.Attributes {
		fmt.Fprintf(out, " %s=\"%s\"", attribute[0], attribute[1])
	}
	out.WriteString(">")
	if len(e.Children) > 0 {
		out.WriteString("\n")
		for _, child := range e.Children {
			writeElement(out, child, indent+"   ")
		}
		out.WriteString(indent)
	}
	// A strings.Builder does not fail.
	_ = xml.EscapeText(out, []byte(e.Text))
	fmt.Fprintf(out, "</%s>\n", e.Name)
}

// writeBundle renders the VM's folder from the state (facts/prlctl.md 6 and 8).
// VmInfo.pvi is there from creation on (captures.md 2).
func (m Mac) writeBundle(state *State, vm *VM) error {
	if vm.Packed || vm.State == "invalid" { // the bundle is missing or damaged, facts/prlctl.md 2.3
		return nil
	}
	system, err := guestSystem(vm.OS)
	if err != nil {
		return err
	}
	config, err := state.configElement(vm, system)
	if err != nil {
		return err
	}
	files := map[string][]byte{"VmInfo.pvi": encodeXML(state.vmInfoElement(vm, system))}
	if !time.Now().Before(vm.ConfigDueAt) {
		files["config.pvs"], vm.ConfigDueAt = encodeXML(config), time.Time{}
	}
	for name, content := range files {
		if err := writeFile(m.Path(path.Join(vm.Bundle, name)), content); err != nil {
			return err
		}
	}
	return m.writeDummies(vm)
}

// configDelay is how long config.pvs keeps its old content after a change, on a
// Mac that is assumed to write it later.
const configDelay = 2 * time.Second

// nextDueConfig is when the next config.pvs has to be written; zero: none has.
func (s *State) nextDueConfig() (due time.Time) {
	for _, vm := range s.VMs {
		if !vm.ConfigDueAt.IsZero() && (due.IsZero() || vm.ConfigDueAt.Before(due)) {
			due = vm.ConfigDueAt
		}
	}
	return due
}

// writeDueConfigs writes each config.pvs whose time has come.
func (m Mac) writeDueConfigs() error {
	return m.update(func(state *State) error {
		for _, vm := range state.VMs {
			if vm.ConfigDueAt.IsZero() || time.Now().Before(vm.ConfigDueAt) {
				continue
			}
			if err := m.writeBundle(state, vm); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeDummies makes the files that only have to exist.
func (m Mac) writeDummies(vm *VM) error {
	names := []string{"NVRAM.dat"}
	if vm.isApple() {
		names = []string{"aux.bin", "macid.bin", "machw.bin"}
	}
	names = append(names, "harddisk1.hdd/DiskDescriptor.xml", "harddisk1.hdd/harddisk1.hdd.0.hds")
	if vm.Started {
		names = append(names, "parallels.log")
	}
	for _, name := range names {
		file := m.Path(path.Join(vm.Bundle, name))
		if _, err := os.Lstat(file); err == nil {
			continue
		}
		if err := writeFile(file, []byte("simulated\n")); err != nil {
			return err
		}
	}
	return m.writeLockFile(vm)
}

// writeLockFile keeps vm.lock in the bundle while the VM runs
// (facts/prlctl.md 2.9).
func (m Mac) writeLockFile(vm *VM) error {
	file := m.Path(path.Join(vm.Bundle, "vm.lock"))
	if vm.hasProcess() {
		return writeFile(file, nil)
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove vm.lock: %w", err)
	}
	return nil
}

// restoreBundle replaces a bundle by a copy: same content and times, new inodes.
func (m Mac) restoreBundle(vm *VM) error {
	if vm.hasProcess() {
		return fmt.Errorf("%w: it is %s", errWrongState, vm.State)
	}
	bundle := m.Path(vm.Bundle)
	copied, old := bundle+".restored", bundle+".old"
	if err := copyTree(bundle, copied); err != nil {
		return fmt.Errorf("copy bundle: %w", err)
	}
	if err := errors.Join(os.Rename(bundle, old), os.Rename(copied, bundle)); err != nil {
		return fmt.Errorf("replace bundle: %w", err)
	}
	if err := os.RemoveAll(old); err != nil {
		return fmt.Errorf("remove replaced bundle: %w", err)
	}
	return nil
}

// copyTree copies folders and regular files with their modification times.
func copyTree(from, to string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(file string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(file)
		if err != nil {
			return err
		}
		return os.Chtimes(to+strings.TrimPrefix(file, from), info.ModTime(), info.ModTime())
	})
}
