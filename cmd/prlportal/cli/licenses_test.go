package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
)

// Groups with their counts, the Macs that cannot be migrated, csv and JSON (LIC-05, LIC-08).
func TestLIC08_ReportLicensesNamesWhatIsTooOld(t *testing.T) {
	t.Parallel()
	portal := portaltest.TwoMacs(t)
	old := portaltest.NewMac(t, portal, "C02CCCCCCCCC")
	old.Report.Host.ComputerName = "=cmd|' /C calc'!A0\x1b[2J"
	old.Report.Product = protocol.Product{Installed: true, Version: "19.4.1", State: protocol.ProductKey}
	old.Enroll(t, 201)
	old.Checkin(t)
	operator := operatorOf(t, portal)
	shown := operator.run("report", "licenses")
	portaltest.MustContain(t, shown, "default", "Deactivated", "Not launched 30 d", "3 Macs", "1 not ready to be migrated (older than 20.1.0, or of unknown version): --not-ready")
	names := operator.run("report", "licenses", "--not-ready")
	portaltest.MustContain(t, names, "C02CCCCCCCCC", "19.4.1", "too_old", "unknown")
	if strings.Contains(names, "C02AAAAAAAAA") || strings.Contains(names, "\x1b") {
		t.Errorf("it is\n%q", names)
	}
	csv := operator.run("report", "licenses", "--format", "csv")
	if want := "group,macs,activated_sso,activated_key,deactivated,not_installed,unknown,idle_30,idle_60,idle_90,idle_30_unknown,idle_60_unknown,idle_90_unknown,too_old,version_unknown\r\ndefault,3,0,2,1,0,0,0,0,0,2,2,2,1,0\r\n"; csv != want &&
		csv != strings.ReplaceAll(want, "\r\n", "\n") {
		t.Errorf("csv is\n%q", csv)
	}
	perMac := operator.run("report", "licenses", "--macs", "--format", "csv")
	if !strings.Contains(perMac, `'=cmd`) || strings.Contains(perMac, "\x1b") || strings.Count(perMac, "C02") != 3 {
		t.Errorf("csv is\n%q", perMac)
	}
	var document fleet.Licenses
	if err := json.Unmarshal([]byte(operator.run("report", "licenses", "--json")), &document); err != nil || len(document.Rows) != 1 || len(document.Macs) != 3 {
		t.Errorf("%v, %+v", err, document)
	}
	operator.wrong("--format is table, csv or json", "report", "licenses", "--format", "xml")

	portal.Clock.Advance(time.Hour)
	request, _ := old.Next(t)
	request.Triggers = append(request.Triggers, protocol.Trigger{Reason: "app_launch", Count: 1, FirstAt: portal.Clock.Now(), LastAt: portal.Clock.Now()})
	if got := old.Send(t, request); got.Status != 200 {
		t.Fatalf("check-in: %d %s", got.Status, got.Body)
	}
	portaltest.MustContain(t, operator.run("report", "licenses", "--not-ready", "--format", "csv"), portal.Clock.Now().Format(time.RFC3339))
}
