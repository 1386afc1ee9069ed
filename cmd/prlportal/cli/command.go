package cli

import (
	"context"
	"encoding/json"
	"errors"
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
)

// offeredCommands are the types that agents of this version carry out.
var offeredCommands = []string{"vm.delete", "vm.lock", "vm.unlock", "vm.restart", "license.deactivate", "inventory.refresh", "policy.refresh", "diagnostics"}

// commandOptions are the flags of 'prlportal command'.
type commandOptions struct {
	admin   adminOptions
	keyFile string
	row     *protocol.CommandType

	vm, device string
	filters    []string
	reason     string
	yes        string
	asJSON     bool
	expires    string
	notBefore  string
	timeout    time.Duration

	when, deadline, until       string
	noOffer, force, skipNetwork bool
	sso                         bool
}

// ofTypes are the flags that only some types have.
var ofTypes = map[string][]string{
	"when": {"vm.delete"}, "deadline": {"vm.delete"}, "no-offer": {"vm.delete"},
	"force": {"vm.lock", "vm.restart"}, "until": {"vm.lock"},
	"skip-network-errors": {"license.deactivate"}, "sso": {"license.deactivate"},
}

func newCommandCommand() *cobra.Command {
	options := new(commandOptions)
	command := &cobra.Command{
		Use:   "command TYPE --dir DIR/operator",
		Short: "Sign a command for virtual machines or Macs, and give it to the portal",
		Long: `Command signs on this machine, with the command key of the operator's folder, and
uploads what it has signed; the portal has no key. It shows what it is about and what will
happen, and asks for the name of the virtual machine (for the serial number of the Mac, where
the command is for all of it), or for the count where there are more than one.

TYPE is one of:
` + commandTypeHelp() + `
A Mac obeys where its profile has the key in CommandKeys and the type in AllowedCommands;
what changes something on it needs 'prlportal profile --mode enforce' as well. It gets the
command with its next check-in, and tells how it ended.
Types with a threshold ('prlportal keys command threshold') wait for the signature of a
second person: 'prlportal commands approve ID'. 'prlportal commands' shows how they stand.

--expires is the latest start: how long a Mac may be away. Deleting is no wipe: backups,
snapshots and copies elsewhere remain.`,
		Example: `  prlportal command vm.delete --vm 'Windows 11' --device C02XL0THJGH5 --reason "stolen, ticket 1042" --dir site/operator
  prlportal command vm.delete --vm 'Windows 11' --when now --reason "stolen" --yes 'Windows 11' --dir site/operator
  prlportal command vm.lock --filter 'user_name=alice' --reason "leaves the company" --dir site/operator
  prlportal command license.deactivate --device C02XL0THJGH5 --reason "sold" --dir site/operator
  prlportal command inventory.refresh --filter 'health=stale' --reason "where are they" --yes 3 --dir site/operator`,
		Args: cobra.ExactArgs(1), ValidArgs: offeredCommands,
		RunE: func(command *cobra.Command, args []string) error {
			if err := options.read(command, args[0]); err != nil {
				return err
			}
			return options.run(command.Context(), command.InOrStdin(), command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	options.admin.addFlags(command)
	options.addFlags(command)
	return command
}

func commandTypeHelp() string {
	var help strings.Builder
	for _, kind := range offeredCommands {
		row, _ := protocol.CommandTypeOf(kind)
		fmt.Fprintf(&help, "  %-20s %s\n", kind, row.Text)
	}
	return help.String()
}

func (o *commandOptions) addFlags(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&o.keyFile, "key-file", "", "your private command key (default: command.key of the operator's folder)")
	flags.StringVar(&o.vm, "vm", "", "name or id of the virtual machine")
	flags.StringVar(&o.device, "device", "", "the Mac: device id, serial number or hardware UUID")
	flags.StringArrayVar(&o.filters, "filter", nil, "COLUMN OPERATOR VALUE, as 'prlportal vms' and 'prlportal devices' have it; repeat it, all must hold")
	flags.StringVar(&o.reason, "reason", "", "why; signed with the command, and shown on the Mac")
	flags.StringVar(&o.yes, "yes", "", "the name that is asked for, or the count where there are more than one: for scripts")
	flags.BoolVar(&o.asJSON, "json", false, "print the commands as JSON")
	flags.StringVar(&o.expires, "expires", "", "latest start: 12h, 30d or a time (default: by the type)")
	flags.StringVar(&o.notBefore, "not-before", "", "earliest start: 12h, 2d or a time")
	flags.DurationVar(&o.timeout, "timeout", 0, "how long one attempt may take (default: by the type)")
	flags.StringVar(&o.when, "when", "", "vm.delete: at_stop, once its user stops it (default), or now, which loses unsaved work")
	flags.StringVar(&o.deadline, "deadline", "", "vm.delete: from then on as --when now: 48h, 7d or a time")
	flags.BoolVar(&o.noOffer, "no-offer", false, "vm.delete: offer no golden image for it later")
	flags.BoolVar(&o.force, "force", false, "vm.lock: stop by force what cannot be suspended; vm.restart: kill and start a guest that hangs")
	flags.StringVar(&o.until, "until", "", "vm.lock: the hold ends by itself then: 12h, 30d or a time")
	flags.BoolVar(&o.skipNetwork, "skip-network-errors", false, "license.deactivate: also where the vendor cannot be reached; the seat may stay taken")
	flags.BoolVar(&o.sso, "sso", false, "license.deactivate: offer every user to sign in afterwards")
}

// read checks what was typed before anybody is asked anything.
func (o *commandOptions) read(command *cobra.Command, kind string) error {
	kind = text.TypedWord(kind)
	row, _ := protocol.CommandTypeOf(kind)
	if !slices.Contains(offeredCommands, kind) {
		return noSuchType(kind)
	}
	o.row, o.reason, o.when = row, text.TrimTyped(o.reason), text.TypedWord(o.when)
	for flag, types := range ofTypes {
		if command.Flags().Changed(flag) && !slices.Contains(types, kind) {
			return usageError("--" + flag + " is for " + strings.Join(types, " and "))
		}
	}
	switch {
	case o.reason == "":
		return usageError("--reason is missing")
	case len(o.reason) > protocol.MaxText:
		return usageError(fmt.Sprintf("--reason has more than %d bytes", protocol.MaxText))
	case row.OnVM && o.vm == "" && len(o.filters) == 0:
		return usageError("name the virtual machine with --vm, or several with --filter")
	case !row.OnVM && o.vm != "":
		return usageError("--vm is for commands on virtual machines; " + kind + " is for all of a Mac")
	case !row.OnVM && o.device == "" && len(o.filters) == 0:
		return usageError("name the Mac with --device, or several with --filter")
	case o.when != "" && o.when != protocol.DeleteAtStop && o.when != protocol.DeleteNow:
		return usageError("--when is at_stop or now")
	case o.when == protocol.DeleteNow && o.deadline != "":
		return usageError("--deadline is for --when at_stop")
	}
	return nil
}

// noSuchType says which type may be meant: most are typed without what is before the dot.
func noSuchType(kind string) error {
	meant := "; the types are "
	for _, one := range offeredCommands {
		if _, after, _ := strings.Cut(one, "."); kind != "" && (after == kind || strings.HasPrefix(one, kind) || strings.HasPrefix(kind, one)) {
			meant = "; did you mean " + one + "? The types are "
		}
	}
	return usageError(fmt.Sprintf("there is no command %s%s%s", text.DisplayValue(kind), meant, strings.Join(offeredCommands, ", ")))
}

// commandSubject is one virtual machine or Mac that the command is for.
type commandSubject struct {
	target protocol.CommandTarget
	row    *protocol.Row // of the virtual machine; nil: the whole Mac
	mac    string        // how people know the Mac
	name   string        // that confirms it
	users  []string      // of the Mac, where all are hit
	seen   time.Time     // when the Mac checked in last, where the command is for all of it
}

// find asks the portal for what was named.
func (o *commandOptions) find(ctx context.Context, client *adminapi.Client) ([]commandSubject, error) {
	filters := slices.Clone(o.filters)
	if o.device != "" {
		device, err := askForDevice(ctx, client, o.device)
		if err != nil {
			return nil, err
		}
		filters = append(filters, "device_id="+quotedList([]string{device.DeviceID}))
	}
	var found []commandSubject
	if o.row.OnVM {
		rows, err := o.findVMs(ctx, client, filters)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			found = append(found, commandSubject{
				row: &row, mac: strings.TrimSpace(row.Host.ComputerName + " (" + row.Host.Serial + ")"), name: row.Name,
				target: protocol.CommandTarget{DeviceID: row.Extra.DeviceID, UID: row.UID, Owner: row.Owner, VMID: row.ID, VMName: row.Name, Bundle: row.Bundle},
			})
		}
		return found, nil
	}
	devices, err := client.MatchingDevices(ctx, filters)
	if err != nil {
		return nil, asUsage(err)
	}
	for _, device := range devices {
		found = append(found, commandSubject{target: protocol.CommandTarget{DeviceID: device.DeviceID}, mac: strings.TrimSpace(device.ComputerName + " (" + device.MacSerial + ")"), seen: device.LastCheckinAt})
	}
	return found, nil
}

// findVMs are the rows that fit. One name means one machine.
func (o *commandOptions) findVMs(ctx context.Context, client *adminapi.Client, filters []string) ([]protocol.Row, error) {
	if o.vm == "" {
		rows, err := client.VMs(ctx, filters)
		return rows, asUsage(err)
	}
	for _, column := range []string{"vm_id", "vm_name"} {
		rows, err := client.VMs(ctx, append(slices.Clone(filters), column+"="+quotedList([]string{o.vm})))
		switch {
		case err != nil:
			return nil, asUsage(err)
		case len(rows) > 1:
			var places []string
			for _, row := range rows {
				places = append(places, text.DisplayValue(row.ID)+" of "+text.DisplayValue(row.Owner)+" on "+text.DisplayValue(row.Host.Serial))
			}
			return nil, usageError(fmt.Sprintf("%d virtual machines are %s: %s; name one by its id, or say which with --device or --filter 'user_name=NAME'", len(rows), text.DisplayValue(o.vm), strings.Join(places, ", ")))
		case len(rows) == 1:
			return rows, nil
		}
	}
	return nil, fmt.Errorf("there is no virtual machine %s there; see 'prlportal vms'", text.DisplayValue(o.vm))
}

// maxSubjects is how many targets one call of the command can have.
const maxSubjects = 1000

func (o *commandOptions) run(ctx context.Context, in io.Reader, out, problems io.Writer) error {
	client, err := o.admin.openClient()
	if err != nil {
		return err
	}
	defer client.Close()
	signer, err := openSigner(ctx, o.admin, o.keyFile, client)
	if err != nil {
		return err
	}
	subjects, err := o.find(ctx, client)
	switch {
	case err != nil:
		return err
	case len(subjects) == 0:
		return errors.New("nothing fits, and nothing was signed; try the filter with 'prlportal vms' or 'prlportal devices'")
	case len(subjects) > maxSubjects:
		return fmt.Errorf("%d targets fit, at most %d are commanded at once", len(subjects), maxSubjects)
	}
	for i := range subjects {
		if err := o.complete(ctx, client, &subjects[i]); err != nil {
			return err
		}
	}
	now := time.Now()
	params, words, err := o.params(now)
	if err != nil {
		return err
	}
	_, expires, err := o.lifetime(now)
	if err != nil {
		return err
	}
	if deletion, is := params.(protocol.DeleteParams); is && !deletion.Deadline.IsZero() && !deletion.Deadline.Before(expires) {
		return usageError("--deadline is not before the latest start, " + localTime(expires, time.Local) + "; see --expires")
	}
	words = append(words, "Latest start: "+localTime(expires, time.Local)+". What has not begun by then never does.")
	if o.row.Changes {
		monitoring, err := warnOfMonitoring(ctx, client, subjects)
		if err != nil {
			return err
		}
		words = append(words, monitoring...)
	}
	page := problems // standard output is for the result
	if err := writeText(page, o.describe(subjects, words, signer)); err != nil {
		return err
	}
	if err := confirm(in, page, o.yes, subjects); err != nil {
		return err
	}
	return o.issueAll(ctx, client, signer, subjects, params, out, problems)
}

// maxAsked is how many devices one question to the portal names.
const maxAsked = 50

// warnOfMonitoring says on how many Macs the command will be rejected, as they reported
// last.
func warnOfMonitoring(ctx context.Context, client *adminapi.Client, subjects []commandSubject) ([]string, error) {
	ids := make(map[string]struct{})
	for _, subject := range subjects {
		ids[subject.target.DeviceID] = struct{}{}
	}
	var monitoring []string
	for part := range slices.Chunk(slices.Sorted(maps.Keys(ids)), maxAsked) {
		devices, err := client.MatchingDevices(ctx, []string{"device_id in " + quotedList(part)})
		if err != nil {
			return nil, err
		}
		for _, device := range devices {
			if device.Mode == protocol.ModeMonitor {
				monitoring = append(monitoring, text.DisplayValue(device.MacSerial))
			}
		}
	}
	switch {
	case len(monitoring) == 0:
		return nil, nil
	case len(ids) == 1:
		return []string{"The Mac only monitors, and will reject it. It needs a profile with the mode enforce first: 'prlportal profile --mode enforce'."}, nil
	}
	return []string{fmt.Sprintf("%d of the Macs only monitor, and will reject it (%s). They need a profile with the mode enforce first.", len(monitoring), strings.Join(monitoring, ", "))}, nil
}

// complete adds what the payload says of the Mac.
func (o *commandOptions) complete(ctx context.Context, client *adminapi.Client, subject *commandSubject) error {
	holds, err := client.Holds(ctx, subject.target.DeviceID)
	if err != nil {
		return err
	}
	subject.target.MacSerial = holds.Target.MacSerial
	if protocol.IsHazardous(o.row.Type) {
		subject.target.Epoch = holds.Target.Epoch
	}
	if o.row.OnVM {
		return nil
	}
	subject.name = subject.target.MacSerial
	data, err := client.Device(ctx, subject.target.DeviceID)
	if err != nil {
		return err
	}
	var detail adminapi.DeviceDetail
	if err := json.Unmarshal(data, &detail); err != nil {
		return fmt.Errorf("read device: %w", err)
	}
	for _, user := range detail.Users {
		subject.users = append(subject.users, user.Who())
	}
	return nil
}

// params are the parameters that are signed, and what they mean.
func (o *commandOptions) params(now time.Time) (params any, words []string, err error) {
	switch o.row.Type {
	case "vm.delete":
		deadline, err := typedTime("--deadline", o.deadline, now)
		made := protocol.DeleteParams{When: o.when, Deadline: deadline}
		if o.noOffer {
			made.Offer = new(bool)
		}
		return made, deleteWords(made), err
	case "vm.restart":
		return protocol.RestartParams{Force: o.force}, restartWords(o.force), nil
	case "license.deactivate":
		return protocol.DeactivateParams{SkipNetworkErrors: o.skipNetwork, SSO: o.sso}, deactivateWords(o.skipNetwork, o.sso), nil
	case "vm.lock":
		until, err := typedTime("--until", o.until, now)
		return protocol.Hold{ExpiresAt: until, Force: o.force, Reason: o.reason}, lockWords(o.force, until), err
	case "vm.unlock":
		return protocol.Hold{}, []string{"It may start again; nothing starts it."}, nil
	}
	return nil, []string{o.row.Text}, nil
}

// typedTime reads a span from now on, or a time; zero where nothing was typed.
func typedTime(flag, typed string, now time.Time) (time.Time, error) {
	typed = text.TrimTyped(typed)
	if typed == "" {
		return time.Time{}, nil
	}
	if days, isDays := strings.CutSuffix(typed, "d"); isDays {
		if count, err := strconv.Atoi(days); err == nil && count > 0 && count <= 366 {
			return now.Add(time.Duration(count) * 24 * time.Hour).UTC().Truncate(time.Second), nil
		}
	}
	if span, err := time.ParseDuration(typed); err == nil && span > 0 {
		return now.Add(span).UTC().Truncate(time.Second), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, typed, time.Local); err == nil && at.After(now) {
			return at.UTC(), nil
		}
	}
	return time.Time{}, usageError(flag + " is a span such as 12h or 30d, or a time to come such as 2026-12-24T18:00Z")
}

