//go:build race

package store_test

// underRace: the race detector makes the child processes slow, and looks for
// something else than the damage matrix does.
const underRace = true
