package cli

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

func (p *program) doctorCommand() *cobra.Command {
	var verbose, offline bool
	var host string
	command := &cobra.Command{
		Use:   "doctor",
		Short: "Look at the agent and all that it needs",
		Long: `Look at the daemon, its job and configuration, the way to the portal and to the
vendor's license host, Parallels Desktop with its tools, and what each user's list
lacks. It changes nothing, works while the daemon is down, and without a network
ends within a second. A check that cannot look says so and is not good; as root it
can look at more. What Parallels Desktop needs and this Mac does not is shown with
--verbose only. Checks:
` + checkHelp() + `
The vendor names port 443 for its license host and not the host: --license-host
(environment: PRLAGENT_LICENSE_HOST) names the one of your network's allow list.
With --offline neither it nor the portal is asked.

Exit codes: 0 every check is good, 1 one is not or could not look, 3 the daemon
is not running or does not answer.`,
		Example: "  sudo prlagent doctor\n  prlagent doctor --json | jq -r '.checks[] | select(.outcome == \"failure\") | .id'\n" +
			"  prlagent doctor --license-host licenses.example.com",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			location, err := licenseHostURL(host)
			if err != nil {
				return err
			}
			m := p.newCheckedMac(cmd.Context(), location)
			m.offline = offline
			return p.runDoctor(cmd.Context(), m, verbose)
		},
	}
	command.Flags().BoolVar(&verbose, "verbose", false, "show also what this Mac does not need")
	command.Flags().BoolVar(&offline, "offline", false, "ask neither the portal nor the license host")
	command.Flags().StringVar(&host, "license-host", p.environment("PRLAGENT_LICENSE_HOST"), "the vendor's license host, as HOST or HOST:PORT")
	return command
}

// Outcomes of a check, best first.
const (
	outcomeOK       = "ok"
	outcomeUnneeded = "not_applicable" // there is nothing to look at on this Mac
	outcomeNote     = "note"           // something to know, which is no trouble
	outcomeUnknown  = "unknown"        // it could not look
	outcomeWarning  = "warning"
	outcomeFailure  = "failure"
)

// badness orders the outcomes; up to 0 they are good.
var badness = map[string]int{outcomeUnknown: 1, outcomeWarning: 2, outcomeFailure: 3}

// severityOf is how much an outcome asks of a person.
var severityOf = map[string]protocol.Severity{outcomeUnknown: protocol.Warning, outcomeWarning: protocol.Warning, outcomeFailure: protocol.Failure}

// checkResult is what one check found.
type checkResult struct {
	ID        string            `json:"id"` // stable
	Title     string            `json:"title"`
	Outcome   string            `json:"outcome"`
	Severity  protocol.Severity `json:"severity"`
	Code      protocol.Code     `json:"code,omitempty"`
	Text      string            `json:"text"` // what was seen
	Remedy    string            `json:"remedy,omitempty"`
	DependsOn []string          `json:"depends_on,omitempty"` // checks that must be good before this one can look
	Millis    int64             `json:"ms"`
}

func (r checkResult) isGood() bool { return badness[r.Outcome] == 0 }

// doctorReport is everything that doctor prints.
type doctorReport struct {
	Schema int           `json:"schema"`
	At     time.Time     `json:"at"`
	Worst  string        `json:"worst"`
	Checks []checkResult `json:"checks"`
}

func checkHelp() string {
	var out strings.Builder
	for _, check := range doctorChecks {
		fmt.Fprintf(&out, "  %-19s %s\n", check.id, check.title)
	}
	return out.String()
}

func (p *program) runDoctor(ctx context.Context, m *checkedMac, verbose bool) error {
	found := p.diagnose(ctx, m)
	err := printDocument(p, found, func(v outputView, found doctorReport) string { return doctorPage(v, found, verbose) })
	switch {
	case err != nil:
		return exitFor(err)
	case !m.daemonRuns():
		return &exitError{code: exitNotRunning}
	case badness[found.Worst] > 0:
		return &exitError{code: exitDegraded}
	}
	return nil
}

// diagnose makes every check, within the time limit, and says on a terminal what
// it waits for.
func (p *program) diagnose(ctx context.Context, m *checkedMac) doctorReport {
	ctx, cancel := p.withTimeout(ctx)
	defer cancel()
	ended := make(chan doctorReport, 1)
	waiting := newWaitingList()
	go func() { ended <- m.runChecks(ctx, waiting) }()
	ticker := time.NewTicker(p.progressDelay)
	defer ticker.Stop()
	for {
		select {
		case found := <-ended:
			found.At = p.now().UTC()
			return found
		case <-ticker.C:
			if p.progressShown && !p.json {
				fmt.Fprintf(p.stderr, "Still looking: %s …\n", strings.Join(waiting.titles(), "; "))
			}
		}
	}
}

