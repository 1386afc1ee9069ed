package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

func (p *program) eventsCommand() *cobra.Command {
	var follow bool
	var from string
	command := &cobra.Command{
		Use:   "events",
		Short: "Show what happened",
		Long: `Show what happened on this Mac, oldest first, each event with its number.
Users who are not administrators see what is about themselves or nobody.

--since takes a number (events after it), a time that has passed (90m, 12h, 2d)
or a date (2026-11-23, "2026-11-23 14:30", or with its zone as in JSON).

With --follow the command shows the last ten (or those of --since) and goes on
until it is interrupted, also when the daemon is restarted. With --json a list
is one document; followed events are one document per line.`,
		Example: "  prlagent events\n  prlagent events --since 12h\n  prlagent events --since 120\n  prlagent events --follow --json | jq -c 'select(.code)'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			since, err := parseSince(from, p.now(), p.zone)
			if err != nil {
				return err
			}
			if follow {
				return p.followEvents(cmd.Context(), since, cmd.Flags().Changed("since"))
			}
			return p.runEvents(cmd.Context(), since)
		},
	}
	command.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens next")
	command.Flags().StringVar(&from, "since", "", "only events after this number, or since this time (12h, 2d) or date")
	return command
}

func (p *program) runEvents(ctx context.Context, since eventsFrom) error {
	list, err := p.allEvents(ctx, since.number)
	if err != nil {
		return exitFor(err)
	}
	list.Events = slices.DeleteFunc(list.Events, since.isBefore)
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

// followEvents goes on over the end of the daemon: whoever watches one restart
// wants to see it come back.
func (p *program) followEvents(ctx context.Context, since eventsFrom, chosen bool) error {
	seen, err := p.beginOfFollowing(ctx, since, chosen)
	for lost := false; err == nil || lost && isRestart(err); {
		err = p.newClient().Follow(ctx, seen, func(event protocol.Event) error {
			seen, lost = event.Seq, false
			if since.isBefore(event) {
				return nil
			}
			return p.printFollowed(event)
		})
		if ctx.Err() != nil {
			return nil
		}
		if isRestart(err) && !lost {
			lost = true
			fmt.Fprintln(p.stderr, "prlagent: prlagentd stopped; waiting for it to come back …")
		}
		p.waitToRetry(ctx)
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return exitOrNil(err)
}

// beginOfFollowing is the number of the last event that is not shown.
func (p *program) beginOfFollowing(ctx context.Context, since eventsFrom, chosen bool) (uint64, error) {
	if chosen {
		return since.number, nil
	}
	list, err := p.allEvents(ctx, 0)
	if err != nil || len(list.Events) <= lastEvents {
		return 0, err
	}
	return list.Events[len(list.Events)-lastEvents-1].Seq, nil
}

// isRestart reports whether the daemon is not there at the moment.
func isRestart(err error) bool { return localapi.UnansweredState(err) != "" }

func (p *program) waitToRetry(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(p.retryDelay):
	}
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
