package cli

import (
	"context"
	"encoding/xml"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
	"prlagent/platform/text"
)

func (p *program) getCommand() *cobra.Command {
	var attribute, live bool
	command := &cobra.Command{
		Use:   "get [FIELD]",
		Short: "Print one value, for extension attributes and scripts",
		Long: `Print one value of the status. Without FIELD, list the fields.

With --ea the value is printed as a Jamf extension attribute, <result>…</result>;
dates are in the form that Jamf takes, in UTC. If the daemon is not running,
its snapshot answers, and the exit code is 0 all the same; health is then
not_running, or stale once the snapshot has expired, or not_answering.

With --live only the daemon answers: if it does not, nothing is printed, and the
exit code is 3. So a script is told what is true now in one call.

Fields:
` + fieldHelp(),
		Example:           "  prlagent get health\n  prlagent get last_checkin --ea\n  prlagent get vm_count --json\n  prlagent get vm_count --live || echo unknown",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeField,
		RunE: func(cmd *cobra.Command, arguments []string) error {
			if len(arguments) == 0 {
				return exitOrNil(p.listFields())
			}
			field, found := localapi.FieldByID(text.TypedWord(arguments[0]))
			if !found {
				return fmt.Errorf("there is no field %q; 'prlagent get' lists them", arguments[0])
			}
			return p.runGet(cmd.Context(), field, attribute, live)
		},
	}
	command.Flags().BoolVar(&attribute, "ea", false, "print <result>…</result> for Jamf")
	command.Flags().BoolVar(&live, "live", false, "only what the daemon says now, nothing from its snapshot")
	return command
}

func fieldHelp() string {
	var out strings.Builder
	for _, field := range localapi.Fields {
		fmt.Fprintf(&out, "  %-14s %s\n", field.ID, field.Title)
	}
	return out.String()
}

func completeField(_ *cobra.Command, arguments []string, _ string) ([]string, cobra.ShellCompDirective) {
	var ids []string
	if len(arguments) == 0 {
		for _, field := range localapi.Fields {
			ids = append(ids, field.ID+"\t"+field.Title)
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// fieldRow is a field without its value, as JSON.
type fieldRow struct {
	Field string `json:"field"`
	Title string `json:"title"`
	Kind  string `json:"kind"`
}

// fieldList is the document of get --json without a field.
type fieldList struct {
	Schema int        `json:"schema"`
	Fields []fieldRow `json:"fields"`
}

func (p *program) listFields() error {
	if p.json {
		document := fieldList{Schema: localapi.Schema}
		for _, field := range localapi.Fields {
			document.Fields = append(document.Fields, fieldRow{field.ID, field.Title, field.Kind})
		}
		return p.printJSON(document)
	}
	fields := styledTable{heads: []string{"FIELD", "KIND", "WHAT"}}
	for _, field := range localapi.Fields {
		fields.rows = append(fields.rows, []tableCell{{field.ID, ""}, {field.Kind, ""}, {field.Title, ""}})
	}
	_, err := fmt.Fprint(p.stdout, fields.render(p.newView(), ""))
	return err
}

// fieldValue is the document of get --json.
type fieldValue struct {
	Schema int       `json:"schema"`
	Field  string    `json:"field"`
	Kind   string    `json:"kind"`
	Value  any       `json:"value"`
	Live   bool      `json:"live"` // false: from the snapshot of a daemon that is not running
	At     time.Time `json:"at"`   // of the status that the value is from
}

func (p *program) runGet(ctx context.Context, field localapi.Field, attribute, live bool) error {
	ask := p.lastStatus
	if live {
		ask = p.liveStatus
	}
	status, err := ask(ctx)
	if state := localapi.UnansweredState(err); state != "" && field.ID == "health" && !live {
		return p.getHealthOf(state, err, field, attribute)
	}
	if err != nil {
		return exitFor(err)
	}
	return p.printField(field, status, attribute)
}

// getHealthOf says the health of a Mac on which there is neither a daemon nor
// anything that it left; the exit code says so too.
func (p *program) getHealthOf(state string, cause error, field localapi.Field, attribute bool) error {
	status := localapi.Status{Schema: localapi.Schema, At: p.now().UTC()}.Unanswered(state)
	if err := p.printField(field, status, attribute); err != nil {
		return err
	}
	exit := exitFor(cause)
	if p.json { // stdout has its document
		return &exitError{code: exitNotRunning}
	}
	return exit
}

func (p *program) printField(field localapi.Field, status localapi.Status, attribute bool) (err error) {
	value := field.Value(status)
	switch {
	case p.json:
		return exitOrNil(p.printJSON(fieldValue{localapi.Schema, field.ID, field.Kind, field.JSON(status), status.Daemon.Running, status.At}))
	case attribute:
		_, err = fmt.Fprintf(p.stdout, "<result>%s</result>\n", escapeXML(text.DisplayValue(value)))
	default:
		_, err = fmt.Fprintln(p.stdout, text.DisplayValue(value))
	}
	return exitOrNil(err)
}

func escapeXML(text string) string {
	var out strings.Builder
	// A strings.Builder takes everything.
	_ = xml.EscapeText(&out, []byte(text))
	return out.String()
}
