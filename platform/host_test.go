package platform

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	ioregLine  = "/usr/sbin/ioreg -a -r -d1 -c IOPlatformExpertDevice"
	nameLine   = "/usr/sbin/scutil --get ComputerName"
	armLine    = "/usr/sbin/sysctl -n hw.optional.arm64"
	modelLine  = "/usr/sbin/sysctl -n hw.model"
	systemFile = "/System/Library/CoreServices/SystemVersion.plist"
)

func hostAnswers(t *testing.T) map[string]answer {
	return map[string]answer{
		ioregLine: {stdout: sample(t, "device.plist")},
		nameLine:  {stdout: "Alice’s MacBook Pro\n"},
		armLine:   {stdout: "1\n"},
		modelLine: {stdout: "MacBookPro18,3\n"},
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	whole := Host{
		ComputerName: "Alice’s MacBook Pro", Serial: "C02SIM000001", HardwareUUID: "5E1F0D1C-0000-4000-8000-00000000A001",
		Model: "MacBookPro18,3", MacOSVersion: "26.1", MacOSBuild: "25B78", CPU: CPUArm,
	}
	without := func(change func(*Host)) Host {
		changed := whole
		change(&changed)
		return changed
	}
	cases := map[string]struct {
		answers map[string]answer
		want    Host
		fails   bool
	}{
		"Apple silicon": {want: whole},
		"Intel, which does not know the name": {
			answers: map[string]answer{armLine: {exit: 1}},
			want:    without(func(h *Host) { h.CPU = CPUIntel }),
		},
		"no computer name": {
			answers: map[string]answer{nameLine: {exit: 1}},
			want:    without(func(h *Host) { h.ComputerName = "" }),
		},
		"device without a list": {
			answers: map[string]answer{ioregLine: {stdout: `<plist version="1.0"><dict><key>IOPlatformSerialNumber</key><string>S</string><key>IOPlatformUUID</key><string>U</string></dict></plist>`}},
			want:    without(func(h *Host) { h.Serial, h.HardwareUUID = "S", "U" }),
		},
		"device without a serial": {
			answers: map[string]answer{ioregLine: {stdout: `<plist version="1.0"><array><dict><key>IOPlatformUUID</key><string>U</string></dict></array></plist>`}},
			want:    without(func(h *Host) { h.Serial, h.HardwareUUID = "", "U" }),
		},
		"device with a blank serial": {
			answers: map[string]answer{ioregLine: {stdout: `<plist version="1.0"><array><dict><key>IOPlatformSerialNumber</key><string>  </string><key>IOPlatformUUID</key><string>U</string></dict></array></plist>`}},
			want:    without(func(h *Host) { h.Serial, h.HardwareUUID = "", "U" }),
		},
		"device without a hardware UUID": {
			answers: map[string]answer{ioregLine: {stdout: `<plist version="1.0"><array><dict><key>IOPlatformSerialNumber</key><string>S</string></dict></array></plist>`}},
			want:    without(func(h *Host) { h.Serial, h.HardwareUUID = "", "" }),
			fails:   true,
		},
		"no device": {
			answers: map[string]answer{ioregLine: {stdout: `<plist version="1.0"><array/></plist>`}},
			want:    without(func(h *Host) { h.Serial, h.HardwareUUID = "", "" }),
			fails:   true,
		},
		"no model": {
			answers: map[string]answer{modelLine: {exit: 1}},
			want:    without(func(h *Host) { h.Model = "" }),
			fails:   true,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			place(t, root, systemFile, sample(t, "SystemVersion.plist"))
			answers := hostAnswers(t)
			maps.Copy(answers, c.answers)
			host, err := New(root, &fakeRunner{answers: answers}).Host(t.Context())
			if (err != nil) != c.fails {
				t.Errorf("got error %v", err)
			}
			if diff := cmp.Diff(c.want, host); diff != "" {
				t.Errorf("host (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHostWithoutASystemVersionKeepsTheRest(t *testing.T) {
	t.Parallel()
	host, err := New(t.TempDir(), &fakeRunner{answers: hostAnswers(t)}).Host(t.Context())
	if err == nil || host.MacOSVersion != "" || host.Serial != "C02SIM000001" {
		t.Errorf("got %+v, %v", host, err)
	}
}

func TestHostAsksOnceForWhatCanNotChange(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	place(t, root, systemFile, sample(t, "SystemVersion.plist"))
	runner := &fakeRunner{answers: hostAnswers(t)}
	machine := New(root, runner)
	var hosts [2]Host
	for index := range hosts {
		var err error
		if hosts[index], err = machine.Host(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if hosts[0] != hosts[1] {
		t.Errorf("got %+v, then %+v", hosts[0], hosts[1])
	}
	runs := []int{runner.times("/usr/sbin/ioreg"), runner.times("/usr/sbin/sysctl"), runner.times("/usr/sbin/scutil")}
	if diff := cmp.Diff([]int{1, 2, 2}, runs); diff != "" {
		t.Errorf("runs of ioreg, sysctl, scutil (-want +got):\n%s", diff)
	}
}

func FuzzParseHardwareIdentity(f *testing.F) {
	f.Add([]byte(sample(f, "device.plist")))
	f.Add([]byte(`<plist version="1.0"><array><string/></array></plist>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		serial, uuid, err := parseHardwareIdentity(data)
		if (err == nil) != (uuid != "") || err != nil && serial != "" {
			t.Errorf("got %q, %q, %v", serial, uuid, err)
		}
	})
}

func FuzzParseSystemVersion(f *testing.F) {
	f.Add([]byte(sample(f, "SystemVersion.plist")))
	f.Add([]byte(`<plist version="1.0"><array/></plist>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if version, _, err := parseSystemVersion(data); (err == nil) != (version != "") {
			t.Errorf("got %q, %v", version, err)
		}
	})
}
