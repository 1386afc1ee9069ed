package cli

import (
	"context"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
)

func (p *program) statusCommand() *cobra.Command {
	var verbose bool
	command := &cobra.Command{
		Use:   "status",
		Short: "Show what the agent is doing, and what needs a look",
		Long: `Show what needs a person, since when and what to do next; then the daemon, the
configuration, the portal and Parallels Desktop, and what the agent does at
this moment. With --verbose also every user, the last pass step by step, and
what is good to know.

If the daemon is not running, or does not answer, its last snapshot is shown
and marked as such; one that has expired is stale.
Users who are not administrators see health and counts.

Exit codes: 0 healthy, 1 degraded or unhealthy, 3 the daemon is not running,
does not answer, or is not installed.`,
		Example: "  prlagent status\n  prlagent status --verbose\n  prlagent status --json | jq -r '.health.conditions[].code'",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return p.runStatus(cmd.Context(), verbose) },
	}
	command.Flags().BoolVarP(&verbose, "verbose", "v", false, "show everything that is known")
	return command
}

func (p *program) runStatus(ctx context.Context, verbose bool) error {
	status, err := p.lastStatus(ctx)
	if err != nil {
		return exitFor(err)
	}
	page := statusSummary
	if verbose {
		page = statusPage
	}
	switch err := printDocument(p, status, page); {
	case err != nil:
		return exitFor(err)
	case !status.Daemon.Running:
		return &exitError{code: exitNotRunning}
	case status.Health.State != localapi.Healthy:
		return &exitError{code: exitDegraded}
	}
	return nil
}

// lastStatus asks the daemon; if it gives no answer, its snapshot answers, with
// the one word for that in place of its health. Without a snapshot the daemon's
// error stands.
func (p *program) lastStatus(ctx context.Context) (localapi.Status, error) {
	status, err := p.liveStatus(ctx)
	state := localapi.UnansweredState(err)
	if state == "" {
		return status, err
	}
	snapshot, snapshotError := p.snapshot()
	if snapshotError != nil {
		return localapi.Status{}, err
	}
	return snapshot.UnansweredAt(state, p.now()), nil
}

// liveStatus asks the daemon alone.
func (p *program) liveStatus(ctx context.Context) (localapi.Status, error) {
	ctx, cancel := p.withTimeout(ctx)
	defer cancel()
	return p.newClient().Status(ctx)
}
