package cli

import (
	"net/url"
	"testing"

	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/query"
)

// Beside the guide's columns ours and those of the devices can be asked for,
// each with an operator of its kind.
func TestEveryFieldCanBeFilteredAndSorted(t *testing.T) {
	t.Parallel()
	portal := portaltest.TwoMacs(t)
	for table, columns := range map[string][]query.Column{"vms": fleet.VMTable.Columns(), "devices": fleet.DeviceTable.Columns()} {
		for _, column := range columns {
			empty, _ := portal.List(t, table, url.Values{"filter": {column.ID + " empty"}, "sort": {"-" + column.ID}})
			full, _ := portal.List(t, table, url.Values{"filter": {column.ID + " not empty"}, "sort": {column.ID}})
			if len(empty)+len(full) != 2 {
				t.Errorf("%s of %s is empty in %d rows and full in %d, of 2", column.ID, table, len(empty), len(full))
			}
			for _, row := range full {
				if tableRow(row).cellText(column) == "" {
					t.Errorf("%s of %s is not empty and has no value in JSON", column.ID, table)
				}
			}
		}
	}
}
