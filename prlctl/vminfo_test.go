package prlctl

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCaptures_2_VMInfo(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		info  VMInfo
		guest GuestOS
	}{
		"VmInfo.pvi": {
			VMInfo{
				RealOSType: "Microsoft Windows, 64bit, 4 cpu(s), page: 4096b", RealOSTypeID: 8, RealOSVersion: "10.0.22631,",
				RealOSDetails: "ServicePack: 0.0; SuiteMask: 0x100; ProductType: 1; ProductEdition: 48",
			},
			GuestOS{Edition: "Pro", Build: "22631"},
		},
		"VmInfo-27.pvi": {
			VMInfo{
				RealOSType: "Microsoft Windows, 64bit, 4 cpu(s), page: 4096b", RealOSTypeID: 8, RealOSVersion: "10.0.26100,",
				RealOSDetails:  "ServicePack: 0.0; SuiteMask: 0x300; ProductType: 1; ProductEdition: 101",
				DisplayVersion: "24H2", DeviceName: "DESKTOP-7", BitLockerStatus: "off",
				SerialNumber:          "Parallels-F1 1D 80 98 10 FE 40 D9 87 1E 27 AF 1E 66 16 1E",
				UEFIPlatformKeySHA256: "6b0e5f1f6c0a7d0d7c3f0a4f5c9f1d2e3b4a5968778695a4b3c2d1e0f1021324",
			},
			GuestOS{Edition: "Home", Version: "24H2", Build: "26100", DeviceName: "DESKTOP-7", BitLockerStatus: "off",
				SerialNumber: "Parallels-F1 1D 80 98 10 FE 40 D9 87 1E 27 AF 1E 66 16 1E"},
		},
		"VmInfo-new.pvi": {VMInfo{RealOSTypeID: 255}, GuestOS{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ReadVMInfo(sample(t, name))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&c.info, got); diff != "" {
				t.Errorf("info (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.guest, got.Guest()); diff != "" {
				t.Errorf("guest (-want +got):\n%s", diff)
			}
		})
	}
	bare, err := ReadVMInfo([]byte(`<GuestOsInformation><RealOsVersion>10.0.22631, </RealOsVersion></GuestOsInformation>`))
	if err != nil || bare.RealOSVersion != "10.0.22631," {
		t.Errorf("GuestOsInformation as the root: got %+v, %v", bare, err)
	}
}

