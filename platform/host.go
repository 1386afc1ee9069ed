package platform

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"prlagent/platform/plist"
	"prlagent/platform/safefile"
	"prlagent/platform/tool"
)

// CodeMacUnidentified is the code of a Mac that does not say who it is.
const CodeMacUnidentified = "mac_unidentified"

// errNoHardwareUUID: ioreg answered, and has none.
var errNoHardwareUUID error = unidentifiedError{}

type unidentifiedError struct{}

func (unidentifiedError) Error() string     { return "no hardware UUID" }
func (unidentifiedError) ErrorCode() string { return CodeMacUnidentified }

// The two kinds of CPU, in the guide's words.
const (
	CPUIntel = "Intel"
	CPUArm   = "Arm"
)

// Host is what the Mac is.
type Host struct {
	ComputerName string // as set in System Settings; "" when none is set
	Serial       string // "" where the Mac has none, as after some repairs
	HardwareUUID string
	Model        string // such as MacBookPro18,3
	MacOSVersion string // such as 26.1
	MacOSBuild   string
	CPU          string // CPUIntel or CPUArm, also for a process under Rosetta
}

// fixedFacts can not change while we run.
type fixedFacts struct{ serial, hardwareUUID, model, cpu string }

// Host reads the facts of facts/macos.md 8. When some can not be read, the
// others are returned beside the error. What can not change is asked for once.
func (m *Machine) Host(ctx context.Context) (Host, error) {
	fixed, fixedError := m.fixedFacts(ctx)
	name, nameError := m.computerName(ctx)
	version, build, versionError := m.systemVersion()
	return Host{
		ComputerName: name,
		Serial:       fixed.serial,
		HardwareUUID: fixed.hardwareUUID,
		Model:        fixed.model,
		MacOSVersion: version,
		MacOSBuild:   build,
		CPU:          fixed.cpu,
	}, errors.Join(fixedError, nameError, versionError)
}

func (m *Machine) fixedFacts(ctx context.Context) (fixedFacts, error) {
	m.mu.Lock()
	known := m.fixed
	m.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	var facts fixedFacts
	var identityError, cpuError, modelError error
	facts.serial, facts.hardwareUUID, identityError = m.hardwareIdentity(ctx)
	facts.cpu, cpuError = m.cpuKind(ctx)
	facts.model, modelError = m.modelIdentifier(ctx)
	if err := errors.Join(identityError, cpuError, modelError); err != nil {
		return facts, err
	}
	m.mu.Lock()
	m.fixed = &facts
	m.mu.Unlock()
	return facts, nil
}

func (m *Machine) hardwareIdentity(ctx context.Context) (serial, uuid string, err error) {
	out, err := m.runQuery(ctx, &tool.Command{
		Path: "/usr/sbin/ioreg",
		Args: []string{"-a", "-r", "-d1", "-c", "IOPlatformExpertDevice"},
	})
	if err == nil {
		serial, uuid, err = parseHardwareIdentity(out)
	}
	if err != nil {
		return "", "", fmt.Errorf("read hardware identity: %w", err)
	}
	return serial, uuid, nil
}

// parseHardwareIdentity reads `ioreg -a -r`: a list with the one device, or the
// device itself. A serial number can be missing or blank; a Mac without a
// hardware UUID is none that can be told from others.
func parseHardwareIdentity(data []byte) (serial, uuid string, err error) {
	tree, err := plist.Decode(data)
	if err != nil {
		return "", "", err
	}
	if list, ok := tree.([]any); ok && len(list) > 0 {
		tree = list[0]
	}
	device, _ := tree.(map[string]any)
	serial, _ = device["IOPlatformSerialNumber"].(string)
	uuid, _ = device["IOPlatformUUID"].(string)
	serial, uuid = strings.TrimSpace(serial), strings.TrimSpace(uuid)
	if uuid == "" {
		return "", "", errNoHardwareUUID
	}
	return serial, uuid, nil
}

// computerName: scutil prints nothing on stdout and exits 1 when none is set.
func (m *Machine) computerName(ctx context.Context) (string, error) {
	result, err := m.tools.Run(ctx, &tool.Command{Path: "/usr/sbin/scutil", Args: []string{"--get", "ComputerName"}})
	if err != nil {
		return "", fmt.Errorf("read computer name: %w", err)
	}
	return strings.TrimSpace(string(result.Stdout)), nil
}

// cpuKind asks for a sysctl that only Apple silicon has, and that tells the
// truth to a process under Rosetta too. An Intel Mac says that there is no such
// name.
func (m *Machine) cpuKind(ctx context.Context) (string, error) {
	result, err := m.tools.Run(ctx, sysctlCommand("hw.optional.arm64"))
	if err != nil {
		return "", fmt.Errorf("read kind of CPU: %w", err)
	}
	if result.ExitCode == 0 && strings.TrimSpace(string(result.Stdout)) == "1" {
		return CPUArm, nil
	}
	return CPUIntel, nil
}

func (m *Machine) modelIdentifier(ctx context.Context) (string, error) {
	out, err := m.runQuery(ctx, sysctlCommand("hw.model"))
	if err != nil {
		return "", fmt.Errorf("read model: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

func sysctlCommand(name string) *tool.Command {
	return &tool.Command{Path: "/usr/sbin/sysctl", Args: []string{"-n", name}}
}

func (m *Machine) systemVersion() (version, build string, err error) {
	const macPath = "/System/Library/CoreServices/SystemVersion.plist"
	data, err := safefile.ReadFile(m.Path(macPath), 64<<10)
	if err == nil {
		version, build, err = parseSystemVersion(data)
	}
	if err != nil {
		return "", "", fmt.Errorf("read macOS version: %w", err)
	}
	return version, build, nil
}

func parseSystemVersion(data []byte) (version, build string, err error) {
	tree, err := plist.Decode(data)
	if err != nil {
		return "", "", err
	}
	fields, _ := tree.(map[string]any)
	version, _ = fields["ProductVersion"].(string)
	build, _ = fields["ProductBuildVersion"].(string)
	if version == "" {
		return "", "", errors.New("no product version")
	}
	return version, build, nil
}
