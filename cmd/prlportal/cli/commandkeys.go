package cli

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/site"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

// pemPublicKey is the type of a public key in PEM (PKIX).
const pemPublicKey = "PUBLIC KEY"

func newCommandKeysCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "command", Short: "Say who may sign commands, and how many must", Args: cobra.NoArgs,
		Long: `Command registers the keys that sign commands, each for a person: what a command says of
who issued it is the person of its key. The list is signed with the policy key, and
uploaded; who has the portal alone can register nobody. Profiles name all keys and all
thresholds ('prlportal profile'): a Mac asks nobody else.

  prlportal keys command create      by the second person, who keeps the private key
  prlportal keys command add         by who has the policy key
  prlportal keys command threshold   types that need two persons
  prlportal profile                  for the Macs`,
		Example: `  prlportal keys command list --dir site/operator`,
		RunE:    func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(newCommandKeysListCommand(), newCommandKeysCreateCommand(),
		newCommandKeysChange("add PERSON", "Register a key for a person", "  prlportal keys command add bob --public-key bob.pub --dir site/operator", cobra.ExactArgs(1), addCommandKey),
		newCommandKeysChange("remove PERSON", "End the registration of a person or key id", "  prlportal keys command remove bob --dir site/operator", cobra.ExactArgs(1), removeCommandKey),
		newCommandKeysChange("threshold TYPE COUNT", "Say how many persons must sign commands of a type", "  prlportal keys command threshold vm.delete 2 --dir site/operator", cobra.ExactArgs(2), setThreshold))
	return command
}

func newCommandKeysListCommand() *cobra.Command {
	var dir string
	var asJSON bool
	command := &cobra.Command{
		Use: "list --dir DIR/operator", Short: "List who may sign commands", Args: cobra.NoArgs,
		Long:    "List shows the persons, the ids of their keys, and the types that need more than one of them.",
		Example: "  prlportal keys command list --dir site/operator",
		RunE: func(command *cobra.Command, _ []string) error {
			folder, err := operatorFolder(dir)
			if err != nil {
				return err
			}
			keys, err := site.LoadCommandKeys(folder)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(command.OutOrStdout(), commandKeyList(keys))
			}
			return printCommandKeys(command.OutOrStdout(), keys)
		},
	}
	addOperatorDir(command, &dir)
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}

func commandKeyList(keys site.CommandKeys) adminapi.CommandKeyList {
	list := adminapi.CommandKeyList{Version: keys.Version, Keys: []adminapi.NamedKey{}, Threshold: map[string]int{}}
	maps.Copy(list.Threshold, keys.Threshold)
	for _, key := range keys.Keys {
		list.Keys = append(list.Keys, adminapi.NamedKey{KeyID: key.ID(), Person: key.Person, AddedAt: key.AddedAt})
	}
	return list
}

func printCommandKeys(w io.Writer, keys site.CommandKeys) error {
	table := text.Table{Heads: []string{"Person", "Command key", "Since"}}
	for _, key := range keys.Keys {
		table.Rows = append(table.Rows, []string{key.Person, key.ID(), localTime(key.AddedAt, time.Local)})
	}
	words := table.String()
	for _, kind := range slices.Sorted(maps.Keys(keys.Threshold)) {
		words += fmt.Sprintf("%s needs %s.\n", kind, countOf(keys.Threshold[kind], "signature"))
	}
	return writeText(w, words)
}

func newCommandKeysCreateCommand() *cobra.Command {
	var dir string
	command := &cobra.Command{
		Use: "create --dir FOLDER", Short: "Make a command key of your own", Args: cobra.NoArgs,
		Long: `Create makes command.key, which stays with you, and command.pub, which whoever keeps the
policy key registers for you. FOLDER is your own operator's folder, and is made if it is not
there. It needs no policy key, and beside command.key what whoever made the site gives you:

  site.json, portal.crt     of their operator's folder: where the portal is, and its certificate
  command-keys.dsse.json    of it as well: whose command keys you trust; else the portal says
  admin.token               your own ('prlportal admins add NAME --role approver -o admin.token')`,
		Example: "  prlportal keys command create --dir bob/operator",
		RunE: func(command *cobra.Command, _ []string) error {
			public, err := site.NewCommandKey(dir)
			if err != nil {
				return err
			}
			der, err := x509.MarshalPKIXPublicKey(public)
			if err != nil {
				return fmt.Errorf("encode key: %w", err)
			}
			file := filepath.Join(dir, "command.pub")
			if err := safefile.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: pemPublicKey, Bytes: der}), 0o644); err != nil {
				return fmt.Errorf("write key: %w", err)
			}
			return writeText(command.OutOrStdout(), fmt.Sprintf("Made the command key %s.\nNext, by who keeps the policy key: prlportal keys command add PERSON --public-key %s\nYour folder needs more than the key to work with: see 'prlportal keys command create --help'.\n", protocol.KeyID(public), text.DisplayValue(file)))
		},
	}
	addOperatorDir(command, &dir)
	return command
}

// commandKeyChange changes the list by what was typed.
type commandKeyChange func(keys *site.CommandKeys, folder, publicKey string, args []string) error

