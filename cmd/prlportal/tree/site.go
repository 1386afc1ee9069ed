package tree

import (
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strconv"

	"prlagent/agent/protocol"
)

// maxSplay is the longest splay, in seconds: a day.
const maxSplay = 24 * 60 * 60

func (r *reader) readSite() error {
	whole, is, err := r.readFile(SiteFile)
	if errors.Is(err, fs.ErrNotExist) {
		r.fail(ruleNoSite, source{SiteFile, place{1, 1}}, "", "it is not there; a tree begins with the line 'primary_group: default' in it")
		return nil
	}
	if err != nil || !is {
		return err
	}
	site := &r.tree.Site
	r.readObject(SiteFile, whole, fields{
		"site_id":       r.intoName(SiteFile, "site_id", &site.SiteID),
		"primary_group": r.intoName(SiteFile, "primary_group", &site.PrimaryGroup),
		"splay_s": func(v value) {
			number, _ := v.scalar.(json.Number)
			seconds, err := strconv.Atoi(number.String())
			if err != nil || seconds < 0 || seconds > maxSplay {
				r.fail(ruleValue, source{SiteFile, v.at}, "splay_s", "it should be a number of seconds from 0 to %d", maxSplay)
			}
			site.SplaySecs = seconds
		},
		"deleted_policies": func(v value) { site.DeletedPolicies = r.readNames(SiteFile, "deleted_policies", v) },
	}, "primary_group")
	return nil
}

// readNames reads a list of ids.
func (r *reader) readNames(file, path string, v value) []string {
	if v.kind != kindList {
		r.fail(ruleWrongType, source{file, v.at}, path, "it should be a list of ids")
		return nil
	}
	var names []string
	for _, item := range v.items {
		var name string
		r.intoName(file, path, &name)(item)
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

func (r *reader) readGroups() error {
	names := make(uniqueNames)
	return r.eachFile(GroupFolder, func(file, id string, whole value) {
		group := Group{ID: id}
		r.readObject(file, whole, fields{
			"name":        r.intoText(file, "name", &group.Name),
			"description": r.intoText(file, "description", &group.Description),
			"mode": func(v value) {
				group.Mode = v.text()
				if group.Mode != protocol.ModeMonitor && group.Mode != protocol.ModeEnforce {
					r.fail(ruleValue, source{file, v.at}, "mode", "it should be %s or %s; without it the Macs' profile decides", protocol.ModeMonitor, protocol.ModeEnforce)
				}
			},
		}, "name")
		r.checkUnique(names, file, whole, group.Name)
		r.tree.Groups = append(r.tree.Groups, group)
	})
}

// uniqueNames are the files by the names that they give, in one case.
type uniqueNames map[string]string

// checkUnique holds the rule of unique names, of which case is no part.
func (r *reader) checkUnique(names uniqueNames, file string, whole value, name string) {
	if name == "" {
		return
	}
	folded := protocol.FoldCase(name)
	if other, taken := names[folded]; taken {
		v, _ := whole.member("name")
		r.fail(ruleUniqueName, source{file, v.at}, "name", "%.80q is the name in %s as well", name, other)
		return
	}
	names[folded] = file
}

// checkGroups holds the rules of groups as a whole.
func (r *reader) checkGroups() {
	primary := r.tree.Site.PrimaryGroup
	if primary != "" && r.tree.Group(primary) == nil {
		r.fail(rulePrimaryGroup, source{SiteFile, place{1, 1}}, "primary_group", "there is no %s/%s%s", GroupFolder, primary, fileExtension)
	}
	claimed := make(map[string]source)
	managed := 0
	for i := range r.tree.Policies {
		p := &r.tree.Policies[i]
		for at, group := range p.Groups {
			from := p.groups[at]
			if first, taken := claimed[group]; taken {
				r.fail(ruleOnePolicy, from, "groups", "group %s has the policy of %s already (line %d)", group, first.file, first.at.line)
				continue
			}
			claimed[group] = from
			if r.tree.Group(group) != nil {
				managed++
			} else {
				r.fail(ruleUnknownGroup, from, "groups", "there is no %s/%s%s: the policy is not applied to a group %s", GroupFolder, group, fileExtension, group)
			}
		}
	}
	if managed > 1 {
		r.fail(ruleOneGroup, source{SiteFile, place{1, 1}}, "", "%d groups have policies: a Mac is in one of them, and all users of that Mac with it", managed)
	}
}

// isDeleted reports whether the id is that of a policy that is gone for good.
func (s *Site) isDeleted(policyID string) bool { return slices.Contains(s.DeletedPolicies, policyID) }
