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
	probe := &helpProbe{client: c, unread: make(map[string]string)}
	general := probe.askHelp(ctx, Prlctl, "--help")
	host := probe.askHelp(ctx, Prlsrvctl, "set", "--help")
	sets := make(map[string]helpAnswer)
	for _, category := range flags.categories() {
		sets[category] = probe.askHelp(ctx, Prlctl, "set", category, "--help")
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

// helpAnswer is a help, or that there is none.
type helpAnswer struct {
	help   helpText
	read   bool
	absent bool // the tool does not know what was asked for, or shows no flag of it
}

// helpProbe is one probe under way.
type helpProbe struct {
	client     *Client
	failedCode string // code of the help that could not be read
	unread     map[string]string
}

// askHelp runs one help. `prlctl set <category> --help` takes no VM id
// (facts/prlctl.md 1.5).
func (p *helpProbe) askHelp(ctx context.Context, path string, args ...string) helpAnswer {
	name := helpName(path, args)
	if p.failedCode != "" {
		p.unread[name] = p.failedCode
		return helpAnswer{}
	}
	result, err := p.client.runner.Run(ctx, &tool.Command{Path: path, Args: args, Limit: tool.QueryLimit, MaxOutput: maxHelp})
	var help helpText
	if err != nil {
		err = runError(err)
	} else {
		help, err = readHelp(result)
	}
	switch code := errorCode(err); {
	case err == nil:
		return helpAnswer{help: help, read: true}
	case code == CodeOutputInvalid && result.ExitCode == 0 && bytes.Contains(bytes.ToLower(cappedMessage(result.Stdout)), []byte("usage")):
		p.unread[name] = code
		return helpAnswer{absent: true} // a category without a flag
	case code == CodeUnrecognizedOption, code == CodeVMNotFound: // a category taken for a machine's name
		p.unread[name] = code
		return helpAnswer{absent: true}
	case code == CodeOutputInvalid:
		p.unread[name] = code // another text may make sense
	default:
		p.failedCode, p.unread[name] = code, code
	}
	return helpAnswer{}
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
func (p *helpProbe) settleAbsent(sets map[string]helpAnswer) {
	works := false
	for _, help := range sets {
		works = works || help.read
	}
	if !works {
		return
	}
	for category, help := range sets {
		if help.absent {
			sets[category] = helpAnswer{read: true}
			delete(p.unread, helpName(Prlctl, []string{"set", category, "--help"}))
		}
	}
}

// judgeSet looks every flag up. It is there if any help shows it.
// It is not there if the help of its category was read and does not, and every
// other help too where the category is only inferred.
func judgeSet(flags []Flag, sets map[string]helpAnswer) map[string]Ability {
	whole := true
	for _, answer := range sets {
		whole = whole && answer.read
	}
	out := make(map[string]Ability, len(flags))
	for _, flag := range flags {
		ability := Ability{Support: SupportUnknown}
		if whole || flag.Certain && sets[flag.Category].read {
			ability.Support = Unsupported
		}
		for _, answer := range sets {
			if answer.help.hasFlag(flag.Name) {
				ability = Ability{Supported, moreValues(ability.Values, answer.help.flags[flag.Name])}
			}
		}
		out[flag.Name] = ability
	}
	return out
}

// moreValues prefers the help that says more; of two that say as much, the first
// in order, so that the result does not depend on a map's.
func moreValues(a, b []string) []string {
	if len(b) > len(a) || len(b) == len(a) && slices.Compare(b, a) < 0 {
		return b
	}
	return a
}

func judgeHostSet(flags []string, answer helpAnswer) map[string]Ability {
	out := make(map[string]Ability, len(flags))
	for _, name := range flags {
		switch {
		case !answer.read:
			out[name] = Ability{Support: SupportUnknown}
		case answer.help.hasFlag(name):
			out[name] = Ability{Supported, answer.help.flags[name]}
		default:
			out[name] = Ability{Support: Unsupported}
		}
	}
	return out
}

// judgeCommands believes only a text that shows the commands which every
// version has; a command that is mentioned elsewhere than at the beginning of
// a line is neither there nor not there.
func judgeCommands(answer helpAnswer) map[string]Support {
	sections, out := answer.help.commandSections(), make(map[string]Support, len(probedCommands))
	believed := answer.read
	for _, anchor := range anchorCommands {
		_, shown := sections[anchor]
		believed = believed && shown
	}
	for _, name := range probedCommands {
		_, shown := sections[name]
		switch {
		case believed && shown:
			out[name] = Supported
		case believed && !answer.help.mentionsWord(name):
			out[name] = Unsupported
		default:
			out[name] = SupportUnknown
		}
	}
	return out
}

// judgeJSON looks for the option among those of `list`.
func judgeJSON(answer helpAnswer) Support {
	list := helpText{text: answer.help.commandSections()["list"]}
	if !answer.read || list.readFlags() != nil {
		return SupportUnknown
	}
	switch {
	case list.hasFlag("--json"):
		return Supported
	case len(list.flags) > 0 && !answer.help.mentionsWord("json"):
		return Unsupported
	}
	return SupportUnknown
}