func newCommandKeysChange(use, short, example string, args cobra.PositionalArgs, change commandKeyChange) *cobra.Command {
	var admin adminOptions
	var publicKey string
	var offline bool
	command := &cobra.Command{
		Use: use + " --dir DIR/operator", Short: short, Example: example, Args: args,
		Long: short + `. The list is signed with the policy key of the folder and uploaded; --offline keeps
it in the folder only, for the next change. Then 'prlportal profile', and the profile on the Macs.`,
		RunE: func(command *cobra.Command, args []string) error {
			folder, err := operatorFolder(admin.dir)
			if err != nil {
				return err
			}
			unlock, err := site.LockSigning(command.Context(), folder)
			if err != nil {
				return err
			}
			defer unlock()
			keys, err := site.LoadCommandKeys(folder)
			if err != nil {
				return err
			}
			var file []byte
			if offline {
				file, err = changeKeys(&keys, folder, publicKey, args, change)
			} else {
				err = admin.ask(command.Context(), func(ctx context.Context, client *adminapi.Client) error {
					if keys, err = newestKeys(ctx, client, folder, keys); err != nil {
						return err
					}
					if file, err = changeKeys(&keys, folder, publicKey, args, change); err != nil {
						return err
					}
					_, err := client.SetCommandKeys(ctx, file)
					return err
				})
			}
			if err != nil {
				return err
			}
			if err := site.SaveCommandKeys(folder, file); err != nil {
				return err
			}
			if err := printCommandKeys(command.OutOrStdout(), keys); err != nil {
				return err
			}
			return writeText(command.OutOrStdout(), "Next: 'prlportal profile', and the profile on the Macs, which go by it alone.\n")
		},
	}
	admin.addFlags(command)
	if strings.HasPrefix(use, "add") {
		command.Flags().StringVar(&publicKey, "public-key", "", "PEM file with the person's public key (default: that of the folder's own command.key)")
	}
	command.Flags().BoolVar(&offline, "offline", false, "do not upload the list now")
	return command
}

// newestKeys is the list that a change is made to: the portal's where it is newer than the
// folder's, as after a change that broke off when it was uploaded. It is signed with the
// policy key, and no portal can make one.
func newestKeys(ctx context.Context, client *adminapi.Client, folder string, own site.CommandKeys) (site.CommandKeys, error) {
	known, err := client.CommandKeys(ctx)
	if err != nil || known.File == nil || known.Version <= own.Version {
		return own, err
	}
	signing, err := site.LoadPolicyKeys(folder)
	if err != nil {
		return own, err
	}
	file, err := known.File.JSON()
	if err != nil {
		return own, err
	}
	newer, err := site.ParseCommandKeys(file, site.PolicyKeys{Keys: site.PublicHalves(signing)}.Trusted())
	if err != nil || newer.Version <= own.Version {
		return own, err
	}
	return newer, nil
}

// changeKeys changes the list, and gives its signed file.
func changeKeys(keys *site.CommandKeys, folder, publicKey string, args []string, change commandKeyChange) ([]byte, error) {
	operator, err := site.LoadOperatorSite(folder)
	if err != nil {
		return nil, err
	}
	keys.SiteID = operator.SiteID
	if err := change(keys, folder, publicKey, args); err != nil {
		return nil, err
	}
	signing, err := site.LoadPolicyKeys(folder)
	if err != nil {
		return nil, err
	}
	return keys.Sign(signing...)
}

func addCommandKey(keys *site.CommandKeys, folder, publicKey string, args []string) error {
	public, err := readPublicKey(folder, publicKey)
	if err != nil {
		return err
	}
	return keys.Add(site.CommandKey{Key: public, Person: text.TrimTyped(args[0]), AddedAt: time.Now().UTC().Truncate(time.Second)})
}

func readPublicKey(folder, file string) (ed25519.PublicKey, error) {
	if file == "" {
		private, err := site.LoadSigningKey(filepath.Join(folder, site.CommandKeyFile))
		if err != nil {
			return nil, err
		}
		return private.Public().(ed25519.PublicKey), nil
	}
	data, err := safefile.ReadFile(file, site.MaxKeyFile)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != pemPublicKey {
		return nil, fmt.Errorf("%s has no public key in PEM", text.DisplayValue(file))
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	public, isEd25519 := parsed.(ed25519.PublicKey)
	if err != nil || !isEd25519 {
		return nil, errors.New("the public key is no Ed25519 key")
	}
	return public, nil
}

func removeCommandKey(keys *site.CommandKeys, _, _ string, args []string) error {
	return keys.Remove(text.TrimTyped(args[0]))
}

func setThreshold(keys *site.CommandKeys, _, _ string, args []string) error {
	count, err := strconv.Atoi(text.TrimTyped(args[1]))
	if err != nil {
		return usageError("COUNT is a number")
	}
	kind := text.TypedWord(args[0])
	if _, known := protocol.CommandTypeOf(kind); !known {
		return noSuchType(kind)
	}
	err = keys.SetThreshold(kind, count)
	if errors.Is(err, site.ErrThreshold) {
		return fmt.Errorf("%w: %d; register another with 'prlportal keys command add PERSON --public-key FILE'", err, len(keys.Keys))
	}
	return err
}
