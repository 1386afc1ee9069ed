package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/query"
	"prlagent/platform/text"
)

// commandListing is how 'prlportal commands' shows the commands.
var commandListing = tableListing{
	name:         fleet.CommandTable.Name,
	columns:      fleet.CommandTable.Columns(),
	columnSets:   map[string]int{"all": len(fleet.CommandTable.Fields)},
	csvSet:       "all",
	usualColumns: []string{"issued_at", "type", "vm_name", "user_name", "computer_name", "state", "code", "withheld", "issued_by", "reason", "command_id"},
	order:        []string{"issued_at"},
	printTable:   printCommands,
}

func newCommandsCommand() *cobra.Command {
	options := new(listOptions)
	command := newListCommand(commandListing, options, "List the commands, show one with its history, and decide what waits",
		`Commands prints the commands of all Macs; with ID, all that the portal has of one: every
state with its time, who signed and approved it, why, and how it ended. Approve, cancel
and confirm decide.

States: awaiting_approval and pending are the portal's; delivered was sent, without a proof
that it arrived; acknowledged, deferred and running are told by the Mac; succeeded, failed,
rejected, expired and cancelled are ends. Unknown: the Mac began anew while it had the
command; look, and issue it anew if it is still wanted. A command of another state than the
Mac's own word is never called done.

A withheld command waits for an administrator: the Mac enrolled again (reenrolled), this
portal was put back to an older state and may not know of a cancel (portal_restored), or the
Mac began a new epoch (epoch_changed). An orphan is known from the Mac or from the audit log alone.`,
		`  prlportal commands --dir site/operator
  prlportal commands --dir site/operator --filter 'open=true' --filter 'type=vm.delete'
  prlportal commands --dir site/operator --filter 'withheld not empty'
  prlportal commands 0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11 --dir site/operator
  prlportal commands 0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11 --wait 10m --dir site/operator
  prlportal commands 0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11 --save bundle.zip --dir site/operator`)
	options.withOne(command, "ID", "command", options.showCommand)
	options.withUpload(command)
	options.withWait(command)
	command.ValidArgsFunction = options.admin.completeCommand
	command.AddCommand(newApproveCommandCommand(), newCancelCommand(), newConfirmCommandCommand())
	return command
}

// completeCommand offers the ids of the commands that are open.
func (o *adminOptions) completeCommand(command *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
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
	open, err := client.OpenCommands(ctx)
	if err != nil {
		return nil, directive
	}
	var ids []string
	for _, one := range open {
		if id := text.Display(one.CommandID); strings.HasPrefix(id, strings.ToLower(typed)) {
			ids = append(ids, cobra.CompletionWithDesc(id, text.Display(one.Type+" "+one.VMName+" "+one.State)))
		}
	}
	return ids, directive
}

func printCommands(w io.Writer, columns []query.Column, rows []tableRow, zone *time.Location) error {
	if err := printRows(w, columns, rows, zone); err != nil {
		return err
	}
	open, withheld := 0, 0
	for _, row := range rows {
		if isOpen, _ := row["open"].(bool); isOpen {
			open++
		}
		if because, _ := row["withheld"].(string); because != "" {
			withheld++
		}
	}
	words := fmt.Sprintf("\n%s, %d open", countOf(len(rows), "command"), open)
	if withheld > 0 {
		words += fmt.Sprintf(", %d withheld: 'prlportal commands confirm ID' or 'prlportal commands cancel ID'", withheld)
	}
	return writeText(w, words+".\n")
}

// showCommand prints one command as a whole.
func (o *listOptions) showCommand(ctx context.Context, w io.Writer, id string) error {
	return o.admin.ask(ctx, func(ctx context.Context, client *adminapi.Client) error {
		detail, err := client.Command(ctx, text.TypedID(id))
		if err != nil {
			return err
		}
		if o.format == formatJSON {
			return printJSON(w, detail)
		}
		return printCommand(w, detail, time.Local)
	})
}

