package agent

import (
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
	status    atomic.Pointer[localapi.Status]
	inventory atomic.Pointer[localapi.Inventory]
}

// Status is what the daemon is doing, as of now.
func (a *agent) Status() localapi.Status {
	status := localapi.Status{Schema: localapi.Schema}
	if published := a.view.status.Load(); published != nil {
		status = *published
	}
	status.At = wallClock().UTC()
	return status
}

// Inventory is the table as of the last look.
func (a *agent) Inventory() localapi.Inventory {
	if published := a.view.inventory.Load(); published != nil {
		return *published
	}
	return localapi.Inventory{Schema: localapi.Schema, Rows: []protocol.Row{}}
}

// publish makes the state of the loop visible, and writes the snapshot files
// when a pass has ended and they differ from what they were.
func (l *loop) publish() {
	status := l.assemble()
	l.view.status.Store(&status)
	if l.state.running() || l.last.pass.Number == l.written {
		return
	}
	rows := l.table()
	l.view.inventory.Store(&rows)
	err := localapi.WriteSnapshots(l.snapshots, status, rows)
	if err == nil {
		l.written, l.snapshotsOld = l.last.pass.Number, false
		return
	}
	if !l.snapshotsOld { // it is tried again at every tick
		l.log.Error().Err(err).Msg("write snapshots")
	}
	l.snapshotsOld = true
}

// assemble builds the status from the loop's state and the last pass.
func (l *loop) assemble() localapi.Status {
	version, revision := localapi.BuildVersion()
	exchange := l.known.exchanger()
	state, look := exchange.State(), l.known.look
	next, because := l.state.attemptAt(wallClock())
	status := localapi.Status{
		Schema: localapi.Schema,
		At:     wallClock().UTC(),
		Daemon: localapi.Daemon{Version: version, Revision: revision, PID: os.Getpid(), StartedAt: l.started.UTC(), Running: true},
		Config: configStatus(l.known.configuration),
		Policy: exchange.Policy(),
		Store: localapi.StoreStatus{
			Outcome: string(l.opened.Outcome), Reason: l.opened.Reason, BadFile: l.opened.BadFile,
			Epoch: l.store.Epoch(), Commits: l.store.Commits(), BackedUpAt: utc(l.known.backedUp),
		},
		Host: look.Host, Product: look.Product, Users: listedAt(look),
		Counts:   countsOf(look.Users, look.VMs),
		Schedule: localapi.Schedule{DailyAt: utc(l.state.DailyAt), CheckinAt: utc(next), Because: because},
		ToolRuns: l.toolRuns(),
	}
	status.Portal = localapi.PortalStatus{
		Enrollment: state.Enrollment, DeviceID: state.DeviceID, Group: state.Group,
		LastAttemptAt: utc(state.LastAttempt), LastSuccessAt: utc(state.LastSuccess),
		LastCode: state.LastCode, LastDetail: state.LastError, Failures: l.state.Failures, Sequence: state.Sequence,
	}
	l.describePortal(&status.Portal, next, because)
	if l.last.pass.Number > 0 {
		ended := l.last.pass
		status.Pass = &ended
	}
	status.Health = l.judge(status)
	return status
}

func (l *loop) describePortal(portal *localapi.PortalStatus, next time.Time, because string) {
	if l.known.configuration.ServerURL == nil {
		portal.Enrollment = string(protocol.CodeNotConfigured)
		return
	}
	portal.URL = l.known.configuration.ServerURL.String()
	portal.NextAttemptAt, portal.NextReason = utc(next), because
}

func configStatus(c config.Config) localapi.ConfigStatus {
	status := localapi.ConfigStatus{Source: string(c.Source), LocallyManaged: c.Source == config.SourceLocal, Mode: c.Mode}
	for _, problem := range c.Problems {
		status.Problems = append(status.Problems, localapi.ConfigProblem{Key: problem.Key, Code: problem.Code, Text: problem.Text})
	}
	return status
}

func countsOf(users []protocol.UserLook, vms []protocol.VM) localapi.Counts {
	counts := localapi.Counts{Users: len(users), VMs: len(vms)}
	for _, user := range users {
		if user.Code != "" {
			counts.UsersFailed++
		}
	}
	for _, vm := range vms {
		switch {
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
func listedAt(look inventory.Look) []protocol.UserLook {
	users := slices.Clone(look.Users)
	for i := range users {
		if users[i].At.IsZero() && users[i].Code == "" {
			users[i].At = look.At
		}
	}
	return users
}

// table joins the rows of the last look with their Mac. What only the portal
// knows is what it has told: that it has a row, by the last success.
func (l *loop) table() localapi.Inventory {
	look, state := l.known.look, l.known.exchanger().State()
	table := localapi.Inventory{Schema: localapi.Schema, At: look.At, Rows: make([]protocol.Row, 0, len(look.VMs))}
	version, _ := localapi.BuildVersion()
	for _, vm := range look.VMs {
		table.Rows = append(table.Rows, protocol.Row{
			VM: vm, Host: look.Host, Product: look.Product,
			Status:         protocol.StatusOf(look.Product, false),
			LastCommand:    protocol.CommandNone,
			LastReportedAt: utc(state.LastSuccess),
			Extra: protocol.RowExtra{
				Group: state.Group.ID, GroupSource: state.Group.Source, AgentVersion: version, DeviceID: state.DeviceID,
				PolicyState: l.known.exchanger().Policy().State, PolicyRevision: l.known.exchanger().Policy().Revision,
			},
		})
	}
	return table
}

// storeCodes are the codes of how the state database was opened.
var storeCodes = map[store.Outcome]protocol.Code{
	store.OutcomeRepaired: protocol.CodeStateRestored,
	store.OutcomeRestored: protocol.CodeStateRestored,
	store.OutcomeReset:    protocol.CodeStateReset,
}

func storeCode(outcome store.Outcome) protocol.Code { return storeCodes[outcome] }

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}
