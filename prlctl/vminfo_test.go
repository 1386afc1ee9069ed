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
			if diff := cmp.Diff(c.info, got); diff != "" {
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
		"Windows of two numbers and a kernel":   {windows + "<RealOsVersion>10.0, </RealOsVersion><OsKernelVersion>10.0.19045</OsKernelVersion>", GuestOS{Build: "19045"}},
		"unknown, as when Tools never reported": {windows + "<RealOsVersion>unknown</RealOsVersion>", GuestOS{}},
		"empty elements":                        {"<RealOsType/><RealOsVersion/><RealOsDetails/><OsKernelVersion/>", GuestOS{}},
		"a type that was never known":           {"<RealOsTypeId>255</RealOsTypeId><RealOsVersion>10.0.22631, </RealOsVersion>" + details("48"), GuestOS{}},
		"Linux, a version":                      {"<RealOsTypeId>9</RealOsTypeId><RealOsVersion>6.8.0-41-generic</RealOsVersion>", GuestOS{Build: "6.8.0-41-generic"}},
		"Linux, a version and a kernel": {
			"<RealOsTypeId>9</RealOsTypeId><RealOsVersion>24.04</RealOsVersion><OsKernelVersion>6.8.0-41-generic</OsKernelVersion>",
			GuestOS{Build: "6.8.0-41-generic"}},
		"Linux, a name": {
			"<RealOsTypeId>9</RealOsTypeId><RealOsVersion>Ubuntu 24.04.1 LTS</RealOsVersion><OsKernelVersion>6.8.0-41-generic</OsKernelVersion>",
			GuestOS{Name: "Ubuntu 24.04.1 LTS", Build: "6.8.0-41-generic"}},
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

// A text that is a name, as no real file was seen to have.
func TestINV_09_GuestSystemAsAText(t *testing.T) {
	t.Parallel()
	cases := []struct {
		version, kernel string
		want            GuestOS
	}{
		{"Windows 11 Pro, Version 22H2", "10.0.22621", GuestOS{Name: "Windows 11", Edition: "Pro", Version: "22H2", Build: "22621"}},
		{"Microsoft Windows 11 Enterprise LTSC, Version 24H2, ", "10.0.26100.1742", GuestOS{Name: "Windows 11", Edition: "Enterprise LTSC", Version: "24H2", Build: "26100.1742"}},
		{"Windows Server 2012 R2 Standard", "6.3.9600", GuestOS{Name: "Windows Server 2012 R2", Edition: "Standard", Version: "", Build: "9600"}},
		{"Windows 10", "", GuestOS{Name: "Windows 10", Edition: "", Version: "", Build: ""}},
		{"Windows", "10.0", GuestOS{Name: "Windows", Edition: "", Version: "", Build: "10.0"}},
		{"Windows Server", "", GuestOS{Name: "Windows Server", Edition: "", Version: "", Build: ""}},
		{"Ubuntu 24.04.1 LTS", "6.8.0-41-generic", GuestOS{Name: "Ubuntu 24.04.1 LTS", Edition: "", Version: "", Build: "6.8.0-41-generic"}},
		{"", "", GuestOS{}},
	}
	for _, c := range cases {
		got := VMInfo{RealOSVersion: c.version, OSKernelVersion: c.kernel}.Guest()
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q, %q (-want +got):\n%s", c.version, c.kernel, diff)
		}
	}
}
