package protocol

import "slices"

// securityCodes mark the events of security. The agent and the portal keep those
// beside all others within bounds of their own: anybody can make a thousand
// others, by renaming a machine, and must not flush them (H18).
var securityCodes = []Code{
	CodeRollbackDetected, CodeHeadSignature, CodeHeadWrongGroup, CodeHeadWrongSite,
	CodePolicyHash, CodeGroupChangeRefused, CodeDuplicateIdentity, CodeIdentityReset,
	CodeDeviceRevoked, CodeDeviceRetired, CodeToolsUntrusted, CodeToolsChanged,
	CodeStateRestored, CodeStateReset, CodeServerTimeRefused, CodeProfileRemoved,
	CodeEpochRenewed, CodeTrustedTimeReset, CodeEventsDropped, CodeAgentWasOff,
}

// IsSecurity reports whether the event is about a refusal, a reset or a change of
// what is trusted.
func (e Event) IsSecurity() bool { return slices.Contains(securityCodes, e.Code) }
