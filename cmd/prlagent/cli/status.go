package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

func (p *program) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what the agent is doing, and what needs a look",
		Long: `Show the daemon, the portal, the configuration, Parallels Desktop, the users
and the last pass, and what needs a person with what to do next.

If the daemon is not running, or does not answer, its last snapshot is shown
and marked as such.
Users who are not administrators see health and counts.

Exit codes: 0 healthy, 1 degraded, 3 the daemon is not running or does not
answer.`,
		Example: "  prlagent status\n  prlagent status --json | jq -r '.health.conditions[].code'",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return p.runStatus(cmd.Context()) },
	}
}

func (p *program) runStatus(ctx context.Context) error {
	status, err := p.lastStatus(ctx)
	if err != nil {
		return exitFor(err)
	}
	if p.json {
		err = p.printJSON(status)
	} else {
		_, err = fmt.Fprint(p.stdout, statusPage(p.newView(), cleanDocument(status)))
	}
	switch {
	case err != nil:
		return exitFor(err)
	case !status.Daemon.Running:
		return &exitError{code: exitNotRunning}
	case status.Health.State != localapi.Healthy:
		return &exitError{code: exitDegraded}
	}
	return nil
}

// lastStatus asks the daemon; if it does not run or answer, its snapshot answers,
// with Daemon.Running false and Daemon.State. Without a snapshot the daemon's
// error stands.
func (p *program) lastStatus(ctx context.Context) (localapi.Status, error) {
	ctx, cancel := p.withTimeout(ctx)
	defer cancel()
	status, err := p.newClient().Status(ctx)
	if exitOf[protocol.CodeOf(err)] != exitNotRunning {
		return status, err
	}
	snapshot, snapshotError := p.snapshot()
	if snapshotError != nil {
		return localapi.Status{}, err
	}
	snapshot.Daemon.State = localapi.NotRunning
	if protocol.CodeOf(err) == protocol.CodeDaemonSilent {
		snapshot.Daemon.State = localapi.NotAnswering
	}
	return snapshot, nil
}
