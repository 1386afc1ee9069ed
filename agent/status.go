package agent

import (
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"prlagent/agent/config"
	"prlagent/agent/inventory"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/store"
)

// view is what the socket shows: whole documents that the loop puts there and
// that readers never change.
type view struct {
	shown     chan struct{} // closed once there is a status
	status    atomic.Pointer[localapi.Status]
	inventory atomic.Pointer[localapi.Inventory]
	sent      atomic.Pointer[localapi.SentReport]
}

// show is called by the loop only.
func (v *view) show(status *localapi.Status) {
	if v.status.Swap(status) == nil {
		close(v.shown)
	}
}

// Status is what the daemon is doing, as of now.
func (a *agent) Status() *localapi.Status {
	status := &localapi.Status{Schema: localapi.Schema}
	if published := a.view.status.Load(); published != nil {
		*status = *published
	}
	status.At, status.Streams, status.Holds, status.Commands = wallClock().UTC(), a.parts.streamStatus(), a.heldStatus(), a.commandStatus()
	status.Doing = withUsers(status.Doing, a.parts.looker.Visiting())
	return status
}

// withUsers says for whom a look waits at this moment, and when it goes on
// without the last of them.
func withUsers(doing []localapi.Activity, visiting []inventory.Visiting) []localapi.Activity {
	doing = slices.Clone(doing)
	for i := range doing {
		if doing[i].Step != stepObserve {
			continue
		}
		for _, visit := range visiting {
			doing[i].Users = append(doing[i].Users, localapi.Waiting{
				Name: visit.User.Name, UID: visit.User.UID, StartedAt: visit.Since.UTC(), GivesUpAt: visit.Until.UTC(),
			})
			if visit.Until.After(doing[i].GivesUpAt) {
				doing[i].GivesUpAt = visit.Until.UTC()
			}
		}
	}
	return doing
}

// Inventory is the table as of the last look.
func (a *agent) Inventory() *localapi.Inventory {
	if published := a.view.inventory.Load(); published != nil {
		return published
	}
	return &localapi.Inventory{Schema: localapi.Schema, Rows: []protocol.Row{}}
}

// snapshots is how it stands with the snapshot files.
type snapshots struct {
	due    bool   // a pass has ended since they were written, or the health is another
	old    bool   // they could not be written
	health string // what they say of it
}

// publish makes the state of the loop visible. When a pass has ended, the
// snapshot files show it first, so that whoever sees it finds them.
func (l *loop) publish() {
	status := l.assemble()
	l.recordTroubles()
	if news := newsOf(&status.Health); news != l.snapshots.health {
		l.snapshots.health, l.snapshots.due = news, true
	}
	if l.snapshots.due {
		l.writeSnapshots(status)
	}
	if l.tellHealth() {
		status = l.assemble() // when the next check-in is due
	}
	l.agent.view.show(status)
}

// newsOf is what of the health is worth a snapshot between two passes.
func newsOf(health *localapi.Health) string {
	news := health.State
	for i := range health.Conditions {
		condition := &health.Conditions[i]
		news += fmt.Sprintf(" %s/%t", condition.Code, condition.Pending)
	}
	return news
}

// publishStopped leaves a snapshot that says that the daemon does not run any
// more.
func (l *loop) publishStopped() {
	status := l.assemble().Unanswered(localapi.NotRunning)
	l.writeSnapshots(&status)
	l.agent.view.show(&status)
}

// publishRows makes the rows of the last look visible.
func (l *loop) publishRows() *localapi.Inventory {
	rows := l.table()
	l.agent.view.inventory.Store(rows)
	return rows
}

// restoreSocket makes the socket again if something removed it: at every tick,
// because nobody can ask meanwhile.
func (l *loop) restoreSocket() {
	restored, err := l.agent.parts.restoreSocket(l.ctx)
	switch log := l.agent.parts.log; {
	case err != nil && !l.socketLost:
		log.Error().Err(err).Msg("make the socket again") // the next tick tries again
	case restored:
		log.Warn().Msg("the socket was removed, and is made again")
	}
	l.socketLost = err != nil
}

func (l *loop) writeSnapshots(status *localapi.Status) {
	err := localapi.WriteSnapshots(l.agent.parts.snapshots, status, l.publishRows())
	if err != nil && !l.snapshots.old { // it is tried again at every tick
		l.agent.parts.log.Error().Err(err).Msg("write snapshots")
	}
	l.snapshots.due, l.snapshots.old = err != nil, err != nil
}