// printCommand writes what there is to know of one command.
func printCommand(w io.Writer, detail adminapi.CommandDetail, zone *time.Location) error {
	page := devicePage{zone: zone}
	page.WriteString(text.Display(detail.Type) + " " + text.Display(detail.CommandID) + "\n")
	code := ""
	if detail.Code != "" {
		code = detail.Code + ": " + protocol.Code(detail.Code).Text().Text
	}
	withheld := ""
	if detail.Withheld != "" {
		withheld = detail.Withheld + ": " + fleet.WithheldTexts[detail.Withheld]
	}
	page.addFields(
		[2]string{"State", detail.State + " since " + localTime(detail.Since, zone)}, [2]string{"Code", code}, [2]string{"", remedyWords(protocol.Code(detail.Code))}, [2]string{"Message", detail.Message},
		[2]string{"Withheld", withheld}, [2]string{"Cancel asked", localTime(detail.CancelAsked, zone)},
		[2]string{"Virtual machine", strings.TrimSpace(detail.VMName + " " + inBrackets(detail.VMID))}, [2]string{"User", detail.UserName},
		[2]string{"Mac", strings.TrimSpace(detail.ComputerName + " " + inBrackets(detail.MacSerial))},
		[2]string{"Parameters", detail.Params}, [2]string{"Reason", detail.Reason}, [2]string{"Issued by", detail.IssuedBy},
		[2]string{"Issued", localTime(detail.IssuedAt, zone)}, [2]string{"Latest start", localTime(detail.ExpiresAt, zone)},
		[2]string{"Delivered", localTime(detail.DeliveredAt, zone)}, [2]string{"Signatures", fmt.Sprintf("%d of %d", detail.Signatures, detail.Needed)},
		[2]string{"Receipt", receiptWords(detail)}, [2]string{"Upload", uploadWords(detail.Blob, zone)}, [2]string{"Epoch", detail.Epoch}, [2]string{"SHA-256", detail.SHA256},
	)
	var signers, steps [][]string
	for _, signer := range detail.Signers {
		signers = append(signers, []string{signer.Person, signer.KeyID, orEmpty(signer.Admin), exactTime(signer.At, zone)})
	}
	page.addTable("Signed by", []string{"Person", "Key", "Uploaded by", "Time"}, signers)
	for _, step := range detail.Steps {
		what := step.What
		if what == "" {
			what = step.State
		}
		steps = append(steps, []string{exactTime(step.At, zone), what, orEmpty(string(step.Code)), exactTime(step.MacAt, zone), orEmpty(step.By), orEmpty(step.Reason)})
	}
	page.addTable("History", []string{"Time", "What", "Code", "On the Mac", "By", "Reason"}, steps)
	return writeText(w, page.String())
}

// remedyWords are what a person can do about a code; empty if there is nothing.
func remedyWords(code protocol.Code) string {
	switch remedy := code.Text().Remedy; remedy {
	case "", "Nothing to do.":
		return ""
	default:
		return "→ " + remedy
	}
}

// exactTime is localTime with the second: what happened first counts in a history.
func exactTime(at time.Time, zone *time.Location) string {
	if at.IsZero() {
		return emptyCell
	}
	return at.In(zone).Format("2006-01-02 15:04:05 MST")
}

// receiptWords say whether the Mac's own key vouches for the result.
func receiptWords(detail adminapi.CommandDetail) string {
	if detail.ReceiptState == "" {
		return ""
	}
	words := strings.ReplaceAll(detail.ReceiptState, "_", " ") + ": " + fleet.ReceiptTexts[detail.ReceiptState]
	if detail.ReceiptFault != "" {
		words += " (" + detail.ReceiptFault + ")"
	}
	return words
}

// reasonedDecision is a decision of a command that needs no signature.
type reasonedDecision struct {
	admin  adminOptions
	reason string
	asJSON bool
	done   string
	decide func(*adminapi.Client, context.Context, string, adminapi.CommandReason) (adminapi.CommandDetail, error)
}

func newCancelCommand() *cobra.Command {
	decision := reasonedDecision{done: "Cancel asked of", decide: (*adminapi.Client).CancelCommand}
	return decision.command("cancel", "Cancel a command that has not begun",
		`Cancel ends a command at once that no Mac can have. Any other Mac is asked to forget it:
its answer is the end, which is failed with the code command_too_late where it had begun
already. What is done is not taken back; a hold is ended with vm.unlock.`)
}

