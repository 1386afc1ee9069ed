package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
)

// versionDocument is the document of version --json.
type versionDocument struct {
	Schema   int    `json:"schema"`
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Platform string `json:"platform"`
	Go       string `json:"go"`
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Long:    "Print the version of this program. The daemon's is 'prlagent get agent_version'.",
		Example: "  prlagent version\n  prlagent version --json",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return exitOrNil(p.runVersion()) },
	}
}

func newVersionDocument(version, revision string) versionDocument {
	return versionDocument{localapi.Schema, version, revision, runtime.GOOS + "/" + runtime.GOARCH, runtime.Version()}
}

func (p *program) runVersion() error {
	if p.json {
		return p.printJSON(newVersionDocument(localapi.BuildVersion()))
	}
	_, err := fmt.Fprintln(p.stdout, versionLine())
	return err
}
