package agent

import (
	"crypto/x509"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

// A profile with the next certificate too ends the condition of the old one.
func TestTheEndOfTheLastCertificateIsAConditionBeforehand(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	ends := func(in ...time.Duration) (trusted []*x509.Certificate) {
		for _, left := range in {
			trusted = append(trusted, &x509.Certificate{NotAfter: now.Add(left)})
		}
		return trusted
	}
	for name, test := range map[string]struct {
		trusted []*x509.Certificate
		code    protocol.Code
		detail  string
	}{
		"the system's roots": {ends(), "", ""},
		"a year":             {ends(365 * day), "", ""},
		"31 days":            {ends(31 * day), "", ""},
		"29 days":            {ends(29 * day), protocol.CodePortalExpiring, "until 2026-12-27"},
		"ended":              {ends(-day), protocol.CodePortalExpiring, "until 2026-11-27"},
		"old and next":       {ends(29*day, 800*day), "", ""},
		"next and old":       {ends(800*day, -day), "", ""},
		"two, and both end":  {ends(2*day, 20*day), protocol.CodePortalExpiring, "until 2026-12-18"},
	} {
		if code, detail := certificateCode(test.trusted, now); code != test.code || detail != test.detail {
			t.Errorf("%s: %q %q, want %q %q", name, code, detail, test.code, test.detail)
		}
	}
}

func TestADaemonSaysThatItsPortalsCertificateEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		configuration := settings(t)
		configuration.ServerCertificates = []*x509.Certificate{{NotAfter: time.Now().Add(29 * 24 * time.Hour)}}
		d := newDaemon(t, configuration)
		defer d.run(t)()
		synctest.Wait()
		health := d.Status().Health
		if !slices.ContainsFunc(health.Conditions, func(c localapi.Condition) bool { return c.Code == protocol.CodePortalExpiring }) {
			t.Errorf("health %+v", health)
		}
	})
}
