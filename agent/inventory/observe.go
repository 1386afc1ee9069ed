package inventory

import (
	"cmp"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"syscall"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// maxDescription caps the description that is kept of a virtual machine, which
// has some 5 KB, in bytes.
const maxDescription = 32 << 10

// cutName and cutText bound what is kept of what a user or a guest wrote. A row
// may show less of it.
func cutName(value string) string { return protocol.CutText(value, protocol.MaxName) }
func cutText(value string) string { return protocol.CutText(value, protocol.MaxText) }

// describe takes what a query by id says of the configuration. What only the
// guest can say stays until its file says otherwise.
func (m *Machine) describe(vm *prlctl.VM) {
	m.Bundle.Path = cmp.Or(vm.Bundle(), m.Bundle.Path)
	m.ConfigHash = vm.ConfigHash()
	m.NeverStarted = vm.ShowsUptime() && vm.GuestTools.State != "" && showsNoUse(vm)
	m.Config, m.configChanged, m.Unreadable, m.Guest.Name = nil, time.Time{}, "", ""
	tools := m.VM.GuestTools
	m.VM = *bounded(vm)
	m.VM.GuestTools = tools
}

// observe takes from a listing what changes without a setting being changed. A
// bulk list may leave the section of the guest's tools out (facts/prlctl.md
// 2.1), which says nothing.
func (m *Machine) observe(vm *prlctl.VM) {
	m.Stale, m.SeenAt, m.Disputed = "", time.Time{}, false
	m.VM.State, m.VM.Uptime = prlctl.State(cutText(string(vm.State))), vm.Uptime
	if tools := vm.GuestTools; tools != (prlctl.GuestTools{}) {
		m.VM.GuestTools = prlctl.GuestTools{State: cutText(tools.State), Version: cutText(tools.Version)}
	}
	m.NeverStarted = m.NeverStarted && showsNoUse(vm) && m.StartedAt.IsZero() && !wasStarted(vm.State)
}

// showsNoUse reports whether nothing that is shown of a machine tells of a start.
func showsNoUse(vm *prlctl.VM) bool { return vm.Uptime == 0 && noTools(vm.GuestTools) }

// wasStarted reports whether a machine in this state has been started at some
// time.
func wasStarted(state prlctl.State) bool {
	word := state.Portal()
	return word == protocol.StateRunning || word == protocol.StateSuspended
}

// bounded cuts a description that is too large down to what the columns and the
// policy need.
func bounded(vm *prlctl.VM) *prlctl.VM {
	if len(vm.Raw) <= maxDescription {
		return vm
	}
	return abridged(vm)
}

// abridged is a description with nothing but what the columns need, cut to what
// a report holds, and what a policy needs: no user gets around one by a long
// description.
func abridged(vm *prlctl.VM) *prlctl.VM {
	short := map[string]any{
		"ID": vm.ID, "Name": cutName(vm.Name), "Type": cutText(vm.Type), "OS": cutText(vm.OS), "State": cutText(string(vm.State)),
		"Uptime":          strconv.FormatInt(int64(vm.Uptime/time.Second), 10),
		"GuestTools":      map[string]any{"state": cutText(vm.GuestTools.State), "version": cutText(vm.GuestTools.Version)},
		"Security":        map[string]any{"Encrypted": vm.Security.Encrypted.String(), "Packed": vm.Security.Packed.String(), "Archived": vm.Security.Archived.String()},
		"SMBIOS settings": map[string]any{"System serial number": cutText(vm.SerialNumber)},
		"Hardware":        map[string]any{"cpu": map[string]any{"type": cutText(vm.CPUType)}},
		"BIOS type":       cutText(vm.BIOSType),
	}
	keepSettings(short, vm)
	data, err := json.Marshal(short)
	kept := new(prlctl.VM)
	if err != nil || kept.UnmarshalJSON(data) != nil {
		return &prlctl.VM{ID: vm.ID} // an id that is none
	}
	return kept
}

// Caps of what an abridged description keeps of settings: bytes of a word, which
// is longer than any of the tool's, and network adapters, of which a real machine
// has at most as many.
const (
	maxSettingWord = 64
	maxAdapters    = 16
)

// shownSettings are the places where a policy looks.
var shownSettings = policy.Shown()

var readSettings = prlctl.NewPaths(shownSettings...)

// keepSettings puts into an abridged description what a policy looks at.
func keepSettings(short map[string]any, vm *prlctl.VM) {
	cut := func(word string) string { return protocol.CutText(word, maxSettingWord) }
	for i, value := range readSettings.Read(vm, nil) {
		if value != "" {
			putAt(short, strings.Split(shownSettings[i], "/"), cut(value))
		}
	}
	adapters := vm.Adapters[:min(len(vm.Adapters), maxAdapters)]
	for i := range adapters {
		adapter := &adapters[i]
		for _, shown := range [][2]string{{"type", adapter.Type}, {"iface", adapter.Iface}, {"state", adapter.State}, {"enabled", adapter.Enabled.String()}} {
			if shown[1] != "" {
				putAt(short, []string{"Hardware", adapter.Name, shown[0]}, cut(shown[1]))
			}
		}
	}
}

// putAt puts a value below these keys.
func putAt(object map[string]any, keys []string, value string) {
	for _, key := range keys[:len(keys)-1] {
		below, is := object[key].(map[string]any)
		if !is {
			below = make(map[string]any)
			object[key] = below
		}
		object = below
	}
	object[keys[len(keys)-1]] = value
}

// writtenFiles are what a machine's process writes while it runs: its log, all
// the time, or else what Parallels Tools report (facts/prlctl.md 2.9). The first
// that is there counts, since the second is written for other reasons as well,
// and listing a machine may touch its config.pvs.
var writtenFiles = []string{"/parallels.log", "/VmInfo.pvi"}

// fileQuestions are what is asked about a machine's bundle. Its path is the
// user's word, and it is looked at as the user.
func (m *Machine) fileQuestions() []platform.FileQuestion {
	if m.Bundle.Path == "" {
		return nil
	}
	questions := []platform.FileQuestion{{Path: m.Bundle.Path, Space: m.needsSpace}, {Path: m.Bundle.Path + "/VmInfo.pvi", Reader: prlctl.InfoReader}}
	if m.asksForWrites() {
		for _, name := range writtenFiles {
			questions = append(questions, platform.FileQuestion{Path: m.Bundle.Path + name})
		}
	}
	return append(questions, m.configQuestion()...)
}

// asksForWrites reports whether the bundle's writes stand for the last use: no
// start was seen.
func (m *Machine) asksForWrites() bool { return m.StartedAt.IsZero() && !m.NeverStarted }

// takeFiles takes the answers to fileQuestions in a look at that time. What
// cannot be read now stays as it was.
func (m *Machine) takeFiles(answers []platform.FileAnswer, at time.Time) {
	if len(answers) == 0 {
		m.InfoUnread, m.InfoPrivate = true, false
		return
	}
	bundle, info := &answers[0], &answers[1]
	if bundle.Err == nil && bundle.Folder {
		owner := bundle.UID // a pointer into the answers would keep the contents of all files
		m.Bundle.Identity, m.Bundle.Owner, m.Space = identityOf(bundle), &owner, bundle.Space
	}
	m.InfoUnread = info.Err != nil && !isAbsent(info.Err) && !errors.Is(info.Err, platform.ErrNotUnderstood)
	m.InfoPrivate = errors.Is(info.Err, syscall.EPERM)
	switch {
	case info.Err == nil:
		m.takeInfo(info.Fields)
	case isAbsent(info.Err):
		m.Guest = prlctl.GuestOS{Name: m.Guest.Name}
	}
	rest := answers[2:]
	if m.asksForWrites() {
		m.takeWrites(rest[:len(writtenFiles)], at)
		rest = rest[len(writtenFiles):]
	}
	if len(rest) > 0 {
		m.takeConfigAnswer(&rest[0], at)
	}
}

// takeWrites takes the last write. One in the future is a wrong clock's, and
// says nothing.
func (m *Machine) takeWrites(files []platform.FileAnswer, at time.Time) {
	for _, file := range files {
		if file.Err == nil && !file.Folder && !file.ModifiedAt.IsZero() && !file.ModifiedAt.After(at.Add(startSlack)) {
			m.WrittenAt = file.ModifiedAt.UTC().Truncate(time.Second)
			return
		}
	}
}

// identityOf names a folder by what outlives a reboot, as far as its volume has
// that (H21).
func identityOf(folder *platform.FileAnswer) protocol.Bundle {
	if folder.Volume == "" {
		return protocol.Bundle{Device: folder.Device, Inode: folder.Inode}
	}
	return protocol.Bundle{Volume: folder.Volume, Inode: folder.Inode}
}

// takeInfo takes the guest's own words, each of which stays until the guest has
// another; a file that makes no sense says nothing. Of a system that is another
// than before, nothing of the system before is true.
func (m *Machine) takeInfo(fields []byte) {
	info, err := prlctl.DecodeVMInfo(fields)
	if err != nil {
		return
	}
	guest := info.Guest()
	if tellsAnother(guest.Name, m.Guest.Name) || tellsAnother(guest.Build, m.Guest.Build) {
		m.Guest = prlctl.GuestOS{DeviceName: m.Guest.DeviceName, SerialNumber: m.Guest.SerialNumber}
	}
	takeWord(&m.Guest.Name, guest.Name)
	takeWord(&m.Guest.Edition, guest.Edition)
	takeWord(&m.Guest.Version, guest.Version)
	takeWord(&m.Guest.Build, guest.Build)
	takeWord(&m.Guest.DeviceName, guest.DeviceName)
	takeWord(&m.Guest.SerialNumber, guest.SerialNumber)
	takeWord(&m.Guest.BitLockerStatus, guest.BitLockerStatus)
}

// takeWord takes what a guest tells, if it tells anything.
func takeWord(known *string, told string) {
	if told = cutText(told); told != "" {
		*known = told
	}
}

// tellsAnother reports whether a guest tells a text of itself that is not the known
// one.
func tellsAnother(told, known string) bool { return told != "" && cutText(told) != known }

// takeConfig takes what config.pvs says and the tool does not (facts/prlctl.md
// 2.9).
func (m *Machine) takeConfig(fields []byte) {
	config, err := prlctl.DecodeConfigPVS(fields)
	if err != nil {
		return
	}
	for _, value := range []*string{
		&config.VMName, &config.VMCreationDate, &config.VMUptimeStartDateTime, &config.SerialNumber,
		&config.AssetID, &config.SourceOSVersion, &config.ToolsVersion,
		&config.VMEncryptionInfo.PluginID, &config.VMEncryptionInfo.SecretKeySourceType, &config.VMEncryptionInfo.SecretKeyID,
	} {
		*value = cutText(*value)
	}
	m.Config = config
}
