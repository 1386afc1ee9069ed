package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/query"
	"prlagent/cmd/prlportal/storage"
)

// watchedStore counts the reports that are read, and lets a test do something
// between the read of a device and that of its report.
type watchedStore struct {
	fleet.Store
	reports int
	between func()
}

func (c *watchedStore) Report(ctx context.Context, id string) (storage.Report, error) {
	c.reports++
	if c.between != nil {
		c.between()
	}
	return c.Store.Report(ctx, id)
}

// aDevice is a device with one row named name.
func aDevice(id, name string) storage.Change {
	return storage.Change{
		Device: storage.Device{ID: id, Serial: "C02" + id, HardwareUUID: id, EnrolledAt: portaltest.Morning, ConfirmedAt: portaltest.Morning, LastCheckinAt: portaltest.Morning},
		Report: &storage.Report{Rows: []storage.Row{{VM: portaltest.WindowsVM(name), FirstSeenAt: portaltest.Morning}}},
	}
}

func rowNames(t *testing.T, read *fleet.Fleet) string {
	t.Helper()
	var names string
	_, err := fleet.Scan{Fleet: read, Now: portaltest.Morning}.VMs(t.Context(), func(view *fleet.VM) error {
		names += view.Name + " "
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestFleetShowsWhatWasSavedLast(t *testing.T) {
	t.Parallel()
	counting := &watchedStore{Store: storage.NewMemory()}
	read := fleet.New(counting, fleet.MaxBytes)
	save := func(change storage.Change) {
		t.Helper()
		if err := read.Save(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	save(aDevice("b", "first"))
	save(aDevice("a", "other"))
	for range 3 {
		if got := rowNames(t, read); got != "other first " {
			t.Errorf("rows are %s", got)
		}
	}
	if counting.reports != 2 {
		t.Errorf("%d reports were read, want 2", counting.reports)
	}
	second := aDevice("b", "second")
	second.Device.Version = 1
	counting.between = func() { // saved after a reader has read the device, and before it keeps it
		counting.between = nil
		third := aDevice("b", "third")
		third.Device.Version = 2
		save(third)
	}
	save(second)
	rowNames(t, read)
	if got := rowNames(t, read); got != "other third " {
		t.Errorf("rows after a save in between are %s", got)
	}
	stale := aDevice("b", "stale")
	if err := read.Save(t.Context(), stale); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("stale save: %v", err)
	}
}

func TestFleetStaysWithinItsBound(t *testing.T) {
	t.Parallel()
	counting := &watchedStore{Store: storage.NewMemory()}
	read := fleet.New(counting, 2*fleet.MemberBytes+1000)
	for i := range 5 {
		if err := read.Save(t.Context(), aDevice(fmt.Sprint(i), fmt.Sprint("vm", i))); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if got := rowNames(t, read); got != "vm0 vm1 vm2 vm3 vm4 " {
			t.Errorf("rows are %s", got)
		}
	}
	if size, limit := read.Held(); size > limit || counting.reports != 5+3 {
		t.Errorf("%d of %d bytes, and %d reports were read", size, limit, counting.reports)
	}
}

func TestFleetWithManyReadersAndWriters(t *testing.T) {
	t.Parallel()
	read := fleet.New(storage.NewMemory(), fleet.MaxBytes)
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 25 {
				change := aDevice(fmt.Sprint(worker), fmt.Sprint("vm", i))
				change.Device.Version = uint64(i)
				if err := read.Save(t.Context(), change); err != nil {
					t.Error(err)
				}
				_, err := fleet.Scan{Fleet: read, Now: portaltest.Morning}.VMs(t.Context(), func(view *fleet.VM) error {
					if view.Extra.DeviceID == fmt.Sprint(worker) && view.Name != fmt.Sprint("vm", i) {
						t.Errorf("own row is %s after vm%d was saved", view.Name, i)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

// The figures of the read side: 10,000 Macs with three virtual machines each.
func BenchmarkReadSide(b *testing.B) {
	read := benchFleet(b, 10_000, 3)
	began := time.Now()
	before := heap()
	if _, err := (fleet.Scan{Fleet: read, Now: portaltest.Morning}).VMs(b.Context(), func(*fleet.VM) error { return nil }); err != nil {
		b.Fatal(err)
	}
	cold, size := time.Since(began), heap()-before
	for name, asked := range map[string]query.Query{
		"page":                {},
		"filter":              {Filters: []string{"pd_version<26.4", "vm_state=Running"}},
		"search":              {Search: "mac-9999"},
		"filter-sort-page":    {Filters: []string{"pd_version>=26.1", "vm_state!=Suspended"}, Sort: []string{"-last_used", "vm_name"}, Page: 3},
		"sort-everything":     {Sort: []string{"vm_name", "-pd_version"}, Page: 25, PerPage: 1000},
		"filter-by-time-sort": {Filters: []string{"last_used after 2026-11-20"}, Sort: []string{"computer_name"}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				made, err := asked.Plan(fleet.VMTable.Columns(), portaltest.Morning)
				if err != nil {
					b.Fatal(err)
				}
				found := query.NewCollector(fleet.VMTable.Matching(made), made.Page*made.PerPage)
				if _, err := (fleet.Scan{Fleet: read, Now: portaltest.Morning}).VMs(b.Context(), found.Add); err != nil {
					b.Fatal(err)
				}
				if rows := found.Page(made.Page, made.PerPage); len(rows) == 0 {
					b.Fatal("nothing was found")
				}
			}
			b.ReportMetric(float64(cold.Milliseconds()), "cold-ms")
			b.ReportMetric(float64(size)/(1<<20), "cache-MiB")
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func benchFleet(b *testing.B, devices, vms int) *fleet.Fleet {
	b.Helper()
	database, err := storage.OpenBolt(filepath.Join(b.TempDir(), "portal.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { database.Close() })
	read := fleet.New(database, fleet.MaxBytes)
	var group sync.WaitGroup
	for worker := range 64 {
		group.Go(func() {
			for i := worker; i < devices; i += 64 {
				if err := read.Save(b.Context(), benchDevice(i, vms)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	group.Wait()
	return read
}

func benchDevice(i, vms int) storage.Change {
	change := aDevice(fmt.Sprintf("device-%06d", i), "")
	change.Report = &storage.Report{
		Host:    protocol.Host{ComputerName: fmt.Sprintf("mac-%d", i), Serial: change.Device.Serial},
		Product: protocol.Product{Installed: true, Version: fmt.Sprintf("26.%d.0", i%6), Build: "57513", State: protocol.ProductKey},
	}
	for range 24 { // the acknowledgements of a day
		change.Device.Requests = append(change.Device.Requests, storage.Request{ID: "0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11", Body: "0123456789abcdef0123456789abcdef", At: portaltest.Morning, Inventory: protocol.InventoryOK})
	}
	states := []string{protocol.StateRunning, protocol.StateStopped, protocol.StateSuspended}
	for n := range vms {
		vm := portaltest.WindowsVM(fmt.Sprintf("Windows %d on %d", n, i*7919%10_000))
		vm.State, vm.LastUsedAt = states[(i+n)%len(states)], portaltest.Morning.Add(-time.Duration(i*31%5000)*time.Minute)
		vm.Serial = fmt.Sprintf("Parallels-%032X", i*vms+n)
		change.Report.Rows = append(change.Report.Rows, storage.Row{VM: vm, FirstSeenAt: portaltest.Morning})
	}
	return change
}
