package agentapi_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/portaltest"
)

// A clock that is wrong is visible; a report that was late is not taken for one.
func TestClocksThatAreWrong(t *testing.T) {
	t.Parallel()
	const hourly = time.Hour
	for name, c := range map[string]struct {
		ahead []time.Duration // of each check-in, an hour apart: when it was made, by the Mac
		want  int64           // seconds, after the last
	}{
		"right":                                {[]time.Duration{0, time.Minute, -4 * time.Minute}, 0},
		"at the limit":                         {[]time.Duration{5 * time.Minute}, 0},
		"beyond it":                            {[]time.Duration{5*time.Minute + time.Second}, 301},
		"ahead for long":                       {[]time.Duration{26 * time.Hour, 26 * time.Hour}, 26 * 3600},
		"set right again":                      {[]time.Duration{26 * time.Hour, 0}, 0},
		"a report that was under way for long": {[]time.Duration{0, -50 * time.Minute}, 0},
		"two late ones":                        {[]time.Duration{0, -50 * time.Minute, -10 * time.Minute}, 0},
		"older than the check-in before":       {[]time.Duration{0, -2 * time.Hour}, -7200},
		"behind, and the report before was as late": {[]time.Duration{0, -20 * time.Minute, -21 * time.Minute}, -21 * 60},
		"behind, and stays so":                      {[]time.Duration{0, -20 * time.Minute, -21 * time.Minute, -20 * time.Minute}, -20 * 60},
		"an empty battery":                          {[]time.Duration{-portaltest.Morning.Sub(time.Unix(0, 0))}, -portaltest.Morning.Unix()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			portal := portaltest.New(t)
			m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
			m.Enroll(t, http.StatusCreated)
			for i, ahead := range c.ahead {
				if i > 0 {
					portal.Clock.Advance(hourly)
				}
				sendMadeAt(t, portal, m, portal.Clock.Now().Add(ahead))
			}
			if got := portal.Device(t).ClockAhead; got != c.want {
				t.Errorf("the clock is %d s ahead, want %d", got, c.want)
			}
		})
	}
}

func sendMadeAt(t *testing.T, portal *portaltest.Portal, m *portaltest.Mac, at time.Time) {
	t.Helper()
	request, base := m.Next(t)
	request.SentAt = at
	if got := m.Send(t, request); got.Status != http.StatusOK {
		t.Fatalf("check-in answered %d %s", got.Status, got.Body)
	}
	m.Base = base
}

func TestAClockGoingWrongIsAChangeOfTheDevice(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	changed := func(ahead time.Duration) int {
		portal.Clock.Advance(time.Hour)
		now := portal.Clock.Now()
		sendMadeAt(t, portal, m, now.Add(ahead))
		devices, _ := portal.List(t, "devices", url.Values{"since": {now.Format(time.RFC3339)}})
		return len(devices)
	}
	if changed(0) != 0 || changed(time.Hour) != 1 || changed(2*time.Hour) != 0 || changed(0) != 1 || changed(time.Minute) != 0 {
		t.Error("a clock changes when it goes wrong and when it is right again, and at no other time")
	}
	changed(time.Hour)
	for filter, want := range map[string]int{"clock_ahead_s not empty": 1, "clock_ahead_s>3599": 1, "clock_ahead_s<0": 0} {
		if devices, _ := portal.List(t, "devices", url.Values{"filter": {filter}}); len(devices) != want {
			t.Errorf("%s shows %d devices", filter, len(devices))
		}
	}
}

