package tree

import "prlagent/agent/protocol"

// Severity is how much a finding matters.
type Severity string

// Severities.
const (
	Failure Severity = "error"   // nothing can be published
	Warning Severity = "warning" // it can, and is likely not what was meant
	Note    Severity = "note"    // it can, and people should know
)

// Rule is one row of what is checked.
type Rule struct {
	Name     string
	Severity Severity
	Doc      string        // what the rule asks for, for people
	Code     protocol.Code // of the agent's own refusal, where the rule is the agent's
}

// Names of the rules that the code finds by itself.
const (
	ruleSyntax        = "syntax"
	ruleSize          = "size"
	ruleDepth         = "depth"
	ruleAlias         = "alias"
	ruleTag           = "type"
	ruleDuplicateKey  = "duplicate_key"
	ruleFileName      = "file_name"
	ruleNoFile        = "no_file"
	ruleMissing       = "mandatory"
	ruleValue         = "value"
	ruleWrongType     = "value_type"
	ruleUnknownMember = "unknown_member"
	ruleNull          = "null"
	ruleConflict      = "conflict"

	ruleNoSite           = "no_site"
	rulePrimaryGroup     = "primary_group"
	rulePolicyID         = "policy_id"
	ruleRevision         = "revision"
	ruleDeletedPolicy    = "deleted_policy"
	ruleUniqueName       = "unique_name"
	ruleOnePolicy        = "one_policy_per_group"
	ruleUnknownGroup     = "unknown_group"
	ruleNotApplied       = "not_applied"
	ruleOneGroup         = "one_group_per_mac"
	ruleUnknownSetting   = "unknown_setting"
	ruleUnsupportedValue = "unsupported"
	ruleNotEnforceable   = "not_enforceable"
	ruleNotCarriedOut    = "not_carried_out"
	ruleUnprovenLock     = "unproven_lock"
	ruleVersionGate      = "version_gate"
	ruleDisabled         = "disabled"
	ruleImageReference   = "image_reference"
	ruleUnknownImage     = "unknown_image"
	ruleOrphanImage      = "orphan_image"
	ruleDirectImage      = "direct_image"
	ruleUpdateServer     = "update_server"
)

