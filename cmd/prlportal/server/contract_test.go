package server_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/blobs"
	"prlagent/cmd/prlportal/evidence"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/server"
	"prlagent/cmd/prlportal/storage"
)

// TestOpenAPINamesEveryField compares the schemas with the Go types, so that
// neither can gain a field alone.
func TestOpenAPINamesEveryField(t *testing.T) {
	t.Parallel()
	document := portaltest.LoadContract(t).Document
	for name, value := range map[string]any{
		"Problem": protocol.Problem{}, "Envelope": protocol.Envelope{}, "Signature": protocol.Signature{},
		"EnrollRequest": protocol.EnrollRequest{}, "EnrollReply": protocol.EnrollReply{}, "Group": protocol.Group{},
		"CheckinRequest": protocol.CheckinRequest{}, "CheckinReply": protocol.CheckinReply{},
		"Trigger": protocol.Trigger{}, "AgentInfo": protocol.AgentInfo{}, "Host": protocol.Host{}, "Product": protocol.Product{},
		"UserLook": protocol.UserLook{}, "PolicyReport": protocol.PolicyReport{}, "VerdictReport": protocol.VerdictReport{}, "VerdictGroup": protocol.VerdictGroup{},
		"Inventory": protocol.Inventory{}, "VM": protocol.VM{}, "VMKey": protocol.VMKey{}, "Account": protocol.Account{}, "Bundle": protocol.Bundle{},
		"Hint": protocol.Hint{}, "Ack": protocol.Ack{}, "OpenCommand": protocol.OpenCommand{}, "Result": protocol.Result{}, "HoldReport": protocol.HoldReport{}, "HoldState": protocol.HoldState{}, "Event": protocol.Event{},
		"Head": protocol.Head{}, "Candidate": protocol.Candidate{}, "PolicyPointer": protocol.PolicyPointer{}, "RowExtra": protocol.RowExtra{},
		"HealthReport": protocol.HealthReport{}, "ReportedCondition": protocol.ReportedCondition{},
		"SettingVerdict": fleet.SettingVerdict{}, "DeviceVerdicts": fleet.DeviceVerdicts{}, "VerdictState": storage.VerdictState{},
		"VerdictTransition": fleet.VerdictTransition{}, "Compliance": fleet.Compliance{}, "ComplianceRow": fleet.ComplianceRow{}, "GroupStatus": fleet.GroupStatus{}, "DocumentStatus": fleet.DocumentStatus{},
		"DiffRequest": adminapi.DiffRequest{}, "DiffVersion": adminapi.DiffVersion{}, "Difference": fleet.Difference{}, "SettingDiff": fleet.SettingDiff{},
		"DeviceDetail": adminapi.DeviceDetail{}, "Checkin": adminapi.Checkin{}, "TableEvent": fleet.Event{},
		"Command": fleet.Command{}, "CommandDetail": adminapi.CommandDetail{}, "CommandTarget": protocol.CommandTarget{}, "CommandStep": storage.CommandStep{}, "Signer": storage.Signer{},
		"CommandUpload": adminapi.CommandUpload{}, "CommandApproval": adminapi.CommandApproval{}, "CommandReason": adminapi.CommandReason{},
		"Licenses": fleet.Licenses{}, "LicenseRow": fleet.LicenseRow{}, "LicenseMac": fleet.LicenseMac{}, "Blob": blobs.Blob{}, "Evidence": evidence.Bundle{}, "EvidenceSite": evidence.Site{}, "EvidenceDevice": evidence.Device{}, "EvidenceRecord": evidence.Record{}, "AuditLine": audit.Line{},
		"DeviceHolds": adminapi.DeviceHolds{}, "CommandKeyList": adminapi.CommandKeyList{}, "NamedKey": adminapi.NamedKey{},
		"Device": fleet.Device{}, "PendingKey": fleet.PendingKey{}, "Duplicate": storage.Duplicate{}, "Decision": adminapi.Decision{},
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
	listed := portaltest.LoadContract(t).Document.Components.Schemas["Problem"].Value.Properties["type"].Value.Enum
	var described []string
	for _, value := range listed {
		described = append(described, value.(string))
	}
	var known []string
	for _, kind := range protocol.Problems {
		known = append(known, protocol.NewProblem(kind.Name, "").Type)
	}
	slices.Sort(described)
	slices.Sort(known)
	if !slices.Equal(known, described) {
		t.Errorf("problems are\n%v\nand openapi.yaml has\n%v", known, described)
	}
}

func TestOpenAPIRowHasEveryColumn(t *testing.T) {
	t.Parallel()
	row := portaltest.LoadContract(t).Document.Components.Schemas["Row"].Value
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
	portal := portaltest.New(t)
	document := portaltest.LoadContract(t).Document
	var described []string
	for path, item := range document.Paths.Map() {
		for method, operation := range item.Operations() {
			described = append(described, method+" "+path)
			protected := false
			if operation.Security != nil {
				protected = slices.ContainsFunc(*operation.Security, func(need openapi3.SecurityRequirement) bool { return need["adminToken"] != nil })
			}
			got := portal.Call(t, method, strings.NewReplacer("{", "", "}", "").Replace(path), nil)
			if refused := got.Problem(t) == protocol.ProblemUnauthenticated; protected && !refused || protected != (strings.HasPrefix(path, "/v1/admin/") || path == "/metrics") {
				t.Errorf("%s %s is described as for admins: %t; without a token it answers %d", method, path, protected, got.Status)
			}
		}
	}
	answered := server.Patterns()
	slices.Sort(answered)
	slices.Sort(described)
	if diff := cmp.Diff(described, answered); diff != "" {
		t.Errorf("(-openapi.yaml +routes):\n%s", diff)
	}
}
