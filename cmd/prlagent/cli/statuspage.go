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

// pageWriter collects the lines of the status for people.
type pageWriter struct {
	view outputView
	text strings.Builder
}

const labelWidth = 19

// addItem is one line: what, and how it is.
func (p *pageWriter) addItem(label, words string) {
	blanks := max(labelWidth-text.Width(label), 1)
	fmt.Fprintf(&p.text, "  %s%s%s\n", p.view.paint(styleDim, label), strings.Repeat(" ", blanks), words)
}

func (p *pageWriter) addHeading(text string) {
	fmt.Fprintf(&p.text, "\n%s\n", p.view.paint(styleBold, text))
}

// statusPage is the status as a person reads it. All its texts must be clean.
func statusPage(v outputView, status localapi.Status) string {
	p := &pageWriter{view: v}
	p.addHeadline(status)
	p.addAgent(status)
	p.addPortal(status.Portal)
	p.addMac(status)
	p.addCommands(status.Commands)
	p.addUsers(status.Users)
	p.addHolds(status.Holds)
	p.addPass(status.Pass)
	p.addActivity(status)
	p.addConditions("What needs a look", status.Health.Conditions, needsPerson)
	p.addConditions("May pass by itself", status.Health.Conditions, func(c localapi.Condition) bool { return c.Pending })
	p.addConditions("Good to know", status.Health.Conditions, func(c localapi.Condition) bool { return !needsPerson(c) && !c.Pending })
	if status.Restricted {
		fmt.Fprintf(&p.text, "\n%s\n", p.view.paint(styleDim, restrictedNote(status)))
	}
	return p.text.String()
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

func (p *pageWriter) addAgent(status localapi.Status) {
	p.addItem("Daemon", daemonWords(p.view, status.Daemon))
	p.addItem("Configuration", sourceWords(status.Config)+", mode "+status.Config.Mode)
	for _, problem := range status.Config.Problems {
		p.addItem("", p.view.paint(styleYellow, problem.Key+": "+problem.Text))
	}
	p.addPolicy(status)
	if status.Store.Outcome != "" {
		p.addItem("State", joinParts(", ", status.Store.Outcome, status.Store.Reason, withPrefix("bad file kept: ", status.Store.BadFile)))
	}
}

func (p *pageWriter) addPolicy(status localapi.Status) {
	p.addItem("Policy", joinParts(", ", policyWords(status.Policy), candidateWords(status.PolicyInForce), driftWords(status.Drifts), violationWords(status.Violations)))
	if status.PolicyInForce.Mode != "" && status.PolicyInForce.Mode != status.Config.Mode {
		p.addItem("", modeWords(status.PolicyInForce))
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

func driftWords(drifts int) string {
	if drifts == 0 {
		return ""
	}
	return "changed " + countWords(drifts, "time") + " by somebody else"
}

func violationWords(violations int) string {
	if violations == 0 {
		return ""
	}
	return countWords(violations, "violation") + " of its security controls"
}

// enrolled is the word for an enrollment that is done, of agent/checkin.
const enrolled = "enrolled"

func (p *pageWriter) addPortal(portal localapi.PortalStatus) {
	if portal.URL == "" {
		p.addItem("Portal", "none configured; the agent observes and reports locally only")
		return
	}
	p.addItem("Portal", portal.URL)
	p.addEnrollment(portal)
	if portal.KeyID != "" && portal.Enrollment == enrolled {
		p.addItem("  key", portal.KeyID+", that signs what became of commands")
	}
	p.addItem("  last success", p.view.momentWords(portal.LastSuccessAt))
	if portal.LastCode != "" {
		p.addItem("  last attempt", p.view.momentWords(portal.LastAttemptAt)+": "+p.view.paint(styleRed, string(portal.LastCode))+withPrefix(", ", portal.LastDetail))
		p.addItem("", portal.LastCode.Text().Text+" "+p.view.paint(styleDim, countWords(portal.Failures, "failure")+" in a row"))
	}
	if !portal.NextAttemptAt.IsZero() {
		p.addItem("  next attempt", p.view.momentWords(portal.NextAttemptAt)+withPrefix(", because of ", portal.NextReason))
	}
}

func (p *pageWriter) addEnrollment(portal localapi.PortalStatus) {
	p.addItem("  enrollment", joinParts(", ",
		strings.ReplaceAll(portal.Enrollment, "_", " ")+withPrefix(" as ", portal.DeviceID), groupWords(portal.Group)))
	if portal.KeyID != "" && portal.Enrollment != enrolled {
		p.addItem("  key", portal.KeyID+", which an administrator compares with 'prlportal devices'")
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

func (p *pageWriter) addMac(status localapi.Status) {
	p.addMacSummary(status)
	if !status.Schedule.DailyAt.IsZero() {
		p.addItem("Daily check", p.view.momentWords(status.Schedule.DailyAt))
	}
	if len(status.ToolRuns) > 0 {
		p.addItem("Tool runs", toolWords(status.ToolRuns)+" since the start")
	}
}

func hostWords(host protocol.Host) string {
	return joinParts(", ", host.ComputerName, host.Serial, host.Model, withPrefix("macOS ", host.MacOS), host.CPU)
}

// licensingWords are what the licensing profile says; nothing where there is none.
func licensingWords(profile *localapi.LicensingProfile) string {
	if profile == nil {
		return ""
	}
	words := "activation by " + profile.Activation
	if profile.Count > 1 {
		words += fmt.Sprintf(", the first of %d profiles", profile.Count)
	}
	return words
}

func productWords(product protocol.Product) string {
	if !product.Installed {
		return "not installed"
	}
	version := product.Version
	if product.Build != "" {
		version += " (" + product.Build + ")"
	}
	return joinParts(", ", version, product.Edition, product.State, withPrefix("license ", product.License))
}

func inventoryWords(counts localapi.Counts) string {
	words := countWords(counts.VMs, "virtual machine") + " of " + countWords(counts.Users, "user") + fmt.Sprintf(", %d running", counts.Running)
	if counts.Stale > 0 {
		words += fmt.Sprintf(", %d known from before only", counts.Stale)
	}
	return words
}

func toolWords(runs map[string]uint64) string {
	words := make([]string, 0, len(runs))
	for _, tool := range slices.Sorted(maps.Keys(runs)) {
		words = append(words, fmt.Sprintf("%s %d", tool, runs[tool]))
	}
	return strings.Join(words, ", ")
}

func (p *pageWriter) addUsers(users []protocol.UserLook) {
	if len(users) == 0 {
		return
	}
	p.addHeading("Users")
	looks := styledTable{heads: []string{"USER", "VMS", "LISTED", "REASON"}}
	for _, user := range users {
		listed := tableCell{"not yet", styleDim}
		count := fmt.Sprint(user.Count)
		switch {
		case !user.At.IsZero():
			listed = tableCell{p.view.localTime(user.At), ""}
		case !user.IsLookedAt():
			user.Name, count, listed = user.Who(), "–", tableCell{"never", styleDim}
		}
		if user.LeftOut > 0 && user.IsLookedAt() {
			count += fmt.Sprintf(" of %d", user.Count+user.LeftOut)
		}
		looks.rows = append(looks.rows, []tableCell{
			{user.Name, ""}, {count, ""}, listed, {codeWords(user.Code), styleYellow},
		})
	}
	p.text.WriteString(looks.render(p.view, "  "))
}

// codeWords is a code with what it means; empty for none.
func codeWords(code protocol.Code) string {
	if code == "" {
		return ""
	}
	return string(code) + ": " + code.Text().Text
}

// stepSigns mark how a step went.
var stepSigns = map[string]tableCell{
	localapi.StepDone:    {"✓", styleGreen},
	localapi.StepFailed:  {"✗", styleRed},
	localapi.StepSkipped: {"–", styleDim},
}

func (p *pageWriter) addPass(pass *localapi.Pass) {
	if pass == nil {
		return
	}
	p.addHeading("Last pass")
	p.text.WriteString(passLines(p.view, *pass))
}

// passLines are a pass and its steps; checkin --wait prints them too.
func passLines(v outputView, pass localapi.Pass) string {
	steps := styledTable{heads: []string{"", "STEP", "TOOK", "DETAIL"}}
	for _, step := range pass.Steps {
		length := durationWords(time.Duration(step.Millis) * time.Millisecond)
		if step.Outcome == localapi.StepSkipped {
			length = ""
		}
		steps.rows = append(steps.rows, []tableCell{
			stepSigns[step.Outcome], {step.Name, ""}, {length, ""}, {stepWords(step), ""},
		})
	}
	when := "still running"
	if !pass.EndedAt.IsZero() {
		when = "took " + durationWords(pass.EndedAt.Sub(pass.StartedAt))
	}
	return fmt.Sprintf("  number %d at %s, %s, because of %s\n%s  %s, %d bytes sent, %s, %s\n",
		pass.Number, v.momentWords(pass.StartedAt), when, triggerWords(pass.Triggers), steps.render(v, "  "),
		countWords(pass.Requests, "request"), pass.SentBytes, countWords(pass.ToolRuns, "tool run"), countWords(pass.CommitsNow, "commit"))
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
var severitySigns = map[protocol.Severity]tableCell{
	protocol.Info:    {"·", styleDim},
	protocol.Warning: {"!", styleYellow},
	protocol.Failure: {"✗", styleRed},
}

func (p *pageWriter) addConditions(title string, conditions []localapi.Condition, chosen func(localapi.Condition) bool) {
	first := true
	for _, condition := range conditions {
		if !chosen(condition) {
			continue
		}
		if first {
			p.addHeading(title)
			first = false
		}
		p.addCondition(condition)
	}
}

// addCondition is one condition in two lines: what, since when, and what to do.
func (p *pageWriter) addCondition(condition localapi.Condition) {
	sign := severitySigns[condition.Severity]
	fmt.Fprintf(&p.text, "  %s %s %s%s\n", p.view.paint(sign.style, cmp.Or(sign.text, "!")), conditionWords(condition),
		p.view.paint(styleBold, string(condition.Code)), p.sinceWords(condition.Since))
	if condition.Remedy != "" {
		fmt.Fprintf(&p.text, "    → %s\n", condition.Remedy)
	}
}

// conditionWords are a condition in a sentence, with what it is true of first.
func conditionWords(condition localapi.Condition) string {
	words := condition.Text
	if condition.Subject != "" {
		words = condition.Subject + ": " + words
	} else if condition.Count > 1 {
		words = fmt.Sprintf("%d times: %s", condition.Count, words)
	}
	detail := strings.TrimPrefix(condition.Detail, condition.Subject+": ")
	if detail == "" || detail == condition.Subject {
		return words
	}
	return words + " (" + detail + ")"
}

func (p *pageWriter) sinceWords(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return " " + p.view.paint(styleDim, "since "+p.view.localTime(at))
}

// joinParts puts the separator between the parts that are not empty.
func joinParts(separator string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), separator)
}

// withPrefix is the text after its prefix; empty if there is no text.
func withPrefix(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}