// INV-16: a date is believed if it can be.
func TestINV_16_DatesThatCannotBe(t *testing.T) {
	t.Parallel()
	morning := portaltest.Morning
	for name, c := range map[string]struct {
		said time.Time
		want string        // of last_used
		code protocol.Code // of its gap
	}{
		"yesterday":                     {morning.Add(-24 * time.Hour), "2026-11-22T09:00:00Z", ""},
		"a moment ago by a fast clock":  {morning.Add(4 * time.Minute), "2026-11-23T09:04:00Z", ""},
		"tomorrow":                      {morning.Add(24 * time.Hour), "", protocol.CodeClockSkew},
		"in a thousand years":           {morning.AddDate(1000, 0, 0), "", protocol.CodeClockSkew},
		"before Parallels Desktop was":  {time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC), "", protocol.CodeClockSkew},
		"the null date of Unix":         {time.Unix(0, 0), "", protocol.CodeNotSeenRunning},
		"the null date 1752-01-01":      {time.Date(1752, 1, 1, 0, 0, 0, 0, time.UTC), "", protocol.CodeNotSeenRunning},
		"the null date 1751-12-31":      {time.Date(1751, 12, 31, 0, 0, 0, 0, time.UTC), "", protocol.CodeNotSeenRunning},
		"the null date in another zone": {time.Date(1751, 12, 31, 20, 0, 0, 0, time.FixedZone("", -8*3600)), "", protocol.CodeNotSeenRunning},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			portal := portaltest.New(t)
			m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
			m.Report.VMs[0].LastUsedAt, m.Report.VMs[0].Gaps = c.said, nil
			m.Enroll(t, http.StatusCreated)
			m.Checkin(t)
			portal.Clock.Advance(48 * time.Hour) // what had not come then is not right now
			m.Checkin(t)
			row := portal.VMs(t)["Windows 11"]
			used, _ := row["last_used"].(string)
			gaps, _ := row["gaps"].(map[string]any)
			code, _ := gaps["last_used"].(string)
			if used != c.want || protocol.Code(code) != c.code {
				t.Errorf("last used is %q (%s), want %q (%s)", used, code, c.want, c.code)
			}
		})
	}
}

// A stale row is no older, and no younger, than it can be.
func TestINV_17_SeenAtThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ said, want time.Time }{
		"yesterday": {portaltest.Morning.Add(-24 * time.Hour), portaltest.Morning.Add(-24 * time.Hour)},
		"tomorrow":  {portaltest.Morning.Add(24 * time.Hour), time.Time{}},
		"1751":      {time.Date(1751, 12, 31, 0, 0, 0, 0, time.UTC), time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			portal := portaltest.New(t)
			m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
			m.Report.VMs[0].Stale, m.Report.VMs[0].SeenAt = protocol.CodeServiceDown, c.said
			m.Enroll(t, http.StatusCreated)
			m.Checkin(t)
			report, err := portal.Store.Report(t.Context(), m.DeviceID)
			if err != nil || !report.Rows[0].VM.SeenAt.Equal(c.want) {
				t.Errorf("seen at %v, want %v; %v", report.Rows[0].VM.SeenAt, c.want, err)
			}
		})
	}
}

// What a wrong clock says stands neither first nor last among the dates.
func TestINV_16_DatesThatCannotBeAreNotSorted(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	m.Report.VMs = nil
	for name, at := range map[string]time.Time{
		"older": portaltest.Morning.Add(-48 * time.Hour), "newer": portaltest.Morning.Add(-time.Hour),
		"zz null": time.Date(1752, 1, 1, 0, 0, 0, 0, time.UTC), "zz wrong": portaltest.Morning.AddDate(1, 0, 0),
	} {
		vm := portaltest.WindowsVM(name)
		vm.LastUsedAt = at
		m.Report.VMs = append(m.Report.VMs, vm)
	}
	m.Enroll(t, http.StatusCreated)
	m.Checkin(t)
	for sort, want := range map[string]string{"last_used,vm_name": "older, newer, zz null, zz wrong", "-last_used,vm_name": "newer, older, zz null, zz wrong"} {
		rows, _ := portal.List(t, "vms", url.Values{"sort": {sort}})
		var names []string
		for _, row := range rows {
			names = append(names, row["vm_name"].(string))
		}
		if got := strings.Join(names, ", "); got != want {
			t.Errorf("by %s: %s, want %s", sort, got, want)
		}
	}
}
