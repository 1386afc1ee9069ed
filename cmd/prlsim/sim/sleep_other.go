//go:build !linux

package sim

import "errors"

// errNoProcessTable means that this system does not tell which process belongs
// to which folder.
var errNoProcessTable = errors.New("sleep is simulated on Linux only")

func (m Mac) ownProcesses() ([]int, error) { return nil, errNoProcessTable }