// lifetime is from when to when the command may start.
func (o *commandOptions) lifetime(now time.Time) (notBefore, expires time.Time, err error) {
	notBefore, err = typedTime("--not-before", o.notBefore, now)
	if err != nil {
		return notBefore, expires, err
	}
	if expires, err = typedTime("--expires", o.expires, now); err != nil {
		return notBefore, expires, err
	}
	if expires.IsZero() {
		expires = now.Add(o.row.Lifetime)
	}
	switch {
	case expires.Sub(now) > protocol.MaxCommandLifetime:
		return notBefore, expires, usageError("--expires is at most 90 days away")
	case !notBefore.Before(expires):
		return notBefore, expires, usageError("--not-before is not before --expires")
	}
	return notBefore, expires, nil
}

// makeCommand is the payload for one subject.
func (o *commandOptions) makeCommand(subject commandSubject, person string, params any, now time.Time) (protocol.Command, error) {
	now = now.UTC().Truncate(time.Second)
	notBefore, expires, err := o.lifetime(now)
	if err != nil {
		return protocol.Command{}, err
	}
	command := protocol.Command{
		CommandID: protocol.NewRequestID(now, protocol.RequestID{}).String(), Type: o.row.Type, Target: subject.target,
		IssuedAt: now, NotBefore: notBefore, ExpiresAt: expires, TimeoutS: int(o.timeout / time.Second), IssuedBy: person, Reason: o.reason,
	}
	if params == nil {
		return command, nil
	}
	command.Params, err = json.Marshal(params)
	return command, err
}

