package query_test

import (
	"slices"
	"strings"
	"testing"

	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/query"
)

// The parameters of openapi.yaml are those that the portal reads, and its
// description of the columns is theirs.
func TestOpenAPIDescribesTheQuery(t *testing.T) {
	t.Parallel()
	document := portaltest.LoadContract(t).Document
	all := query.Query{Filters: []string{"x"}, Search: "x", Sort: []string{"x"}, Page: 1, PerPage: 1, Since: "x"}
	for path, columns := range map[string][]query.Column{"/v1/admin/vms": nil, "/v1/admin/devices": fleet.DeviceTable.Columns(), "/v1/admin/events": fleet.EventTable.Columns()} {
		operation := document.Paths.Value(path).Get
		var described []string
		for _, parameter := range operation.Parameters {
			described = append(described, parameter.Value.Name)
		}
		read := []string{}
		for name := range all.Values() {
			read = append(read, name)
		}
		slices.Sort(described)
		slices.Sort(read)
		if !slices.Equal(described, read) {
			t.Errorf("%s has the parameters %v, and the portal reads %v", path, described, read)
		}
		for _, column := range columns {
			if !slices.Contains(strings.FieldsFunc(operation.Description, func(r rune) bool { return strings.ContainsRune(" ,.\n", r) }), column.ID) {
				t.Errorf("%s does not name the column %s", path, column.ID)
			}
		}
	}
	for _, limit := range []struct {
		schema *uint64
		want   int
	}{
		{document.Components.Parameters["Filter"].Value.Schema.Value.MaxItems, query.LimitFilters},
		{document.Components.Parameters["Sort"].Value.Schema.Value.MaxItems, query.LimitSortKeys},
		{document.Components.Parameters["Search"].Value.Schema.Value.MaxLength, query.LimitSearchText},
	} {
		if limit.schema == nil || int(*limit.schema) != limit.want {
			t.Errorf("a limit is %v, want %d", limit.schema, limit.want)
		}
	}
	properties := document.Components.Schemas["Row"].Value.Properties
	extra := document.Components.Schemas["RowExtra"].Value.Properties
	own := document.Components.Schemas["TableRow"].Value.AllOf[1].Value.Properties
	for _, column := range fleet.VMTable.Columns() {
		_, name, nested := strings.Cut(column.Path, ".")
		switch {
		case nested && extra[name] != nil, !nested && properties[column.ID] != nil, own[column.ID] != nil:
		default:
			t.Errorf("column %s is nowhere in TableRow", column.ID)
		}
	}
}
