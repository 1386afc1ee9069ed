package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/platform/text"
	"prlagent/platform/text/collate"
)

// showDevice prints one Mac as a whole.
func (o *listOptions) showDevice(ctx context.Context, w io.Writer, name string) error {
	client, err := o.admin.openClient()
	if err != nil {
		return err
	}
	defer client.Close()
	device, err := askForDevice(ctx, client, name)
	if err != nil {
		return err
	}
	data, err := client.Device(ctx, device.DeviceID)
	if err != nil {
		return err
	}
	whole, err := readRow(data)
	if err != nil {
		return err
	}
	if o.format == formatJSON {
		delete(whole, "schema") // no word of the portal's
		return printJSON(w, whole)
	}
	var detail adminapi.DeviceDetail
	if err := json.Unmarshal(data, &detail); err != nil {
		return fmt.Errorf("read device: %w", err)
	}
	return printDevicePage(w, detail, whole.rowsUnder(fleet.VMTable.Name), time.Local)
}

// rowsUnder are the rows of a list in a document.
func (row tableRow) rowsUnder(name string) []tableRow {
	list, _ := row[name].([]any)
	var rows []tableRow
	for _, one := range list {
		if fields, isRow := one.(map[string]any); isRow {
			rows = append(rows, fields)
		}
	}
	return rows
}

// askForDevice finds the device that the operator names.
func askForDevice(ctx context.Context, client *adminapi.Client, name string) (fleet.Device, error) {
	devices, err := client.Devices(ctx)
	if err != nil {
		return fleet.Device{}, err
	}
	return findDevice(devices, name)
}

// completionTime is how long the shell waits for the names of devices.
const completionTime = 2 * time.Second

