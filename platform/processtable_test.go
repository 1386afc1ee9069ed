package platform

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// kernelRecord lays a process out as a Mac's kernel does, with addresses of the
// kernel's around what we read. Its offsets stand for themselves.
func kernelRecord(pid int32, uid uint32, name string, started time.Time, state byte) []byte {
	record := []byte(strings.Repeat("\xa5", 648))
	put := binary.NativeEndian.PutUint32
	binary.NativeEndian.PutUint64(record[0:], uint64(started.Unix()))
	put(record[8:], uint32(started.Nanosecond()/1000))
	put(record[12:], 0)
	record[36] = state
	put(record[40:], uint32(pid))
	binary.NativeEndian.PutUint64(record[56:], 0xffffffff_a5a5a5a5)
	copy(record[243:260], make([]byte, 17))
	copy(record[243:260], name)
	put(record[420:], uid)
	return record
}

func TestParseProcessTable(t *testing.T) {
	t.Parallel()
	const running = 2
	at := time.Date(2026, 11, 2, 9, 30, 0, 123456000, time.UTC)
	var table []byte
	for _, record := range [][]byte{
		kernelRecord(0, 0, "kernel_task", time.Unix(0, 0), running),
		kernelRecord(511, 501, "prl_vm_app", at, running),
		kernelRecord(512, 4294967294, "prl_disp_service", at, running), // nobody, and all 16 bytes
		kernelRecord(513, 501, "seventeen bytes!!", at, running),
		kernelRecord(99999, 501, "prl_vm_app", time.Unix(-1, 0), endedProcess),
		kernelRecord(-1, 0, "", time.Unix(0, 0), running),
	} {
		table = append(table, record...)
	}
	type record struct {
		PID     int
		UID     uint32
		Name    string
		Started int64
		Address uint64
		Ended   bool
	}
	var got []record
	err := parseProcessTable(table, func(r processRecord) {
		i := r.instance
		got = append(got, record{i.pid, i.uid, i.name, i.started, i.argsAddress, r.ended})
	})
	const address = 0xffffffff_a5a5a5a5
	want := []record{
		{0, 0, "kernel_task", 0, address, false},
		{511, 501, "prl_vm_app", at.UnixMicro(), address, false},
		{512, 4294967294, "prl_disp_service", at.UnixMicro(), address, false},
		{513, 501, "seventeen bytes!!", at.UnixMicro(), address, false},
		{99999, 501, "prl_vm_app", -1e6, address, true},
		{-1, 0, "", 0, address, false},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, records (-want +got):\n%s", err, diff)
	}
	for _, cut := range []int{1, recordSize - 1, recordSize + 1} {
		if err := parseProcessTable(table[:cut], func(processRecord) {}); err == nil {
			t.Errorf("no error for %d bytes", cut)
		}
	}
}

func TestVendorProcesses(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 2, 9, 30, 0, 123456000, time.UTC)
	table := append(kernelRecord(1, 0, "launchd", at, 2), kernelRecord(511, 501, "prl_vm_app", at, 2)...)
	table = append(table, kernelRecord(512, 502, "prl_vm_app", at, endedProcess)...)
	var known programCache
	asked := 0
	for range 2 {
		got, err := known.vendorProcesses(table, func(pid int) runningProgram {
			asked++
			return runningProgram{vmAppPath, VMArguments{VMID: "{1}"}}
		})
		want := []Process{{PID: 511, UID: 501, Name: "prl_vm_app", Path: vmAppPath, Started: at.Local(), Arguments: VMArguments{VMID: "{1}"}}}
		if diff := cmp.Diff(want, got); err != nil || diff != "" || asked != 1 {
			t.Errorf("%v, %d reads, processes (-want +got):\n%s", err, asked, diff)
		}
	}
}

// The path that a process can write itself does not open its arguments, nor does
// a path of a program elsewhere.
func TestH61_ArgumentsAreReadOnlyInsideTheBundle(t *testing.T) {
	t.Parallel()
	const elsewhere = "/Users/alice/prl_vm_app"
	arguments := func(path string) []byte { return processArgs(3, path, "\x00", "a", "--uuid", "{1}") }
	cases := map[string]struct {
		kernelPath string
		known      bool
		data       []byte
		err        error
		want       runningProgram
		reads      int
	}{
		"vendor's":                      {vmAppPath, true, arguments("anything"), nil, runningProgram{vmAppPath, VMArguments{VMID: "{1}"}}, 1},
		"somewhere else":                {elsewhere, true, arguments(vmAppPath), nil, runningProgram{path: elsewhere}, 0},
		"beside the bundle":             {VendorBundle + "2/prl_vm_app", true, arguments(vmAppPath), nil, runningProgram{path: VendorBundle + "2/prl_vm_app"}, 0},
		"deleted":                       {"", true, arguments(vmAppPath), nil, runningProgram{}, 0},
		"ended meanwhile":               {vmAppPath, true, nil, errors.New("gone"), runningProgram{path: vmAppPath}, 1},
		"nonsense":                      {vmAppPath, true, []byte{1}, nil, runningProgram{path: vmAppPath}, 1},
		"no such call":                  {"", false, arguments(vmAppPath), nil, runningProgram{vmAppPath, VMArguments{VMID: "{1}"}}, 1},
		"no such call, somewhere else":  {"", false, arguments(elsewhere), nil, runningProgram{path: elsewhere}, 1},
		"no such call, path goes out":   {"", false, arguments(VendorBundle + "/../x"), nil, runningProgram{path: VendorBundle + "/../x"}, 1},
		"no such call, doubled slash":   {"", false, arguments(VendorBundle + "//x"), nil, runningProgram{VendorBundle + "//x", VMArguments{VMID: "{1}"}}, 1},
		"no such call, ended meanwhile": {"", false, nil, errors.New("gone"), runningProgram{}, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reads := 0
			got := programOf(func() (string, bool) { return c.kernelPath, c.known }, func() ([]byte, error) { reads++; return c.data, c.err })
			if got != c.want || reads != c.reads {
				t.Errorf("got %+v after %d reads, want %+v after %d", got, reads, c.want, c.reads)
			}
		})
	}
}

func FuzzParseProcessTable(f *testing.F) {
	record := kernelRecord(511, 501, "prl_vm_app", time.Unix(1793611800, 0), 2)
	f.Add(record)
	f.Add(append(record, record...))
	f.Add(record[:100])
	f.Fuzz(func(t *testing.T, table []byte) {
		records := 0
		err := parseProcessTable(table, func(r processRecord) {
			records++
			if len(r.instance.name) > recordNameSize {
				t.Errorf("a name of %d bytes", len(r.instance.name))
			}
		})
		if (err == nil) != (len(table)%recordSize == 0) || err == nil && records != len(table)/recordSize {
			t.Errorf("%d records of %d bytes, %v", records, len(table), err)
		}
	})
}
