package cli

import (
	"encoding/csv"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prlagent/cmd/prlportal/portaltest"
	"prlagent/platform/text"
)

// The flags take what the URLs of the admin plane take, and refuse the same.
func TestINV_29_INV_30_INV_31_AsPeopleTypeFlags(t *testing.T) {
	t.Parallel()
	operator := operatorOf(t, portaltest.AccentedMacs(t))
	for _, asked := range portaltest.TypedQueries {
		flag := "--" + strings.ReplaceAll(asked.Parameter, "_", "-") + "=" + asked.Typed
		args := []string{"vms", "--format", "csv", "--columns", "vm_name", flag}
		if asked.Refused != "" {
			operator.wrong(asked.Refused, args...)
			continue
		}
		lines := strings.Split(strings.TrimSpace(operator.run(args...)), "\n")
		if shown := strings.Join(lines[1:], ", "); shown != asked.Shows {
			t.Errorf("%+q shows %+q, want %+q", flag, shown, asked.Shows)
		}
	}
}

func TestINV_28_ColumnsAndFormatsAsPeopleTypeThem(t *testing.T) {
	t.Parallel()
	operator := operatorOf(t, portaltest.AccentedMacs(t))
	const head = "vm_name,cpu"
	for _, typed := range [][]string{
		{"--columns", "VM_Name, CPU", "--format", "CSV"},
		{"--columns", " vm_name ,\u00a0cpu\ufeff", "--format", " csv "},
	} {
		if out := operator.run(append([]string{"vms"}, typed...)...); !strings.HasPrefix(out, head+"\n") {
			t.Errorf("%q shows %s", typed, out)
		}
	}
	if out := operator.run("vms", "--columns", "+CPU, –user_name,–vm_os,–vm_state, —computer_name,−last_used"); !strings.HasPrefix(out, "VM device name") || strings.Contains(out, "User name") || !strings.Contains(out, "CPU") {
		t.Errorf("changed columns show %s", out)
	}
	if out := operator.run("vms", "--columns", "ALL", "--format", "csv"); !strings.Contains(out, ",gaps\n") {
		t.Errorf("all columns are %s", out)
	}
	if out := operator.run("export", "Devices", "--format", "NDJSON"); strings.Count(out, "\n") != 2 {
		t.Errorf("devices are %s", out)
	}
	operator.wrong(`there is no column "vm name"`, "vms", "--columns", "vm name")
	operator.wrong("columns: expected a value", "vms", "--columns", "")
	operator.wrong(`"–since" begins with a dash, flags begin with two hyphens`, "vms", "–since", "-1h")
	operator.wrong(`has curly quotes, which are none for the shell`, "vms", "--filter", "“vm_name", "contains", "x”")
}

func TestDevicesAndGroupsAsPeopleTypeThem(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	operator := operatorOf(t, portal)
	for _, typed := range []string{"{" + strings.ToUpper(m.DeviceID) + "}", " c02aaaaaaaaa\u00a0"} {
		_, err := prlportal(t, append([]string{"devices", "approve", typed}, operator.flags...)...)
		if err == nil || !strings.Contains(err.Error(), "nothing waits for approval at "+m.DeviceID) {
			t.Errorf("approve %q: %v", typed, err)
		}
	}
	bare := portaltest.NewMac(t, portal, "")
	bare.Enroll(t, http.StatusCreated)
	hardware := bare.Enrollment().HardwareUUID
	bare.Key = portaltest.NewKey(t)
	bare.Enroll(t, http.StatusAccepted)
	portaltest.MustContain(t, operator.run("devices"), "hardware UUID "+hardware+" asks to be enrolled")
	for _, typed := range []string{"", " ", "{}"} { // no serial number is no name
		operator.wrong("name the device", "devices", "approve", typed)
	}
	portaltest.MustContain(t, operator.run("devices", "approve", strings.ToLower(hardware)), "Approved key", bare.DeviceID+" (hardware UUID "+hardware+")")

	path := filepath.Join(t.TempDir(), "prlagent.plist")
	mustRun(t, "profile", "--dir", portal.Dir, "-o", path, "--format", "PLIST", "--mode", " Monitor", "--group", " Finance–EU ")
	if data, err := os.ReadFile(path); err != nil || !strings.Contains(string(data), "<string>finance-eu</string>") || !strings.Contains(string(data), "<string>monitor</string>") {
		t.Errorf("the profile is %s, %v", data, err)
	}
	operator.wrong("--group is a group id: 1 to 64 of a-z 0-9", "profile", "-o", path, "--group", "the finance")
}

func TestCSVForExcel(t *testing.T) {
	t.Parallel()
	operator := operatorOf(t, portaltest.AccentedMacs(t))
	plain := operator.run("vms", "--format", "csv")
	if marked := operator.run("vms", "--format", "csv", "--bom"); marked != text.ByteOrderMark+plain {
		t.Errorf("with a mark: %+q", marked)
	}
	path := filepath.Join(t.TempDir(), "vms.csv")
	operator.run("export", "--bom", "-o", path)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rest, marked := strings.CutPrefix(string(data), text.ByteOrderMark)
	lines, err := csv.NewReader(strings.NewReader(rest)).ReadAll()
	if !marked || err != nil || len(lines) != 3 || lines[0][0] != "user_name" {
		t.Errorf("the file is %+q, %v", data, err)
	}
	for _, args := range [][]string{{"vms", "--bom"}, {"vms", "--bom", "--json"}, {"export", "--bom", "--format", "ndjson"}} {
		operator.wrong("--bom is for csv", args...)
	}
}
