package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"prlagent/agent/config"
	"prlagent/cmd/prlportal/profile"
	"prlagent/platform/plist"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

// signingOptions are the flags that have a profile signed.
type signingOptions struct{ certificate, key string }

func (o *signingOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.certificate, "sign", "", "PEM file with the certificate to sign with, and those above it")
	flags.StringVar(&o.key, "key", "", "PEM file with its key, RSA or ECDSA")
}

func (o signingOptions) check() error {
	if (o.certificate == "") != (o.key == "") {
		return usageError("--sign and --key go together")
	}
	return nil
}

// writeTo writes a profile, and gives what was written.
func (o signingOptions) writeTo(path string, made profile.Profile) ([]byte, error) {
	data, err := made.Encode()
	if err == nil && o.certificate != "" {
		data, err = o.sign(data)
	}
	if err != nil {
		return nil, err
	}
	return data, writeProfileFile(path, data)
}

func (o signingOptions) sign(data []byte) ([]byte, error) {
	certificates, err := readInput(o.certificate, strings.NewReader(""))
	if err != nil {
		return nil, err
	}
	key, err := readInput(o.key, strings.NewReader(""))
	if err != nil {
		return nil, err
	}
	return profile.Sign(data, certificates, key)
}

// noArguments refuses arguments and does not show them: one may be the secret that
// belongs into a file.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError("it takes flags alone: what belongs to none was given")
	}
	return nil
}

// writeProfileFile replaces another profile, and nothing else: not the file with the key.
func writeProfileFile(path string, data []byte) error {
	switch before, err := safefile.ReadFile(path, maxInput); {
	case errors.Is(err, safefile.ErrTooLarge), err == nil && len(before) > 0 && !profile.CanRead(before):
		return usageError("--output: " + text.DisplayValue(path) + " is there and is no profile; give another name, or remove it")
	}
	if err := safefile.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	return nil
}

// kindOptions are the flags of every kind of profile but the agent's.
type kindOptions struct {
	output, organization string
	signing              signingOptions
	asJSON               bool
}

// kindResult is what such a command prints with --json.
type kindResult struct {
	Path       string   `json:"path"`
	Identifier string   `json:"identifier"`
	SHA256     string   `json:"sha256"`
	Signed     bool     `json:"signed"`
	Notes      []string `json:"notes"` // what to know before it is deployed
}

// kindCommand has a command write the profile that build gives, and say its notes.
func kindCommand(command *cobra.Command, build func(input io.Reader) (profile.Profile, []string, error)) *cobra.Command {
	var options kindOptions
	command.Args = noArguments
	command.RunE = func(command *cobra.Command, _ []string) error {
		if options.output == "" {
			return usageError("--output is missing")
		}
		if err := options.signing.check(); err != nil {
			return err
		}
		made, notes, err := build(command.InOrStdin())
		if err != nil {
			return err
		}
		return options.write(command.OutOrStdout(), made, notes)
	}
	flags := command.Flags()
	flags.StringVarP(&options.output, "output", "o", "", "file to write, with mode 0600")
	flags.StringVar(&options.organization, "organization", "", "who provides the profile, shown to the users of the Mac")
	options.signing.addFlags(flags)
	flags.BoolVar(&options.asJSON, "json", false, "print JSON")
	return command
}

func (o kindOptions) write(out io.Writer, made profile.Profile, notes []string) error {
	made.Organization = text.TrimTyped(o.organization)
	data, err := o.signing.writeTo(o.output, made)
	if err != nil {
		return err
	}
	signed := o.signing.certificate != ""
	if signed {
		notes = append(notes, "A Mac takes the signature as verified only where it trusts the signer's certificate.")
	}
	sum := sha256.Sum256(data)
	result := kindResult{Path: o.output, Identifier: made.Identifier, SHA256: hex.EncodeToString(sum[:]), Signed: signed, Notes: append([]string{}, notes...)}
	return showAs(out, o.asJSON, result, describeKind)
}

func describeKind(out io.Writer, result kindResult) error {
	words := fmt.Sprintf("Wrote %s.\n", text.Display(result.Path))
	for _, note := range result.Notes {
		words += "  " + note + "\n"
	}
	return writeText(out, words)
}

// noteByMDM: macOS takes some payloads from an MDM only that the user has approved.
const noteByMDM = "Only an MDM that the user of the Mac has approved can install it."

func newPPPCCommand() *cobra.Command {
	var requirement string
	command := &cobra.Command{
		Use:   "pppc -o FILE.mobileconfig",
		Short: "Write the profile that lets Parallels Desktop and the agent read protected files",
		Long: `Pppc writes a profile for the privacy control of macOS. It lets Parallels Desktop use
the folders Desktop, Documents and Downloads, as the vendor's guide has it, and the
agent every file, so that it can read virtual machines in protected places.

For the agent it needs the requirement of the signature that prlagentd carries: what
'codesign -d -r - prlagentd' prints behind 'designated =>', in a file. Without one the
agent is not in the profile. The requirement of programs that are signed ad hoc, as Go
builds them, fits that one build only.`,
		Example: `  prlportal profile pppc -o privacy.mobileconfig
  prlportal profile pppc --requirement-file requirement.txt -o privacy.mobileconfig`,
	}
	command.Flags().StringVar(&requirement, "requirement-file", "", "file with the requirement of the agent's signature; - is the standard input")
	return kindCommand(command, func(input io.Reader) (profile.Profile, []string, error) {
		notes := []string{noteByMDM}
		var words string
		if requirement == "" {
			notes = append(notes, "The agent is not in it: give the requirement of its signature with --requirement-file.")
		} else {
			data, err := readInput(requirement, input)
			if err != nil {
				return profile.Profile{}, nil, err
			}
			if words = text.TrimTyped(string(data)); words == "" {
				return profile.Profile{}, nil, usageError("--requirement-file: it is empty")
			}
		}
		if profile.IsOfOneBuild(words) {
			notes = append(notes, "The requirement is the hash of one build of the agent, and does not fit the next.")
		}
		made, err := profile.PPPC(words)
		if err != nil {
			return profile.Profile{}, nil, usageError("--requirement-file: " + err.Error())
		}
		return made, notes, nil
	})
}

