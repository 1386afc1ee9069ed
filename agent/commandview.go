package agent

import (
	"strings"
	"time"

	"prlagent/agent/command"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

// Commands shows the journal of commands: the newest, or those whose id begins like
// this.
func (a *agent) Commands(id string) (*localapi.CommandList, error) {
	list := &localapi.CommandList{Schema: localapi.Schema, Commands: []localapi.Command{}}
	records, err := a.commands.runner.Records()
	if err != nil {
		return list, err
	}
	for _, record := range records {
		switch {
		case len(record.ID) < len(id) || !strings.EqualFold(record.ID[:len(id)], id):
		case len(list.Commands) == localapi.MaxCommands:
			list.Truncated = true
			return list, nil
		default:
			list.Commands = append(list.Commands, *commandView(record))
		}
	}
	return list, nil
}

func commandView(r *command.Record) *localapi.Command {
	words := r.Code.Text()
	shown := &localapi.Command{
		CommandID: r.ID, Type: r.Command.Type, Target: r.Command.Target, IssuedAt: utc(r.Command.IssuedAt), ExpiresAt: utc(r.Command.ExpiresAt),
		IssuedBy: r.Command.IssuedBy, Reason: r.Command.Reason, State: r.State, Code: r.Code, Message: r.Message,
		Since: r.Since.UTC(), RetryAt: utc(r.RetryAt), Attempts: r.Attempts, StartedAt: utc(r.FirstAt), Acknowledged: r.Settled,
	}
	if r.Code != "" {
		shown.Text, shown.Remedy = words.Text, words.Remedy
	}
	if r.Result != nil {
		shown.EndedAt, shown.Observed = r.Result.EndedAt, r.Result.Observed
	}
	for _, step := range r.Steps {
		shown.History = append(shown.History, localapi.CommandStep{At: step.At.UTC(), State: step.State, Code: step.Code})
	}
	return shown
}

// What the status says of commands.
const (
	maxBriefs      = 3
	failedShownFor = 30 * 24 * time.Hour
)

// commandStatus is how it stands with commands; nil where there is nothing to say.
func (a *agent) commandStatus() *localapi.CommandStatus {
	now := a.commands.circumstances()
	found, err := a.commands.runner.Summary()
	if err != nil {
		a.parts.log.Error().Err(err).Msg("read the journal of commands for the status")
	}
	shown := &localapi.CommandStatus{Open: len(found.Open), Unreported: found.Unreported, TimeProven: now.Clock.Proven}
	for i := range found.Open[:min(len(found.Open), maxBriefs)] {
		shown.Oldest = append(shown.Oldest, briefOf(found.Open[i]))
	}
	if last := found.LastFailed; last != nil && now.Clock.Wall.Sub(last.Since) < failedShownFor {
		brief := briefOf(last)
		shown.LastFailed = &brief
	}
	if found.IntentsUnusable {
		shown.RecordCode = protocol.CodeIntentsUnreadable
	}
	if len(now.Trust.Keys) == 0 && shown.Open+shown.Unreported == 0 && shown.LastFailed == nil {
		return nil
	}
	return shown
}

func briefOf(r *command.Record) localapi.CommandBrief {
	target := &r.Command.Target
	return localapi.CommandBrief{
		CommandID: r.ID, Type: r.Command.Type, VMName: target.VMName, Owner: target.Owner, State: r.State, Code: r.Code, Since: r.Since.UTC(),
	}
}
