package cli

import (
	"context"
	"strings"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

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
		return codeResult(protocol.CodeNotEnforceable, strings.Join(beyond, "; ")+".")
	case !hasControls(policy):
		return unneededResult("The policy has no security control.")
	}
	return okResult("Whatever is against one of them is at least reported.")
}

func hasControls(policy localapi.Policy) bool {
	for _, wanted := range policy.Wanted {
		if strings.HasPrefix(wanted.Path, "security_controls.") {
			return true
		}
	}
	return false
}
