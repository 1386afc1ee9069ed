//go:build !linux

package sim

func (m Mac) processes() ([]int, error) { return nil, errNoProcessTable }
