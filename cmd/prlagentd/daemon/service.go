package daemon

import (
	"context"
	"fmt"

	"github.com/kardianos/service"

	"prlagent/launchd"
)

// managedDaemon is the daemon as a service manager sees it.
type managedDaemon struct {
	run    func(context.Context) error
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// underServiceManager runs the daemon through kardianos/service, which knows
// the platform's manager. Its own signal handling, install and control are not
// used (facts/macos.md 1): RunWait waits for the daemon itself.
func underServiceManager(run func(context.Context) error) error {
	p := &managedDaemon{run: run, done: make(chan struct{})}
	s, err := service.New(p, &service.Config{
		Name:   launchd.Label,
		Option: service.KeyValue{"RunWait": func() { <-p.done }},
	})
	if err != nil {
		return fmt.Errorf("find the service manager: %w", err)
	}
	if err := s.Run(); err != nil {
		return fmt.Errorf("run as a service: %w", err)
	}
	return p.err
}

// Start begins the daemon and returns.
func (p *managedDaemon) Start(service.Service) error {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() {
		defer close(p.done)
		p.err = p.run(ctx)
	}()
	return nil
}

// Stop ends the daemon and waits for it.
func (p *managedDaemon) Stop(service.Service) error {
	p.cancel()
	<-p.done
	return nil
}
