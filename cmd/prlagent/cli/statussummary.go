package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

// statusSummary is the status on one screen: what needs a person first, then the
// state of things, a line for each.
func statusSummary(v outputView, status localapi.Status) string {
	p := &pageWriter{view: v}
	p.addHeadline(status)
	p.addOtherConditions(status)
	p.addItem("Daemon", daemonWords(v, status.Daemon))
	p.addItem("Configuration", sourceWords(status.Config)+", mode "+status.Config.Mode)
	p.addPolicy(status)
	p.addPortalSummary(status.Portal)
	p.addMacSummary(status)
	p.addHeldSummary(status.Holds)
	p.addCommands(status.Commands)
	if len(status.Doing) > 0 {
		p.addItem("Now", activityWords(v, status))
	}
	if notes := noteWords(status.Health); notes != "" {
		p.addItem("Good to know", notes)
	}
	if status.Restricted {
		fmt.Fprintf(&p.text, "%s\n", v.paint(styleDim, restrictedNote(status)))
	}
	return p.text.String()
}

// addOtherConditions are the conditions that the headline does not say.
func (p *pageWriter) addOtherConditions(status localapi.Status) {
	others := openConditions(status.Health)
	if status.Daemon.Running {
		others = others[min(1, len(others)):]
	}
	for _, condition := range others {
		p.addCondition(condition)
	}
	if len(others) > 0 {
		p.text.WriteString("\n")
	}
}

// openConditions are those that need a person, worst first.
func openConditions(health localapi.Health) []localapi.Condition {
	return slices.DeleteFunc(slices.Clone(health.Conditions), func(condition localapi.Condition) bool { return !needsPerson(condition) })
}

// headlineStyles color the health words.
var headlineStyles = map[string]textStyle{
	localapi.Healthy: styleGreen, localapi.Degraded: styleYellow,
}

// addHeadline says the one thing that matters: that all is well, or in three lines
// what is wrong, since when, and what to do.
func (p *pageWriter) addHeadline(status localapi.Status) {
	if !status.Daemon.Running {
		p.addUnanswered(status)
		return
	}
	health := status.Health
	color := cmp.Or(headlineStyles[health.State], styleRed)
	text, open := "prlagent is "+health.State, openConditions(health)
	if len(open) == 0 {
		fmt.Fprintf(&p.text, "%s %s\n\n", p.view.paint(color, "●"), p.view.paint(styleBold, text))
		return
	}
	first := open[0]
	fmt.Fprintf(&p.text, "%s %s: %s (%s)\n", p.view.paint(color, "●"),
		p.view.paint(styleBold, text+": "+countWords(len(open), "thing")+" to look at"), conditionWords(first), first.Code)
	fmt.Fprintf(&p.text, "  since %s\n  → %s\n\n", p.view.momentWords(first.Since), cmp.Or(first.Remedy, "See 'prlagent events'."))
}

// headlinesUnanswered say that a daemon gives no answer.
var headlinesUnanswered = map[string]string{
	localapi.NotRunning: "prlagentd is not running", localapi.NotAnswering: "prlagentd does not answer", localapi.NotInstalled: "prlagentd is not installed",
}

// addUnanswered is the headline of a snapshot. What it said may be long ago.
func (p *pageWriter) addUnanswered(status localapi.Status) {
	remedy := localapi.UnansweredCode(status.Daemon.State).Text().Remedy
	headline, said := headlinesUnanswered[status.Daemon.State], ""
	if status.Health.Last != "" {
		said = "it said " + status.Health.Last + ", and "
	}
	if status.Health.State == localapi.Stale {
		headline += ", and what it left is stale"
		said = "it counted until " + p.view.localTime(status.ValidUntil) + "; " + said
	}
	fmt.Fprintf(&p.text, "%s %s\n", p.view.paint(styleRed, "○"), p.view.paint(styleBold, headline))
	fmt.Fprintf(&p.text, "  Below is the snapshot that it left; %snothing in it has changed since %s.\n  → %s\n\n", said, p.view.momentWords(status.At), remedy)
}

func daemonWords(v outputView, daemon localapi.Daemon) string {
	version := "version " + daemon.Version
	if daemon.Revision != "" {
		version += " (" + daemon.Revision + ")"
	}
	if !daemon.Running {
		return version
	}
	return fmt.Sprintf("%s, process %d, since %s", version, daemon.PID, v.momentWords(daemon.StartedAt))
}

func (p *pageWriter) addPortalSummary(portal localapi.PortalStatus) {
	if portal.URL == "" {
		p.addPortal(portal)
		return
	}
	p.addItem("Portal", portal.URL)
	p.addEnrollment(portal)
	checkins := "last " + p.view.momentWords(portal.LastSuccessAt)
	if !portal.NextAttemptAt.IsZero() {
		checkins += ", next " + p.view.distanceWords(portal.NextAttemptAt) + withPrefix(" because of ", portal.NextReason)
	}
	p.addItem("  check-ins", checkins)
}

func (p *pageWriter) addMacSummary(status localapi.Status) {
	if host := status.Host; host.Serial != "" || host.ComputerName != "" {
		p.addItem("Mac", hostWords(host))
	}
	p.addItem("Parallels Desktop", productWords(status.Product))
	if words := licensingWords(status.Licensing); words != "" {
		p.addItem("Licensing profile", words)
	}
	p.addItem("Inventory", inventoryWords(status.Counts))
}

// noteWords name what explains a state, or may pass by itself; --verbose says
// more.
func noteWords(health localapi.Health) string {
	var notes []string
	for _, condition := range health.Conditions {
		switch {
		case condition.Pending && condition.Severity != protocol.Info:
			notes = append(notes, string(condition.Code)+" (may pass by itself)")
		case condition.Severity == protocol.Info:
			notes = append(notes, string(condition.Code))
		}
	}
	if len(notes) == 0 {
		return ""
	}
	return strings.Join(notes, ", ") + "; see 'prlagent status --verbose'"
}

// activityVerbs say what a step does while it runs.
var activityVerbs = map[string]string{
	"observe": "looks at this Mac", "exchange": "talks to the portal",
}

// activityWords say what the agent does at this moment, since when, for whom, and
// when it gives up.
func activityWords(v outputView, status localapi.Status) string {
	var parts []string
	for _, activity := range status.Doing {
		words := cmp.Or(activityVerbs[activity.Step], activity.Step)
		var names []string
		for _, user := range activity.Users {
			names = append(names, user.Name)
		}
		if len(names) > 0 {
			words += " and waits for the tools of " + joinSome(names)
		}
		words += ", begun " + v.distanceWords(activity.StartedAt)
		if !activity.GivesUpAt.IsZero() {
			words += ", gives up " + v.distanceWords(activity.GivesUpAt)
		}
		parts = append(parts, words)
	}
	return strings.Join(parts, "; ")
}

// maxNames is how many people are named in one line.
const maxNames = 3

func joinSome(names []string) string {
	if more := len(names) - maxNames; more > 0 {
		return strings.Join(names[:maxNames], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

// addActivity is the same, as a part of the whole page.
func (p *pageWriter) addActivity(status localapi.Status) {
	if len(status.Doing) > 0 {
		p.addHeading("Now")
		fmt.Fprintf(&p.text, "  %s\n", activityWords(p.view, status))
	}
}
