package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

func (p *program) checkinCommand() *cobra.Command {
	var wait bool
	command := &cobra.Command{
		Use:   "checkin",
		Short: "Look at this Mac and check in with the portal now",
		Long: `Ask the agent to look at this Mac and to check in with the portal now.
Only administrators may; everybody else gets exit code 4.

With --wait the command returns when that pass has ended and prints it step by
step; it waits up to 5 minutes unless --timeout says otherwise. Exit code 1
means that the exchange failed; the reason and what to do are printed. Without
a portal the agent looks at this Mac only, which is exit code 0. What the portal has
answered with is carried out beside: 'prlagent policy plan' and 'prlagent commands'
show how far that is.`,
		Example: "  sudo prlagent checkin\n  sudo prlagent checkin --wait --timeout 2m",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if wait {
				p.bePatient(cmd)
			}
			return p.runCheckin(cmd.Context(), wait)
		},
	}
	command.Flags().BoolVar(&wait, "wait", false, "return when the check-in has ended")
	return command
}

// bePatient waits for longer than for an answer, unless somebody said for how long.
func (p *program) bePatient(cmd *cobra.Command) {
	if !cmd.Flags().Changed("timeout") && p.environment("PRLAGENT_TIMEOUT") == "" {
		p.timeout = waitTimeout
	}
}

func (p *program) runCheckin(ctx context.Context, wait bool) error {
	result, err := p.askCheckin(ctx, wait)
	if err != nil {
		return exitFor(err)
	}
	if err := printDocument(p, result, checkinPage); err != nil {
		return exitFor(err)
	}
	if wentWell(result) {
		return nil
	}
	return &exitError{code: exitDegraded}
}

// wentWell reports whether nobody has to do anything: the report arrived, or was
// asked for, and what came with it is nothing but an explanation.
func wentWell(result localapi.CheckinResult) bool {
	explained := result.Code == "" || result.Reported && result.Code.Text().Severity == protocol.Info
	return result.Accepted && explained
}

// askCheckin says on a terminal that it waits, once that takes longer than a
// person's patience.
func (p *program) askCheckin(ctx context.Context, wait bool) (result localapi.CheckinResult, err error) {
	const progress = "The agent looks at every user's virtual machines and then checks in; Ctrl-C stops waiting, not the check-in …"
	p.withProgress(ctx, progress, func(ctx context.Context) { result, err = p.newClient().Checkin(ctx, wait) })
	return result, err
}

// withProgress asks the daemon, and says on a terminal what is going on once that
// takes longer than a person's patience.
func (p *program) withProgress(ctx context.Context, progress string, ask func(context.Context)) {
	ctx, cancel := p.withTimeout(ctx)
	defer cancel()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		ask(ctx)
	}()
	timer := time.NewTimer(p.progressDelay)
	defer timer.Stop()
	select {
	case <-answered:
		return
	case <-timer.C:
	}
	if p.progressShown && !p.json {
		fmt.Fprintln(p.stderr, progress)
	}
	<-answered
}

// checkinPage is the outcome for people.
func checkinPage(v outputView, result localapi.CheckinResult) string {
	headline := v.paint(styleGreen, "✓") + " The check-in is done.\n"
	switch {
	case !result.Accepted:
		headline = v.paint(styleRed, "✗") + " The agent did not take the request.\n"
	case result.Code != "" && result.Reported:
		headline = v.paint(styleYellow, "–") + " The report has arrived; what came after it was refused.\n"
	case result.Code != "":
		headline = v.paint(styleRed, "✗") + " The check-in failed.\n"
	case notExchanged(result.Pass):
		headline = v.paint(styleYellow, "–") + " The agent looked at this Mac and did not check in.\n"
	case !result.Waited:
		headline = v.paint(styleGreen, "✓") + " The agent checks in now; 'prlagent status' shows how it ends.\n"
	}
	if result.Pass != nil {
		headline += passLines(v, *result.Pass)
	}
	return headline + reasonLines(v, result.Code, result.Detail)
}

// notExchanged reports whether a pass ended without asking the portal.
func notExchanged(pass *localapi.Pass) bool {
	return pass != nil && slices.ContainsFunc(pass.Steps, func(step localapi.Step) bool {
		return step.Name == "exchange" && step.Outcome == localapi.StepSkipped
	})
}

// reasonLines are a code, what it means and what to do; nothing for no code.
func reasonLines(v outputView, code protocol.Code, detail string) string {
	if code == "" {
		return ""
	}
	words := code.Text()
	out := fmt.Sprintf("  %s %s\n", v.paint(styleBold, string(code)+":"), joinParts(" ", words.Text, detail))
	if words.Remedy != "" {
		out += "  → " + words.Remedy + "\n"
	}
	return out
}
