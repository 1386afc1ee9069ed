package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/platform/plist"
)

// lintReport is what is wrong with a file that has a policy.
type lintReport struct {
	Schema   int           `json:"schema"`
	File     string        `json:"file"`
	PolicyID string        `json:"policy_id,omitempty"`
	Revision uint64        `json:"revision,omitempty"`
	Findings []lintFinding `json:"findings"` // what keeps it from being obeyed, or as it stands there
	Notes    []lintFinding `json:"notes"`    // what will not be in place, or not firmly
}

// lintFinding is one of them.
type lintFinding struct {
	Path string        `json:"path,omitempty"` // empty: the document as a whole
	Code protocol.Code `json:"code"`
	Text string        `json:"text"`
	Doc  string        `json:"doc,omitempty"` // of the setting there
}

func (p *program) policyLintCommand() *cobra.Command {
	return &cobra.Command{
		Use: "lint FILE", Short: "Check a policy in a file", Args: cobra.ExactArgs(1),
		Long: `Check a policy: a JSON document as it is published, or a property list with the
dictionary Policy of the managed configuration, or with nothing but what is in it.
It is read as the agent reads it, and stricter: members that the agent passes over
are findings too. No agent is needed.

Notes are what will be reported as unsupported or not_enforceable. Exit code 1 means
that there are findings; notes alone are 0.`,
		Example: "  prlagent policy lint finance.json\n  prlagent policy lint org.prlagent.agent.plist --json",
		RunE: func(_ *cobra.Command, args []string) error {
			report, err := lintFile(args[0])
			if err != nil {
				return err // it cannot be read: nothing was checked
			}
			err = printDocument(p, report, lintPage)
			if err == nil && len(report.Findings) > 0 {
				return &exitError{code: exitDegraded}
			}
			return exitOrNil(err)
		},
	}
}

// lintFile reads at most as much as a policy may have.
func lintFile(path string) (lintReport, error) {
	file, err := os.Open(path)
	if err != nil {
		return lintReport{}, err
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.IsDir() || slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(path)) {
		return lintReport{}, fmt.Errorf("%s is no published policy: prlportal lint FOLDER checks a folder of YAML", path)
	}
	data, err := io.ReadAll(io.LimitReader(file, plist.MaxSize+1))
	if err != nil {
		return lintReport{}, err
	}
	report := lintReport{Schema: localapi.Schema, File: path, Findings: []lintFinding{}, Notes: []lintFinding{}}
	document, problems := readPolicy(data)
	for _, problem := range slices.Concat(problems, document.Ignored) {
		report.Findings = append(report.Findings, lintFinding{problem.Path, problem.Code, problem.Detail, docAt(problem.Path)})
	}
	if len(problems) == 0 {
		report.PolicyID, report.Revision = document.PolicyID, document.Revision
		report.addNotes(document)
	}
	return report, nil
}

// readPolicy reads a policy in either of its forms.
func readPolicy(data []byte) (*policy.Document, []*policy.Error) {
	if first := bytes.TrimLeft(data, " \t\r\n"); len(first) > 0 && first[0] == '{' {
		return policy.Check(data)
	}
	values, err := plist.DecodeDict(data)
	if err != nil {
		return &policy.Document{}, []*policy.Error{{Code: protocol.CodePolicySyntax, Detail: "neither JSON nor a property list: " + err.Error(), Err: policy.ErrInvalid}}
	}
	if inner, is := values["Policy"].(map[string]any); is {
		values = inner
	}
	dictionary, problems := policy.ReadDictionary(values)
	switch {
	case len(problems) > 0:
		return &policy.Document{}, problems
	case dictionary.Releases():
		return &policy.Document{}, []*policy.Error{{Code: protocol.CodePolicyMissing, Detail: "the dictionary is empty, which ends what a policy manages", Err: policy.ErrInvalid}}
	}
	return policy.Check(dictionary.Document)
}

// docAt is what the setting at a path does; empty if there is none.
func docAt(path string) string {
	if control := policy.ControlAt(path); control != nil {
		return control.Doc
	}
	for name := range strings.SplitSeq(path, ".") {
		if setting := policy.Find(name); setting != nil && strings.HasPrefix(path, "vm_settings.") {
			return setting.Doc + " Values: " + setting.Values.List() + "."
		}
	}
	return ""
}

// addNotes adds what the agent will say of a policy that it obeys.
func (r *lintReport) addNotes(document *policy.Document) {
	note := func(path string, code protocol.Code, text string) {
		r.Notes = append(r.Notes, lintFinding{path, code, text, docAt(path)})
	}
	for _, path := range document.NotCarriedOut {
		note(path, protocol.CodeSectionNotSupported, protocol.CodeSectionNotSupported.Text().Text)
	}
	for i := range policy.Controls {
		control := &policy.Controls[i]
		switch path := control.Path(); {
		case !document.SecurityControls.Set[control.Name]:
		case control.NotEnforceable != "":
			note(path, protocol.CodeNotEnforceable, "Not enforceable: "+control.NotEnforceable+".")
		case control.UsesLock():
			note(path, protocol.CodeReleaseUnproven, "What is against it is reported; a password is asked for before only with AllowUnprovenLocks in the profile.")
		}
	}
	settings := &document.VMSettings
	for in, scope := range map[string]*policy.Scope{"vm_settings.golden_image.": &settings.GoldenImage, "vm_settings.other.": &settings.Other} {
		for _, name := range scope.Unknown {
			note(in+name, protocol.CodeSettingUnknown, protocol.CodeSettingUnknown.Text().Text)
		}
		for name, value := range scope.Settings {
			setting := policy.Find(name)
			stricter := setting.StricterThan(value)
			switch {
			case stricter != "" && settings.OnUnsupported == policy.Stricter:
				note(in+name, protocol.CodeStricterValue, fmt.Sprintf("%s Instead of %s, %s is set.", protocol.CodeStricterValue.Text().Text, value, stricter))
			case slices.Contains(setting.NoWay, value):
				note(in+name, protocol.CodeNoPublicWay, fmt.Sprintf("%s: unsupported, and %s.", value, setting.Strength.Standard))
			case setting.Lock && value == policy.True:
				note(in+name, protocol.CodeReleaseUnproven, protocol.CodeReleaseUnproven.Text().Text)
			}
		}
	}
	slices.SortFunc(r.Notes, func(a, b lintFinding) int { return strings.Compare(a.Path, b.Path) })
}

// lintPage is the report for people.
func lintPage(v outputView, report lintReport) string {
	var out strings.Builder
	for _, finding := range report.Findings {
		out.WriteString(lintLines(v.paint(styleRed, "✗"), finding))
	}
	for _, note := range report.Notes {
		out.WriteString(lintLines(v.paint(styleYellow, "–"), note))
	}
	if len(report.Findings) > 0 {
		return out.String() + countWords(len(report.Findings), "finding") + "\n"
	}
	return out.String() + fmt.Sprintf("%s %s, revision %d: nothing is wrong, %s\n", v.paint(styleGreen, "✓"), report.PolicyID, report.Revision, countWords(len(report.Notes), "note"))
}

func lintLines(mark string, finding lintFinding) string {
	where := finding.Path
	if where == "" {
		where = "the document"
	}
	out := fmt.Sprintf("%s %s: %s (%s)\n", mark, where, finding.Text, finding.Code)
	if finding.Doc != "" {
		out += "  " + finding.Doc + "\n"
	}
	return out
}