func newConfirmCommandCommand() *cobra.Command {
	decision := reasonedDecision{done: "Confirmed", decide: (*adminapi.Client).ConfirmCommand}
	return decision.command("confirm", "Have a withheld command sent",
		`Confirm has a command sent that is withheld because its Mac enrolled again, or because this
portal was put back to an older state. Look first at how things stand on that Mac. What was signed for an epoch that
has ended is refused by the Mac: cancel it and issue it anew.`)
}

func (d *reasonedDecision) command(name, short, long string) *cobra.Command {
	command := &cobra.Command{
		Use: name + " ID --dir DIR", Short: short, Long: long, Args: cobra.ExactArgs(1), ValidArgsFunction: d.admin.completeCommand,
		Example: "  prlportal commands " + name + ` 0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11 --reason "the laptop was found" --dir site/operator`,
		RunE: func(command *cobra.Command, args []string) error {
			return d.admin.ask(command.Context(), func(ctx context.Context, client *adminapi.Client) error {
				detail, err := d.decide(client, ctx, text.TypedID(args[0]), adminapi.CommandReason{Reason: text.TrimTyped(d.reason)})
				if err != nil {
					return err
				}
				if d.asJSON {
					return printJSON(command.OutOrStdout(), detail)
				}
				words := fmt.Sprintf("%s %s; it is %s.\n", d.done, text.DisplayValue(detail.CommandID), text.DisplayValue(detail.State))
				if detail.Open && !detail.CancelAsked.IsZero() {
					words += "The Mac may have begun it, and is asked with its next check-in: 'prlportal commands " + text.DisplayValue(detail.CommandID) + "' shows its answer.\n"
				}
				return writeText(command.OutOrStdout(), words)
			})
		},
	}
	d.admin.addFlags(command)
	command.Flags().StringVar(&d.reason, "reason", "", "why, for the audit log")
	command.Flags().BoolVar(&d.asJSON, "json", false, "print the command as JSON")
	return command
}

func newApproveCommandCommand() *cobra.Command {
	var admin adminOptions
	var keyFile, yes string
	var asJSON bool
	command := &cobra.Command{
		Use: "approve ID --dir DIR/operator", Short: "Add your signature to a command that needs two persons", Args: cobra.ExactArgs(1), ValidArgsFunction: admin.completeCommand,
		Long: `Approve signs, on this machine and with your own command key, the very payload that the
issuer signed, after it has shown what is in it. Who has signed a command cannot approve it.`,
		Example: `  prlportal commands approve 0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11 --dir bob/operator
  prlportal commands approve 0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11 --yes 'Windows 11' --dir bob/operator`,
		RunE: func(command *cobra.Command, args []string) error {
			return admin.ask(command.Context(), func(ctx context.Context, client *adminapi.Client) error {
				signer, err := openSigner(ctx, admin, keyFile, client)
				if err != nil {
					return err
				}
				detail, err := approve(ctx, client, signer, text.TypedID(args[0]), yes, command.InOrStdin(), command.ErrOrStderr())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(command.OutOrStdout(), detail)
				}
				return writeText(command.OutOrStdout(), fmt.Sprintf("Approved %s; it is %s.\n", text.DisplayValue(detail.CommandID), text.DisplayValue(detail.State)))
			})
		},
	}
	admin.addFlags(command)
	flags := command.Flags()
	flags.StringVar(&keyFile, "key-file", "", "your private command key (default: command.key of the operator's folder)")
	flags.StringVar(&yes, "yes", "", "the name that is asked for: for scripts")
	flags.BoolVar(&asJSON, "json", false, "print the command as JSON")
	return command
}

