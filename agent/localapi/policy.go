package localapi

import (
	"net/http"
	"time"

	"prlagent/agent/protocol"
)

// PolicySource says how it stands with the policy.
type PolicySource interface{ Policy() *Policy }

// Policy is what the policy wants of this Mac's virtual machines and of its users'
// preferences, and how they are.
type Policy struct {
	Schema  int       `json:"schema"`
	At      time.Time `json:"at,omitzero"` // of the newest plan
	Mode    string    `json:"mode"`        // monitor or enforce: what is in force
	InForce InForce   `json:"in_force"`
	// LocksReleased: it is monitor because of a person; nil: it is not.
	LocksReleased *LocksReleased        `json:"locks_released,omitempty"`
	Name          string                `json:"name,omitempty"`
	Report        protocol.PolicyReport `json:"policy"`
	Wanted        []WantedSetting       `json:"wanted"`   // in the order of the catalogue; admins only
	Settings      []PolicySetting       `json:"settings"` // by machine
	Steps         []PolicyStep          `json:"steps"`    // to be done now, or what monitor mode would do
	Restricted    bool                  `json:"restricted,omitempty"`
}

// InForce says where the policy is from, for whom it is, and in which mode.
type InForce struct {
	Source           string    `json:"source,omitempty"`            // head or configuration; empty: there never was one
	CandidatePercent int       `json:"candidate_percent,omitempty"` // it is a candidate, for so many of the group's Macs
	Mode             string    `json:"mode"`                        // monitor or enforce: the weaker of what the configuration and the head say
	ModeOf           string    `json:"mode_of"`                     // whose word that is: configuration, head or ModeOfPerson
	ExpiresAt        time.Time `json:"expires_at,omitzero"`         // of the head
}

// WantedSetting is one setting of the policy.
type WantedSetting struct {
	Path    string `json:"path"`
	Setting string `json:"setting"`
	Value   string `json:"value"`
	Doc     string `json:"doc,omitempty"`
}

// PolicyVM names the machine that something is about. With an account's uid and no id
// it is about that account's preferences; of a part of the policy that is about
// neither, it is empty.
type PolicyVM struct {
	protocol.VMKey
	Name   string             `json:"vm_name,omitempty"`
	Owner  string             `json:"user_name,omitempty"`
	SeenBy []protocol.Account `json:"seen_by,omitempty"` // other accounts that list it
}

// PolicySetting is one setting of one machine: what is wanted, how it is, and why.
type PolicySetting struct {
	PolicyVM
	Path    string        `json:"path"`
	Setting string        `json:"setting"`
	Value   string        `json:"value"` // that the policy wants
	Verdict string        `json:"verdict"`
	Code    protocol.Code `json:"code,omitempty"`
	Text    string        `json:"text,omitempty"` // what the code means
	Remedy  string        `json:"remedy,omitempty"`
	// Strength is how firmly it holds for a standard user, StrengthAdmin for an
	// administrator of the Mac.
	Strength      string    `json:"strength"`
	StrengthAdmin string    `json:"strength_admin"`
	Since         time.Time `json:"since,omitzero"`
	WaitingSince  time.Time `json:"waiting_since,omitzero"`
	Deadline      time.Time `json:"deadline,omitzero"`
	Overdue       bool      `json:"overdue,omitempty"`
	Drifts        int       `json:"drifts"` // how often it was found changed
	// CustomPassword: the product asks for a password of the machine's own before its
	// configuration is changed. It is set and taken away by a person in the product.
	CustomPassword bool `json:"custom_password,omitempty"`
	// AppShows is what the application shows people with a preference's value.
	AppShows string `json:"app_shows,omitempty"`
	// Unseen is what could outrank a preference's value, and is not looked at, for people.
	Unseen string `json:"unseen,omitempty"`
	// Observed is what is seen beside it, for people.
	Observed string `json:"observed,omitempty"`
	// Acts are what a security control is about, with how firmly it holds against each.
	Acts []PolicyAct `json:"acts,omitempty"`
	// Flags are those that are not as they are wanted, and those that the agent
	// has written.
	Flags []PolicyFlag `json:"flags,omitempty"`
}

// PolicyAct is something that users do with virtual machines: create, register,
// clone or remove.
type PolicyAct struct {
	Act           string `json:"act"`
	Strength      string `json:"strength"`
	StrengthAdmin string `json:"strength_admin"`
}

// PolicyFlag is one flag of a setting.
type PolicyFlag struct {
	Target    string        `json:"target"` // the flag, or the flag and an adapter
	Wanted    string        `json:"wanted,omitempty"`
	Shown     string        `json:"shown,omitempty"`
	Verdict   string        `json:"verdict"`
	Code      protocol.Code `json:"code,omitempty"`
	Written   string        `json:"written,omitempty"` // by the agent, last
	WrittenAt time.Time     `json:"written_at,omitzero"`
	Prior     string        `json:"prior,omitempty"` // shown before the agent wrote first
}

// PolicyStep is one call that is to be made.
type PolicyStep struct {
	PolicyVM
	Setting string   `json:"setting"`
	Tool    string   `json:"tool,omitempty"` // defaults for a preference, prlsrvctl for the Mac; empty: prlctl
	Call    []string `json:"call"`           // behind the tool's name
	Shown   string   `json:"shown,omitempty"`
	Word    string   `json:"word"`
}

// policyFor leaves out what the actor may not see: everything about the machines
// of others, and what the policy wants of machines that are not theirs.
func policyFor(actor Actor, whole *Policy) *Policy {
	if actor.Admin {
		return whole
	}
	visible := *whole
	visible.Restricted, visible.Name = true, ""
	visible.InForce = InForce{Mode: whole.InForce.Mode, ModeOf: whole.InForce.ModeOf}
	if visible.LocksReleased != nil {
		visible.LocksReleased = &LocksReleased{At: visible.LocksReleased.At, HeadVersion: visible.LocksReleased.HeadVersion}
	}
	visible.Wanted, visible.Settings, visible.Steps = []WantedSetting{}, []PolicySetting{}, []PolicyStep{}
	visible.Report = protocol.PolicyReport{State: whole.Report.State, Code: whole.Report.Code, Counts: whole.Report.Counts}
	for i := range whole.Settings {
		if setting := &whole.Settings[i]; setting.isVisible(actor) {
			visible.Settings = append(visible.Settings, *setting)
		}
	}
	for i := range whole.Steps {
		if step := &whole.Steps[i]; step.isVisible(actor) {
			visible.Steps = append(visible.Steps, *step)
		}
	}
	return &visible
}

// isVisible reports whether the actor, who is no administrator, may see what is about
// the machine.
func (vm *PolicyVM) isVisible(actor Actor) bool {
	return vm.VMKey != (protocol.VMKey{}) && isMine(actor, &protocol.VM{VMKey: vm.VMKey, SeenBy: vm.SeenBy})
}

func (h *apiHandler) servePolicy(w http.ResponseWriter, _ *http.Request, actor Actor) {
	h.writeAnswer(w, http.StatusOK, policyFor(actor, h.options.Policy.Policy()))
}