// issueAll signs and uploads one command for each subject. What fails for one does not
// stop the others, and is told.
func (o *commandOptions) issueAll(ctx context.Context, client *adminapi.Client, signer commandSigner, subjects []commandSubject, params any, out, problems io.Writer) error {
	issued, failed := []adminapi.CommandDetail{}, 0
	for _, subject := range subjects {
		detail, err := o.issue(ctx, client, signer, subject, params)
		if err != nil {
			failed++
			if len(subjects) == 1 {
				return asUsage(err)
			}
			fmt.Fprintf(problems, "%s on %s: %s\n", text.DisplayValue(subject.name), text.DisplayValue(subject.mac), text.DisplayError(err))
			continue
		}
		issued = append(issued, detail)
	}
	var err error
	if o.asJSON {
		err = printJSON(out, map[string]any{"commands": issued})
	} else {
		err = writeText(out, issuedText(issued))
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d of %d commands were not issued", failed, len(subjects))
	}
	return err
}

func issuedText(issued []adminapi.CommandDetail) string {
	var words strings.Builder
	for _, detail := range issued {
		fmt.Fprintf(&words, "Issued %s %s for %s", text.DisplayValue(detail.Type), text.DisplayValue(detail.CommandID), text.DisplayValue(subjectWords(detail.Target)))
		switch {
		case detail.State == protocol.CommandAwaitingApproval:
			fmt.Fprintf(&words, "; it waits for %s: prlportal commands approve %s", countOf(detail.Needed-detail.Signatures, "more signature"), text.DisplayValue(detail.CommandID))
		case detail.Withheld != "":
			fmt.Fprintf(&words, "; it is withheld: %s prlportal commands confirm %s", fleet.WithheldTexts[detail.Withheld], text.DisplayValue(detail.CommandID))
		}
		words.WriteString(".\n")
	}
	switch {
	case len(issued) == 1 && issued[0].State == protocol.CommandPending && issued[0].Withheld == "":
		fmt.Fprintf(&words, "The Mac gets it with its next check-in: prlportal commands %s\n", text.DisplayValue(issued[0].CommandID))
	case len(issued) > 1:
		words.WriteString("The Macs get them with their next check-ins: prlportal commands --filter open=true\n")
	}
	return words.String()
}

// subjectWords tell subjects of the same name apart.
func subjectWords(target protocol.CommandTarget) string {
	if target.VMID == "" {
		return target.MacSerial
	}
	return target.VMName + " of " + target.Owner + " on " + target.MacSerial
}

func subjectName(target protocol.CommandTarget) string {
	if target.VMID == "" {
		return target.MacSerial
	}
	return target.VMName
}
