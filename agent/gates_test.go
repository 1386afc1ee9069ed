package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/config"
	"prlagent/agent/protocol"
)

// holding is an exchange that holds a policy.
type holding struct {
	noExchange
	report protocol.PolicyReport
}

func (h holding) Policy() protocol.PolicyReport { return h.report }

func TestTRG_15_H43_VendorGates(t *testing.T) {
	t.Parallel()
	fetched := protocol.PolicyReport{State: protocol.PolicyFetched, PolicyID: "finance", Revision: 7, SHA256: "ab", HeadVersion: 3,
		Counts: map[string]int{protocol.StrengthEnforced: 2}}
	failed := protocol.PolicyReport{State: protocol.PolicyFailed, Code: protocol.CodeHeadSignature}
	kept := protocol.PolicyReport{State: protocol.PolicyNotApplicable, Code: protocol.CodePDVersionTooOld,
		PolicyID: "finance", Revision: 7, SHA256: "ab", HeadVersion: 3}
	for name, c := range map[string]struct {
		gates   bool
		version string
		report  protocol.PolicyReport
		want    protocol.PolicyReport
	}{
		"below the gate":             {true, "20.0.1", fetched, kept},
		"far below the gate":         {true, "18.3.0", fetched, kept},
		"at the gate":                {true, "20.1.0", fetched, fetched},
		"above the gate":             {true, "26.4.0", fetched, fetched},
		"below, without gates":       {false, "20.0.1", fetched, fetched},
		"the version is not known":   {true, "", fetched, fetched},
		"the version makes no sense": {true, "twenty", fetched, fetched},
		"refused content stays so":   {true, "20.0.1", failed, failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := gate(holding{report: c.report}, config.Config{VendorGates: c.gates}, protocol.Product{Version: c.version})
			if diff := cmp.Diff(c.want, client.Policy()); diff != "" {
				t.Errorf("policy (-want +got):\n%s", diff)
			}
		})
	}
}