// waitingList are the checks that have not ended.
type waitingList struct {
	mu   sync.Mutex
	left map[string]bool
}

func newWaitingList() *waitingList {
	list := &waitingList{left: make(map[string]bool, len(doctorChecks))}
	for _, check := range doctorChecks {
		list.left[check.id] = true
	}
	return list
}

func (l *waitingList) end(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.left, id)
}

func (l *waitingList) titles() (titles []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, check := range doctorChecks {
		if l.left[check.id] {
			titles = append(titles, check.title)
		}
	}
	return titles
}

// runChecks makes all checks side by side; one that fails stops none but those
// that depend on it. A check that does not come back in time is unknown.
func (m *checkedMac) runChecks(ctx context.Context, waiting *waitingList) doctorReport {
	done := make(map[string]chan struct{}, len(doctorChecks))
	results := make(map[string]*checkResult, len(doctorChecks))
	for _, check := range doctorChecks {
		done[check.id], results[check.id] = make(chan struct{}), new(checkResult)
	}
	for _, check := range doctorChecks {
		go func() {
			defer close(done[check.id])
			defer waiting.end(check.id)
			for _, needed := range check.needs {
				<-done[needed]
				if !results[needed].isGood() {
					*results[check.id] = unknownResult(fmt.Sprintf("'%s' is not good", titleOf(needed)))
					return
				}
			}
			*results[check.id] = check.lookInTime(ctx, m)
		}()
	}
	found := doctorReport{Schema: localapi.Schema, Worst: outcomeOK}
	for _, check := range doctorChecks {
		<-done[check.id]
		one := *results[check.id]
		one.ID, one.Title, one.DependsOn, one.Severity = check.id, check.title, check.needs, protocol.Info
		if severity, bad := severityOf[one.Outcome]; bad {
			one.Severity = severity
		}
		found.Checks = append(found.Checks, one)
		if badness[one.Outcome] > badness[found.Worst] {
			found.Worst = one.Outcome
		}
	}
	return found
}

func titleOf(id string) string {
	for _, check := range doctorChecks {
		if check.id == id {
			return check.title
		}
	}
	return id
}

// lateness is what a check gets beyond the limit to end by itself.
const lateness = time.Second

// lookInTime leaves a check that hangs behind.
func (c doctorCheck) lookInTime(ctx context.Context, m *checkedMac) checkResult {
	began := time.Now()
	ended := make(chan checkResult, 1)
	go func() { ended <- c.look(m, ctx) }()
	var result checkResult
	select {
	case result = <-ended:
	case <-afterEnd(ctx, lateness):
		result = unknownResult("it did not end in time")
	}
	result.Millis = time.Since(began).Milliseconds()
	return result
}

// afterEnd is closed some time after ctx has ended.
func afterEnd(ctx context.Context, grace time.Duration) <-chan struct{} {
	over := make(chan struct{})
	context.AfterFunc(ctx, func() { time.AfterFunc(grace, func() { close(over) }) })
	return over
}

// doctorPage is a diagnosis for people.
func doctorPage(v outputView, found doctorReport, verbose bool) string {
	marks := map[string]string{
		outcomeOK: v.paint(styleGreen, "✓"), outcomeUnneeded: v.paint(styleDim, "–"), outcomeNote: v.paint(styleBold, "i"),
		outcomeUnknown: v.paint(styleYellow, "?"), outcomeWarning: v.paint(styleYellow, "!"), outcomeFailure: v.paint(styleRed, "✗"),
	}
	var page strings.Builder
	bad, looked := 0, 0
	for _, one := range found.Checks {
		if one.Outcome == outcomeUnneeded && !verbose {
			continue
		}
		if one.Outcome != outcomeUnneeded && one.Outcome != outcomeNote {
			looked++
		}
		fmt.Fprintf(&page, "%s %s\n    %s\n", marks[one.Outcome], v.paint(styleBold, one.Title), one.Text)
		if one.isGood() {
			continue
		}
		bad++
		if one.Remedy != "" {
			fmt.Fprintf(&page, "    → %s\n", one.Remedy)
		}
	}
	if bad == 0 {
		fmt.Fprintf(&page, "\nAll %d checks are good.\n", looked)
	} else {
		fmt.Fprintf(&page, "\n%d of %d checks are not good.\n", bad, looked)
	}
	return page.String()
}
