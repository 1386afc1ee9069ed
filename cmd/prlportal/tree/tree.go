// Package tree reads the folder of YAML that policies are published from, and
// checks it: site.yaml, groups/*.yaml, policies/*.yaml and golden-images/*.yaml
// (protocol.md 3.1). A policy's file is the JSON of package agent/policy in
// another form, and that package's own reader judges it: what is refused here is
// what a Mac would refuse, with the line and the column.
//
// The folder comes from whoever may propose a change of it. Nothing of it is run,
// followed or unfolded, and its size is bounded.
package tree

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

// Files and folders of a tree.
const (
	SiteFile      = "site.yaml"
	GroupFolder   = "groups"
	PolicyFolder  = "policies"
	ImageFolder   = "golden-images"
	fileExtension = ".yaml"
)

// Tree is what a folder says. It is whole only where no finding is a Failure.
type Tree struct {
	Site     Site
	Groups   []Group  // by their ids
	Policies []Policy // by their ids
	Images   []Image  // by their ids
	Findings []Finding
}

// Site is site.yaml.
type Site struct {
	SiteID          string // empty: that of the operator's folder
	PrimaryGroup    string
	SplaySecs       int
	DeletedPolicies []string // ids that are never used again
}

// Group is one file of groups.
type Group struct {
	ID          string
	Name        string
	Description string
	Mode        string // of its head, protocol.ModeMonitor or protocol.ModeEnforce; empty: as the Macs' profile says
}

// Image is one file of golden-images.
type Image struct {
	ID   string
	Name string

	file  string
	whole value
}

// Policy is one file of policies.
type Policy struct {
	ID       string
	Name     string
	Groups   []string
	Document policy.Document // as a Mac would read it; with 1 for a revision
	ImageID  string          // of its golden image; empty: none

	file    string
	whole   value // as it is published, but for the revision
	sources sources
	groups  []source // where each of Groups stands
}

// Encode is the policy as it is published with this revision.
func (p *Policy) Encode(revision uint64) []byte {
	return p.whole.with("revision", revision).appendJSON(nil)
}

// PolicyOf is the policy of a group; nil if it has none.
func (t *Tree) PolicyOf(group string) *Policy {
	for i := range t.Policies {
		if slices.Contains(t.Policies[i].Groups, group) {
			return &t.Policies[i]
		}
	}
	return nil
}

// Group is the group of an id; nil if there is none.
func (t *Tree) Group(id string) *Group {
	for i := range t.Groups {
		if t.Groups[i].ID == id {
			return &t.Groups[i]
		}
	}
	return nil
}

// Has reports whether there is a finding of this severity.
func (t *Tree) Has(severity Severity) bool {
	return slices.ContainsFunc(t.Findings, func(found Finding) bool { return found.Severity == severity })
}

// Read reads and checks a folder. Its error is that of reading; what is wrong with
// the files is in Findings, which are in the order of the files.
func Read(folder fs.FS) (Tree, error) {
	r := &reader{folder: folder}
	for _, step := range []func() error{r.readSite, r.readGroups, r.readImages, r.readPolicies} {
		if err := step(); err != nil {
			return Tree{}, err
		}
	}
	r.checkGroups()
	r.checkPolicies()
	r.checkImages()
	slices.SortStableFunc(r.tree.Findings, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), strings.Compare(a.Rule, b.Rule), strings.Compare(a.Message, b.Message))
	})
	r.tree.Findings = slices.Compact(r.tree.Findings)
	return r.tree, nil
}

// reader reads one folder.
type reader struct {
	folder fs.FS
	tree   Tree
	images map[string]int // index in tree.Images by id
}

// report adds a finding of a rule.
func (r *reader) report(rule Rule, from source, path, format string, args ...any) {
	r.tree.Findings = append(r.tree.Findings, Finding{
		Rule: rule.Name, Severity: rule.Severity, File: from.file, Line: from.at.line, Column: from.at.column,
		Path: path, Message: fmt.Sprintf(format, args...), Doc: settingDoc(path),
	})
}

func (r *reader) fail(rule string, from source, path, format string, args ...any) {
	r.report(findRule(rule), from, path, format, args...)
}