// assemble builds the status from the loop's state and the last pass.
func (l *loop) assemble() *localapi.Status {
	version, revision := localapi.BuildVersion()
	state, look := l.portal.client.State(), l.known.look
	next, because := l.state.AttemptAt(wallClock())
	status := &localapi.Status{
		Schema: localapi.Schema,
		At:     wallClock().UTC(),
		Daemon: localapi.Daemon{Version: version, Revision: revision, PID: os.Getpid(), StartedAt: l.agent.started.UTC(), Running: true},
		Config: configStatus(l.known.configuration),
		Policy: l.policyReport(), PolicyInForce: inForce(l.known.configuration, l.portal.client.Content()),
		Drifts: l.agent.parts.enforcer.Drifts(), Violations: l.agent.parts.enforcer.Violations(), LocksReleased: l.locksReleased(),
		Store: localapi.StoreStatus{
			Outcome: string(l.agent.opened.Outcome), Reason: l.agent.opened.Reason, BadFile: l.agent.opened.BadFile,
			Epoch: l.agent.store.Epoch(), Commits: l.agent.store.Commits(), BackedUpAt: utc(l.backedUp),
		},
		Host: look.Host, Product: look.Product, Licensing: l.known.profile, Users: listedAt(look),
		Counts:   countsOf(look.Users, look.VMs),
		Schedule: localapi.Schedule{DailyAt: utc(l.state.Calendar.DailyAt), CheckinAt: utc(next), Because: because},
		ToolRuns: l.agent.parts.toolRuns(),
		Holds:    l.agent.heldStatus(),
		Commands: l.agent.commandStatus(),
	}
	if status.LocksReleased != nil {
		status.PolicyInForce.Mode, status.PolicyInForce.ModeOf = config.ModeMonitor, localapi.ModeOfPerson
	}
	status.Portal = localapi.PortalStatus{
		Enrollment: state.Enrollment, DeviceID: state.DeviceID, KeyID: state.KeyID, Group: state.Group,
		LastAttemptAt: utc(state.LastAttempt), LastSuccessAt: utc(state.LastSuccess),
		LastCode: state.LastCode, LastDetail: state.LastError, Failures: l.state.Limits.Failures, Sequence: state.Sequence,
	}
	l.describePortal(&status.Portal, next, because)
	if l.last.record.Number > 0 {
		ended := l.last.record
		status.Pass = &ended
	}
	status.Doing = l.doing()
	if !next.IsZero() {
		status.ValidUntil = next.Add(snapshotMargin).UTC().Truncate(time.Minute)
	}
	status.Health = l.judge(status)
	return status
}

// snapshotMargin is how long after the next scheduled check-in a snapshot still
// counts: for a look and an exchange that take their time, and for what many
// Macs do at once.
const snapshotMargin = time.Hour

// Steps of a pass that take their time.
const (
	stepObserve  = "observe"
	stepExchange = "exchange"
)

// doing is what runs at this moment.
func (l *loop) doing() (running []localapi.Activity) {
	if l.looking != nil {
		running = append(running, localapi.Activity{Step: stepObserve, StartedAt: l.looking.pass.StartedAt})
	}
	if l.exchanging != nil {
		running = append(running, localapi.Activity{
			Step: stepExchange, StartedAt: l.exchanging.began.UTC(), GivesUpAt: l.exchanging.began.Add(exchangeLimit).UTC(),
			Triggers: l.exchanging.pass.Triggers,
		})
	}
	return running
}

func (l *loop) describePortal(portal *localapi.PortalStatus, next time.Time, because string) {
	if l.known.configuration.ServerURL == nil {
		portal.Enrollment = string(protocol.CodeNotConfigured)
		return
	}
	portal.URL = l.known.configuration.ServerURL.String()
	portal.NextAttemptAt, portal.NextReason = utc(next), because
}

func configStatus(c *config.Config) localapi.ConfigStatus {
	status := localapi.ConfigStatus{Source: string(c.Source), LocallyManaged: c.Source == config.SourceLocal, Mode: c.Mode}
	for i := range c.Problems {
		problem := &c.Problems[i]
		status.Problems = append(status.Problems, localapi.ConfigProblem{Key: problem.Key, Code: problem.Code, Text: problem.Text})
	}
	return status
}

func countsOf(users []protocol.UserLook, vms []protocol.VM) localapi.Counts {
	counts := localapi.Counts{VMs: len(vms)}
	for i := range users {
		user := &users[i]
		if !user.IsLookedAt() {
			continue
		}
		if counts.Users++; !user.IsListed() {
			counts.UsersFailed++
		}
	}
	for i := range vms {
		switch vm := &vms[i]; {
		case vm.Stale != "":
			counts.Stale++
		case vm.State == protocol.StateRunning:
			counts.Running++
		}
	}
	return counts
}

// listedAt says when each account was listed last. The report leaves the time
// out where it is the look's own: it would differ with every look.
func listedAt(look *inventory.Look) []protocol.UserLook {
	users := slices.Clone(look.Users)
	for i := range users {
		if users[i].At.IsZero() && users[i].IsListed() {
			users[i].At = look.At
		}
	}
	return users
}

// table joins the rows of the last look with their Mac. What only the portal
// knows is what it has told: that it has a row, by the last success.
func (l *loop) table() *localapi.Inventory {
	look, state, policy := l.known.look, l.portal.client.State(), l.policyReport()
	table := &localapi.Inventory{Schema: localapi.Schema, At: look.At, Rows: make([]protocol.Row, len(look.VMs))}
	for i := range look.Users {
		if user := &look.Users[i]; user.IsLookedAt() {
			table.LeftOut += user.LeftOut
		}
	}
	version, _ := localapi.BuildVersion()
	status, reportedAt := protocol.StatusOf(look.Product, false), utc(state.LastSuccess)
	extra := protocol.RowExtra{
		Group: state.Group.ID, GroupSource: state.Group.Source, AgentVersion: version, DeviceID: state.DeviceID,
		PolicyState: policy.State, PolicyRevision: policy.Revision,
	}
	for i := range look.VMs {
		row := &table.Rows[i]
		row.VM, row.Host, row.Product, row.Extra = look.VMs[i], look.Host, look.Product, extra
		row.Status, row.LastCommand, row.LastReportedAt = status, protocol.CommandNone, reportedAt
	}
	return table
}

// storeCode is the code of how the state database was opened.
func storeCode(outcome store.Outcome) protocol.Code {
	switch outcome {
	case store.OutcomeRepaired, store.OutcomeRestored:
		return protocol.CodeStateRestored
	case store.OutcomeReset:
		return protocol.CodeStateReset
	}
	return ""
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}
