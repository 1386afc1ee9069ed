package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"prlagent/agent/config"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

func (p *program) configCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Show every key of the configuration: value, source, what is wrong",
		Long: `Show every key of the configuration: its value (secrets are hidden), the file that
it is from, what is wrong with it, and what it would be without. The files are
read now, so that the daemon need not run; where the daemon still goes by what was
there before, that is said. config.plist is for root.

Exit codes: 0 the configuration can be used, 1 something in it cannot or the files
cannot be read, 4 a file is for root only: without it nothing is certain.`,
		Example: "  sudo prlagent config\n  sudo prlagent config --json | jq -r '.keys[] | select(.problems) | .key'",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return p.runConfig(cmd.Context()) },
	}
}

// configDocument is the document of config --json.
type configDocument struct {
	Schema   int                    `json:"schema"`
	Source   config.Source          `json:"source"` // of the keys that decide whom to trust
	Files    []config.ExplainedFile `json:"files"`
	Keys     []config.ExplainedKey  `json:"keys"`
	Problems []config.Problem       `json:"problems"`         // that are of no key
	Unread   []string               `json:"unread,omitempty"` // names that this version does not read
	Daemon   *daemonConfig          `json:"daemon,omitempty"` // what a running daemon goes by
}

// daemonConfig is what a daemon that runs says of its configuration.
type daemonConfig struct {
	Source   string                   `json:"source"`
	Mode     string                   `json:"mode"`
	Problems []localapi.ConfigProblem `json:"problems,omitempty"`
}

func (p *program) runConfig(ctx context.Context) error {
	document := explainedConfig(config.Explain(p.configPaths()))
	if status, err := p.lastStatus(ctx); err == nil && status.Daemon.Running {
		document.Daemon = &daemonConfig{status.Config.Source, status.Config.Mode, status.Config.Problems}
	}
	hidden := ""
	if os.Geteuid() != 0 {
		hidden = hiddenFile(document.Files)
	}
	if hidden != "" { // for others there may be nothing wrong with it
		document.Problems = slices.DeleteFunc(document.Problems, func(problem config.Problem) bool { return problem.Key == hidden })
	}
	if err := printDocument(p, document, configPage); err != nil {
		return exitFor(err)
	}
	if hidden != "" {
		return refusedFile(hidden, p.json)
	}
	if document.isBad() {
		return &exitError{code: exitDegraded}
	}
	return nil
}

// refusedFile is the exit of somebody who may not read a file; in JSON the document
// has said so.
func refusedFile(file string, said bool) error {
	if said {
		return &exitError{code: exitRefused}
	}
	return &exitError{code: exitRefused, words: &localapi.ErrorBody{
		Code: protocol.CodeNotAllowed, Text: file + " is for root only; what it says is not shown.", Remedy: "Run 'sudo prlagent config'."}}
}

func explainedConfig(e config.Explanation) configDocument {
	document := configDocument{Schema: localapi.Schema, Source: e.Config.Source, Files: e.Files, Keys: e.Keys, Problems: e.Other, Unread: e.Unread}
	if document.Problems == nil {
		document.Problems = []config.Problem{}
	}
	return document
}

// isBad reports whether a person should look at something.
func (d configDocument) isBad() bool {
	problems := d.Problems
	for _, key := range d.Keys {
		problems = append(problems[:len(problems):len(problems)], key.Wrong...)
	}
	for _, problem := range problems {
		if problem.Code.Text().Severity != protocol.Info {
			return true
		}
	}
	return false
}

// fileWords are what people call the files.
var fileWords = map[config.Source]string{config.SourceManaged: "profile", config.SourceLocal: "config.plist", config.SourceNone: "default"}

func configPage(v outputView, document configDocument) string {
	var page strings.Builder
	for _, file := range document.Files {
		fmt.Fprintf(&page, "%-13s %s: %s\n", fileWords[file.Source], file.Path, joinParts(", ", file.State, file.Text))
	}
	keys := styledTable{heads: []string{"KEY", "VALUE", "FROM", "WITHOUT"}, drop: []int{3}}
	problems := ""
	for _, key := range document.Keys {
		style := textStyle("")
		if len(key.Wrong) > 0 {
			style = styleYellow
		}
		keys.rows = append(keys.rows, []tableCell{{key.Key, style}, {orNone(key.Value), ""}, {fileWords[key.Source], ""}, {key.Default, styleDim}})
		problems += problemLines(v, key.Wrong)
	}
	page.WriteString("\n" + keys.render(v, ""))
	if problems += problemLines(v, document.Problems); problems != "" {
		page.WriteString("\n" + problems)
	}
	if len(document.Unread) > 0 {
		fmt.Fprintf(&page, "\nNot read by this version: %s.\n", strings.Join(document.Unread, ", "))
	}
	if daemon := document.Daemon; daemon != nil && daemon.Source != string(document.Source) {
		fmt.Fprintf(&page, "\nThe daemon goes by another source at the moment: %s, mode %s.\n", daemon.Source, daemon.Mode)
	}
	return page.String()
}

func orNone(value string) string {
	if value == "" {
		return "–"
	}
	return value
}

func problemLines(v outputView, problems []config.Problem) string {
	var out strings.Builder
	for _, problem := range problems {
		words := problem.Code.Text()
		fmt.Fprintf(&out, "%s %s: %s\n", v.paint(styleYellow, "!"), v.paint(styleBold, problem.Key), problem.Text)
		if words.Remedy != "" {
			fmt.Fprintf(&out, "    → %s\n", words.Remedy)
		}
	}
	return out.String()
}
