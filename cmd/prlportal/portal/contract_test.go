package portal

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// contract is agent/protocol/openapi.yaml, held against every exchange of the
// tests in this package.
type contract struct {
	document *openapi3.T
	router   routers.Router
}

var readContract = sync.OnceValues(func() (contract, error) {
	loader := openapi3.NewLoader()
	document, err := loader.LoadFromFile(filepath.Join("..", "..", "..", "agent", "protocol", "openapi.yaml"))
	if err != nil {
		return contract{}, err
	}
	if err := document.Validate(loader.Context); err != nil {
		return contract{}, err
	}
	openapi3filter.RegisterBodyDecoder(streamType, decodeStream)
	document.Servers = nil // any host
	router, err := gorillamux.NewRouter(document)
	return contract{document: document, router: router}, err
})

// decodeStream reads a stream as the list of its lines.
func decodeStream(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
	lines := []any{}
	decoder := json.NewDecoder(body)
	for {
		var line any
		if err := decoder.Decode(&line); errors.Is(err, io.EOF) {
			return lines, nil
		} else if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
}

func loadContract(t testing.TB) contract {
	t.Helper()
	loaded, err := readContract()
	if err != nil {
		t.Fatalf("openapi.yaml: %v", err)
	}
	return loaded
}

// check validates what was sent if it was accepted, and always what came back.
// Refused requests are often invalid on purpose; compressed ones are not
// decompressed by the validator.
func (c contract) check(t testing.TB, request *http.Request, body []byte, got answer) {
	t.Helper()
	route, parameters, err := c.router.FindRoute(request)
	if err != nil {
		if got.problem(t) != protocol.ProblemNotFound {
			t.Errorf("%s %s is not in openapi.yaml and answered %d", request.Method, request.URL.Path, got.status)
		}
		return
	}
	input := &openapi3filter.RequestValidationInput{
		Request: request, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true},
	}
	if got.status < 300 && request.Header.Get("Content-Encoding") != "gzip" {
		request.Body = io.NopCloser(bytes.NewReader(body))
		if err := openapi3filter.ValidateRequest(t.Context(), input); err != nil {
			t.Errorf("accepted request is not as in openapi.yaml: %v", err)
		}
	}
	output := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: got.status, Header: got.header, Options: input.Options}
	output.SetBodyBytes(got.body)
	if err := openapi3filter.ValidateResponse(t.Context(), output); err != nil {
		t.Errorf("%s %s: answer is not as in openapi.yaml: %v", request.Method, request.URL.Path, err)
	}
}

// checkSchema validates a JSON value that travels inside another one.
func (c contract) checkSchema(t testing.TB, name string, data []byte) {
	t.Helper()
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	if err := c.document.Components.Schemas[name].Value.VisitJSON(value); err != nil {
		t.Errorf("not a %s of openapi.yaml: %v", name, err)
	}
}

// TestOpenAPINamesEveryField compares the schemas with the Go types, so that
// neither can gain a field alone.
func TestOpenAPINamesEveryField(t *testing.T) {
	t.Parallel()
	document := loadContract(t).document
	for name, value := range map[string]any{
		"Problem": protocol.Problem{}, "Envelope": protocol.Envelope{}, "Signature": protocol.Signature{},
		"EnrollRequest": protocol.EnrollRequest{}, "EnrollReply": protocol.EnrollReply{}, "Group": protocol.Group{},
		"CheckinRequest": protocol.CheckinRequest{}, "CheckinReply": protocol.CheckinReply{},
		"Trigger": protocol.Trigger{}, "AgentInfo": protocol.AgentInfo{}, "Host": protocol.Host{}, "Product": protocol.Product{},
		"UserLook": protocol.UserLook{}, "PolicyReport": protocol.PolicyReport{}, "Verdict": protocol.Verdict{},
		"Inventory": protocol.Inventory{}, "VM": protocol.VM{}, "VMKey": protocol.VMKey{}, "Bundle": protocol.Bundle{},
		"Hint": protocol.Hint{}, "Ack": protocol.Ack{}, "OpenCommand": protocol.OpenCommand{}, "Result": protocol.Result{}, "Event": protocol.Event{},
		"Head": protocol.Head{}, "PolicyPointer": protocol.PolicyPointer{}, "RowExtra": protocol.RowExtra{},
		"Device": deviceView{}, "PendingKey": pendingView{}, "Duplicate": storage.Duplicate{}, "Approval": approval{},
	} {
		schema, found := document.Components.Schemas[name]
		if !found {
			t.Errorf("schema %s is missing", name)
			continue
		}
		var described []string
		for property := range schema.Value.Properties {
			described = append(described, property)
		}
		slices.Sort(described)
		if fields := jsonFields(reflect.TypeOf(value)); !slices.Equal(fields, described) {
			t.Errorf("%s has the fields\n%v\nand openapi.yaml describes\n%v", name, fields, described)
		}
	}
}

// jsonFields are the JSON names of a struct's fields, sorted.
func jsonFields(structure reflect.Type) []string {
	var names []string
	for i := range structure.NumField() {
		field := structure.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous && name == "":
			names = append(names, jsonFields(field.Type)...)
		case name != "-":
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestOpenAPIHasEveryProblem(t *testing.T) {
	t.Parallel()
	listed := loadContract(t).document.Components.Schemas["Problem"].Value.Properties["type"].Value.Enum
	var described []string
	for _, value := range listed {
		described = append(described, value.(string))
	}
	var known []string
	for name := range protocol.Problems {
		known = append(known, protocol.NewProblem(name, "").Type)
	}
	slices.Sort(described)
	slices.Sort(known)
	if !slices.Equal(known, described) {
		t.Errorf("problems are\n%v\nand openapi.yaml has\n%v", known, described)
	}
}

func TestOpenAPIRowHasEveryColumn(t *testing.T) {
	t.Parallel()
	row := loadContract(t).document.Components.Schemas["Row"].Value
	rendered := protocol.RowJSON(protocol.Row{})
	for name := range rendered {
		if _, described := row.Properties[name]; !described || !slices.Contains(row.Required, name) {
			t.Errorf("column %s is not a required property of Row", name)
		}
	}
	for name := range row.Properties {
		if _, sent := rendered[name]; !sent {
			t.Errorf("property %s of Row is no column", name)
		}
	}
}

// The portal answers what is described, and nothing else; what is described as
// protected by the admin token is.
func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	document := loadContract(t).document
	var described []string
	for path, item := range document.Paths.Map() {
		for method, operation := range item.Operations() {
			described = append(described, method+" "+path)
			protected := false
			if operation.Security != nil {
				protected = slices.ContainsFunc(*operation.Security, func(need openapi3.SecurityRequirement) bool { return need["adminToken"] != nil })
			}
			got := portal.call(t, method, strings.NewReplacer("{", "", "}", "").Replace(path), nil)
			if refused := got.problem(t) == protocol.ProblemUnauthenticated; protected && !refused || protected != strings.HasPrefix(path, "/v1/admin/") {
				t.Errorf("%s %s is described as for admins: %t; without a token it answers %d", method, path, protected, got.status)
			}
		}
	}
	answered := patterns()
	slices.Sort(answered)
	slices.Sort(described)
	if diff := cmp.Diff(described, answered); diff != "" {
		t.Errorf("(-openapi.yaml +routes):\n%s", diff)
	}
}
