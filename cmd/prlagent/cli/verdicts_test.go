package cli

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prlagent/agent/checkin"
	"prlagent/agent/config"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

func TestOutcomesThatAreGood(t *testing.T) {
	t.Parallel()
	for outcome, good := range map[string]bool{
		outcomeOK: true, outcomeUnneeded: true, outcomeNote: true, outcomeUnknown: false, outcomeWarning: false, outcomeFailure: false,
	} {
		if (checkResult{Outcome: outcome}).isGood() != good {
			t.Errorf("%s is taken for good: %t", outcome, !good)
		}
	}
}

// A check that needs another one does not look unless that one is good: a warning
// is as much in its way as a failure.
func TestACheckWaitsForWhatItNeeds(t *testing.T) {
	t.Parallel()
	byID, _, _ := outcomes(t, mac(t))
	if network := byID["network"]; network.isGood() || network.Outcome == outcomeFailure {
		t.Fatalf("of a Mac without a way out: %+v", network)
	}
	for id, needed := range map[string]string{"portal_name": "network", "portal_connect": "portal_name", "clock": "portal_answer"} {
		if got := byID[id]; got.Outcome != outcomeUnknown || !strings.Contains(got.Text, titleOf(needed)) {
			t.Errorf("%s: %+v", id, got)
		}
	}
}

func TestHealthOfDoctorNamesWhatNeedsAPerson(t *testing.T) {
	t.Parallel()
	status := localapi.Status{Health: localapi.Health{State: localapi.Degraded, Conditions: []localapi.Condition{
		{Code: protocol.CodeServiceDown, Severity: protocol.Warning},
		{Code: protocol.CodePortalTimeout, Severity: protocol.Warning, Pending: true},
		{Code: protocol.CodeLocallyManaged, Severity: protocol.Info},
	}}}
	got := checkNow(t, mac(t), "health", status, nil)
	wantResult(t, got, outcomeWarning, "", "It is degraded: service_down.")
}

// H07: a clock that is behind is as wrong as one that is ahead.
func TestH07_ClockOfDoctor(t *testing.T) {
	t.Parallel()
	asked := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for ahead, want := range map[time.Duration]struct {
		outcome string
		code    protocol.Code
		says    string
	}{
		2 * time.Second:           {outcomeOK, "", "2 s ahead of"},
		-2 * time.Second:          {outcomeOK, "", "2 s behind"},
		maxSkew:                   {outcomeOK, "", "ahead of"},
		-maxSkew:                  {outcomeOK, "", "behind"},
		maxSkew + time.Second:     {outcomeWarning, protocol.CodeClockSkew, "ahead of"},
		-maxSkew - time.Second:    {outcomeWarning, protocol.CodeClockSkew, "behind"},
		-365 * 24 * time.Hour:     {outcomeWarning, protocol.CodeClockSkew, "behind"},
		20 * 365 * 24 * time.Hour: {outcomeWarning, protocol.CodeClockSkew, "ahead of"},
	} {
		m := &checkedMac{
			explained: func() config.Explanation {
				return config.Explanation{Config: config.Config{ServerURL: &url.URL{Scheme: "https", Host: "portal.example"}}}
			},
			portal: func() checkin.Reached { return checkin.Reached{AskedAt: asked, ServerTime: asked.Add(-ahead)} },
		}
		got := m.checkClock(t.Context())
		if got.Outcome == outcomeFailure && want.outcome == outcomeWarning {
			want.outcome = outcomeFailure // as the code's severity says
		}
		wantResult(t, got, want.outcome, want.code, want.says)
	}
}

// H62: why something is not in a bundle is told without secrets too.
func TestH62_WhatIsMissingIsToldWithoutSecrets(t *testing.T) {
	t.Parallel()
	root := mac(t)
	secret := filepath.Base(root) // in the paths that are not there
	putPlist(t, root, localapi.ManagedConfig, map[string]any{"ServerURL": "https://portal.invalid", "EnrollmentSecret": secret})
	for _, command := range [][]string{{"support-bundle", "--list"}, {"support-bundle", "--list", "--json"}} {
		got := run(t, root, append(command, "--timeout", "1s")...)
		if got.code != exitHealthy || !strings.Contains(got.stdout, "no such file") || strings.Contains(got.stdout, secret) {
			t.Errorf("%v: %+v", command, got)
		}
	}
}

func TestAConfigurationThatIsBad(t *testing.T) {
	t.Parallel()
	wrong, told := config.Problem{Key: "Mode", Code: protocol.CodeConfigInvalid}, config.Problem{Key: "profile", Code: protocol.CodeLocallyManaged}
	for name, c := range map[string]struct {
		document configDocument
		bad      bool
	}{
		"nothing":         {configDocument{Keys: []config.ExplainedKey{{}}}, false},
		"an explanation":  {configDocument{Problems: []config.Problem{told}}, false},
		"a problem":       {configDocument{Problems: []config.Problem{wrong}}, true},
		"of a key":        {configDocument{Keys: []config.ExplainedKey{{}, {Wrong: []config.Problem{wrong}}}}, true},
		"told of the key": {configDocument{Keys: []config.ExplainedKey{{Wrong: []config.Problem{told}}}}, false},
	} {
		if c.document.isBad() != c.bad {
			t.Errorf("%s: %t", name, !c.bad)
		}
	}
}