// Rules is everything that is checked. What the agent itself refuses of a policy
// has the agent's code: its own reader is what finds it (package policy).
var Rules = []Rule{
	{Name: ruleSyntax, Severity: Failure, Doc: "A file is one document of YAML.", Code: protocol.CodePolicySyntax},
	{Name: ruleSize, Severity: Failure, Doc: "A file, and a policy as it is sent, has at most 256 KiB; a folder has at most 2,000 files.", Code: protocol.CodePolicyTooLarge},
	{Name: ruleDepth, Severity: Failure, Doc: "Nothing is nested more than 16 levels deep.", Code: protocol.CodePolicyTooDeep},
	{Name: ruleAlias, Severity: Failure, Doc: "Anchors, aliases and merge keys are not read: a reviewer should see what is published."},
	{Name: ruleTag, Severity: Failure, Doc: "Values are texts, true, false, decimal numbers, lists and objects."},
	{Name: ruleDuplicateKey, Severity: Failure, Doc: "No name stands in one object twice, in whatever case.", Code: protocol.CodePolicyDuplicateKey},
	{Name: ruleFileName, Severity: Warning, Doc: "Files are NAME.yaml; NAME is the id: 1 to 64 letters, digits, dots, dashes and underscores, not a dot first."},
	{Name: ruleNoFile, Severity: Failure, Doc: "site.yaml is a file and the folders are folders, and none of them a link."},
	{Name: ruleMissing, Severity: Failure, Doc: "Mandatory members are there.", Code: protocol.CodePolicyMissing},
	{Name: ruleValue, Severity: Failure, Doc: "Values are among those that there are.", Code: protocol.CodePolicyWrongValue},
	{Name: ruleWrongType, Severity: Failure, Doc: "Values have the right type.", Code: protocol.CodePolicyWrongType},
	{Name: ruleUnknownMember, Severity: Failure, Doc: "No member is unknown: a Mac would pass over it in silence.", Code: protocol.CodePolicyUnknownMember},
	{Name: ruleNull, Severity: Failure, Doc: "Nothing is null: what is not managed is left out.", Code: protocol.CodePolicyNull},
	{Name: ruleConflict, Severity: Failure, Doc: "No two settings want different things of one flag.", Code: protocol.CodePolicyConflict},
	{Name: "requires", Severity: Failure, Doc: "Features in requires are known.", Code: protocol.CodeUnsupportedFeature},

	{Name: ruleNoSite, Severity: Failure, Doc: "The folder has a site.yaml."},
	{Name: rulePrimaryGroup, Severity: Failure, Doc: "The primary group is one of groups."},
	{Name: rulePolicyID, Severity: Failure, Doc: "A policy_id, if it is given, is the name of its file."},
	{Name: ruleRevision, Severity: Failure, Doc: "Revisions are counted by publish, and in no file."},
	{Name: ruleDeletedPolicy, Severity: Failure, Doc: "The id of a deleted policy is never used again."},
	{Name: ruleUniqueName, Severity: Failure, Doc: "No two policies, groups or golden images have one name, and no two of their files, in whatever case."},
	{Name: ruleOnePolicy, Severity: Failure, Doc: "A group has at most one policy."},
	{Name: ruleUnknownGroup, Severity: Warning, Doc: "The groups of a policy have files. One that has none has no policy any more."},
	{Name: ruleNotApplied, Severity: Note, Doc: "A policy without groups is in force nowhere."},
	{Name: ruleOneGroup, Severity: Note, Doc: "A Mac has one group, and so one policy, for all its users."},
	{Name: ruleUnknownSetting, Severity: Failure, Doc: "Settings are those of the catalogue."},
	{Name: ruleUnsupportedValue, Severity: Note, Doc: "A value that no public tool sets is reported as unsupported."},
	{Name: ruleNotEnforceable, Severity: Note, Doc: "What only Parallels Desktop itself can enforce is reported as not_enforceable."},
	{Name: ruleNotCarriedOut, Severity: Note, Doc: "What this version does not do yet may stand in a policy."},
	{Name: ruleUnprovenLock, Severity: Note, Doc: "A lock whose release was never seen is not placed, unless the Mac's profile allows it.", Code: protocol.CodeReleaseUnproven},
	{Name: ruleVersionGate, Severity: Note, Doc: "Settings of virtual machines need Parallels Desktop 26.1 by the vendor's guide."},
	{Name: ruleDisabled, Severity: Note, Doc: "A block with 'enabled: false' is kept in the file, and is no part of what is published."},
	{Name: ruleUpdateServer, Severity: Warning, Doc: "A Mac that takes updates from a server of your own downloads them by itself."},
	{Name: ruleImageReference, Severity: Failure, Doc: "A policy names one golden image, by its id."},
	{Name: ruleUnknownImage, Severity: Failure, Doc: "The golden image of a policy has a file."},
	{Name: ruleOrphanImage, Severity: Warning, Doc: "Every golden image is the image of a policy."},
	{Name: ruleDirectImage, Severity: Warning, Doc: "The address of an image is that of the file itself, and anybody who has it can download it."},
}

// findRule is the row of a name.
func findRule(name string) Rule {
	for _, rule := range Rules {
		if rule.Name == name {
			return rule
		}
	}
	panic("tree: no rule " + name)
}

// ruleOf is the row of what the agent refuses.
func ruleOf(code protocol.Code) Rule {
	for _, rule := range Rules {
		if rule.Code == code {
			return rule
		}
	}
	return findRule(ruleValue)
}

// Finding is one place where a rule is broken, or where there is something to
// know.
type Finding struct {
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	File     string   `json:"file"` // from the tree's folder, with slashes
	Line     int      `json:"line"`
	Column   int      `json:"column"`
	Path     string   `json:"path,omitempty"` // of the member, as vm_settings.other.network
	Message  string   `json:"message"`        // may have words of the file
	Doc      string   `json:"doc,omitempty"`  // of the setting at the path
}
