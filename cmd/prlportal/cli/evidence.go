package cli

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/evidence"
	"prlagent/cmd/prlportal/site"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

func newEvidenceCommand() *cobra.Command {
	var admin adminOptions
	var out string
	command := &cobra.Command{
		Use: "evidence ID --dir DIR", Short: "Put all that is known of a command into one file that can be checked without a portal", Args: cobra.ExactArgs(1),
		ValidArgsFunction: admin.completeCommand,
		Long: `Evidence writes one file of JSON: the order with the signatures of its issuer and of those
who approved it, the signed lists of whose keys they are, the result with the receipt that
the Mac signed with its own key, the portal's history of it, and the lines of the audit log
with their hashes. Without --out it is printed, byte for byte. 'prlportal verify' judges it,
and says what it does not show. It names persons, a Mac and a virtual machine.`,
		Example: `  prlportal evidence 0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11 --out deleted.evidence.json --dir site/operator`,
		RunE: func(command *cobra.Command, args []string) error {
			return admin.ask(command.Context(), func(ctx context.Context, client *adminapi.Client) error {
				file, err := client.Evidence(ctx, text.TypedID(args[0]))
				if err != nil {
					return err
				}
				if _, err := evidence.Open(file); err != nil {
					return fmt.Errorf("what the portal sent cannot be used: %w", err)
				}
				if out == "" {
					return writeText(command.OutOrStdout(), string(file))
				}
				if err := safefile.WriteFile(out, file, 0o600); err != nil {
					return fmt.Errorf("write evidence: %w", err)
				}
				return writeText(command.OutOrStdout(), "Wrote "+text.DisplayValue(out)+"; see what it shows: prlportal verify "+text.DisplayValue(out)+"\n")
			})
		},
	}
	admin.addFlags(command)
	command.Flags().StringVarP(&out, "out", "o", "", "file to write; it is replaced")
	return command
}

// verifyOptions are the flags of 'verify'.
type verifyOptions struct {
	dir    string
	keys   []string
	device string
	audit  string
	asJSON bool
}

// errIncomplete says that a file is genuine and does not show everything.
var errIncomplete = errors.New("nothing in it is wrong, and it does not show all: see what is not shown")

func newVerifyCommand() *cobra.Command {
	var options verifyOptions
	command := &cobra.Command{
		Use: "verify FILE", Short: "Judge a file of evidence, without a portal", Args: cobra.ExactArgs(1),
		Long: `Verify checks every signature in a file of 'prlportal evidence', that the order, the list
of holds, the receipt, the Mac and the audit lines belong together, and that not one byte of
it was changed. It asks nobody. It prints what the file shows, what only the portal tells,
and what it does not show.

Whose keys they are, no file can show of itself: --keys names a list that you have from
elsewhere (policy-keys.dsse.json or command-keys.dsse.json of the site; more than once where
keys were replaced), --dir the operator's folder of the site. --device-key is the key id that
'prlagent status --verbose' shows on the Mac, --audit a copy of the portal's audit log.

It ends with 0 if the order and the result are signed, by keys that you know; with 1 if
anything is wrong with the file; with 3 if nothing is wrong, but the Mac has signed no
result, or you gave no keys.`,
		Example: `  prlportal verify deleted.evidence.json --dir site/operator
  prlportal verify deleted.evidence.json --keys policy-keys.dsse.json --device-key 51aa0b1c2d3e4f50 --json`,
		RunE: func(command *cobra.Command, args []string) error {
			trust, err := options.trust()
			if err != nil {
				return err
			}
			file, err := safefile.ReadFile(args[0], evidence.MaxBytes)
			if errors.Is(err, os.ErrNotExist) {
				return usageError("there is no file " + text.DisplayValue(args[0]))
			}
			if err != nil {
				return fmt.Errorf("read evidence: %w", err)
			}
			proof, err := evidence.Verify(file, trust)
			if err != nil {
				return fmt.Errorf("it proves nothing: %w", err)
			}
			if err := options.write(command.OutOrStdout(), proof); err != nil || proof.Complete {
				return err
			}
			return errIncomplete
		},
	}
	command.SetUsageTemplate(command.UsageTemplate() + exitCodeHelp + "  3  nothing is wrong with the file, and it does not show all\n")
	flags := command.Flags()
	flags.StringVar(&options.dir, "dir", "", "the operator's folder of the site, or the site's")
	flags.StringArrayVar(&options.keys, "keys", nil, "list of keys that you trust; can be given more than once")
	flags.StringVar(&options.device, "device-key", "", "id of the Mac's key")
	flags.StringVar(&options.audit, "audit", "", "a copy of the portal's audit log")
	flags.BoolVar(&options.asJSON, "json", false, "print JSON")
	return command
}

// trust is what the reader knows of keys.
func (o verifyOptions) trust() (evidence.Trust, error) {
	trust := evidence.Trust{DeviceKeyID: text.TypedID(o.device), AuditLog: o.audit}
	if o.audit != "" {
		if _, err := os.Stat(o.audit); err != nil {
			return trust, usageError("there is no file " + text.DisplayValue(o.audit))
		}
	}
	for _, path := range o.keys {
		if err := addTrusted(&trust, path); err != nil {
			return trust, err
		}
	}
	if o.dir == "" {
		return trust, nil
	}
	folder, err := operatorFolder(o.dir)
	if err != nil {
		return trust, err
	}
	own, err := site.LoadCommandKeys(folder)
	if err != nil {
		return trust, err
	}
	trust.CommandKeys = append(trust.CommandKeys, own.Keys...)
	private, err := site.LoadPolicyKeys(folder)
	if err != nil && len(own.Keys) == 0 {
		return trust, fmt.Errorf("%w, nor a list of command keys; give the list with --keys", err)
	}
	for _, key := range private {
		public := key.Public().(ed25519.PublicKey)
		trust.PolicyKeys = append(trust.PolicyKeys, protocol.TrustedKey{ID: protocol.KeyID(public), Key: public})
	}
	return trust, nil
}

// addTrusted reads a list of either kind, which the reader vouches for.
func addTrusted(trust *evidence.Trust, path string) error {
	file, err := safefile.ReadFile(path, protocol.MaxPolicy)
	if err != nil {
		return fmt.Errorf("read keys: %w", err)
	}
	list, err := protocol.ParseEnvelope(file, protocol.MaxPolicy)
	if err != nil {
		return fmt.Errorf("read keys: %w", err)
	}
	if site.IsPolicyKeys(list) {
		keys, err := site.ParsePolicyKeys(file, nil)
		trust.PolicyKeys = append(trust.PolicyKeys, keys.Trusted()...)
		return err
	}
	keys, err := site.ParseCommandKeys(file, nil)
	trust.CommandKeys = append(trust.CommandKeys, keys.Keys...)
	return err
}

func (o verifyOptions) write(w io.Writer, proof evidence.Proof) error {
	if o.asJSON {
		return printJSON(w, proof)
	}
	var page strings.Builder
	page.WriteString(text.Display(proof.Type+" "+proof.CommandID) + "\n")
	for _, part := range []struct {
		heading string
		lines   []string
	}{{"Shown by signatures and hashes", proof.Shown}, {"Told by the portal alone", proof.Told}, {"Not shown", proof.NotShown}} {
		if len(part.lines) == 0 {
			continue
		}
		page.WriteString("\n" + part.heading + "\n")
		for _, line := range part.lines {
			page.WriteString("  - " + text.Display(line) + "\n")
		}
	}
	return writeText(w, page.String())
}
