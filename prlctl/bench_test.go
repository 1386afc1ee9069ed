package prlctl

import (
	"bytes"
	"fmt"
	"testing"
)

// BenchmarkList1000VMs reads and hashes the listing of a thousand virtual
// machines, about 4.2 KB each. Budget: 100 ms (DESIGN 11).
func BenchmarkList1000VMs(b *testing.B) {
	output := manyVMs(b, 1000)
	b.SetBytes(int64(len(output)))
	b.ReportAllocs()
	for b.Loop() {
		listing, err := readListing(output)
		if err != nil || len(listing.VMs) != 1000 || listing.VMs[999].ConfigHash() == "" {
			b.Fatalf("%d virtual machines, %v", len(listing.VMs), err)
		}
	}
}

// manyVMs repeats a recorded machine with IDs of their own.
func manyVMs(tb testing.TB, count int) []byte {
	object := bytes.Trim(bytes.TrimSpace(sample(tb, "list-windows-running.json")), "[]")
	output := []byte("[")
	for i := range count {
		if i > 0 {
			output = append(output, ',')
		}
		id := fmt.Sprintf("%08x%s", i, windowsID[8:])
		output = append(output, bytes.Replace(object, []byte(windowsID), []byte(id), 1)...)
	}
	return append(output, ']')
}
