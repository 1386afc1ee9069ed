package tree

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"prlagent/agent/policy"
)

// Members of a policy's file whose meaning is more than that of the document.
const (
	memberPolicyID = "policy_id"
	memberRevision = "revision"
	memberGroups   = "groups"
	memberImage    = "golden_image"
)

// probeRevision is the revision that a document is judged with.
const probeRevision = 1

func (r *reader) readPolicies() error {
	names := make(uniqueNames)
	return r.eachFile(PolicyFolder, func(file, id string, whole value) {
		p := Policy{ID: id, file: file}
		if whole.kind != kindObject {
			r.fail(ruleWrongType, source{file, whole.at}, "", "it should be an object: NAME: VALUE")
			return
		}
		whole = r.refuseNulls(file, "", whole)
		r.checkIDs(&p, whole)
		complete, from := r.completed(&p, whole)
		p.sources = from
		p.whole = complete.withBlocks("", func(path string, at place) bool {
			r.fail(ruleDisabled, source{file, at}, path, "it is turned off: it stays here and is not published, and what it says is not managed")
			return false
		})
		r.judge(&p, complete)
		name, _ := whole.member("name")
		p.Name = name.text()
		r.checkUnique(names, file, whole, p.Name)
		groups, _ := whole.member(memberGroups)
		for _, item := range groups.items {
			p.Groups, p.groups = append(p.Groups, item.text()), append(p.groups, source{file, item.at})
		}
		r.tree.Policies = append(r.tree.Policies, p)
	})
}

// refuseNulls is the value without its nulls, so that one of them does not hide
// what else is wrong.
func (r *reader) refuseNulls(file, path string, whole value) value {
	return whole.withoutNulls(path, func(path string, at place) {
		r.fail(ruleNull, source{file, at}, path, "null says neither that it is managed nor that it is not; leave it out, or give it a value")
	})
}

// checkIDs holds what a file must not say of itself.
func (r *reader) checkIDs(p *Policy, whole value) {
	if given, is := whole.member(memberPolicyID); is && given.scalar != p.ID {
		r.fail(rulePolicyID, source{p.file, given.at}, memberPolicyID, "it is not the name of the file, which is the id; leave it out")
	}
	if given, is := whole.member(memberRevision); is {
		r.fail(ruleRevision, source{p.file, given.at}, memberRevision, "publish counts revisions by what was published before; leave it out")
	}
	if r.tree.Site.isDeleted(p.ID) {
		r.fail(ruleDeletedPolicy, source{p.file, whole.at}, "", "%s is among deleted_policies of %s: Macs know that policy; give the file another name", p.ID, SiteFile)
	}
}

// completed is the policy as it is published, and where each part was read: with
// its id, the version of the form, and its golden image in the place of the
// image's id.
func (r *reader) completed(p *Policy, whole value) (value, sources) {
	from := make(sources)
	from.add(p.file, "", whole)
	complete := whole.with(memberPolicyID, p.ID).with(memberRevision, json.Number("1"))
	if _, is := whole.member("schema"); !is {
		complete = complete.with("schema", json.Number("1"))
	}
	complete = r.withUpdates(p, complete, from)
	reference, is := whole.member(memberImage)
	if !is {
		return complete, from
	}
	complete.members = slices.DeleteFunc(slices.Clone(complete.members), func(m member) bool { return m.name == memberImage })
	p.ImageID = reference.text()
	at, known := r.images[p.ImageID]
	switch {
	case p.ImageID == "":
		r.fail(ruleImageReference, source{p.file, reference.at}, memberImage, "it should be the id of one file in %s", ImageFolder)
		return complete, from
	case !known:
		r.fail(ruleUnknownImage, source{p.file, reference.at}, memberImage, "there is no %s/%.64s%s%s", ImageFolder, p.ImageID, fileExtension, meant(p.ImageID, sortedNames(r.images)))
		return complete, from
	}
	image := r.tree.Images[at]
	from.add(image.file, memberImage, image.whole)
	return complete.withValue(memberImage, image.whole), from
}

// judge has the agent's own reader read the document, and finds the line of what
// it says. What is turned off is read as well: that it can be turned on is no news of
// another day.
func (r *reader) judge(p *Policy, complete value) {
	everything := complete.withBlocks("", func(string, place) bool { return true })
	document, problems := policy.Check(everything.with(memberRevision, json.Number("1")).appendJSON(nil))
	published, more := policy.Check(p.Encode(probeRevision))
	if p.Document = *published; len(problems) == 0 {
		problems = more
	}
	for _, problem := range problems {
		r.report(ruleOf(problem.Code), p.sources.find(problem.Path), problem.Path, "%s", problem.Detail)
	}
	for _, problem := range document.Ignored {
		name := problem.Path[strings.LastIndexByte(problem.Path, '.')+1:]
		r.fail(ruleUnknownMember, p.sources.find(problem.Path), problem.Path, "there is no member %s here, and a Mac would pass over it in silence", name)
	}
}

