package cli

import (
	"bufio"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/site"
	"prlagent/platform/text"
)

// commandSigner is an operator with a command key.
type commandSigner struct {
	key    ed25519.PrivateKey
	person string // that the key is registered for
	keys   site.CommandKeys
}

// openSigner reads the operator's command key, and for whom it is registered: by the
// folder's own list, or else by the portal's.
func openSigner(ctx context.Context, admin adminOptions, keyFile string, client *adminapi.Client) (commandSigner, error) {
	folder, isThere := site.FindOperator(admin.dir)
	if !isThere && keyFile == "" {
		return commandSigner{}, usageError(fmt.Sprintf("there is no operator's folder in %s, which has the command key; name it with --dir, or give --key-file", text.DisplayValue(admin.dir)))
	}
	key, err := site.LoadSigningKey(cmp.Or(keyFile, filepath.Join(folder, site.CommandKeyFile)))
	if err != nil {
		return commandSigner{}, err
	}
	keys, err := registeredKeys(ctx, folder, client)
	if err != nil {
		return commandSigner{}, err
	}
	id := protocol.KeyID(key.Public().(ed25519.PublicKey))
	person := keys.PersonOf(id)
	if person == "" {
		return commandSigner{}, fmt.Errorf("the command key %s is registered for nobody; who keeps the policy key registers it: 'prlportal keys command add PERSON --public-key FILE'", id)
	}
	return commandSigner{key: key, person: person, keys: keys}, nil
}

// registeredKeys prefers the list of one's own folder: the portal could lie.
func registeredKeys(ctx context.Context, folder string, client *adminapi.Client) (site.CommandKeys, error) {
	if folder != "" {
		keys, err := site.LoadCommandKeys(folder)
		if err != nil || len(keys.Keys) > 0 {
			return keys, err
		}
	}
	list, err := client.CommandKeys(ctx)
	if err != nil {
		return site.CommandKeys{}, err
	}
	if list.File == nil {
		return site.CommandKeys{}, site.ErrNoCommandKeys
	}
	file, err := list.File.JSON()
	if err != nil {
		return site.CommandKeys{}, err
	}
	return site.ParseCommandKeys(file, nil)
}

// issue signs the command for one subject and uploads it.
func (o *commandOptions) issue(ctx context.Context, client *adminapi.Client, signer commandSigner, subject commandSubject, params any) (adminapi.CommandDetail, error) {
	now := time.Now()
	hold, changesHolds := params.(protocol.Hold)
	if changesHolds {
		params = nil
	}
	command, err := o.makeCommand(subject, signer.person, params, now)
	if err != nil {
		return adminapi.CommandDetail{}, err
	}
	if changesHolds {
		if command.Params, err = o.signHolds(ctx, client, signer, command, hold); err != nil {
			return adminapi.CommandDetail{}, err
		}
	}
	payload, err := json.Marshal(command)
	if err != nil {
		return adminapi.CommandDetail{}, fmt.Errorf("encode command: %w", err)
	}
	if most := protocol.MaxPayload(command.Type); len(payload) > most {
		return adminapi.CommandDetail{}, fmt.Errorf("the command has %d bytes, and a Mac reads %d: the reasons and names in it are too long", len(payload), most)
	}
	if _, err := protocol.ParseCommand(payload); err != nil {
		return adminapi.CommandDetail{}, err
	}
	return client.IssueCommand(ctx, adminapi.CommandUpload{Command: protocol.Sign(protocol.PayloadCommand, payload, signer.key), Confirm: subject.name})
}

