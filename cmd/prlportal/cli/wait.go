package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/platform/text"
)

// waitPoll is how often the portal is asked for a command that has not ended.
const waitPoll = 500 * time.Millisecond

// withWait adds a flag that waits for the end of one command.
func (o *listOptions) withWait(command *cobra.Command) {
	var patience time.Duration
	command.Flags().DurationVar(&patience, "wait", 0, "with ID: wait until the command has ended, at most so long (10m); ends with 1 if it has not succeeded")
	show := command.RunE
	command.RunE = func(command *cobra.Command, args []string) error {
		switch {
		case patience == 0:
			return show(command, args)
		case len(args) == 0:
			return usageError("--wait is for one command; give its ID")
		case patience < 0:
			return usageError("--wait is a span such as 10m")
		}
		last, err := o.waitForEnd(command.Context(), command.ErrOrStderr(), text.TypedID(args[0]), patience)
		if err != nil {
			return err
		}
		if err := show(command, args); err != nil {
			return err
		}
		switch {
		case last.Open:
			return fmt.Errorf("it has not ended after %s; it is %s", patience, text.DisplayValue(last.State))
		case last.State != protocol.CommandSucceeded:
			return errors.New("it has not succeeded: it is " + text.DisplayValue(last.State))
		}
		return nil
	}
}

// waitForEnd asks until a command has ended, or patience has, and tells each state on the
// way.
func (o *listOptions) waitForEnd(ctx context.Context, progress io.Writer, id string, patience time.Duration) (last adminapi.CommandDetail, err error) {
	err = o.admin.ask(ctx, func(ctx context.Context, client *adminapi.Client) error {
		deadline := time.Now().Add(patience)
		for told := ""; ; {
			if last, err = client.Command(ctx, id); err != nil {
				return err
			}
			if now := last.State; last.Open && now != told {
				told = now
				fmt.Fprintf(progress, "%s %s\n", time.Now().Format("15:04:05"), text.DisplayValue(now))
			}
			if !last.Open || !time.Now().Before(deadline) {
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(min(waitPoll, time.Until(deadline))):
			}
		}
	})
	return last, err
}
