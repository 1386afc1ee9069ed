package portaltest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
)

// Contract is agent/protocol/openapi.yaml, held against every exchange of the
// tests in this package.
type Contract struct {
	Document *openapi3.T
	router   routers.Router
}

var readContract = sync.OnceValues(func() (Contract, error) {
	loader := openapi3.NewLoader()
	document, err := loader.LoadFromFile(filepath.Join("..", "..", "..", "agent", "protocol", "openapi.yaml"))
	if err != nil {
		return Contract{}, err
	}
	if err := document.Validate(loader.Context); err != nil {
		return Contract{}, err
	}
	openapi3filter.RegisterBodyDecoder(adminapi.StreamType, decodeStream)
	document.Servers = nil // any host
	router, err := gorillamux.NewRouter(document)
	return Contract{Document: document, router: router}, err
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

// LoadContract reads openapi.yaml once.
func LoadContract(t testing.TB) Contract {
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
func (c Contract) check(t testing.TB, request *http.Request, body []byte, got Answer) {
	t.Helper()
	route, parameters, err := c.router.FindRoute(request)
	if err != nil {
		if got.Problem(t) != protocol.ProblemNotFound {
			t.Errorf("%s %s is not in openapi.yaml and answered %d", request.Method, request.URL.Path, got.Status)
		}
		return
	}
	input := &openapi3filter.RequestValidationInput{
		Request: request, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true},
	}
	if got.Status < 300 && request.Header.Get("Content-Encoding") != "gzip" {
		request.Body = io.NopCloser(bytes.NewReader(body))
		if err := openapi3filter.ValidateRequest(t.Context(), input); err != nil {
			t.Errorf("accepted request is not as in openapi.yaml: %v", err)
		}
	}
	output := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: got.Status, Header: got.Header, Options: input.Options}
	output.SetBodyBytes(got.Body)
	if err := openapi3filter.ValidateResponse(t.Context(), output); err != nil {
		t.Errorf("%s %s: answer is not as in openapi.yaml: %v", request.Method, request.URL.Path, err)
	}
}

// CheckSchema validates a JSON value that travels inside another one.
func (c Contract) CheckSchema(t testing.TB, name string, data []byte) {
	t.Helper()
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	if err := c.Document.Components.Schemas[name].Value.VisitJSON(value); err != nil {
		t.Errorf("not a %s of openapi.yaml: %v", name, err)
	}
}
