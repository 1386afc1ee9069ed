package protocol

// Types of the messages that a portal's webhook sends (SEC-25): a full-stop delimited
// word each, as the specification of Standard Webhooks recommends.
const (
	WebhookVMUnprovisioned  = "vm.unprovisioned" // a virtual machine is of no golden image, against the policy
	WebhookPolicyViolation  = "policy.violation" // anything else is against the policy
	WebhookPolicyFailed     = "policy.failed"    // a policy, or one setting of it, is not carried out
	WebhookPolicyRolledBack = "policy.rollback_detected"
	WebhookVMAdded          = "vm.added"
	WebhookVMRemoved        = "vm.removed"
	WebhookDeviceEnrolled   = "device.enrolled"
	WebhookDeviceStale      = "device.stale"   // said by the portal: the Mac was not heard of
	WebhookCommandIssued    = "command.issued" // those of commands are said by the portal
	WebhookCommandApproved  = "command.approved"
	WebhookCommandWithheld  = "command.withheld" // it waits for an administrator
	WebhookCommandDelivered = "command.delivered"
	WebhookCommandEnded     = "command.ended" // in one of the states that nothing follows
	WebhookTest             = "webhook.test"
)

// EventType is what is done about events of one type beside keeping them.
type EventType struct {
	// Webhook is the type of the message that a portal's webhook tells the event with;
	// empty where it does not tell it.
	Webhook string
	// Routine marks what every user of a Mac can make many of. Such messages leave
	// room for others.
	Routine bool
}

// EventTypes is the one table of what is done about events, by their types, or by type
// and code where that says more. One that is not in it is kept and shown, and nothing
// else.
var EventTypes = map[string]EventType{
	EventViolation: {Webhook: WebhookPolicyViolation},
	EventViolation + " " + string(CodeVMUnprovisioned): {Webhook: WebhookVMUnprovisioned},
	"policy_violation_suspended":                       {Webhook: WebhookPolicyViolation},
	"policy_violation_not_suspended":                   {Webhook: WebhookPolicyFailed},
	"policy_setting_failed":                            {Webhook: WebhookPolicyFailed},
	"policy_setting_contended":                         {Webhook: WebhookPolicyFailed},
	string(CodePolicyInvalid):                          {Webhook: WebhookPolicyFailed},
	string(CodePolicyHash):                             {Webhook: WebhookPolicyFailed},
	string(CodeUnsupportedFeature):                     {Webhook: WebhookPolicyFailed},
	string(CodeHeadSignature):                          {Webhook: WebhookPolicyFailed},
	string(CodeHeadWrongGroup):                         {Webhook: WebhookPolicyFailed},
	string(CodeHeadWrongSite):                          {Webhook: WebhookPolicyFailed},
	string(CodeRollbackDetected):                       {Webhook: WebhookPolicyRolledBack},
	"vm_added":                                         {Webhook: WebhookVMAdded, Routine: true},
	"vm_removed":                                       {Webhook: WebhookVMRemoved, Routine: true},
	"enrolled":                                         {Webhook: WebhookDeviceEnrolled},
}

// Kind is what is done about the event.
func (e Event) Kind() EventType {
	if kind, known := EventTypes[e.Type+" "+string(e.Code)]; known {
		return kind
	}
	return EventTypes[e.Type]
}