// scopePath is a scope of a document with its path.
type scopePath struct {
	path  string
	scope *policy.Scope
}

func (p *Policy) scopes() []scopePath {
	return []scopePath{
		{"vm_settings.golden_image", &p.Document.VMSettings.GoldenImage},
		{"vm_settings.other", &p.Document.VMSettings.Other},
	}
}

// checkPolicies says what a policy asks for in vain.
func (r *reader) checkPolicies() {
	for i := range r.tree.Policies {
		p := &r.tree.Policies[i]
		inForce := slices.ContainsFunc(p.Groups, func(group string) bool { return r.tree.Group(group) != nil })
		if !inForce {
			r.fail(ruleNotApplied, source{p.file, p.whole.at}, memberGroups, "it is not applied: it has no group that there is")
		}
		if p.Document.ManagesVMs() {
			r.fail(ruleVersionGate, p.sources.find("vm_settings"), "vm_settings", "by the vendor's guide these need Parallels Desktop 26.1; a Mac with an older one says for each setting what holds")
		}
		for _, scope := range p.scopes() {
			r.checkScope(p, scope)
		}
		r.checkProduct(p)
		r.checkControls(p)
		for _, path := range p.Document.NotCarriedOut {
			r.checkNotCarriedOut(p, path)
		}
	}
}

// checkScope says what becomes of the settings of one kind of machines.
func (r *reader) checkScope(p *Policy, in scopePath) {
	for _, name := range in.scope.Unknown {
		path := below(in.path, name)
		r.fail(ruleUnknownSetting, p.sources.find(path), path, "there is no setting %s%s", name, meant(name, settingNames()))
	}
	for _, name := range sortedNames(in.scope.Settings) {
		setting, set, path := policy.Find(name), in.scope.Settings[name], below(in.path, name)
		if slices.Contains(setting.NoWay, set) {
			becomes := "it stays as it is, and is reported as unsupported"
			if stricter := setting.StricterThan(set); stricter != "" && p.Document.VMSettings.OnUnsupported == policy.Stricter {
				becomes = fmt.Sprintf("%s is set in its place, as on_unsupported says", stricter)
			}
			r.fail(ruleUnsupportedValue, p.sources.find(path), path, "no public tool sets %s: %s", set, becomes)
		}
		if setting.Lock {
			r.fail(ruleUnprovenLock, p.sources.find(path), path, "nobody has seen it released yet: it is unsupported (release_unproven) unless the Mac's profile has AllowUnprovenLocks")
		}
	}
}

// controlsPath is the section of the security controls.
const controlsPath = "security_controls"

// checkControls says what the security controls of a policy are not worth.
func (r *reader) checkControls(p *Policy) {
	for i := range policy.Controls {
		control := &policy.Controls[i]
		path := control.Path()
		switch on := p.Document.SecurityControls.Set[control.Name]; {
		case !on:
		case control.NotEnforceable != "":
			r.fail(ruleNotEnforceable, p.sources.find(path), path, "it is reported as not_enforceable: %s", control.NotEnforceable)
		case control.UsesLock():
			r.fail(ruleUnprovenLock, p.sources.find(path), path, "what is against it is reported; a password is asked for before only where the Mac's profile has AllowUnprovenLocks")
		}
	}
}

func controlNames() []string {
	names := make([]string, len(policy.Controls))
	for i := range policy.Controls {
		names[i] = policy.Controls[i].Name
	}
	return names
}

func (r *reader) checkNotCarriedOut(p *Policy, path string) {
	if name, is := strings.CutPrefix(path, controlsPath+"."); is {
		r.fail(ruleUnknownSetting, p.sources.find(path), path, "there is no control %s%s", name, meant(name, controlNames()))
		return
	}
	r.fail(ruleNotCarriedOut, p.sources.find(path), path, "this version does not carry it out yet")
}

func settingNames() []string {
	names := make([]string, len(policy.Settings))
	for i := range policy.Settings {
		names[i] = policy.Settings[i].Name
	}
	return names
}

// settingDoc is what the catalogue says about the setting, or the preference, of a
// path; empty if it is none.
func settingDoc(path string) string {
	if preference := policy.PreferenceAt(path); preference != nil {
		return rowDoc(preference.Doc, preference.Values)
	}
	if control := policy.ControlAt(path); control != nil {
		return control.Doc
	}
	name := path[strings.LastIndexByte(path, '.')+1:]
	if name == path || !strings.HasPrefix(path, "vm_settings.") {
		return ""
	}
	setting := policy.Find(name)
	if setting == nil {
		return ""
	}
	return rowDoc(setting.Doc, setting.Values)
}

func rowDoc(doc string, values *policy.Values) string {
	for i, meaning := range values.Only {
		before := " "
		if i > 0 {
			before = "; "
		}
		doc += before + cmp.Or(string(meaning.Value), "an empty text") + ": " + meaning.Doc
	}
	return doc
}
