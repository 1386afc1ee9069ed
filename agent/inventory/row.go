package inventory

import (
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// maxBundleFile caps config.pvs and VmInfo.pvi, in bytes.
const maxBundleFile = 4 << 20

// guestNames are the names of the tool's distribution ids (facts/prlctl.md
// 2.2) for guests that have not told their own; an id that is not here is
// shown as it is.
var guestNames = map[string]string{
	"win-11": "Windows 11", "win-10": "Windows 10", "win-8.1": "Windows 8.1", "win-7": "Windows 7",
	"macosx": "macOS", "ubuntu": "Ubuntu", "debian": "Debian", "fedora-core": "Fedora", "linux": "Linux",
}

// architectures maps the tool's `Hardware.cpu.type` to the guide's words.
var architectures = map[string]string{"x86": protocol.CPUIntel, "arm": protocol.CPUArm}

// shownName is a machine's name as it stands in its row.
func shownName(name string) string {
	row := protocol.VM{Name: name}
	row.Cut()
	return row.Name
}

// describe takes what a query by id says of the configuration. What only the
// guest can say stays until its file says otherwise.
func (r *record) describe(vm prlctl.VM) {
	r.Row = protocol.VM{
		Edition:    r.Row.Edition,
		OSBuild:    r.Row.OSBuild,
		ToolsState: r.Row.ToolsState, ToolsVersion: r.Row.ToolsVersion,
		VMKey:      protocol.VMKey{ID: vm.ID, Owner: r.User.Name, Bundle: r.Identity},
		Name:       vm.Name,
		OS:         first(guestNames[vm.OS], vm.OS),
		Serial:     vm.Serial(),
		Source:     protocol.SourceOther,
		CPU:        architectures[strings.ToLower(vm.CPUType)],
		ConfigHash: vm.ConfigHash(),
	}
	r.Windows = strings.HasPrefix(vm.OS, "win")
	r.NeverStarted = vm.Uptime == 0 && noTools(vm.GuestTools)
	switch vm.Security.Encrypted {
	case prlctl.SwitchOff:
		r.Row.Encryption = protocol.NotEncrypted
	case prlctl.SwitchOn:
		r.Row.Encryption = protocol.Encrypted
	}
	r.explainMissing()
}

// explainMissing gives every cell that the description leaves empty the reason
// of its column. Who knows more says so later.
func (r *record) explainMissing() {
	row := protocol.Row{VM: r.Row}
	for _, column := range protocol.Columns {
		if column.Hidden {
			r.explain(column.ID, column.Value(&row), column.Missing)
		}
	}
}

// observe takes from a listing what changes without a setting being changed.
func (r *record) observe(vm prlctl.VM) {
	r.Row.RawState = string(vm.State)
	r.Row.State = vm.State.Portal()
	r.Row.Stale, r.Row.SeenAt = "", time.Time{}
	r.NeverStarted = r.NeverStarted && vm.Uptime == 0 && noTools(vm.GuestTools) && r.LastUsedAt.IsZero() && !wasStarted(vm.State)
	r.observeTools(vm.GuestTools)
	r.explain("tools_version", r.Row.ToolsVersion, r.withoutTools())
	r.explainState(vm.State)
}

// observeTools takes what the tool says of the guest's tools. A bulk list may
// leave the section out (facts/prlctl.md 2.1), which says nothing.
func (r *record) observeTools(tools prlctl.GuestTools) {
	if tools == (prlctl.GuestTools{}) {
		return
	}
	r.Row.ToolsState, r.Row.ToolsVersion = tools.State, tools.Version
	if noTools(tools) {
		r.Row.ToolsVersion = ""
	}
}

// explainState gives the reason of a state that is Unknown.
func (r *record) explainState(state prlctl.State) {
	reason := protocol.CodeNotShown
	if strings.EqualFold(string(state), string(prlctl.StateInvalid)) {
		reason = protocol.CodeVMInvalid
	}
	known := r.Row.State
	if known == protocol.StateUnknown {
		known = ""
	}
	r.explain("vm_state", known, reason)
}

// wasStarted says that a machine in this state has been started at some time.
func wasStarted(state prlctl.State) bool {
	word := state.Portal()
	return word == protocol.StateRunning || word == protocol.StateSuspended
}

// questions are what is asked about a machine's bundle. Its path is the user's
// word, and it is looked at as the user.
func (r *record) questions() []platform.FileQuestion {
	if r.Bundle == "" {
		return nil
	}
	questions := []platform.FileQuestion{{Path: r.Bundle}, {Path: r.Bundle + "/VmInfo.pvi", Max: maxBundleFile}}
	if r.Row.Encryption == protocol.Encrypted {
		questions = append(questions, platform.FileQuestion{Path: r.Bundle + "/config.pvs", Max: maxBundleFile})
	}
	return questions
}

// takeAnswers takes the answers to questions. What cannot be read now stays as
// it was.
func (r *record) takeAnswers(answers []platform.FileAnswer) {
	if len(answers) == 0 {
		r.explainGuest(protocol.CodeNotReadable)
		return
	}
	bundle, info := answers[0], answers[1]
	if bundle.Err == nil && bundle.Folder {
		r.Identity, r.BundleUID = protocol.Bundle{Device: bundle.Device, Inode: bundle.Inode}, &bundle.UID
		r.Row.Bundle = r.Identity
	}
	reason := r.withoutTools()
	switch {
	case info.Err == nil:
		r.takeInfo(info.Data)
	case isAbsent(info.Err):
		r.Row.Edition, r.Row.OSBuild = "", ""
	default:
		reason = protocol.CodeNotReadable
	}
	r.explainGuest(reason)
	if len(answers) > 2 && answers[2].Err == nil {
		r.takeEncryption(answers[2].Data)
	}
}

// takeInfo takes the guest's own words; a file that makes no sense says nothing.
func (r *record) takeInfo(data []byte) {
	info, err := prlctl.ReadVMInfo(data)
	if err != nil {
		return
	}
	guest := info.Guest()
	r.Row.OS = first(guest.Name, r.Row.OS)
	r.Row.Edition = first(guest.Edition, r.Row.Edition)
	r.Row.OSBuild = first(guest.Build, r.Row.OSBuild)
}

// passwordPlugin is the method that asks for a password, the default of the
// product (facts/prlctl.md 2.9). Which one means "by license" is not known, so
// every other one stays plain "Encrypted".
const passwordPlugin = "<parallels-default-plugin>"

func (r *record) takeEncryption(data []byte) {
	config, err := prlctl.ReadConfigPVS(data)
	if err == nil && config.VMEncryptionInfo.PluginID == passwordPlugin {
		r.Row.Encryption = protocol.EncryptedPassword
	}
}

// explainGuest gives the reasons of the columns that only the guest can fill.
func (r *record) explainGuest(reason protocol.Code) {
	r.explain("vm_os", r.Row.OS, reason)
	r.explain("vm_os_build", r.Row.OSBuild, reason)
	if !r.Windows {
		reason = protocol.CodeGuestOS // editions are Windows' own
	}
	r.explain("vm_edition", r.Row.Edition, reason)
}

// explain keeps the reason of a column exactly while its cell is empty.
func (r *record) explain(column, value string, reason protocol.Code) {
	if value != "" {
		delete(r.Row.Gaps, column)
		return
	}
	if r.Row.Gaps == nil {
		r.Row.Gaps = make(map[string]protocol.Code)
	}
	r.Row.Gaps[column] = reason
}

// withoutTools is why the guest has told nothing.
func (r *record) withoutTools() protocol.Code {
	switch {
	case r.NeverStarted:
		return protocol.CodeNeverStarted
	case r.Row.ToolsVersion == "":
		return protocol.CodeNoTools
	}
	return protocol.CodeNotShown
}

func noTools(tools prlctl.GuestTools) bool {
	return tools.Version == "" || tools.State == "not_installed"
}
