package prlctl

import (
	"bytes"
	"context"
	"slices"

	"prlagent/platform/tool"
)

// Probe asks the tools for their own help and says which of the flags this
// version has, and what else it can do: once for prlctl, once for `prlsrvctl
// set`, and once for each category of `prlctl set` that the flags need. A help
// that cannot be read leaves answers at SupportUnknown and is named in Unread;
// after one that failed no other is asked for, so that tools that hang cost one
// timeout. The error is an *Error: the version cannot be told, or ctx has ended.
func (c *Client) Probe(ctx context.Context, flags Flags) (Capabilities, error) {
	version, err := c.Version(ctx)
	if err != nil {
		return Capabilities{}, err
	}
	probe := &probing{client: c, unread: make(map[string]string)}
	general := probe.ask(ctx, Prlctl, "--help")
	host := probe.ask(ctx, Prlsrvctl, "set", "--help")
	sets := make(map[string]answered)
	for _, category := range flags.categories() {
		sets[category] = probe.ask(ctx, Prlctl, "set", category, "--help")
	}
	if err := ctx.Err(); err != nil {
		return Capabilities{}, runError(err)
	}
	probe.settleAbsent(sets)
	if len(probe.unread) == 0 {
		probe.unread = nil
	}
	return Capabilities{
		Version:  version,
		Set:      judgeSet(flags.Set, sets),
		HostSet:  judgeHostSet(flags.HostSet, host),
		Commands: judgeCommands(general),
		JSON:     judgeJSON(general),
		Unread:   probe.unread,
	}, nil
}

// answered is a help, or that there is none.
type answered struct {
	helpText
	read   bool
	absent bool // the tool does not know what was asked for, or shows no flag of it
}

// probing is one probe under way.
type probing struct {
	client *Client
	failed string // code of the help that could not be read
	unread map[string]string
}

// ask runs one help. `prlctl set <category> --help` takes no VM id
// (facts/prlctl.md 1.5).
func (p *probing) ask(ctx context.Context, path string, args ...string) answered {
	name := helpName(path, args)
	if p.failed != "" {
		p.unread[name] = p.failed
		return answered{}
	}
	result, err := p.client.runner.Run(ctx, tool.Command{Path: path, Args: args, Limit: tool.QueryLimit, MaxOutput: maxHelp})
	var help helpText
	if err != nil {
		err = runError(err)
	} else {
		help, err = readHelp(result)
	}
	switch code := errorCode(err); {
	case err == nil:
		return answered{helpText: help, read: true}
	case code == CodeOutputInvalid && result.ExitCode == 0 && bytes.Contains(bytes.ToLower(capped(result.Stdout)), []byte("usage")):
		p.unread[name] = code
		return answered{absent: true} // a category without a flag
	case code == CodeUnrecognizedOption, code == CodeVMNotFound: // a category taken for a machine's name
		p.unread[name] = code
		return answered{absent: true}
	case code == CodeOutputInvalid:
		p.unread[name] = code // another text may make sense
	default:
		p.failed, p.unread[name] = code, code
	}
	return answered{}
}

func helpName(path string, args []string) string {
	name := "prlctl"
	if path == Prlsrvctl {
		name = "prlsrvctl"
	}
	for _, arg := range args {
		name += " " + arg
	}
	return name
}

// settleAbsent takes a category that the tool does not know, or of which it
// shows the usage without a flag, as read and empty, provided that it knows another: then help by category works in this version.
func (p *probing) settleAbsent(sets map[string]answered) {
	works := false
	for _, help := range sets {
		works = works || help.read
	}
	if !works {
		return
	}
	for category, help := range sets {
		if help.absent {
			sets[category] = answered{read: true}
			delete(p.unread, helpName(Prlctl, []string{"set", category, "--help"}))
		}
	}
}

// judgeSet looks every flag up. It is there if any help shows it.
// It is not there if the help of its category was read and does not, and every
// other help too where the category is only inferred.
func judgeSet(flags []Flag, sets map[string]answered) map[string]Ability {
	whole := true
	for _, help := range sets {
		whole = whole && help.read
	}
	out := make(map[string]Ability, len(flags))
	for _, flag := range flags {
		ability := Ability{Support: SupportUnknown}
		if whole || flag.Certain && sets[flag.Category].read {
			ability.Support = Unsupported
		}
		for _, help := range sets {
			if help.has(flag.Name) {
				ability = Ability{Supported, longest(ability.Values, help.flags[flag.Name])}
			}
		}
		out[flag.Name] = ability
	}
	return out
}

// longest prefers the help that says more; of two that say as much, the first
// in order, so that the result does not depend on a map's.
func longest(a, b []string) []string {
	if len(b) > len(a) || len(b) == len(a) && slices.Compare(b, a) < 0 {
		return b
	}
	return a
}

func judgeHostSet(flags []string, help answered) map[string]Ability {
	out := make(map[string]Ability, len(flags))
	for _, name := range flags {
		switch {
		case !help.read:
			out[name] = Ability{Support: SupportUnknown}
		case help.has(name):
			out[name] = Ability{Supported, help.flags[name]}
		default:
			out[name] = Ability{Support: Unsupported}
		}
	}
	return out
}

// judgeCommands believes only a text that shows the commands which every
// version has; a command that is mentioned elsewhere than at the beginning of
// a line is neither there nor not there.
func judgeCommands(help answered) map[string]Support {
	sections, out := help.sections(), make(map[string]Support, len(commands))
	believed := help.read
	for _, anchor := range anchors {
		_, shown := sections[anchor]
		believed = believed && shown
	}
	for _, name := range commands {
		_, shown := sections[name]
		switch {
		case believed && shown:
			out[name] = Supported
		case believed && !help.mentions(name):
			out[name] = Unsupported
		default:
			out[name] = SupportUnknown
		}
	}
	return out
}

// judgeJSON looks for the option among those of `list`.
func judgeJSON(help answered) Support {
	list := helpText{text: help.sections()["list"]}
	if !help.read || list.readFlags() != nil {
		return SupportUnknown
	}
	switch {
	case list.has("--json"):
		return Supported
	case len(list.flags) > 0 && !help.mentions("json"):
		return Unsupported
	}
	return SupportUnknown
}
