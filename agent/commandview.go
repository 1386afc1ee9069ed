package agent

import (
	"strings"

	"prlagent/agent/command"
	"prlagent/agent/localapi"
)

// Commands shows the journal of commands: the newest, or those whose id begins like
// this.
func (a *agent) Commands(id string) (localapi.CommandList, error) {
	list := localapi.CommandList{Schema: localapi.Schema, Commands: []localapi.Command{}}
	records, err := a.commands.runner.Records()
	if err != nil {
		return list, err
	}
	for _, record := range records {
		switch {
		case !strings.HasPrefix(record.ID, strings.ToLower(id)):
		case len(list.Commands) == localapi.MaxCommands:
			list.Truncated = true
			return list, nil
		default:
			list.Commands = append(list.Commands, commandView(record))
		}
	}
	return list, nil
}

func commandView(r command.Record) localapi.Command {
	words := r.Code.Text()
	shown := localapi.Command{
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
