package agent

import (
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/store"
)

// pass is the record of one turn of the loop, which people can read: a look, and
// what followed from it. It belongs to the goroutine that is at work on it.
type pass struct {
	localapi.Pass
	count          func() uint64 // runs of tools so far
	state          *store.Store
	tools, commits uint64 // runs and commits before the pass
	log            *zerolog.Logger
}

func newPass(number uint64, count func() uint64, state *store.Store, log *zerolog.Logger) *pass {
	return &pass{
		Pass:  localapi.Pass{Number: number, StartedAt: wallClock().UTC(), Triggers: []protocol.Trigger{}},
		count: count, state: state, tools: count(), commits: state.Commits(), log: log,
	}
}

// did notes one step of the pass, which began at a time. One that fails does not stop
// the next.
func (p *pass) did(name string, began time.Time, done localapi.Step) {
	done.Name, done.Millis = name, time.Since(began).Milliseconds()
	p.Steps = append(p.Steps, done)
	p.log.Debug().Str("step", name).Str("outcome", done.Outcome).Str("code", string(done.Code)).
		Int64("ms", done.Millis).Msg("pass")
}

// end closes the record. Tools and commits are the Mac's meanwhile: an exchange
// goes on beside later looks.
func (p *pass) end() localapi.Pass {
	p.EndedAt = wallClock().UTC()
	p.ToolRuns = int(p.count() - p.tools)
	p.CommitsNow = int(p.state.Commits() - p.commits)
	return p.Pass
}

func failed(code protocol.Code, detail string) localapi.Step {
	return localapi.Step{Outcome: localapi.StepFailed, Code: code, Detail: detail}
}

func skipped(code protocol.Code) localapi.Step {
	return localapi.Step{Outcome: localapi.StepSkipped, Code: code}
}

func nothingNew() localapi.Step {
	return localapi.Step{Outcome: localapi.StepSkipped, Detail: "nothing new"}
}

// convergeStep says how far the policy is carried out.
func convergeStep(policy protocol.PolicyReport) localapi.Step {
	if policy.State == protocol.PolicyFailed {
		return failed(policy.Code, "")
	}
	return localapi.Step{Outcome: localapi.StepSkipped, Code: policy.Code, Detail: "policy " + policy.State}
}
