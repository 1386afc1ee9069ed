package prlctl

import (
	"fmt"
	"testing"
)

// named reads a virtual machine whose name is written as in the quotes.
func named(quoted string) (Listing, error) {
	return readListing([]byte(`[{"ID":"{d58af92c-3192-4c30-9cbf-da12a2d265f8}","Name":"` + quoted + `"}]`))
}

func TestEveryHexadecimalDigitOfAnEscape(t *testing.T) {
	t.Parallel()
	for value, digit := range "0123456789abcdef" {
		for _, written := range []string{fmt.Sprintf(`\u%c04%[1]c`, digit), fmt.Sprintf(`\u%c04%[1]c`, upper(digit))} {
			listing, err := named(written)
			want := rune(value<<12 | 0x0040 | value)
			if err != nil || len(listing.VMs) != 1 || listing.VMs[0].Name != string(want) {
				t.Errorf("%s is %+v, %v, want %q", written, listing.VMs, err, want)
			}
		}
	}
}

func upper(digit rune) rune {
	if digit >= 'a' {
		return digit - 'a' + 'A'
	}
	return digit
}

// The neighbors of the digits in ASCII are none.
func TestEscapesWithoutFourHexadecimalDigits(t *testing.T) {
	t.Parallel()
	for _, wrong := range "/:@G`g" {
		for at := range 4 {
			digits := []rune("0041")
			digits[at] = wrong
			if listing, err := named(`\u` + string(digits)); err == nil {
				t.Errorf(`\u%s is read as %+v`, string(digits), listing.VMs)
			}
		}
	}
	if listing, err := named(`\u041`); err == nil {
		t.Errorf("three digits are read as %+v", listing.VMs)
	}
}
