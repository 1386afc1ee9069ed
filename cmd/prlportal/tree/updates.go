package tree

import "slices"

// Members of the block in which a policy's file says, as a configuration profile of
// the vendor does under Product Updates, whether major upgrades are allowed (CFP-06).
const (
	memberUpdates = "product_updates"
	memberAllow   = "allow_major_upgrade"
)

// upgradeControl is the control that the block stands for, the other way round.
const upgradeControl = "no_major_upgrade"

// withUpdates is the policy with the control in the place of the block. What is not
// allowed by default is nobody's to guess: a block says it, and a policy without one
// has no say in it.
func (r *reader) withUpdates(p *Policy, complete value, from sources) value {
	block, is := complete.member(memberUpdates)
	if !is {
		return complete
	}
	complete.members = slices.DeleteFunc(slices.Clone(complete.members), func(m member) bool { return m.name == memberUpdates })
	at, controlPath := source{p.file, block.at}, below(controlsPath, upgradeControl)
	if block.kind != kindObject {
		r.fail(ruleWrongType, at, memberUpdates, "it should be an object: %s: true or false", memberAllow)
		return complete
	}
	for _, m := range block.members {
		if m.name != memberAllow && m.name != memberEnabled {
			r.fail(ruleUnknownMember, source{p.file, m.at}, below(memberUpdates, m.name), "there is no member %s here%s", m.name, meant(m.name, []string{memberAllow}))
		}
	}
	given, isGiven := block.member(memberAllow)
	allowed, isSwitch := given.scalar.(bool)
	controls, _ := complete.member(controlsPath)
	_, twice := controls.member(upgradeControl)
	switch {
	case !isGiven:
		r.fail(ruleMissing, at, below(memberUpdates, memberAllow), "say whether major upgrades are allowed: true or false")
	case !isSwitch:
		r.fail(ruleWrongType, source{p.file, given.at}, below(memberUpdates, memberAllow), "it should be true or false")
	case isOff(block):
		r.fail(ruleDisabled, at, memberUpdates, "it is turned off: it stays here and is not published, and what it says is not managed")
	case twice:
		r.fail(ruleConflict, source{p.file, given.at}, below(memberUpdates, memberAllow), "%s says the same; leave one of them out", controlPath)
	case isOff(controls):
		r.fail(ruleConflict, source{p.file, given.at}, below(memberUpdates, memberAllow), "%s is turned off, and this is one of them; turn it on, or this off as well", controlsPath)
	default:
		controls.kind = kindObject
		from[controlPath] = source{p.file, given.at}
		return complete.withValue(controlsPath, controls.withValue(upgradeControl, value{at: given.at, scalar: !allowed}))
	}
	return complete
}

// isOff reports whether a block is turned off.
func isOff(block value) bool {
	flag, _ := block.member(memberEnabled)
	isOn, isFlag := flag.scalar.(bool)
	return isFlag && !isOn
}
