package config

import (
	"cmp"
	"fmt"
	"strings"
)

const referenceHead = `# Settings of the agent

The keys of the preference domain ` + "`" + Domain + "`" + `, as a profile of the MDM sets them, or root's
own ` + "`/Library/Application Support/prlagent/config.plist`" + `. This page is made from the
table that the agent reads them by: ` + "`prlportal profile reference`" + ` prints it, and
` + "`prlportal profile manifest`" + ` the same for tools that write profiles
([` + Domain + `.plist](` + Domain + `.plist)). ` + "`prlagent config`" + ` shows on a Mac what is in force
and where it comes from.

- A profile is read again when it changes, and before every check-in: nothing has to be
  restarted, and a key that is taken out is gone.
- A key in the profile beats the same key in config.plist. Those of *trust* come from one
  of the two as a whole: from the profile, if it has any of them.
- A key of another name is not read, and said where it looks like one of these. A value of
  another type is reported, and leaves the default.
- A profile that disappears is believed to be removed after ten minutes. What *stays* then
  holds the Mac to the policy that it has.
- A *secret* is shown nowhere. The files of managed preferences can be read by every user of the Mac.

`

// Reference is a page about every key, in Markdown, for people who write profiles.
func Reference() string {
	var page strings.Builder
	page.WriteString(referenceHead)
	page.WriteString("| key | type | without | |\n|---|---|---|---|\n")
	for i := range keyTable {
		key := &keyTable[i]
		if key.name != timingKey {
			fmt.Fprintf(&page, "| [%s](#%s) | %s | %s | %s |\n", key.name, strings.ToLower(key.name), key.form.kind, markdownCell(key.withoutWords()), strings.Join(key.marks(), ", "))
		}
	}
	for i := range keyTable {
		key := &keyTable[i]
		if key.name != timingKey {
			fmt.Fprintf(&page, "\n## %s\n\n%s\n\n%s", key.name, key.doc, key.details())
		}
	}
	return page.String()
}

func (k *keyRow) withoutWords() string { return cmp.Or(k.defaultWords, "none") }

func (k *keyRow) marks() (words []string) {
	for _, mark := range []struct {
		is   bool
		word string
	}{{k.trusted, "trust"}, {k.staysAfterRemoval, "stays"}, {k.secret, "secret"}} {
		if mark.is {
			words = append(words, mark.word)
		}
	}
	return words
}

// details are the lines of one key.
func (k *keyRow) details() string {
	var lines strings.Builder
	line := func(what, words string) {
		if words != "" {
			fmt.Fprintf(&lines, "- %s: %s\n", what, words)
		}
	}
	line("type", k.valueType)
	line("without", k.withoutWords())
	line("values", codeWords(k.form.allowedWords()))
	for i := range k.form.members {
		member := &k.form.members[i]
		if bounds := member.form.bounds; bounds != nil {
			line(member.name, bounds.words())
		}
	}
	if each := k.form.each; each != nil && each.bounds != nil {
		line("each", each.bounds.words())
	}
	if k.form.example != "" {
		line("example", codeWords([]string{k.form.example}))
	}
	line("marks", strings.Join(k.marks(), ", "))
	return lines.String()
}

// allowedWords are the only words of a string, of the elements of an array or of
// the names of a dictionary.
func (f *valueForm) allowedWords() []string {
	for _, form := range []*valueForm{f, f.each, f.names} {
		if form != nil && form.choices != nil {
			return form.choices
		}
	}
	return nil
}

func (r intRange) words() string {
	return fmt.Sprintf("%d to %d, %d without", r.minimum, r.maximum, r.defaultValue)
}

func codeWords(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return "`" + strings.Join(words, "`, `") + "`"
}

func markdownCell(words string) string { return strings.ReplaceAll(words, "|", `\|`) }
