package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/tool"
)

func (p *program) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check the agent and what it needs, one thing after another",
		Long: `Check the daemon, its configuration, its state, and the tools of Parallels Desktop.
It works without the daemon and without a network, and changes nothing. A check
that cannot look says so and is not good. Checks:
` + checkHelp() + `
Exit codes: 0 every check is good, 1 one is not or could not look, 3 the daemon
is not running or does not answer.`,
		Example: "  prlagent doctor\n  prlagent doctor --json | jq -r '.checks[] | select(.outcome != \"ok\") | .id'",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return p.runDoctor(cmd.Context()) },
	}
}

// Outcomes of a check, best first.
const (
	outcomeOK      = "ok"
	outcomeUnknown = "unknown" // it could not look
	outcomeWarning = "warning"
	outcomeFailure = "failure"
)

// checkResult is what one check found.
type checkResult struct {
	ID      string        `json:"id"` // stable
	Title   string        `json:"title"`
	Outcome string        `json:"outcome"`
	Code    protocol.Code `json:"code,omitempty"`
	Text    string        `json:"text"`
	Remedy  string        `json:"remedy,omitempty"`
}

// doctorReport is everything that doctor prints.
type doctorReport struct {
	Schema int           `json:"schema"`
	Worst  string        `json:"worst"`
	Checks []checkResult `json:"checks"`
}

// checkedMac is what the checks look at.
type checkedMac struct {
	mac    *platform.Machine
	status localapi.Status // the daemon's; its last snapshot if it does not run
	err    error           // why there is no status at all
	root   string
}

func checkHelp() string {
	out := ""
	for _, check := range doctorChecks {
		out += fmt.Sprintf("  %-14s %s\n", check.id, check.title)
	}
	return out
}

func (p *program) runDoctor(ctx context.Context) error {
	m := &checkedMac{root: p.root, mac: platform.New(p.root, &tool.Runner{Root: p.root})}
	m.status, m.err = p.lastStatus(ctx)
	found := m.runChecks(ctx)
	var err error
	if p.json {
		err = p.printJSON(found)
	} else {
		_, err = fmt.Fprint(p.stdout, doctorPage(p.newView(), cleanDocument(found)))
	}
	switch {
	case err != nil:
		return exitFor(err)
	case !m.daemonRuns():
		return &exitError{code: exitNotRunning}
	case found.Worst != outcomeOK:
		return &exitError{code: exitDegraded}
	}
	return nil
}

// runChecks makes every check; one that fails stops none of the others.
func (m *checkedMac) runChecks(ctx context.Context) doctorReport {
	found := doctorReport{Schema: localapi.Schema, Worst: outcomeOK}
	for _, check := range doctorChecks {
		one := check.look(m, ctx)
		one.ID, one.Title = check.id, check.title
		found.Checks = append(found.Checks, one)
		if severityOf[one.Outcome] > severityOf[found.Worst] {
			found.Worst = one.Outcome
		}
	}
	return found
}

var severityOf = map[string]int{outcomeOK: 0, outcomeUnknown: 1, outcomeWarning: 2, outcomeFailure: 3}

// doctorPage is a diagnosis for people.
func doctorPage(v outputView, found doctorReport) string {
	marks := map[string]string{
		outcomeOK: v.paint(styleGreen, "✓"), outcomeUnknown: v.paint(styleYellow, "?"),
		outcomeWarning: v.paint(styleYellow, "!"), outcomeFailure: v.paint(styleRed, "✗"),
	}
	page, bad := "", 0
	for _, one := range found.Checks {
		page += fmt.Sprintf("%s %s\n", marks[one.Outcome], v.paint(styleBold, one.Title))
		page += fmt.Sprintf("    %s\n", one.Text)
		if one.Outcome == outcomeOK {
			continue
		}
		bad++
		if one.Remedy != "" {
			page += fmt.Sprintf("    → %s\n", one.Remedy)
		}
	}
	if bad == 0 {
		return page + fmt.Sprintf("\nAll %d checks are good.\n", len(found.Checks))
	}
	return page + fmt.Sprintf("\n%d of %d checks are not good.\n", bad, len(found.Checks))
}
