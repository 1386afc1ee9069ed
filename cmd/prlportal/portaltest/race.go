//go:build race

package portaltest

// RaceEnabled reports whether the race detector is on, which takes time and memory
// of its own.
const RaceEnabled = true
