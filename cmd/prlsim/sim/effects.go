package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// effectRecord is a record of `.prlsim/effects`: one thing that really happened to a VM
// or to the product, whatever the tool said of it.
type effectRecord struct {
	Number int    `json:"number"` // from 1 on
	Time   string `json:"time"`   // RFC 3339, UTC
	// Effect is the action that happened: start, stop, "stop --kill",
	// "stop --drop-state", suspend, resume, pause, restart, reset, delete,
	// unregister, userpasswd, deactivate-license, activate-license.
	Effect string `json:"effect"`
	By     string `json:"by"`             // program: prlctl, prlsrvctl, prlsim, or person, Mac and application of the simulation itself
	User   string `json:"user,omitempty"` // account it ran as
	VM     string `json:"vm,omitempty"`
	Owner  string `json:"owner,omitempty"`
	Name   string `json:"name,omitempty"`
	Detail string `json:"detail,omitempty"`
}

const effectsFile = "effects"

// addEffect notes what the change under way does; update records it with the
// change.
func (s *State) addEffect(effect string, vm *VM, detail string) {
	record := effectRecord{Effect: effect, By: s.actor.program, User: s.actor.user, Detail: detail}
	if record.By == "" {
		record.By = "prlsim"
	}
	if vm != nil {
		record.VM, record.Owner, record.Name = vm.ID, vm.Owner, vm.Name
	}
	s.pendingEffects = append(s.pendingEffects, record)
}

// actor is who makes the change under way.
type actor struct{ program, user string }

// refusedAfterChange is a refusal that comes when something of the Mac has changed
// already, which stays.
type refusedAfterChange struct{ error }

// change runs a change of the Mac that the tool makes.
func (in *invocation) change(apply func(*State) error) error {
	var refused refusedAfterChange
	if err := in.mac.update(func(state *State) error {
		state.actor = actor{in.name, in.caller}
		if err := apply(state); !errors.As(err, &refused) {
			return err
		}
		return nil
	}); err != nil {
		return err
	}
	return refused.error
}

// effectsLog is how far the file of effects counts. What stands behind it was
// written by a change that was killed before it was saved, and did not happen.
type effectsLog struct {
	Count int   `json:"count"`
	Bytes int64 `json:"bytes"`
}

// recordEffects writes the pending effects behind those that count. They count when
// the state is saved, in one step with what they tell of. It is called under the
// Mac's lock.
func (m Mac) recordEffects(state *State) error {
	if len(state.pendingEffects) == 0 {
		return nil
	}
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, effect := range state.pendingEffects {
		state.Effects.Count++
		effect.Number, effect.Time = state.Effects.Count, time.Now().UTC().Format(time.RFC3339Nano)
		if err := encoder.Encode(effect); err != nil {
			return fmt.Errorf("encode effect: %w", err)
		}
	}
	out, err := os.OpenFile(m.markerPath(effectsFile), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open effects: %w", err)
	}
	_, writeErr := out.WriteAt(lines.Bytes(), state.Effects.Bytes)
	state.Effects.Bytes += int64(lines.Len())
	err = errors.Join(writeErr, out.Truncate(state.Effects.Bytes), out.Close())
	if err != nil {
		return fmt.Errorf("write effects: %w", err)
	}
	return nil
}

// effects are all that count.
func (m Mac) effects() ([]effectRecord, error) {
	unlock, err := m.lock(unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer unlock()
	state, err := m.Load()
	if err != nil || state.Effects.Count == 0 {
		return nil, err
	}
	in, err := os.Open(m.markerPath(effectsFile))
	if err != nil {
		return nil, fmt.Errorf("open effects: %w", err)
	}
	defer in.Close()
	var effects []effectRecord
	for decoder := json.NewDecoder(io.LimitReader(in, state.Effects.Bytes)); ; {
		var effect effectRecord
		switch err := decoder.Decode(&effect); {
		case errors.Is(err, io.EOF):
			return effects, nil
		case err != nil:
			return nil, fmt.Errorf("read effects: %w", err)
		}
		effects = append(effects, effect)
	}
}

func effectsCommand() *cobra.Command {
	var asJSON, count bool
	var only, by, of, owner string
	command := &cobra.Command{
		Use: "effects", Short: "List what really happened to VMs and to the license, in order", Args: argumentCount(0, 0),
		Long: `List every start, stop, suspension, deletion, deactivation and so on that really
happened, whatever the tool said of it, also across crashes of who asked for it.
What prlsim itself did is by prlsim, what keep-starting does is by person.`,
		Example: `  prlsim effects
  prlsim effects --effect delete --vm macOS --count
  prlsim effects --by prlctl --json`,
		RunE: func(command *cobra.Command, _ []string) error {
			mac, err := macOf(command)
			if err != nil {
				return err
			}
			all, err := mac.effects()
			if err != nil {
				return err
			}
			effects := []effectRecord{}
			rows := [][]string{{"NUMBER", "EFFECT", "BY", "USER", "VM", "OWNER", "NAME", "DETAIL"}}
			for _, e := range all {
				if only != "" && e.Effect != only || by != "" && e.By != by || of != "" && e.VM != of && e.Name != of || owner != "" && e.Owner != owner {
					continue
				}
				effects = append(effects, e)
				rows = append(rows, []string{strconv.Itoa(e.Number), e.Effect, e.By, e.User, e.VM, e.Owner, e.Name, e.Detail})
			}
			if count {
				_, err := fmt.Fprintln(command.OutOrStdout(), len(effects))
				return err
			}
			return printRows(command, asJSON, effects, rows...)
		},
	}
	flags := command.Flags()
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	flags.BoolVar(&count, "count", false, "print only how many")
	flags.StringVar(&only, "effect", "", "only this one, for example delete or \"stop --kill\"")
	flags.StringVar(&by, "by", "", "only those that this program made")
	flags.StringVar(&of, "vm", "", "only those of the VM with this id or name")
	flags.StringVar(&owner, "owner", "", "only those of VMs of this user")
	return command
}
