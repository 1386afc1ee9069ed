package prlctl

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// sample reads a recorded output; testdata/prlctl/README.md says what each
// stands on.
func sample(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "testdata", "prlctl", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// listed reads a listing that must be readable.
func listed(t testing.TB, output []byte) Listing {
	t.Helper()
	listing, err := readListing(output)
	if err != nil {
		t.Fatalf("read listing: %v", err)
	}
	return listing
}

// single reads a listing of exactly one virtual machine.
func single(t testing.TB, output []byte) *VM {
	t.Helper()
	listing := listed(t, output)
	if len(listing.VMs) != 1 || len(listing.Unreadable) != 0 {
		t.Fatalf("want one virtual machine, got %d and %v", len(listing.VMs), listing.Unreadable)
	}
	return &listing.VMs[0]
}

// generic decodes JSON with the standard library, as an independent reader.
func generic(t testing.TB, data []byte) any {
	t.Helper()
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatalf("standard decoder: %v", err)
	}
	return value
}
