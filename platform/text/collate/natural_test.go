package collate

import (
	"slices"
	"testing"
)

func TestNaturalOrder(t *testing.T) {
	t.Parallel()
	want := []string{"", "10", "a", "A", "Ärger", "VM", "vm 2", "VM 9", "VM 09", "VM 10", "vm 10 b", "VM 99999999999999999999", "VM 100000000000000000000", "x"}
	slices.SortFunc(want, CompareNatural)
	order := []string{"", "10", "A", "a", "VM", "vm 2", "VM 9", "VM 09", "VM 10", "vm 10 b", "VM 99999999999999999999", "VM 100000000000000000000", "x", "Ärger"}
	if !slices.Equal(want, order) {
		t.Errorf("%q", want)
	}
}