// completeDevice offers the serial numbers that the portal has, or nothing.
func (o *adminOptions) completeDevice(command *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 0 || readEnvironment(command) != nil {
		return nil, directive
	}
	client, err := o.openClient()
	if err != nil {
		return nil, directive
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(command.Context(), completionTime)
	defer cancel()
	devices, err := client.Devices(ctx)
	if err != nil {
		return nil, directive
	}
	var names []string
	for _, device := range devices {
		if serial := text.Display(device.MacSerial); serial != "" && strings.HasPrefix(strings.ToUpper(serial), strings.ToUpper(typed)) {
			names = append(names, cobra.CompletionWithDesc(serial, text.Display(device.ComputerName)))
		}
	}
	return names, directive
}

// printDevicePage writes what there is to know of one Mac: what is wrong first.
func printDevicePage(w io.Writer, detail adminapi.DeviceDetail, vms []tableRow, zone *time.Location) error {
	page := devicePage{zone: zone}
	page.addIdentity(detail.Device)
	page.addConditions(detail.Device)
	page.addPolicy(detail.Policy)
	page.addViolations(detail.Verdicts, detail.Users)
	page.addOpenVerdicts(detail.Verdicts)
	page.addUsers(detail.Users)
	page.addCheckins(detail.Checkins)
	page.addEvents(detail.Events)
	if err := writeText(w, page.String()); err != nil {
		return err
	}
	if err := printDeviceVMs(w, detail.Device, vms, zone); err != nil {
		return err
	}
	return printDecisions(w, detail.Device, zone)
}

// printDeviceVMs writes the rows of one Mac as the table of all does.
func printDeviceVMs(w io.Writer, device fleet.Device, vms []tableRow, zone *time.Location) error {
	if len(vms) == 0 {
		return writeText(w, "\nVirtual machines: none.\n")
	}
	columns, err := vmListing.chooseColumns([]string{"-computer_name"}, formatTable)
	if err != nil {
		return err
	}
	slices.SortStableFunc(vms, func(a, b tableRow) int {
		for _, column := range vmListing.columns {
			if !slices.Contains(vmListing.order, column.ID) {
				continue
			}
			if order := collate.CompareNatural(a.cellText(column), b.cellText(column)); order != 0 {
				return order
			}
		}
		return 0
	})
	if err := writeText(w, "\nVirtual machines\n"); err != nil {
		return err
	}
	return printVMs(w, columns, vms, zone)
}

// devicePage is a page for people in sections.
type devicePage struct {
	strings.Builder
	zone *time.Location
}

// addFields adds lines of a name and a value; those without a value are left out.
func (p *devicePage) addFields(fields ...[2]string) {
	table := text.Table{Indent: "  ", MaxCell: maxEventCell}
	for _, field := range fields {
		if field[1] != "" && field[1] != emptyCell {
			table.Rows = append(table.Rows, []string{field[0], field[1]})
		}
	}
	p.WriteString(table.String())
}

func (p *devicePage) addTable(heading string, heads []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	p.WriteString("\n" + heading + "\n")
	p.WriteString(text.Table{Heads: heads, Rows: rows, Indent: "  ", MaxCell: maxEventCell}.String())
}

func (p *devicePage) addIdentity(device fleet.Device) {
	title := macName(device)
	if device.ComputerName != "" {
		title += ", " + text.DisplayValue(device.ComputerName)
	}
	health := device.Health
	if health == fleet.HealthStale {
		health += ": not heard of for longer than it should be"
	}
	state := device.State
	if device.SupersededBy != "" {
		state += ", " + device.SupersededBy + " took its place"
	}
	clock := ""
	if device.ClockAhead != 0 {
		clock = skewWords(device.ClockAhead) + " the portal's"
	}
	p.WriteString(title + "\n")
	p.addFields(
		[2]string{"Health", health}, [2]string{"State", state},
		[2]string{"Last check-in", strings.TrimSuffix(localTime(device.LastCheckinAt, p.zone)+", because of "+device.LastReasons, ", because of ")},
		[2]string{"Clock", clock},
		[2]string{"Group", strings.TrimSpace(device.Group.ID + " " + inBrackets(device.Group.Name))}, [2]string{"Group from", device.Group.Source},
		[2]string{"Agent", strings.TrimSpace(device.AgentVersion + " " + inBrackets(device.Mode))},
		[2]string{"Parallels Desktop", strings.TrimSpace(device.PDVersion + " " + inBrackets(device.PDState))},
		[2]string{"macOS", device.MacOS}, [2]string{"Model", device.Model},
		[2]string{"Hardware UUID", device.HardwareUUID}, [2]string{"Device ID", device.DeviceID}, [2]string{"Key ID", device.KeyID},
		[2]string{"Enrolled", localTime(device.EnrolledAt, p.zone)}, [2]string{"Retired", localTime(device.RetiredAt, p.zone)},
		[2]string{"Commands", openWords(device)}, [2]string{"Held", heldWords(device)}, [2]string{"Frozen", device.Frozen},
	)
}

// openWords count the commands that the Mac has not ended.
func openWords(device fleet.Device) string {
	switch {
	case device.CommandsOpen == 0:
		return ""
	case device.CommandsWithheld > 0:
		return fmt.Sprintf("%d open, %d of them withheld", device.CommandsOpen, device.CommandsWithheld)
	}
	return fmt.Sprintf("%d open", device.CommandsOpen)
}

// heldWords count the virtual machines that the Mac holds.
func heldWords(device fleet.Device) string {
	switch {
	case device.Holds == 0:
		return ""
	case device.HoldsUnenforced > 0:
		return countOf(device.Holds, "virtual machine") + fmt.Sprintf(", %d not suspended", device.HoldsUnenforced)
	}
	return countOf(device.Holds, "virtual machine")
}

func inBrackets(word string) string {
	if word == "" {
		return ""
	}
	return "(" + word + ")"
}

func (p *devicePage) addConditions(device fleet.Device) {
	var rows [][]string
	for _, condition := range device.Conditions {
		about := condition.Subject
		if condition.Count > 1 {
			about = strings.TrimSpace(about + " ×" + strconv.Itoa(condition.Count))
		}
		known := condition.Code.Text()
		rows = append(rows, []string{string(condition.Code), orEmpty(about), localTime(condition.Since, p.zone), known.Text, known.Remedy})
	}
	heading := "Conditions"
	if device.Health == fleet.HealthStale {
		heading += ", as it reported last"
	}
	p.addTable(heading, []string{"Code", "About", "Since", "What", "Remedy on the Mac"}, rows)
}

func (p *devicePage) addPolicy(policy protocol.PolicyReport) {
	if policy.State == "" {
		return
	}
	p.WriteString("\nPolicy\n")
	revision := ""
	if policy.Revision > 0 {
		revision = policy.PolicyID + " revision " + strconv.FormatUint(policy.Revision, 10)
	}
	var counts []string
	for _, word := range slices.Sorted(maps.Keys(policy.Counts)) {
		counts = append(counts, strconv.Itoa(policy.Counts[word])+" "+word)
	}
	p.addFields([2]string{"State", strings.TrimSpace(policy.State + " " + inBrackets(string(policy.Code)))},
		[2]string{"Policy", revision}, [2]string{"Settings", strings.Join(counts, ", ")})
}

// addViolations writes what is against security controls, each with its machine and
// whose that is.
func (p *devicePage) addViolations(all fleet.DeviceVerdicts, users []protocol.UserLook) {
	found := slices.DeleteFunc(slices.Clone(all.Verdicts), func(one fleet.SettingVerdict) bool { return !one.Violation })
	var rows [][]string
	codes := make(map[protocol.Code]struct{})
	for i := range found[:min(len(found), maxVerdicts)] {
		one := &found[i]
		codes[one.Code] = struct{}{}
		rows = append(rows, []string{one.Setting, whereWords(one), orEmpty(userName(users, one.UID)), string(one.Code), localTime(one.Since, p.zone)})
	}
	p.addTable(partly("Against security controls", len(rows), len(found)), []string{"Control", "VM", "User", "Code", "Since"}, rows)
	p.addLegend(codes)
}

// userName is what an account is called; empty for none.
func userName(users []protocol.UserLook, uid uint32) string {
	at := slices.IndexFunc(users, func(user protocol.UserLook) bool { return user.UID == uid })
	switch {
	case uid == 0:
		return ""
	case at >= 0 && users[at].Name != "":
		return users[at].Name
	}
	return fmt.Sprintf("uid %d", uid)
}

// addOpenVerdicts writes what else is not simply in place.
func (p *devicePage) addOpenVerdicts(all fleet.DeviceVerdicts) {
	others := slices.DeleteFunc(slices.Clone(all.Verdicts), func(one fleet.SettingVerdict) bool { return one.Violation })
	shown := others[:min(len(others), maxVerdicts)]
	p.addVerdicts(partly("Settings that are not simply in place", len(shown), len(others)+all.LeftOut), shown, true)
}

// partly is a heading that says how much is below it, where that is not all.
func partly(heading string, shown, all int) string {
	if shown < all {
		heading += fmt.Sprintf(", %d of %d; --json has all that were reported", shown, all)
	}
	return heading
}

// maxVerdicts is how many settings a page has; JSON has all.
const maxVerdicts = 20

func (p *devicePage) addUsers(users []protocol.UserLook) {
	var rows [][]string
	for _, user := range users {
		name, count := user.Name, strconv.Itoa(user.Count)
		switch {
		case !user.IsLookedAt():
			name, count = user.Who(), emptyCell
		case user.LeftOut > 0:
			count += ", and " + strconv.Itoa(user.LeftOut) + " without a row"
		}
		why := ""
		if user.Code != "" {
			why = string(user.Code) + ": " + user.Code.Text().Text
		}
		rows = append(rows, []string{name, count, localTime(user.At, p.zone), orEmpty(why)})
	}
	p.addTable("Users", []string{"User", "VMs", "Listed", "Reason"}, rows)
}

func (p *devicePage) addCheckins(checkins []adminapi.Checkin) {
	var rows [][]string
	for _, one := range checkins {
		rows = append(rows, []string{localTime(one.At, p.zone), strconv.FormatUint(one.Sequence, 10), orEmpty(one.Reasons), one.Inventory})
	}
	p.addTable("Last check-ins", []string{"Time", "Number", "Because of", "Answer"}, rows)
}

func (p *devicePage) addEvents(events []fleet.Event) {
	var rows [][]string
	for _, event := range events {
		rows = append(rows, []string{localTime(event.At, p.zone), event.Type, orEmpty(string(event.Code)), orEmpty(fleet.GapsText(event.Data))})
	}
	p.addTable("Last events", []string{"Time", "Event", "Code", "Details"}, rows)
}
