package cli

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

// jsonDocument is one document that a command prints with --json.
type jsonDocument struct {
	commands string
	example  any // of the type that is printed
	notes    string
}

// jsonDocuments are all of them. Whatever is printed as JSON is of a type here.
var jsonDocuments = []jsonDocument{
	{"status --json, status.json", localapi.Status{}, ""},
	{"status --what-is-sent --json", localapi.SentReport{}, ""},
	{"vms --json", vmsDocument{}, "Each row has every column of 'prlagent vms --help' by its id, null where it is empty, and what is listed here beside them."},
	{"policy --json, policy plan --json, policy explain --json", localapi.Policy{}, ""},
	{"policy lint --json", lintReport{}, ""},
	{"vm set --json, release --locks --json", localapi.HandResult{}, ""},
	{"vm passwd --json", localapi.PasswordResult{}, ""},
	{"commands --json", localapi.CommandList{}, "The newest first; each with every change of its state, oldest first."},
	{"commands ID --json", commandDocument{}, ""},
	{"events --json", localapi.EventList{}, ""},
	{"events --follow --json", eventDocument{}, "One document per line."},
	{"checkin --json", localapi.CheckinResult{}, ""},
	{"get FIELD --json", fieldValue{}, "The value is a text, a number or a time, as its kind says; null is a time that never was."},
	{"get --json", fieldList{}, ""},
	{"doctor --json", doctorReport{}, ""},
	{"config --json", configDocument{}, ""},
	{"logs --json", logDocument{}, "One document per line, with the record's other fields beside these."},
	{"support-bundle --json", bundleReport{}, ""},
	{"version --json", versionDocument{}, ""},
	{"any command that fails", errorDocument{}, ""},
}

// vmsDocument is what inventoryJSON prints.
type vmsDocument struct {
	Schema     int       `json:"schema"`
	At         time.Time `json:"at"`
	Rows       []vmsRow  `json:"rows"`
	Restricted bool      `json:"restricted"`
	LeftOut    int       `json:"left_out"` // machines that no row is for
}

// vmsRow is what a row has beside the columns (protocol.RowJSON).
type vmsRow struct {
	Gaps       map[string]protocol.Code `json:"gaps"`
	RawState   string                   `json:"raw_state"`
	UID        uint32                   `json:"uid"`
	Bundle     protocol.Bundle          `json:"bundle"`
	SeenBy     []string                 `json:"seen_by"`
	Stale      protocol.Code            `json:"stale"`
	SeenAt     time.Time                `json:"seen_at,omitzero"`
	ConfigHash string                   `json:"config_hash"`
	Extra      protocol.RowExtra        `json:"extra"`
}

// eventDocument is one event that is followed.
type eventDocument struct {
	Schema int `json:"schema"`
	protocol.Event
}

// logDocument is what every record of the log has.
type logDocument struct {
	Schema  int       `json:"schema"`
	Time    time.Time `json:"time,omitzero"`
	Level   string    `json:"level,omitempty"`
	Message string    `json:"message"`
}

// errorDocument is the words of an exit.
type errorDocument struct {
	Schema int `json:"schema"`
	localapi.ErrorBody
}

// jsonTopic is 'prlagent help json'.
func jsonTopic() *cobra.Command {
	topic := &cobra.Command{Use: "json", Short: "Every field of every document that --json prints"}
	// Made when it is asked for: it is a sixth of what a command computes.
	topic.SetHelpFunc(func(command *cobra.Command, _ []string) {
		fmt.Fprintf(command.OutOrStdout(), "%s\n\n", jsonHelp())
	})
	return topic
}

const jsonHead = `What the commands print with --json, field by field. Names are stable: a field is
added at any time, and one that changes its meaning or goes away raises "schema".
Points in time are RFC 3339 with their zone, codes are those of the table of codes,
numbers are numbers. "?" marks what is left out where it is empty.`

func jsonHelp() string {
	var out strings.Builder
	out.WriteString(jsonHead + "\n")
	for _, document := range jsonDocuments {
		fmt.Fprintf(&out, "\n%s\n", document.commands)
		if document.notes != "" {
			fmt.Fprintf(&out, "  %s\n", document.notes)
		}
		lines := fieldLines(reflect.TypeOf(document.example), "", nil)
		width := 0
		for _, line := range lines {
			width = max(width, len(line.path))
		}
		for _, line := range lines {
			fmt.Fprintf(&out, "  %-*s  %s\n", width, line.path, line.kind)
		}
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// fieldLine is one field of a document.
type fieldLine struct{ path, kind string }

// fieldLines are the fields of a type and of what is in them; seen are the types
// around it, so that one that has itself in it ends.
func fieldLines(of reflect.Type, path string, seen []reflect.Type) []fieldLine {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if isLeaf(of) || slices.Contains(seen, of) {
		return nil
	}
	seen = append(seen[:len(seen):len(seen)], of)
	switch of.Kind() {
	case reflect.Slice:
		return fieldLines(of.Elem(), path+"[]", seen)
	case reflect.Map:
		return fieldLines(of.Elem(), path+".*", seen)
	case reflect.Struct:
		return structLines(of, path, seen)
	}
	return nil
}

func structLines(of reflect.Type, path string, seen []reflect.Type) (lines []fieldLine) {
	for i := range of.NumField() {
		field := of.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && name == "" {
			lines = append(lines, structLines(field.Type, path, seen)...)
			continue
		}
		if !field.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = field.Name
		}
		below := joinPath(path, name)
		mark := ""
		if strings.Contains(options, "omit") {
			mark = "?"
		}
		lines = append(lines, fieldLine{below, kindOf(field.Type) + mark})
		lines = append(lines, fieldLines(field.Type, below, seen)...)
	}
	return lines
}

var (
	timeType      = reflect.TypeFor[time.Time]()
	codeType      = reflect.TypeFor[protocol.Code]()
	rawType       = reflect.TypeFor[json.RawMessage]()
	marshalerType = reflect.TypeFor[json.Marshaler]()
	textType      = reflect.TypeFor[encoding.TextMarshaler]()
)

// isLeaf reports whether a type is one value in JSON.
func isLeaf(of reflect.Type) bool {
	return of == timeType || of == rawType || of.Implements(textType) || of.Implements(marshalerType)
}

// kindOf is a type in the words of JSON.
func kindOf(of reflect.Type) string {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	switch {
	case of == timeType:
		return "time"
	case of == codeType:
		return "code"
	case of == rawType:
		return "value"
	}
	switch of.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Slice:
		if of.Elem().Kind() == reflect.Uint8 {
			return "text, base64"
		}
		return "list of " + kindOf(of.Elem())
	case reflect.Map:
		return "object of " + kindOf(of.Elem())
	case reflect.Struct:
		return "object"
	case reflect.Interface:
		return "value"
	}
	return "number"
}