// signHolds signs the whole list of the Mac's holds as it is after the command (H69). The
// list before must be signed by a registered key: what the portal shows is not believed.
func (o *commandOptions) signHolds(ctx context.Context, client *adminapi.Client, signer commandSigner, command protocol.Command, hold protocol.Hold) (json.RawMessage, error) {
	known, err := client.Holds(ctx, command.Target.DeviceID)
	if err != nil {
		return nil, err
	}
	list := protocol.HoldList{DeviceID: command.Target.DeviceID, MacSerial: command.Target.MacSerial, Version: known.NextVersion, IssuedAt: command.IssuedAt, Holds: []protocol.Hold{}}
	before, err := readHolds(known, signer.keys, command.Target)
	if err != nil {
		return nil, err
	}
	for _, held := range before {
		if held.VMKey != command.Target.VM() {
			list.Holds = append(list.Holds, held)
		}
	}
	if command.Type == "vm.lock" {
		hold.VMKey, hold.Owner, hold.VMName = command.Target.VM(), command.Target.Owner, command.Target.VMName
		hold.Since, hold.CommandID = command.IssuedAt, command.CommandID
		hold.Reason = protocol.CutText(hold.Reason, protocol.MaxName) // the command has all of it
		list.Holds = append(list.Holds, hold)
	}
	slices.SortFunc(list.Holds, func(a, b protocol.Hold) int { return a.VMKey.Compare(b.VMKey) })
	payload, err := json.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("encode list of holds: %w", err)
	}
	if _, err := protocol.ParseHoldList(payload); err != nil {
		return nil, err
	}
	return json.Marshal(protocol.HoldsParams{Holds: protocol.Sign(protocol.PayloadHolds, payload, signer.key)})
}

// readHolds are the holds that the next list is made from.
func readHolds(known adminapi.DeviceHolds, keys site.CommandKeys, target protocol.CommandTarget) ([]protocol.Hold, error) {
	var list protocol.HoldList
	if known.List != nil {
		payload, err := known.List.Verify(protocol.PayloadHolds, keys.Trusted(), 1)
		if err != nil {
			return nil, fmt.Errorf("the portal's list of holds is signed by nobody who may: %w", err)
		}
		if list, err = protocol.ParseHoldList(payload); err != nil {
			return nil, err
		}
		if list.DeviceID != target.DeviceID || list.MacSerial != target.MacSerial || list.Version >= known.NextVersion {
			return nil, errors.New("the portal's list of holds is of another Mac, or newer than it says; nothing was signed")
		}
	}
	return list.InForce(known.Reported), nil
}

// describe is what an operator sees before anything is signed.
func (o *commandOptions) describe(subjects []commandSubject, words []string, signer commandSigner) string {
	var page strings.Builder
	fmt.Fprintf(&page, "%s: %s\n\n", o.row.Type, o.row.Text)
	if len(subjects) == 1 {
		page.WriteString(text.Table{Rows: subjectFields(subjects[0]), Indent: "  ", MaxCell: maxPipeCell}.String())
	} else {
		page.WriteString(subjectTable(subjects))
	}
	fmt.Fprintf(&page, "\n  Reason: %s\n", text.Display(o.reason))
	for _, word := range words {
		page.WriteString("  " + word + "\n")
	}
	signed := "Signed as " + signer.person + " with key " + protocol.KeyID(signer.key.Public().(ed25519.PublicKey))
	if needed := signer.keys.Needed(o.row.Type); needed > 1 {
		signed += fmt.Sprintf("; %d signatures are needed", needed)
	}
	page.WriteString("  " + text.Display(signed) + ".\n")
	return page.String()
}

func subjectFields(s commandSubject) [][]string {
	var fields [][]string
	add := func(name, value string) {
		if value != "" {
			fields = append(fields, []string{name, text.Display(value)})
		}
	}
	if s.row != nil {
		add("Virtual machine", s.row.Name+" ("+s.row.ID+")")
		add("User", fmt.Sprintf("%s (uid %d)", s.row.Owner, s.row.UID))
	}
	add("Mac", s.mac)
	if s.row != nil {
		add("State", s.row.State)
		add("Last used", lastUsedText(s.row))
		add("Last command", s.row.LastCommand)
		add("Last reported", localTime(s.row.LastReportedAt, time.Local))
	}
	if s.row == nil {
		add("Users of the Mac", strings.Join(s.users, ", "))
		add("Last check-in", localTime(s.seen, time.Local))
	}
	return fields
}

func lastUsedText(row *protocol.Row) string {
	if row.LastUsedAt.IsZero() {
		return "not known"
	}
	return localTime(row.LastUsedAt, time.Local)
}

func subjectTable(subjects []commandSubject) string {
	if subjects[0].row == nil {
		return macTable(subjects)
	}
	table := text.Table{Heads: []string{"Virtual machine", "User", "Mac", "State", "Last used"}, Indent: "  ", MaxCell: maxPipeCell}
	for _, s := range subjects {
		table.Rows = append(table.Rows, []string{s.row.Name, s.row.Owner, s.mac, s.row.State, lastUsedText(s.row)})
	}
	return table.String()
}

