package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

// addWhatIsSent gives status the flag that shows what the portal was told
// (INV-32).
func (p *program) addWhatIsSent(status *cobra.Command) {
	var asked bool
	status.Flags().BoolVar(&asked, "what-is-sent", false, "show the last report to the portal, field by field (administrators)")
	status.Example += "\n  sudo prlagent status --what-is-sent"
	show := status.RunE
	status.RunE = func(cmd *cobra.Command, arguments []string) error {
		if asked {
			return p.runWhatIsSent(cmd.Context())
		}
		return show(cmd, arguments)
	}
}

func (p *program) runWhatIsSent(ctx context.Context) error {
	ctx, cancel := p.withTimeout(ctx)
	defer cancel()
	sent, err := p.newClient().SentReport(ctx)
	if err != nil {
		return exitFor(err)
	}
	if p.json {
		return exitOrNil(p.printJSON(sent))
	}
	page, err := sentPage(p.newView(), cleanDocument(sent))
	if err != nil {
		return exitFor(err)
	}
	_, err = fmt.Fprint(p.stdout, page)
	return exitOrNil(err)
}

// sentPage is a report field by field.
func sentPage(v outputView, sent localapi.SentReport) (string, error) {
	data, err := json.Marshal(sent.Report)
	if err != nil {
		return "", fmt.Errorf("read report: %w", err)
	}
	fields := styledTable{heads: []string{"FIELD", "VALUE"}}
	if err := flattenJSON(data, "", func(path, value string) {
		if ofOneRequest[path] && sent.Report.RequestID == "" {
			return
		}
		fields.rows = append(fields.rows, []tableCell{{path, ""}, {value, ""}})
	}); err != nil {
		return "", fmt.Errorf("read report: %w", err)
	}
	page := "Told to the portal " + v.momentWords(sent.At) + ", as a whole; on the wire goes what has changed.\n" +
		"Beside it each report has its number, the reasons for it, and events.\n\n" + fields.render(v, "") + "\n"
	return page + privacyWords(sent.Privacy), nil
}

// ofOneRequest are the fields that each request has anew, and a report none of.
var ofOneRequest = map[string]bool{"request_id": true, "epoch": true, "sequence": true, "sent_at": true, "triggers": true}

func privacyWords(privacy protocol.Privacy) string {
	var withheld []string
	if privacy.NoUserNames {
		withheld = append(withheld, "names of users (ReportUserNames)")
	}
	if privacy.NoComputerName {
		withheld = append(withheld, "the name of this Mac (ReportComputerName)")
	}
	if len(withheld) == 0 {
		return "Nothing is withheld; ReportUserNames and ReportComputerName of the configuration decide.\n"
	}
	return "Withheld: " + strings.Join(withheld, ", ") + ".\n"
}

// flattenJSON gives each value of a document with the path to it, in the
// document's order.
func flattenJSON(data json.RawMessage, path string, each func(path, value string)) error {
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	first, err := decoder.Token()
	if err != nil {
		return err
	}
	switch first {
	case json.Delim('{'):
		for decoder.More() {
			name, err := decoder.Token()
			if err != nil {
				return err
			}
			if err := flattenNext(decoder, joinPath(path, fmt.Sprint(name)), each); err != nil {
				return err
			}
		}
	case json.Delim('['):
		for i := 0; decoder.More(); i++ {
			if err := flattenNext(decoder, path+"["+strconv.Itoa(i)+"]", each); err != nil {
				return err
			}
		}
	default:
		value := string(data)
		if unquoted, is := first.(string); is {
			value = unquoted
		}
		each(path, value)
	}
	return nil
}

func flattenNext(decoder *json.Decoder, path string, each func(path, value string)) error {
	var value json.RawMessage
	if err := decoder.Decode(&value); err != nil {
		return err
	}
	return flattenJSON(value, path, each)
}

func joinPath(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
