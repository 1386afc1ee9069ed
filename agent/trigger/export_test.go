package trigger

import (
	"testing"
	"time"
)

// Simulation is the simulated agent, for tests that put real sources before it.
type Simulation = simulation

// Lived is a Mac an hour after its agent's first check-in.
func Lived(t testing.TB) *Simulation { return lived(t, valid) }

// Now is the time of the simulation.
func (s *simulation) Now() time.Time { return s.now }

// Tell tells the step of an event.
func (s *simulation) Tell(what Event) { s.tell(what) }

// Until runs the simulation to a time.
func (s *simulation) Until(end time.Time) { s.until(end) }

// Exchanges are the reasons of each check-in.
func (s *simulation) Exchanges() (all [][]Reason) {
	for _, pass := range s.exchanges() {
		var reasons []Reason
		for _, one := range pass.triggers {
			reasons = append(reasons, Reason(one.Reason))
		}
		all = append(all, reasons)
	}
	return all
}
