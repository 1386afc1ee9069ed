package protocol

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The types of messages of a webhook are those that openapi.yaml names, in the form that
// Standard Webhooks recommends.
func TestSEC25_TypesOfMessagesAreDescribed(t *testing.T) {
	t.Parallel()
	description, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(description), "\n    WebhookMessage:\n")
	listed := regexp.MustCompile(`enum: \[([^\]]*)\]`).FindStringSubmatch(rest)
	if !found || listed == nil {
		t.Fatal("openapi.yaml has no types of messages")
	}
	described := strings.Split(listed[1], ", ")
	made := []string{ // by the portal itself
		WebhookDeviceStale, WebhookTest, WebhookCommandIssued, WebhookCommandApproved, WebhookCommandWithheld, WebhookCommandDelivered, WebhookCommandEnded,
	}
	for name, kind := range EventTypes {
		if made = append(made, kind.Webhook); kind.Webhook == "" {
			t.Errorf("%s has a row that says nothing", name)
		}
	}
	slices.Sort(made)
	slices.Sort(described)
	if made = slices.Compact(made); !slices.Equal(made, described) {
		t.Errorf("openapi.yaml has %v, made are %v", described, made)
	}
	for _, kind := range made {
		if !regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)+$`).MatchString(kind) {
			t.Errorf("the type %q is none", kind)
		}
	}
}

// The code of an event decides where its type alone does not.
func TestSEC25_KindsOfEvents(t *testing.T) {
	t.Parallel()
	for want, event := range map[string]Event{
		WebhookVMUnprovisioned: {Type: EventViolation, Code: CodeVMUnprovisioned},
		WebhookPolicyViolation: {Type: EventViolation, Code: CodeRemovedAgainstPolicy},
		WebhookPolicyFailed:    {Type: "policy_setting_failed", Code: CodeVMUnprovisioned},
		"":                     {Type: "vm_state"},
	} {
		if got := event.Kind().Webhook; got != want {
			t.Errorf("%s %s is told as %q, want %q", event.Type, event.Code, got, want)
		}
	}
}