// approve shows what is in the payload, as it was signed, and signs those very bytes.
func approve(ctx context.Context, client *adminapi.Client, signer commandSigner, id, yes string, in io.Reader, page io.Writer) (adminapi.CommandDetail, error) {
	before, err := client.Command(ctx, id)
	if err != nil {
		return before, err
	}
	if before.Envelope == nil {
		return before, errors.New("the portal has no envelope of this command; issue it anew")
	}
	payload, err := before.Envelope.Verify(protocol.PayloadCommand, signer.keys.Trusted(), 1)
	if err != nil {
		return before, fmt.Errorf("the command is signed by nobody who may: %w", err)
	}
	command, err := protocol.ParseCommand(payload)
	if err != nil {
		return before, err
	}
	if command.CommandID != id {
		return before, errors.New("the portal has shown another command; nothing was signed")
	}
	if command.IssuedBy == signer.person {
		return before, errors.New("you have issued this command; another person must approve it")
	}
	if err := writeText(page, approvalPage(command)); err != nil {
		return before, err
	}
	subject := commandSubject{target: command.Target, name: subjectName(command.Target)}
	if command.Target.VMID != "" {
		subject.row = new(protocol.Row)
	}
	if err := confirm(in, page, yes, []commandSubject{subject}); err != nil {
		return before, err
	}
	approval := adminapi.CommandApproval{Signature: protocol.Sign(protocol.PayloadCommand, payload, signer.key).Signatures[0]}
	if protocol.ChangesHolds(command.Type) {
		var params protocol.HoldsParams
		if err := command.DecodeParams(&params); err != nil {
			return before, err
		}
		list, err := params.Holds.Verify(protocol.PayloadHolds, signer.keys.Trusted(), 1)
		if err != nil {
			return before, err
		}
		approval.Holds = &protocol.Sign(protocol.PayloadHolds, list, signer.key).Signatures[0]
	}
	return client.ApproveCommand(ctx, id, approval)
}

// approvalPage shows what is in a payload, and nothing that only the portal says.
func approvalPage(command protocol.Command) string {
	row, _ := protocol.CommandTypeOf(command.Type)
	page := devicePage{zone: time.Local}
	page.WriteString(text.Display(command.Type) + ": " + row.Text + "\n\n")
	target := command.Target
	held, words := signedWords(command)
	page.addFields(
		[2]string{"Virtual machine", strings.TrimSpace(target.VMName + " " + inBrackets(target.VMID))},
		[2]string{"User", target.Owner}, [2]string{"Mac", target.MacSerial},
		[2]string{"Issued by", command.IssuedBy}, [2]string{"Issued", localTime(command.IssuedAt, time.Local)},
		[2]string{"Earliest start", localTime(command.NotBefore, time.Local)}, [2]string{"Latest start", localTime(command.ExpiresAt, time.Local)},
		[2]string{"Reason", command.Reason}, [2]string{"Held after it", held},
	)
	page.WriteString("\n")
	for _, word := range words {
		page.WriteString("  " + word + "\n")
	}
	return page.String()
}

// signedWords are what the signed parameters mean, and which machines the Mac holds
// after the command, if it changes that.
func signedWords(command protocol.Command) (held string, words []string) {
	switch command.Type {
	case "vm.delete":
		var params protocol.DeleteParams
		if command.DecodeParams(&params) == nil {
			words = deleteWords(params)
		}
	case "vm.restart":
		var params protocol.RestartParams
		if command.DecodeParams(&params) == nil {
			words = restartWords(params.Force)
		}
	case "license.deactivate":
		var params protocol.DeactivateParams
		if command.DecodeParams(&params) == nil {
			words = deactivateWords(params.SkipNetworkErrors, params.SSO)
		}
	case "vm.lock", "vm.unlock":
		return holdWords(command)
	}
	return "", words
}

func holdWords(command protocol.Command) (held string, words []string) {
	var params protocol.HoldsParams
	if command.DecodeParams(&params) != nil {
		return "", nil
	}
	payload, _ := params.Holds.Unverified()
	list, err := protocol.ParseHoldList(payload)
	if err != nil {
		return "", nil
	}
	names := []string{}
	for _, hold := range list.Holds {
		names = append(names, holdText(hold))
		if hold.VMKey == command.Target.VM() {
			words = lockWords(hold.Force, hold.ExpiresAt)
		}
	}
	return cmp.Or(strings.Join(names, ", "), "none"), words
}

// holdText says which machine is held, and how.
func holdText(hold protocol.Hold) string {
	words := strings.TrimSpace(hold.VMName+" "+inBrackets(hold.ID)) + " of " + cmp.Or(hold.Owner, "uid "+strconv.FormatUint(uint64(hold.UID), 10))
	if hold.Force {
		words += ", by force"
	}
	if !hold.ExpiresAt.IsZero() {
		words += ", until " + localTime(hold.ExpiresAt, time.Local)
	}
	return words
}
