package prlctl

import (
	"context"
	"time"

	"prlagent/platform/tool"
)

// Limits of the calls that act on a machine or on the product. A start or a stop
// may come back before or after the transition itself (facts/prlctl.md 9); other
// tools wait for a start, a stop and a suspend for up to ten minutes.
const (
	StopLimit    = 90 * time.Second // the guest shuts down
	KillLimit    = 30 * time.Second
	StartLimit   = 3 * time.Minute
	RestartLimit = 3 * time.Minute
	DeleteLimit  = 5 * time.Minute // the disks are removed from the volume
	LicenseLimit = 2 * time.Minute // the vendor's server is asked
)

// All of the following take a machine's UUID, never its name, and refuse every
// other text before anything is started (invalid_vm_id). They have no terminal and an
// empty standard input. Errors, and that there is none, are hints, as those of Set: a
// restart or stop that says "Operation canceled" with 255 may have worked
// (facts/prlctl.md 1.2), and what holds is the state that is read afterwards.

// Start runs `prlctl start ID`; a machine that is suspended is resumed by it.
// That it says well is no sign that the guest has started (facts/prlctl.md 1.2).
func (c *Client) Start(ctx context.Context, id string) error {
	return c.actOn(ctx, id, StartLimit, nil, "start")
}

// Stop asks the guest to shut down.
func (c *Client) Stop(ctx context.Context, id string) error {
	return c.actOn(ctx, id, StopLimit, nil, "stop")
}

// Kill ends a machine that runs or is paused as pulling its plug does (facts/prlctl.md
// 1.2, confirmed).
func (c *Client) Kill(ctx context.Context, id string) error {
	return c.actOn(ctx, id, KillLimit, nil, "stop", "--kill")
}

// DropState makes a suspended machine a stopped one, and discards what was in its
// memory (facts/prlctl.md 1.2, confirmed).
func (c *Client) DropState(ctx context.Context, id string) error {
	return c.actOn(ctx, id, KillLimit, nil, "stop", "--drop-state")
}

// Pause runs `prlctl pause ID`.
func (c *Client) Pause(ctx context.Context, id string) error {
	return c.actOn(ctx, id, KillLimit, nil, "pause")
}

// Restart asks the guest to restart.
func (c *Client) Restart(ctx context.Context, id string) error {
	return c.actOn(ctx, id, RestartLimit, nil, "restart")
}

// Delete removes a stopped machine and its files. The tool asks before, and takes a
// "y" from its standard input (facts/acting.md 1, confirmed); that it has a flag for
// that was not seen.
func (c *Client) Delete(ctx context.Context, id string) error {
	return c.actOn(ctx, id, DeleteLimit, []byte("y\n"), "delete")
}

// AutostartOff has the machine not start by itself any more (facts/acting.md 1,
// confirmed).
func (c *Client) AutostartOff(ctx context.Context, id string) error {
	return c.Set(ctx, id, "--autostart", "off")
}

// DeactivateLicense gives the license of the whole Mac back. With skipNetworkErrors
// it is given up here also where the vendor's server cannot be asked
// (facts/prlctl.md 1.3, confirmed): the seat may then stay taken there.
func (c *Client) DeactivateLicense(ctx context.Context, skipNetworkErrors bool) error {
	args := []string{"deactivate-license"}
	if skipNetworkErrors {
		args = append(args, "--skip-network-errors")
	}
	return c.change(ctx, &tool.Command{Path: Prlsrvctl, Args: args, Limit: LicenseLimit})
}

// actOn runs one action of prlctl on a machine; its flags come after the id
// (facts/prlctl.md 1.2).
func (c *Client) actOn(ctx context.Context, id string, limit time.Duration, input []byte, action string, flags ...string) error {
	id, err := ParseID(id)
	if err != nil {
		return err
	}
	args := append([]string{action, id}, flags...)
	return c.change(ctx, &tool.Command{Path: Prlctl, Args: args, Stdin: input, Limit: limit})
}
