package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/platform/text"
)

// page collects the lines of the status for people.
type page struct {
	view
	strings.Builder
}

const labelWidth = 19

// item is one line: what, and how it is.
func (p *page) item(label, words string) {
	blanks := max(labelWidth-text.Width(label), 1)
	fmt.Fprintf(p, "  %s%s%s\n", p.paint(dim, label), strings.Repeat(" ", blanks), words)
}

func (p *page) heading(text string) { fmt.Fprintf(p, "\n%s\n", p.paint(bold, text)) }

// statusPage is the status as a person reads it. All its texts must be clean.
func statusPage(v view, status localapi.Status) string {
	p := &page{view: v}
	p.headline(status)
	p.agent(status)
	p.portal(status.Portal)
	p.mac(status)
	p.users(status.Users)
	p.pass(status.Pass)
	p.conditions("What needs a look", status.Health.Conditions, needsPerson)
	p.conditions("May pass by itself", status.Health.Conditions, func(c localapi.Condition) bool { return c.Pending })
	p.conditions("Good to know", status.Health.Conditions, func(c localapi.Condition) bool { return !needsPerson(c) && !c.Pending })
	if status.Restricted {
		fmt.Fprintf(p, "\n%s\n", p.paint(dim, restrictedNote(status)))
	}
	return p.String()
}

func restrictedNote(status localapi.Status) string {
	if !status.Daemon.Running {
		return "The snapshot has health and counts only; the running daemon says more."
	}
	return "Some parts are shown to administrators only: sudo prlagent status"
}

func needsPerson(condition localapi.Condition) bool {
	return condition.Severity != protocol.Info && !condition.Pending
}

// headline says the one thing that matters.
func (p *page) headline(status localapi.Status) {
	color, text := green, "prlagent is healthy"
	if status.Health.State != localapi.Healthy {
		color, text = yellow, "prlagent is degraded"
		open := 0
		for _, condition := range status.Health.Conditions {
			if needsPerson(condition) {
				open++
			}
			if condition.Severity == protocol.Failure && !condition.Pending {
				color = red
			}
		}
		if open > 0 {
			text += ": " + plural(open, "thing") + " to look at"
		}
	}
	if status.Daemon.Running {
		fmt.Fprintf(p, "%s %s\n\n", p.paint(color, "●"), p.paint(bold, text))
		return
	}
	fmt.Fprintf(p, "%s %s\n", p.paint(red, "○"), p.paint(bold, "prlagentd is not running"))
	fmt.Fprintf(p, "  Below is the snapshot that it left; nothing in it has changed since %s.\n", p.moment(status.At))
	fmt.Fprintf(p, "  It said: %s\n  → %s\n\n", text, protocol.CodeDaemonNotRunning.Text().Remedy)
}

func (p *page) agent(status localapi.Status) {
	version := "version " + status.Daemon.Version
	if status.Daemon.Revision != "" {
		version += " (" + status.Daemon.Revision + ")"
	}
	if status.Daemon.Running {
		p.item("Daemon", fmt.Sprintf("%s, process %d, since %s", version, status.Daemon.PID, p.moment(status.Daemon.StartedAt)))
	} else {
		p.item("Daemon", version)
	}
	p.item("Configuration", sourceWords(status.Config)+", mode "+status.Config.Mode)
	for _, problem := range status.Config.Problems {
		p.item("", p.paint(yellow, problem.Key+": "+problem.Text))
	}
	p.item("Policy", policyWords(status.Policy))
	if status.Store.Outcome != "" {
		p.item("State", joined(", ", status.Store.Outcome, status.Store.Reason, prefixed("bad file kept: ", status.Store.BadFile)))
	}
}

func sourceWords(config localapi.ConfigStatus) string {
	switch config.Source {
	case "managed":
		return "by MDM profile"
	case "local":
		return "locally managed, by config.plist"
	}
	return "none"
}

