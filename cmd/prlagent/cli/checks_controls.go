package cli

import (
	"context"
	"strings"

	"prlagent/agent/localapi"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// checkPreferences says what the agent does not see of the preferences of the
// policy: a good result would say that nothing is there.
func (m *checkedMac) checkPreferences(context.Context) checkResult {
	shown, err := m.policy()
	switch {
	case err != nil:
		return unknownResult(err.Error())
	case shown.Restricted:
		return asRoot("only administrators see the whole policy")
	}
	return judgePreferences(shown)
}

func judgePreferences(shown localapi.Policy) checkResult {
	if !wants(shown, "product.") {
		return unneededResult("The policy has no preference of Parallels Desktop.")
	}
	return unknownResult(policy.UnseenPreferences)
}

// checkControls says which security controls of the policy nothing of ours can
// hold, with what is seen beside them (SEC-16, SEC-18, SEC-21).
func (m *checkedMac) checkControls(context.Context) checkResult {
	policy, err := m.policy()
	switch {
	case err != nil:
		return unknownResult(err.Error())
	case policy.Restricted:
		return asRoot("only administrators see the whole policy")
	}
	return judgeControls(policy)
}

func judgeControls(policy localapi.Policy) checkResult {
	var beyond []string
	for i := range policy.Settings {
		setting := &policy.Settings[i]
		if setting.VMKey == (protocol.VMKey{}) && setting.Code == protocol.CodeNotEnforceable {
			beyond = append(beyond, joinParts(": ", setting.Setting, setting.Observed))
		}
	}
	switch {
	case len(beyond) > 0:
		// A limit of macOS that nobody here can remedy is no trouble of this Mac.
		result := codeResult(protocol.CodeNotEnforceable, strings.Join(beyond, "; ")+".")
		result.Outcome = outcomeNote
		return result
	case !wants(policy, "security_controls."):
		return unneededResult("The policy has no security control.")
	}
	return okResult("Whatever is against one of them is at least reported.")
}

// wants reports whether the policy has something below the path.
func wants(policy localapi.Policy, path string) bool {
	for _, wanted := range policy.Wanted {
		if strings.HasPrefix(wanted.Path, path) {
			return true
		}
	}
	return false
}