// readFile reads a file that is there. It reports whether the file is YAML.
func (r *reader) readFile(name string) (value, bool, error) {
	if info, err := fs.Lstat(r.folder, name); err != nil {
		return value{}, false, fmt.Errorf("read %s: %w", name, err)
	} else if !info.Mode().IsRegular() {
		r.fail(ruleNoFile, source{name, place{1, 1}}, "", "it is no file: links and the like are not read")
		return value{}, false, nil
	}
	file, err := r.folder.Open(name)
	if err != nil {
		return value{}, false, fmt.Errorf("read %s: %w", name, err)
	}
	defer file.Close()
	data, err := protocol.ReadLimited(file, maxFile)
	if errors.Is(err, protocol.ErrTooLarge) {
		r.fail(ruleSize, source{name, place{1, 1}}, "", "it has more than %d bytes", maxFile)
		return value{}, false, nil
	}
	if err != nil {
		return value{}, false, fmt.Errorf("read %s: %w", name, err)
	}
	read, wrong := parseYAML(data)
	if wrong != nil {
		r.fail(wrong.rule, source{name, wrong.at}, "", "%s", wrong.detail)
		return value{}, false, nil
	}
	return read, true, nil
}

// eachFile calls read with every file of YAML in a folder, in the order of their
// names; the id of each is its name.
func (r *reader) eachFile(folder string, read func(file, id string, whole value)) error {
	info, err := fs.Lstat(r.folder, folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.IsDir() {
		r.fail(ruleNoFile, source{folder, place{1, 1}}, "", "it is no folder: links and the like are not read")
		return nil
	}
	entries, err := fs.ReadDir(r.folder, folder)
	if err != nil {
		return fmt.Errorf("read %s: %w", folder, err)
	}
	if len(entries) > maxFiles {
		r.fail(ruleSize, source{folder, place{1, 1}}, "", "it has %d files, at most %d are read", len(entries), maxFiles)
		return nil
	}
	ids := make(uniqueNames)
	for _, entry := range entries {
		file := path.Join(folder, entry.Name())
		id, isYAML := strings.CutSuffix(entry.Name(), fileExtension)
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		if !isYAML || !entry.Type().IsRegular() || !protocol.ValidName(id) {
			r.fail(ruleFileName, source{file, place{1, 1}}, "", "it is not read: files here are NAME%s, and no links; NAME is 1 to 64 letters, digits, dots, dashes and underscores, not a dot first", fileExtension)
			continue
		}
		if other, taken := ids[protocol.FoldCase(id)]; taken {
			r.fail(ruleUniqueName, source{file, place{1, 1}}, "", "its name differs from that of %s in case only, and on many disks they are one", other)
		}
		ids[protocol.FoldCase(id)] = file
		whole, is, err := r.readFile(file)
		if err != nil {
			return err
		}
		if is {
			read(file, id, whole)
		}
	}
	return nil
}

// fields are the members that an object may have, and what reads each.
type fields map[string]func(v value)

// readObject reads the members of an object, of which some are mandatory.
func (r *reader) readObject(file string, whole value, known fields, mandatory ...string) {
	if whole.kind != kindObject {
		r.fail(ruleWrongType, source{file, whole.at}, "", "it should be an object: NAME: VALUE")
		return
	}
	for _, m := range whole.members {
		if read, is := known[m.name]; is {
			read(m.value)
			continue
		}
		r.fail(ruleUnknownMember, source{file, m.at}, below("", m.name), "there is no such member%s", meant(m.name, sortedNames(known)))
	}
	for _, name := range mandatory {
		if _, is := whole.member(name); !is {
			r.fail(ruleMissing, source{file, whole.at}, name, "it is mandatory")
		}
	}
}

// meant is what was likely meant, for the end of a message; else what there is.
func meant(typed string, names []string) string {
	if name := nearest(typed, names); name != "" {
		return fmt.Sprintf("; is %s meant?", name)
	}
	const few = 12
	if len(names) <= few {
		return "; there are " + strings.Join(names, ", ")
	}
	return ""
}

// intoText reads a text that is not empty.
func (r *reader) intoText(file, path string, to *string) func(value) {
	return func(v value) {
		text, is := v.scalar.(string)
		switch {
		case !is:
			r.fail(ruleWrongType, source{file, v.at}, path, "it should be a text")
		case strings.TrimSpace(text) == "":
			r.fail(ruleValue, source{file, v.at}, path, "it is empty")
		}
		*to = text
	}
}

// intoName reads an id.
func (r *reader) intoName(file, path string, to *string) func(value) {
	return func(v value) {
		text, is := v.scalar.(string)
		if !is || !protocol.ValidName(text) {
			r.fail(ruleValue, source{file, v.at}, path, "it should be an id: 1 to 64 letters, digits, dots, dashes and underscores, not a dot first")
			return
		}
		*to = text
	}
}