func newLoginItemCommand() *cobra.Command {
	var team string
	command := &cobra.Command{
		Use:   "login-item -o FILE.mobileconfig",
		Short: "Write the profile that keeps users from switching the agent off",
		Long: `Login-item writes a profile that manages the agent among the login items of macOS 13
and later: it is allowed without a question, and no user can switch it off. With the
team of the Developer ID that the programs are signed with, whatever carries that
signature is managed too.`,
		Example: `  prlportal profile login-item -o login-item.mobileconfig
  prlportal profile login-item --team ABCDE12345 -o login-item.mobileconfig`,
	}
	command.Flags().StringVar(&team, "team", "", "team of the Developer ID that the programs are signed with")
	return kindCommand(command, func(io.Reader) (profile.Profile, []string, error) {
		made, err := profile.LoginItem(strings.ToUpper(text.TrimTyped(team)))
		if err != nil {
			return profile.Profile{}, nil, usageError("--team: " + err.Error())
		}
		return made, []string{noteByMDM, "Deploy it before the agent: users are shown a notice otherwise."}, nil
	})
}

func newNotificationsCommand() *cobra.Command {
	var applications []string
	command := &cobra.Command{
		Use:   "notifications -o FILE.mobileconfig",
		Short: "Write the profile that lets the agent's notifications appear",
		Long: `Notifications writes a profile that lets an application show notifications: swiftDialog,
which the agent asks where it is installed, or those that --application names.
Whether users are told anything is the agent's setting NotifyUsers.`,
		Example: `  prlportal profile notifications -o notifications.mobileconfig
  prlportal profile notifications --application au.csiro.dialog --application com.example.notifier -o notifications.mobileconfig`,
	}
	command.Flags().StringArrayVar(&applications, "application", []string{profile.SwiftDialog}, "identifier of the application; again for another one")
	return kindCommand(command, func(io.Reader) (profile.Profile, []string, error) {
		made, err := profile.Notifications(applications)
		if err != nil {
			return profile.Profile{}, nil, usageError("--application: " + err.Error())
		}
		return made, []string{"Under which application macOS shows what osascript asks for was not seen yet; it is not in the profile."}, nil
	})
}

func newLicensingCommand() *cobra.Command {
	var keyFile string
	var sso bool
	command := &cobra.Command{
		Use:   "licensing --sso | --license-key-file FILE -o FILE.mobileconfig",
		Short: "Write the vendor's licensing profile, which activates Parallels Desktop",
		Long: `Licensing writes the vendor's profile: Parallels Desktop is activated by single sign-on,
or with the license key of a file, which is never an argument. The profile is
protected against its removal. Made again with another key it replaces the one before
it; check what goes to the same Macs with 'profile lint'.`,
		Example: `  prlportal profile licensing --sso -o license.mobileconfig
  prlportal profile licensing --license-key-file key.txt -o license.mobileconfig
  pass show parallels | prlportal profile licensing --license-key-file - -o license.mobileconfig`,
	}
	command.Flags().StringVar(&keyFile, "license-key-file", "", "file with the license key; - is the standard input")
	command.Flags().BoolVar(&sso, "sso", false, "activate by single sign-on")
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		var invalid *pflag.InvalidValueError
		if errors.As(err, &invalid) { // the error has the value in it
			return usageError("--" + invalid.GetFlag().Name + " does not take what was given to it")
		}
		return usageError(err.Error())
	})
	return kindCommand(command, func(input io.Reader) (profile.Profile, []string, error) {
		notes := []string{"Deploy it before Parallels Desktop, and no second one to the same Mac."}
		if sso == (keyFile != "") {
			return profile.Profile{}, nil, usageError("give either --sso or --license-key-file")
		}
		if sso {
			made, err := profile.Licensing("")
			return made, notes, err
		}
		content, err := readSecretFile("--license-key-file", keyFile, input)
		if err != nil {
			return profile.Profile{}, nil, err
		}
		made, err := licensingByKey(string(content))
		return made, append(notes, "It holds the license key, which every user of the Mac can read."), err
	})
}

func licensingByKey(key string) (profile.Profile, error) {
	if text.TrimTyped(key) == "" {
		return profile.Profile{}, usageError("--license-key-file: it is empty")
	}
	made, err := profile.Licensing(key)
	if errors.Is(err, profile.ErrLicenseKey) {
		return profile.Profile{}, usageError("--license-key-file: " + err.Error())
	}
	return made, err
}

func newReferenceCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "reference",
		Short:   "Print a page about every setting of the agent, in Markdown",
		Example: "  prlportal profile reference",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return writeText(command.OutOrStdout(), config.Reference())
		},
	}
}

func newManifestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "manifest",
		Short: "Print the manifest of the settings, for tools that write profiles",
		Long: `Manifest prints a property list in the format of ProfileManifests, which iMazing Profile
Editor, ProfileCreator and, converted, Jamf read: it makes a form of the settings.`,
		Example: "  prlportal profile manifest",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			data, err := plist.EncodeXML(config.Manifest())
			if err != nil {
				return fmt.Errorf("encode manifest: %w", err)
			}
			return writeText(command.OutOrStdout(), string(data))
		},
	}
}