func policyWords(policy protocol.PolicyReport) string {
	words := cmp.Or(policy.State, protocol.PolicyNone)
	if policy.PolicyID != "" {
		words += fmt.Sprintf(": %s, revision %d", policy.PolicyID, policy.Revision)
	}
	for _, strength := range slices.Sorted(maps.Keys(policy.Counts)) {
		words += fmt.Sprintf(", %d %s", policy.Counts[strength], strength)
	}
	if policy.Code != "" {
		words += " (" + string(policy.Code) + ": " + policy.Code.Text().Text + ")"
	}
	return words
}

func (p *page) portal(portal localapi.PortalStatus) {
	if portal.URL == "" {
		p.item("Portal", "none configured; the agent observes and reports locally only")
		return
	}
	p.item("Portal", portal.URL)
	p.item("  enrollment", joined(", ",
		strings.ReplaceAll(portal.Enrollment, "_", " ")+prefixed(" as ", portal.DeviceID), groupWords(portal.Group)))
	p.item("  last success", p.moment(portal.LastSuccessAt))
	if portal.LastCode != "" {
		p.item("  last attempt", p.moment(portal.LastAttemptAt)+": "+p.paint(red, string(portal.LastCode))+prefixed(", ", portal.LastDetail))
		p.item("", portal.LastCode.Text().Text+" "+p.paint(dim, plural(portal.Failures, "failure")+" in a row"))
	}
	if !portal.NextAttemptAt.IsZero() {
		p.item("  next attempt", p.moment(portal.NextAttemptAt)+prefixed(", because of ", portal.NextReason))
	}
}

// groupSources say how the group was decided (H08).
var groupSources = map[string]string{
	protocol.GroupFromProfile: "set by the profile",
	protocol.GroupFromSecret:  "of the enrollment secret",
	protocol.GroupFromPrimary: "the primary group",
}

func groupWords(group protocol.Group) string {
	if group.ID == "" {
		return ""
	}
	source := cmp.Or(groupSources[group.Source], group.Source)
	return "group " + cmp.Or(group.Name, group.ID) + " (" + source + ")"
}

func (p *page) mac(status localapi.Status) {
	host, product, counts := status.Host, status.Product, status.Counts
	if host.Serial != "" || host.ComputerName != "" {
		p.item("Mac", joined(", ", host.ComputerName, host.Serial, host.Model, prefixed("macOS ", host.MacOS), host.CPU))
	}
	if product.Installed {
		version := product.Version + prefixed(" (", product.Build)
		if product.Build != "" {
			version += ")"
		}
		p.item("Parallels Desktop", joined(", ", version, product.Edition, product.State, prefixed("license ", product.License)))
	} else {
		p.item("Parallels Desktop", "not installed")
	}
	machines := plural(counts.VMs, "virtual machine") + " of " + plural(counts.Users, "user") + fmt.Sprintf(", %d running", counts.Running)
	if counts.Stale > 0 {
		machines += fmt.Sprintf(", %d known from before only", counts.Stale)
	}
	p.item("Inventory", machines)
	if !status.Schedule.DailyAt.IsZero() {
		p.item("Daily check", p.moment(status.Schedule.DailyAt))
	}
	if len(status.ToolRuns) > 0 {
		p.item("Tool runs", toolWords(status.ToolRuns)+" since the start")
	}
}

func toolWords(runs map[string]uint64) string {
	words := make([]string, 0, len(runs))
	for _, tool := range slices.Sorted(maps.Keys(runs)) {
		words = append(words, fmt.Sprintf("%s %d", tool, runs[tool]))
	}
	return strings.Join(words, ", ")
}