// INV-09 and INV-26 on the captured forms: numbers are no name, and what was
// never reported is not known.
func TestINV_09_INV_26_GuestSystem(t *testing.T) {
	t.Parallel()
	const windows = "<RealOsType>Microsoft Windows, 64bit, 2 cpu(s), page: 4096b</RealOsType><RealOsTypeId>8</RealOsTypeId>"
	details := func(edition string) string {
		return "<RealOsDetails>ServicePack: 0.0; SuiteMask: 0x100; ProductType: 3; ProductEdition: " + edition + "</RealOsDetails>"
	}
	cases := map[string]struct {
		elements string
		want     GuestOS
	}{
		"Windows":                               {windows + "<RealOsVersion>10.0.22631, </RealOsVersion>" + details("48"), GuestOS{Edition: "Pro", Build: "22631"}},
		"Windows with a service pack":           {windows + "<RealOsVersion>6.1.7601, Service Pack 1</RealOsVersion>" + details("1"), GuestOS{Edition: "Ultimate", Build: "7601"}},
		"Windows with a revision":               {windows + "<RealOsVersion>10.0.26100.1742, </RealOsVersion>", GuestOS{Build: "26100"}},
		"Windows Server":                        {windows + "<RealOsVersion>10.0.20348, </RealOsVersion>" + details("8"), GuestOS{Edition: "Datacenter", Build: "20348"}},
		"an edition that is in no table":        {windows + "<RealOsVersion>10.0.22631, </RealOsVersion>" + details("54321"), GuestOS{Build: "22631"}},
		"an edition that is no number":          {windows + "<RealOsVersion>10.0.22631, </RealOsVersion>" + details("Pro"), GuestOS{Build: "22631"}},
		"no edition":                            {windows + "<RealOsVersion>10.0.22631, </RealOsVersion>", GuestOS{Build: "22631"}},
		"Windows by its comma alone":            {"<RealOsVersion>10.0.22631, </RealOsVersion>", GuestOS{Build: "22631"}},
		"unknown, as when Tools never reported": {windows + "<RealOsVersion>unknown</RealOsVersion>", GuestOS{}},
		"another's unknown words": {"<RealOsTypeId>9</RealOsTypeId><RealOsVersion>Unknown</RealOsVersion><OsKernelVersion>unknown</OsKernelVersion>" +
			"<SerialNumber>UNKNOWN</SerialNumber><DeviceName>unknown</DeviceName>", GuestOS{}},
		"elements of another section": {"<Other><RealOsTypeId>9</RealOsTypeId><RealOsVersion>24.04</RealOsVersion></Other>", GuestOS{}},
		"empty elements":              {"<RealOsType/><RealOsVersion/><RealOsDetails/><OsKernelVersion/>", GuestOS{}},
		"a type that was never known": {"<RealOsTypeId>255</RealOsTypeId><RealOsVersion>10.0.22631, </RealOsVersion>" + details("48"), GuestOS{}},
		"Linux, a version":            {"<RealOsTypeId>9</RealOsTypeId><RealOsVersion>6.8.0-41-generic</RealOsVersion>", GuestOS{Build: "6.8.0-41-generic"}},
		"Linux, a version and a kernel": {
			"<RealOsTypeId>9</RealOsTypeId><RealOsVersion>24.04</RealOsVersion><OsKernelVersion>6.8.0-41-generic</OsKernelVersion>",
			GuestOS{Build: "6.8.0-41-generic"}},
		"Linux, a name": {
			"<RealOsTypeId>9</RealOsTypeId><RealOsVersion>Ubuntu 24.04.1 LTS</RealOsVersion><OsKernelVersion>6.8.0-41-generic</OsKernelVersion>",
			GuestOS{Name: "Ubuntu 24.04.1 LTS", Build: "6.8.0-41-generic"}},
		"Linux with a comma and an edition": {
			"<RealOsTypeId>9</RealOsTypeId><RealOsVersion>24.4.1, noble</RealOsVersion>" + details("48"), GuestOS{Build: "24.4.1, noble"}},
		"Linux by its text, with a comma": {
			"<RealOsType>Linux</RealOsType><RealOsVersion>24.4.1, noble</RealOsVersion>" + details("48"), GuestOS{Build: "24.4.1, noble"}},
		"macOS, a version": {"<RealOsTypeId>7</RealOsTypeId><RealOsVersion>15.1</RealOsVersion>", GuestOS{Build: "15.1"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			info, err := ReadVMInfo([]byte(`<VmInfo dyn_lists="" schemaVersion="1.0"><GuestOsInformation>` + c.elements + `</GuestOsInformation></VmInfo>`))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, info.Guest()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// No real file had a name where Windows has its version, or a kernel's version
// beside it (captures 2): neither is taken apart, and none is the name.
func TestCaptures_2_TextsThatNoWindowsHas(t *testing.T) {
	t.Parallel()
	const details = "ServicePack: 0.0; SuiteMask: 0x100; ProductType: 1; ProductEdition: 48"
	for _, info := range []VMInfo{
		{RealOSTypeID: 8, RealOSVersion: "Windows 11 Home, Version 22H2", OSKernelVersion: "10.0.22621", RealOSDetails: details},
		{RealOSType: "Microsoft Windows, 64bit, 4 cpu(s), page: 4096b", RealOSVersion: "Eleven", OSKernelVersion: "10.0.22621", RealOSDetails: details},
		{RealOSVersion: "Microsoft Windows 11 Enterprise LTSC, Version 24H2, ", OSKernelVersion: "10.0.26100.1742", RealOSDetails: details},
		{RealOSTypeID: 8, RealOSVersion: "10.0, ", OSKernelVersion: "10.0.19045", RealOSDetails: details},
		{RealOSTypeID: 8, RealOSVersion: "10.0.Pro, ", RealOSDetails: details},
	} {
		if diff := cmp.Diff(GuestOS{Edition: "Pro"}, info.Guest()); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", info, diff)
		}
	}
}
