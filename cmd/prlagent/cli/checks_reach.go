package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"prlagent/agent/checkin"
	"prlagent/agent/protocol"
)

func (m *checkedMac) checkNetwork(ctx context.Context) checkResult {
	network, err := m.mac.Network(ctx)
	switch {
	case err != nil:
		return unknownResult(err.Error())
	case !network.Up():
		return codeResult(protocol.CodeOffline, "")
	}
	ways := make([]string, 0, len(network.Routes))
	for _, route := range network.Routes {
		ways = append(ways, joinParts(" over ", route.Interface, route.Gateway))
	}
	return okResult("Default route: %s; resolvers: %s.", strings.Join(ways, ", "), joinOr(network.Resolvers, "none"))
}

func joinOr(words []string, otherwise string) string {
	if len(words) == 0 {
		return otherwise
	}
	return strings.Join(words, ", ")
}

func notAsked() checkResult { return unneededResult("Not asked, because of --offline.") }

// portalStep looks at one step of the way to the portal, which is gone once.
func portalStep(step string) func(*checkedMac, context.Context) checkResult {
	return func(m *checkedMac, _ context.Context) checkResult {
		location := m.explained().Config.ServerURL
		switch {
		case location == nil:
			return unneededResult("No portal is configured.")
		case m.offline:
			return notAsked()
		}
		reached := m.portal()
		taken, was := reached.Steps[step]
		switch {
		case !was:
			return unknownResult("the way to it ends before")
		case taken.Code != "":
			return codeResult(taken.Code, sentence(taken.Detail))
		}
		return okResult("%s: %s.", wayTo(location.Host, reached), taken.Detail)
	}
}

// licenseStep looks at one step of the way to the vendor's license host (TRG-17).
func licenseStep(step string) func(*checkedMac, context.Context) checkResult {
	return func(m *checkedMac, _ context.Context) checkResult {
		if m.root != "" && !m.license.named {
			return unneededResult("A simulated Mac has no license host; name one with --license-host.")
		}
		if m.offline {
			return notAsked()
		}
		reached, host := m.vendor(), m.license.url.Host
		if !m.license.named {
			host += " (inferred; the vendor does not name it)"
		}
		taken, was := reached.Steps[step]
		switch {
		case !was:
			return unknownResult("the way to it ends before")
		case taken.Code != "":
			return codeResult(protocol.CodeLicenseHost, fmt.Sprintf("%s: %s (%s).", wayTo(host, reached), taken.Detail, taken.Code))
		}
		return okResult("%s: %s.", wayTo(host, reached), taken.Detail)
	}
}

func wayTo(host string, reached checkin.Reached) string {
	if reached.ViaProxy {
		return host + " through the proxy"
	}
	return host
}

// sentence ends a text as one.
func sentence(text string) string {
	if text == "" || strings.HasSuffix(text, ".") {
		return text
	}
	return text + "."
}

// maxSkew is what two clocks may differ by: as the agent judges them (H07).
const maxSkew = 5 * time.Minute

func (m *checkedMac) checkClock(context.Context) checkResult {
	if m.explained().Config.ServerURL == nil {
		return unneededResult("No portal is configured.")
	}
	if m.offline {
		return notAsked()
	}
	reached := m.portal()
	if reached.ServerTime.IsZero() {
		return unknownResult("the portal does not say what time it is")
	}
	ahead := reached.AskedAt.Sub(reached.ServerTime).Round(time.Second)
	side := "ahead of"
	if ahead < 0 {
		side = "behind"
	}
	if ahead.Abs() > maxSkew {
		return codeResult(protocol.CodeClockSkew, fmt.Sprintf("This Mac's is %s %s the portal's.", roughDuration(ahead.Abs()), side))
	}
	return okResult("This Mac's is %d s %s the portal's.", int(ahead.Abs().Seconds()), side)
}
