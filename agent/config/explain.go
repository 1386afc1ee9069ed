package config

import (
	"cmp"
	"maps"
	"slices"

	"prlagent/agent/protocol"
)

// Explanation is the configuration that two files add up to, key by key. It is
// what they say at the moment: what has just disappeared may stay in force for a
// while (Keeper).
type Explanation struct {
	Config Config
	Files  []ExplainedFile
	Keys   []ExplainedKey // all there are, in the order of the table
	Other  []Problem      // that are of no key: files, and names that are misspelled
	Unread []string       // other names in the files; a later version may read them
}

// ExplainedFile is one of the two files.
type ExplainedFile struct {
	Source Source        `json:"source"`
	Path   string        `json:"path"`
	State  string        `json:"state"` // one of the File words
	Code   protocol.Code `json:"code,omitempty"`
	Text   string        `json:"text,omitempty"` // why it is unreadable
}

// States of a file.
const (
	FileRead       = "read"
	FileMissing    = "missing"
	FileUnreadable = "unreadable"
)

// ExplainedKey is one key: what is in force and why.
type ExplainedKey struct {
	Key     string    `json:"key"`
	Value   string    `json:"value"`   // for people; a secret is never in it
	Source  Source    `json:"source"`  // of the file that has the key; none: the default is in force
	Default string    `json:"default"` // what it would be without
	Type    string    `json:"type"`
	Doc     string    `json:"doc"`
	Wrong   []Problem `json:"problems,omitempty"`
}

// Explain reads both files and says what each key is, where it comes from, what
// is wrong with it, and what it would be without. Like reading a configuration
// it never fails as a whole.
func Explain(paths Paths) Explanation {
	found := readFiles(paths, nil)
	e := Explanation{Config: *found.buildConfig(paths), Files: []ExplainedFile{
		found.managed.explain(SourceManaged, paths.Managed), found.local.explain(SourceLocal, paths.Local),
	}}
	for i := range keyTable {
		key := &keyTable[i]
		if key.name == timingKey && !paths.Root {
			continue // not honored, whatever stands there
		}
		one := ExplainedKey{
			Key: key.name, Value: key.show(&e.Config), Source: found.sourceOf(key, e.Config.Source),
			Default: cmp.Or(key.defaultWords, "none"), Type: key.valueType, Doc: key.doc,
		}
		for _, problem := range e.Config.Problems {
			if problem.Key == key.name {
				one.Wrong = append(one.Wrong, problem)
			}
		}
		e.Keys = append(e.Keys, one)
	}
	for _, problem := range e.Config.Problems {
		if !slices.ContainsFunc(e.Keys, func(k ExplainedKey) bool { return k.Key == problem.Key }) {
			e.Other = append(e.Other, problem)
		}
	}
	e.Unread = append(found.managed.unread(SourceManaged, e.Other), found.local.unread(SourceLocal, e.Other)...)
	return e
}

// unread are the names of a file that nobody reads and nobody has complained of.
func (f configFile) unread(source Source, told []Problem) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(f.values)) {
		shown := shorten(name, maxNameShown)
		if isKey(name) || slices.ContainsFunc(told, func(p Problem) bool { return p.Key == shown }) {
			continue
		}
		if names = append(names, shown+" of the "+source.fileName()); len(names) == maxNamesShown {
			break
		}
	}
	return names
}

func (f configFile) explain(source Source, path string) ExplainedFile {
	one := ExplainedFile{Source: source, Path: path, State: FileRead}
	switch {
	case f.missing:
		one.State = FileMissing
	case f.problem != nil:
		one.State, one.Code, one.Text = FileUnreadable, f.problem.Code, f.problem.Text
	}
	return one
}

// sourceOf is the file that a key is read from; trust is that of the trust keys.
func (f configFiles) sourceOf(key *keyRow, trust Source) Source {
	for _, source := range []Source{SourceManaged, SourceLocal} {
		_, present := f.fileOf(source).values[key.name]
		if present && (!key.trusted || source == trust) {
			return source
		}
	}
	return SourceNone
}

// Secrets are the values of a configuration that no text may show.
func (c *Config) Secrets() []string {
	secrets := []string{c.EnrollmentSecret.Reveal()}
	if c.Proxy != nil && c.Proxy.User != nil {
		password, _ := c.Proxy.User.Password()
		secrets = append(secrets, password)
	}
	return slices.DeleteFunc(secrets, func(secret string) bool { return secret == "" })
}