func macTable(subjects []commandSubject) string {
	table := text.Table{Heads: []string{"Mac", "Users of the Mac", "Last check-in"}, Indent: "  ", MaxCell: maxPipeCell}
	for _, s := range subjects {
		table.Rows = append(table.Rows, []string{s.mac, strings.Join(s.users, ", "), localTime(s.seen, time.Local)})
	}
	return table.String()
}

func deleteWords(params protocol.DeleteParams) []string {
	words := []string{"It is deleted once its user has stopped it; if that does not happen before the command ends, it is not."}
	switch {
	case params.When == protocol.DeleteNow:
		words = []string{"Where it runs, it gets 60 seconds for a clean stop and is then stopped by force: unsaved work is lost."}
	case !params.Deadline.IsZero():
		words = []string{"It is deleted once its user has stopped it, and from " + localTime(params.Deadline, time.Local) + " on stopped by force: unsaved work is lost then."}
	}
	return append(words, "A suspended state is dropped. This is no wipe: backups, snapshots and copies elsewhere remain.")
}

func restartWords(force bool) []string {
	if force {
		return []string{"A guest that does not restart is killed and started: unsaved work is lost."}
	}
	return []string{"The guest is asked to restart. Whether it did may not be seen; it is not asked twice."}
}

func lockWords(force bool, until time.Time) []string {
	words := []string{"It is suspended whenever it is seen running, within seconds, until 'prlportal command vm.unlock'. This interrupts use; it protects no data."}
	if force {
		words = append(words, "What cannot be suspended is stopped by force: unsaved work is lost.")
	}
	if !until.IsZero() {
		words = append(words, "The hold ends by itself at "+localTime(until, time.Local)+".")
	}
	return append(words, "An administrator of the Mac can release it there ('sudo prlagent release --hold').")
}

func deactivateWords(skipNetwork, sso bool) []string {
	words := []string{"Parallels Desktop is deactivated for all users of the Mac. Whether the seat is free, only the vendor knows; a licensing profile on the Mac activates it again."}
	if skipNetwork {
		words = append(words, "Also where the vendor cannot be reached: the seat may stay taken.")
	}
	if sso {
		words = append(words, "Every user is offered to sign in afterwards.")
	}
	return words
}

// things are what the subjects are.
func things(subjects []commandSubject) string {
	if subjects[0].row == nil {
		return "these Macs"
	}
	return "these virtual machines"
}

// confirm asks for the name of what the command is about, or for the count. Without a
// person, --yes has it.
func confirm(in io.Reader, page io.Writer, yes string, subjects []commandSubject) error {
	wanted, what := subjects[0].name, "the name of the virtual machine"
	switch {
	case len(subjects) > 1:
		wanted, what = strconv.Itoa(len(subjects)), "the number of "+things(subjects)
	case subjects[0].row == nil:
		what = "the serial number of the Mac"
	case text.TrimTyped(wanted) == "": // an empty line is no confirmation
		wanted, what = subjects[0].target.VMID, "the id of the virtual machine, whose name shows nothing"
	}
	given := yes
	if yes == "" {
		if err := writeText(page, "\nType "+what+" to go on: "); err != nil {
			return err
		}
		line, err := bufio.NewReader(io.LimitReader(in, protocol.MaxText)).ReadString('\n')
		if err != nil && strings.TrimSpace(line) == "" {
			_ = writeText(page, "\n")
			return usageError("nobody confirms it; give --yes " + text.DisplayValue(shellWord(wanted)))
		}
		given = line
	}
	if text.TrimTyped(given) != text.TrimTyped(wanted) {
		return fmt.Errorf("%s is not %s, %s; nothing was signed", text.DisplayValue(shellWord(text.TrimTyped(given))), what, text.DisplayValue(shellWord(wanted)))
	}
	return nil
}

// shellWord is a name as a shell takes it.
func shellWord(name string) string {
	if name != "" && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || strings.ContainsRune("'\"$&|;<>()*?`\\#!~[]{}", r) }) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
