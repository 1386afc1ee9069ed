package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/query"
	"prlagent/platform/text"
)

// vmVerdicts is one virtual machine with what became of each of its settings.
type vmVerdicts struct {
	VM       tableRow               `json:"vm"`
	Verdicts []fleet.SettingVerdict `json:"verdicts"`
	LeftOut  int                    `json:"left_out,omitempty"` // of all machines of its Mac
}

// vmDocument is the --json of one virtual machine: an id can be registered in two
// accounts, and copied to two Macs.
type vmDocument struct {
	VMs []vmVerdicts `json:"vms"`
}

// showVM prints the virtual machines with an id, or else with a name.
func (o *listOptions) showVM(ctx context.Context, w io.Writer, name string) error {
	client, err := o.admin.openClient()
	if err != nil {
		return err
	}
	defer client.Close()
	found, err := findVMs(ctx, client, name)
	if err != nil {
		return err
	}
	if o.format == formatJSON {
		return printJSON(w, vmDocument{found})
	}
	for i, one := range found {
		if i > 0 {
			err = writeText(w, "\n")
		}
		if err == nil {
			err = printVMPage(w, one, time.Local)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func findVMs(ctx context.Context, client *adminapi.Client, name string) ([]vmVerdicts, error) {
	for _, column := range []string{"vm_id", "vm_name"} {
		var found []vmVerdicts
		asked := query.Query{Filters: []string{column + "=" + quotedList([]string{name})}}
		_, err := client.Rows(ctx, fleet.VMTable.Name, asked, func(data json.RawMessage) error {
			row, err := readRow(data)
			found = append(found, vmVerdicts{VM: row})
			return err
		})
		if err != nil {
			return nil, asUsage(err)
		}
		for i := range found {
			if err := found[i].load(ctx, client); err != nil {
				return nil, err
			}
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	return nil, fmt.Errorf("no virtual machine has the id or the name %q; see 'prlportal vms'", text.Display(name))
}

// load adds the verdicts on the machine.
func (v *vmVerdicts) load(ctx context.Context, client *adminapi.Client) error {
	data, err := json.Marshal(v.VM)
	if err != nil {
		return fmt.Errorf("read row: %w", err)
	}
	var row struct {
		protocol.VMKey
		Extra protocol.RowExtra `json:"extra"`
	}
	if err := json.Unmarshal(data, &row); err != nil {
		return fmt.Errorf("read row: %w", err)
	}
	device, err := client.Verdicts(ctx, row.Extra.DeviceID)
	if err != nil {
		return err
	}
	v.Verdicts, v.LeftOut = []fleet.SettingVerdict{}, device.LeftOut
	for _, one := range device.Verdicts {
		if one.VMKey == row.VMKey {
			v.Verdicts = append(v.Verdicts, one)
		}
	}
	return nil
}

// printVMPage writes what there is to know of the settings of one machine.
func printVMPage(w io.Writer, one vmVerdicts, zone *time.Location) error {
	cell := func(id string) string {
		found, err := query.FindColumn(vmListing.columns, id)
		if err != nil {
			return ""
		}
		return one.VM.displayCell(found, zone)
	}
	page := devicePage{zone: zone}
	page.WriteString(text.DisplayValue(cell("vm_name")) + "\n")
	var fields [][2]string
	for _, id := range []string{"vm_id", "user_name", "computer_name", "mac_serial", "vm_state", "vm_os", "group", "policy_state", "policy_revision", "settings_drifts", "last_command", "last_command_detail", "hold_state", "hold_code"} {
		column, err := query.FindColumn(vmListing.columns, id)
		if err != nil {
			return err
		}
		fields = append(fields, [2]string{columnHeading(column), cell(id)})
	}
	page.addFields(fields...)
	if len(one.Verdicts) == 0 {
		page.WriteString("\nSettings: none was reported.\n")
	}
	page.addVerdicts("Settings", one.Verdicts, false)
	if one.LeftOut > 0 {
		fmt.Fprintf(&page, "\n%s of this Mac had no room in its report.\n", countOf(one.LeftOut, "verdict"))
	}
	return writeText(w, page.String())
}

// addVerdicts writes a table of verdicts, with the machine of each where they are
// on several, and below it what their codes mean.
func (p *devicePage) addVerdicts(heading string, verdicts []fleet.SettingVerdict, named bool) {
	heads := []string{"Setting", "VM", "Verdict", "Strength", "Code", "Since"}
	var rows [][]string
	reasons := make(map[protocol.Code]struct{})
	for i := range verdicts {
		one := &verdicts[i]
		row := []string{one.Setting, orEmpty(whereWords(one)), one.Verdict, one.Strength, orEmpty(string(one.Code)), localTime(one.Since, p.zone)}
		if !named {
			row = append(row[:1], row[2:]...)
		}
		if rows = append(rows, row); one.Code != "" {
			reasons[one.Code] = struct{}{}
		}
	}
	if !named {
		heads = append(heads[:1], heads[2:]...)
	}
	p.addTable(heading, heads, rows)
	p.addLegend(reasons)
}

// addLegend writes what codes mean.
func (p *devicePage) addLegend(codes map[protocol.Code]struct{}) {
	for line := range strings.Lines(gapLegend(codes)) {
		p.WriteString("  " + line)
	}
}

// whereWords say which machine a verdict is on, whose preference it is, or that it is
// on the Mac as a whole; empty for one on the policy.
func whereWords(one *fleet.SettingVerdict) string {
	switch {
	case one.ID != "":
		return cmp.Or(one.VMName, one.ID)
	case one.IsOfMac():
		return "this Mac"
	case one.UID == 0:
		return ""
	case one.UserName != "":
		return "user " + one.UserName
	}
	return fmt.Sprintf("user with uid %d", one.UID)
}
