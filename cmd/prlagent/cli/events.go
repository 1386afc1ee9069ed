package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

func (p *program) eventsCommand() *cobra.Command {
	var follow bool
	var since uint64
	command := &cobra.Command{
		Use:   "events",
		Short: "Show what happened",
		Long: `Show what happened on this Mac, oldest first, each event with its number.
Users who are not administrators see what is about themselves or nobody.

With --follow the command shows the last ten (or those after --since) and goes
on until it is interrupted. With --json a list is one document; followed
events are one document per line.`,
		Example: "  prlagent events\n  prlagent events --since 120\n  prlagent events --follow --json | jq -c 'select(.code)'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if follow {
				return p.followEvents(cmd.Context(), since, cmd.Flags().Changed("since"))
			}
			return p.runEvents(cmd.Context(), since)
		},
	}
	command.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens next")
	command.Flags().Uint64Var(&since, "since", 0, "only events after this number")
	return command
}

func (p *program) runEvents(ctx context.Context, since uint64) error {
	list, err := p.allEvents(ctx, since)
	if err != nil {
		return exitFor(err)
	}
	if p.json {
		return exitOrNil(p.printJSON(list))
	}
	for _, event := range list.Events {
		if err := p.printEvent(event); err != nil {
			return exitFor(err)
		}
	}
	return nil
}

// exitOrNil is the exit of a command that only prints.
func exitOrNil(err error) error {
	if err != nil {
		return exitFor(err)
	}
	return nil
}

// allEvents reads page after page, under one time limit.
func (p *program) allEvents(ctx context.Context, since uint64) (localapi.EventList, error) {
	ctx, cancel := p.withTimeout(ctx)
	defer cancel()
	client := p.newClient()
	all := localapi.EventList{Schema: localapi.Schema, Events: []protocol.Event{}, Next: since}
	for {
		list, err := client.Events(ctx, all.Next)
		if err != nil {
			return localapi.EventList{}, err
		}
		all.Events = append(all.Events, list.Events...)
		if list.Next <= all.Next {
			return all, nil
		}
		all.Next = list.Next
	}
}

// lastEvents is how many past events a follower sees first.
const lastEvents = 10

func (p *program) followEvents(ctx context.Context, since uint64, chosen bool) error {
	if !chosen {
		list, err := p.allEvents(ctx, 0)
		if err != nil {
			return exitFor(err)
		}
		if len(list.Events) > lastEvents {
			since = list.Events[len(list.Events)-lastEvents-1].Seq
		}
	}
	err := p.newClient().Follow(ctx, since, p.printFollowed)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return exitOrNil(err)
}

func (p *program) printFollowed(event protocol.Event) error {
	if p.json {
		return p.printLineJSON(event)
	}
	return p.printEvent(event)
}

func (p *program) printEvent(event protocol.Event) error {
	_, err := fmt.Fprintln(p.stdout, eventLine(p.newView(), cleanDocument(event)))
	return err
}

// eventLine is one event for people.
func eventLine(v outputView, event protocol.Event) string {
	text := fmt.Sprintf("%6d  %s  %s", event.Seq, v.localTime(event.At), v.paint(styleBold, event.Type))
	if event.Code != "" {
		text += "  " + v.paint(severitySigns[event.Code.Text().Severity].style, codeWords(event.Code))
	}
	for _, key := range slices.Sorted(maps.Keys(event.Data)) {
		text += "  " + v.paint(styleDim, key+"=") + event.Data[key]
	}
	return text
}
