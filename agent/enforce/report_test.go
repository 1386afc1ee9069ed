package enforce

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

var finance = protocol.PolicyPointer{PolicyID: "finance", Revision: 7, SHA256: "ab"}

func TestTRG_15_H43_VendorGates(t *testing.T) {
	t.Parallel()
	good := policy.Content{Verified: true, HeadVersion: 3, Pointer: finance, Document: []byte("{}")}
	refused := policy.Content{Code: protocol.CodeHeadSignature}
	fetched := protocol.PolicyReport{State: protocol.PolicyFetched, PolicyID: "finance", Revision: 7, SHA256: "ab", HeadVersion: 3}
	failed := protocol.PolicyReport{State: protocol.PolicyFailed, Code: protocol.CodeHeadSignature}
	kept := protocol.PolicyReport{State: protocol.PolicyNotApplicable, Code: protocol.CodePDVersionTooOld,
		PolicyID: "finance", Revision: 7, SHA256: "ab", HeadVersion: 3}
	for name, c := range map[string]struct {
		gates   bool
		version string
		content policy.Content
		want    protocol.PolicyReport
	}{
		"below the gate":             {true, "20.0.1", good, kept},
		"far below the gate":         {true, "18.3.0", good, kept},
		"at the gate":                {true, "20.1.0", good, fetched},
		"above the gate":             {true, "26.4.0", good, fetched},
		"below, without gates":       {false, "20.0.1", good, fetched},
		"the version is not known":   {true, "", good, fetched},
		"the version makes no sense": {true, "twenty", good, fetched},
		"refused content stays so":   {true, "20.0.1", refused, failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Report(&c.content, Gates{Vendor: c.gates, ProductVersion: c.version})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("policy (-want +got):\n%s", diff)
			}
		})
	}
}

// What is said of each kind of content.
func TestWhatIsSaidOfContent(t *testing.T) {
	t.Parallel()
	good := policy.Content{Verified: true, HeadVersion: 3, Pointer: finance, Document: []byte("{}")}
	with := func(how func(*policy.Content)) policy.Content {
		changed := good
		how(&changed)
		return changed
	}
	report := func(state string, code protocol.Code) protocol.PolicyReport {
		return protocol.PolicyReport{State: state, Code: code, PolicyID: "finance", Revision: 7, SHA256: "ab", HeadVersion: 3}
	}
	for name, c := range map[string]struct {
		content policy.Content
		want    protocol.PolicyReport
	}{
		"nothing":                     {policy.Content{}, protocol.PolicyReport{State: protocol.PolicyNone}},
		"nobody may sign":             {policy.Content{Code: protocol.CodeNoPolicyKeys}, protocol.PolicyReport{State: protocol.PolicyNone, Code: protocol.CodeNoPolicyKeys}},
		"in force":                    {good, report(protocol.PolicyFetched, "")},
		"the next one was refused":    {with(func(c *policy.Content) { c.Code = protocol.CodeRollbackDetected }), report(protocol.PolicyFetched, protocol.CodeRollbackDetected)},
		"past its time":               {with(func(c *policy.Content) { c.Expired = true }), report(protocol.PolicyStale, protocol.CodeContentStale)},
		"past its time, with a cause": {with(func(c *policy.Content) { c.Expired, c.Code = true, protocol.CodeHeadMissing }), report(protocol.PolicyStale, protocol.CodeHeadMissing)},
		"released":                    {with(func(c *policy.Content) { c.Released = true }), protocol.PolicyReport{State: protocol.PolicyNone, HeadVersion: 3}},
		"the store is damaged":        {policy.Content{Unreadable: true, Code: "store_damaged"}, protocol.PolicyReport{State: protocol.PolicyFailed, Code: "store_damaged"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, Report(&c.content, Gates{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