func (p *page) users(users []protocol.UserLook) {
	if len(users) == 0 {
		return
	}
	p.heading("Users")
	looks := table{heads: []string{"USER", "VMS", "LISTED", "REASON"}}
	for _, user := range users {
		listed := cell{"not yet", dim}
		if !user.At.IsZero() {
			listed = cell{p.stamp(user.At), ""}
		}
		looks.rows = append(looks.rows, []cell{
			{user.Name, ""}, {fmt.Sprint(user.Count), ""}, listed, {codeWords(user.Code), yellow},
		})
	}
	p.WriteString(looks.render(p.view, "  "))
}

// codeWords is a code with what it means; empty for none.
func codeWords(code protocol.Code) string {
	if code == "" {
		return ""
	}
	return string(code) + ": " + code.Text().Text
}

// stepSigns mark how a step went.
var stepSigns = map[string]cell{
	localapi.StepDone:    {"✓", green},
	localapi.StepFailed:  {"✗", red},
	localapi.StepSkipped: {"–", dim},
}

func (p *page) pass(pass *localapi.Pass) {
	if pass == nil {
		return
	}
	p.heading("Last pass")
	p.WriteString(passLines(p.view, *pass))
}

// passLines are a pass and its steps; checkin --wait prints them too.
func passLines(v view, pass localapi.Pass) string {
	steps := table{heads: []string{"", "STEP", "TOOK", "DETAIL"}}
	for _, step := range pass.Steps {
		length := took(time.Duration(step.Millis) * time.Millisecond)
		if step.Outcome == localapi.StepSkipped {
			length = ""
		}
		steps.rows = append(steps.rows, []cell{
			stepSigns[step.Outcome], {step.Name, ""}, {length, ""}, {stepWords(step), ""},
		})
	}
	when := "still running"
	if !pass.EndedAt.IsZero() {
		when = "took " + took(pass.EndedAt.Sub(pass.StartedAt))
	}
	return fmt.Sprintf("  number %d at %s, %s, because of %s\n%s  %s, %d bytes sent, %s, %s\n",
		pass.Number, v.moment(pass.StartedAt), when, triggerWords(pass.Triggers), steps.render(v, "  "),
		plural(pass.Requests, "request"), pass.SentBytes, plural(pass.ToolRuns, "tool run"), plural(pass.CommitsNow, "commit"))
}

// stepWords say why a step went as it did; its detail says more than its code.
func stepWords(step localapi.Step) string {
	if step.Code == "" {
		return step.Detail
	}
	return string(step.Code) + ": " + cmp.Or(step.Detail, step.Code.Text().Text)
}

func triggerWords(triggers []protocol.Trigger) string {
	words := make([]string, 0, len(triggers))
	for _, trigger := range triggers {
		word := trigger.Reason
		if trigger.Count > 1 {
			word += fmt.Sprintf(" (%d times)", trigger.Count)
		}
		words = append(words, word)
	}
	return cmp.Or(strings.Join(words, ", "), "nothing in particular")
}

// severitySigns mark a condition.
var severitySigns = map[protocol.Severity]cell{
	protocol.Info:    {"·", dim},
	protocol.Warning: {"!", yellow},
	protocol.Failure: {"✗", red},
}

func (p *page) conditions(title string, conditions []localapi.Condition, chosen func(localapi.Condition) bool) {
	first := true
	for _, condition := range conditions {
		if !chosen(condition) {
			continue
		}
		if first {
			p.heading(title)
			first = false
		}
		sign := severitySigns[condition.Severity]
		fmt.Fprintf(p, "  %s %s%s\n", p.paint(sign.ink, cmp.Or(sign.text, "!")), p.paint(bold, string(condition.Code)), p.since(condition.Since))
		fmt.Fprintf(p, "    %s\n", joined(" ", condition.Text, condition.Detail))
		if condition.Remedy != "" {
			fmt.Fprintf(p, "    → %s\n", condition.Remedy)
		}
	}
}

func (p *page) since(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return " " + p.paint(dim, "since "+p.stamp(at))
}

// joined puts the separator between the parts that are not empty.
func joined(separator string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), separator)
}

// prefixed is the text after its prefix; empty if there is no text.
func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}
