package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"prlagent/agent/config"
	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/profile"
	"prlagent/cmd/prlportal/site"
	"prlagent/platform/plist"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

// allCommands is what a Mac may be told to allow (DESIGN 8). The profile has
// every one, so that an admin strikes what they do not want.
func allCommands() []string {
	return protocol.CommandNames(func(*protocol.CommandType) bool { return true })
}

// preferences are the agent's configuration keys that a profile carries
// (protocol.md 2.2 as amended by DESIGN 4.1).
type preferences map[string]any

// preferenceKey is one entry of PolicyKeys or CommandKeys.
type preferenceKey struct {
	KeyID     string
	PublicKey []byte // 32 bytes
}

type profileOptions struct {
	admin                       adminOptions
	group, mode, output, format string
	offline                     bool
	contentURL, contentTrust    string
	settings                    settingOptions
	signing                     signingOptions
}

func newProfileCommand() *cobra.Command {
	command := newAgentProfileCommand()
	command.Args = cobra.NoArgs // and names a kind that there is not
	command.Use = "profile --dir DIR/operator -o FILE.mobileconfig"
	command.Short = "Write configuration profiles for Macs: the one that makes a Mac trust this portal, and others"
	command.Long = `Profile without another word is 'profile agent': it writes the profile that makes a
Mac trust this portal. The others are what else an MDM has to say of the agent, and
of Parallels Desktop; none of them needs a portal.

` + command.Long
	command.AddCommand(newAgentProfileCommand(), newPPPCCommand(), newLoginItemCommand(), newNotificationsCommand(), newLicensingCommand(),
		newProfileLintCommand(), newReferenceCommand(), newManifestCommand())
	return command
}

func newAgentProfileCommand() *cobra.Command {
	var options profileOptions
	command := &cobra.Command{
		Use:   "agent --dir DIR/operator -o FILE.mobileconfig",
		Short: "Write the profile with the agent's settings, that makes a Mac trust this portal",
		Long: `Profile writes what a Mac needs to enroll: the portal's URL and certificate, the
enrollment secret, the keys that may sign policies and commands, and the list of
commands that the Mac allows. Strike from AllowedCommands what you do not want.

It works on the operator's machine, with the operator's folder alone: the portal at
the URL is asked for its certificates, of which there are two while one replaces
the other, and what it says is kept in the folder. --offline takes those of the
folder. Where the portal's folder is there too, nobody is asked.

The portal's content folder, all of it signed, can lie on any web server as well:
give its URL as --content-url, and its certificate as --content-certificate, because
a Mac trusts the certificates of the profile and no others.

--set gives any other key its value, and is checked as the agent checks it: several
values are separated by commas, numbers by name are NAME=NUMBER. What is secret, or is
no single value, comes from a file (or - for the standard input) with --set-file.
--only-set writes these alone, without a portal.

A profile that is made again for the same site and group replaces the one before it.

--format plist writes the bare preferences, as MDM would leave them in
/Library/Managed Preferences/` + config.Domain + `.plist, or as root's own
/Library/Application Support/prlagent/config.plist.`,
		Example: `  prlportal profile --dir site/operator -o prlagent.mobileconfig
  prlportal profile --dir site/operator --url https://portal.example.com:8443 --token-file alice.token -o prlagent.mobileconfig
  prlportal profile agent --dir site/operator --group finance --mode enforce --set NotifyUsers=true -o finance.mobileconfig
  prlportal profile agent --only-set --set Mode=monitor --set-file Policy=policy.plist -o alone.mobileconfig`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			options.readTyped()
			options.settings.input = command.InOrStdin()
			trusted, err := options.writeProfile(command.Context())
			if err != nil {
				return err
			}
			return options.describe(command.OutOrStdout(), trusted)
		},
	}
	options.admin.addFlags(command)
	flags := command.Flags()
	flags.Lookup("url").Usage = "URL under which agents reach the portal, and this command (default: as made by init)"
	flags.BoolVar(&options.offline, "offline", false, "do not ask the portal: take the certificates of the operator's folder")
	flags.StringVar(&options.contentURL, "content-url", "", "URL of the web server that has the portal's content folder (default: the portal itself)")
	flags.StringVar(&options.contentTrust, "content-certificate", "", "PEM file with that web server's certificate, or with the one that signed it")
	flags.StringVar(&options.group, "group", "", "put the Macs that get this profile into this group")
	flags.StringVar(&options.mode, "mode", "monitor", "monitor (observe and report) or enforce")
	flags.StringVarP(&options.output, "output", "o", "", "file to write, with mode 0600")
	flags.StringVar(&options.format, "format", "mobileconfig", "mobileconfig or plist")
	options.settings.addFlags(flags)
	options.signing.addFlags(flags)
	return command
}

// describe says what was written.
func (o profileOptions) describe(out io.Writer, trusted []*x509.Certificate) error {
	if o.settings.alone {
		return writeText(out, fmt.Sprintf("Wrote %s.\n", text.Display(o.output)))
	}
	err := writeText(out, fmt.Sprintf("Wrote %s. It holds the enrollment secret.\n%sIt knows the portal by the certificates:\n", text.Display(o.output), o.originNote()))
	return errors.Join(err, describeCertificates(out, trusted))
}

// writeProfile gives the certificates by which the profile knows the portal.
func (o profileOptions) writeProfile(ctx context.Context) ([]*x509.Certificate, error) {
	if err := o.checkFlags(); err != nil {
		return nil, err
	}
	if o.settings.alone {
		return nil, o.write(profile.Settings(), preferences{})
	}
	folder, isThere := site.FindOperator(o.admin.dir)
	if !isThere {
		return nil, site.NoSite(o.admin.dir, site.SiteFile)
	}
	operator, err := site.LoadOperatorSite(folder)
	if err != nil {
		return nil, err
	}
	operator.URL = cmp.Or(o.admin.url, operator.URL)
	trusted, err := o.readCertificates(ctx, folder, operator)
	if err != nil {
		return nil, err
	}
	ofContent, err := o.contentCertificates(trusted)
	if err != nil {
		return nil, err
	}
	wanted, err := o.readPreferences(folder, operator, slices.Concat(trusted, ofContent))
	if err != nil {
		return nil, err
	}
	made, err := o.profileOf(operator)
	if err != nil {
		return nil, err
	}
	return trusted, o.write(made, wanted)
}

// write adds the settings of the command line, and writes the profile or the bare
// preferences.
func (o profileOptions) write(made profile.Profile, wanted preferences) error {
	settings, err := o.settings.addTo(wanted)
	if err != nil {
		return err
	}
	if o.format == "plist" {
		data, err := plist.EncodeXML(settings)
		if err != nil {
			return fmt.Errorf("encode profile: %w", err)
		}
		return writeProfileFile(o.output, data)
	}
	if group, has := settings["Group"].(string); has && !o.settings.alone {
		made.Variant = group // --set Group=GROUP is --group GROUP
	}
	made.Payloads = []profile.Payload{{Type: config.Domain, Name: "preferences", DisplayName: "prlagent", Settings: settings}}
	_, err = o.signing.writeTo(o.output, made)
	return err
}

// readCertificates finds what the Macs must trust, and refuses a URL that none of
// it is for. What the portal says is kept for the operator's other commands.
func (o profileOptions) readCertificates(ctx context.Context, folder string, operator site.OperatorSite) ([]*x509.Certificate, error) {
	known, err := o.admin.trustedDER()
	if err != nil {
		return nil, err
	}
	_, isPortalHere := site.FindPortal(o.admin.dir)
	if !isPortalHere && !o.offline && o.admin.certificate == "" {
		o.admin.url = operator.URL
		asked, err := o.askCertificates(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w; or take the certificates of the operator's folder with --offline", err)
		}
		if !slices.EqualFunc(asked, known, bytes.Equal) {
			if err := safefile.WriteFile(filepath.Join(folder, site.TrustFile), site.EncodeCertificates(asked), 0o600); err != nil {
				return nil, fmt.Errorf("keep certificates: %w", err)
			}
		}
		known = asked
	}
	return parseCovering("--url", operator.URL, known)
}

// contentCertificates are those that a Mac must trust as well where the content
// lies elsewhere.
func (o profileOptions) contentCertificates(trusted []*x509.Certificate) ([]*x509.Certificate, error) {
	switch {
	case o.contentURL == "":
		return nil, nil
	case o.contentTrust == "":
		return nil, checkCovered("--content-url", o.contentURL, trusted)
	}
	more, err := site.LoadCertificates(o.contentTrust)
	if err != nil {
		return nil, err
	}
	return parseCovering("--content-url", o.contentURL, more)
}

func parseCovering(flag, address string, certificates [][]byte) ([]*x509.Certificate, error) {
	parsed, err := site.ParseCertificates(certificates)
	if err != nil {
		return nil, err
	}
	return parsed, checkCovered(flag, address, parsed)
}

func checkCovered(flag, address string, certificates []*x509.Certificate) error {
	location, err := site.ParseURL(address)
	if err == nil {
		err = site.CheckCovered(location, certificates)
	}
	if err != nil {
		return usageError(flag + ": " + err.Error())
	}
	return nil
}

func (o profileOptions) askCertificates(ctx context.Context) ([][]byte, error) {
	client, err := o.admin.openClient()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Certificates(ctx)
}

// originNote says what the portal needs to be told if it does not know the URL of
// the profile for its own: no Mac could enroll there (H54).
func (o profileOptions) originNote() string {
	folder, isThere := site.FindPortal(o.admin.dir)
	if o.admin.url == "" || !isThere {
		return ""
	}
	config, err := site.LoadConfig(folder)
	if err != nil {
		return ""
	}
	if listening, err := safefile.ReadFile(filepath.Join(folder, site.ListeningFile), protocol.MaxText); err == nil {
		config.Origins = append(config.Origins, strings.TrimSpace(string(listening)))
	}
	location, err := url.Parse(o.admin.url)
	if err != nil || config.AcceptsOrigin(protocol.OriginOf(location)) {
		return ""
	}
	return fmt.Sprintf("If the portal neither listens at this port nor has the name in its certificate, add %q to \"origins\" in %s and restart it: Macs enroll at addresses that it knows.\n",
		protocol.OriginOf(location), text.Display(filepath.Join(folder, site.ConfigFile)))
}

// readTyped takes fixed words, ids and the URL as people type them.
func (o *profileOptions) readTyped() {
	o.format, o.mode, o.group = text.TypedWord(o.format), text.TypedWord(o.mode), text.TypedWord(o.group)
	o.admin.url, o.contentURL = text.TrimTyped(o.admin.url), text.TrimTyped(o.contentURL)
}

func (o profileOptions) checkFlags() error {
	if err := errors.Join(o.signing.check(), o.settings.check()); err != nil {
		return err
	}
	switch {
	case o.output == "":
		return usageError("--output is missing")
	case o.format != "mobileconfig" && o.format != "plist":
		return usageError("--format is mobileconfig or plist")
	case o.format == "plist" && o.signing.certificate != "":
		return usageError("--sign is for profiles: a property list of preferences is not signed")
	case o.settings.alone && (o.group != "" || o.contentURL != "" || o.admin.url != ""):
		return usageError("--only-set writes what --set and --set-file say, and nothing of a portal: use --set Group=GROUP")
	case o.settings.alone && (o.admin.command.Flags().Changed("mode") || o.offline || o.contentTrust != ""):
		return usageError("--only-set writes what --set and --set-file say: use --set Mode=MODE, and no --offline or --content-certificate")
	case o.contentTrust != "" && o.contentURL == "":
		return usageError("--content-certificate is for the web server of --content-url")
	case o.mode != "monitor" && o.mode != "enforce":
		return usageError("--mode is monitor or enforce")
	case o.group != "" && !protocol.ValidName(o.group):
		return usageError("--group is a group id: 1 to 64 of a-z 0-9 . _ - that do not begin with a dot")
	}
	if o.admin.url != "" || o.admin.command.Flags().Changed("url") {
		if _, err := site.ParseURL(o.admin.url); err != nil {
			return usageError("--url: " + err.Error())
		}
	}
	return nil
}

// readPreferences reads what a Mac must trust from the operator's folder.
func (o profileOptions) readPreferences(folder string, operator site.OperatorSite, trusted []*x509.Certificate) (preferences, error) {
	secret, err := site.ReadSecret(filepath.Join(folder, site.SecretFile))
	if err != nil {
		return nil, err
	}
	policyKeys, err := publicPolicyKeys(folder)
	if err != nil {
		return nil, err
	}
	commandKeys, threshold, err := publicCommandKeys(folder)
	if err != nil {
		return nil, err
	}
	certificates := make([][]byte, len(trusted))
	for i, certificate := range trusted {
		certificates[i] = certificate.Raw
	}
	wanted := preferences{
		"ServerURL":          operator.URL,
		"ServerCertificates": certificates, // DER
		"EnrollmentSecret":   secret,
		"SiteID":             operator.SiteID,
		"PolicyKeys":         policyKeys,
		"CommandKeys":        commandKeys,
		"AllowedCommands":    allCommands(),
		"Mode":               o.mode,
	}
	if len(threshold) > 0 {
		wanted["CommandThreshold"] = threshold
	}
	if o.group != "" {
		wanted["Group"] = o.group
	}
	if o.contentURL != "" {
		wanted["ContentURL"] = o.contentURL
	}
	return wanted, nil
}

// publicPolicyKeys are both keys while one replaces the other.
func publicPolicyKeys(folder string) ([]preferenceKey, error) {
	keys, err := site.LoadPolicyKeys(folder)
	if err != nil {
		return nil, err
	}
	var named []preferenceKey
	for _, public := range site.PublicHalves(keys) {
		named = append(named, preferenceKey{KeyID: protocol.KeyID(public), PublicKey: public})
	}
	return named, nil
}

// publicCommandKeys are the keys of all who may sign commands, and how many of them must
// by the type; of a folder from before they were registered, its own key.
func publicCommandKeys(folder string) (named []preferenceKey, threshold map[string]int, err error) {
	keys, err := site.LoadCommandKeys(folder)
	if err != nil {
		return nil, nil, err
	}
	for _, key := range keys.Keys {
		named = append(named, preferenceKey{KeyID: key.ID(), PublicKey: key.Key})
	}
	if len(named) == 0 {
		own, err := publicHalf(filepath.Join(folder, site.CommandKeyFile))
		return []preferenceKey{own}, nil, err
	}
	return named, keys.Threshold, nil
}

func publicHalf(path string) (preferenceKey, error) {
	private, err := site.LoadSigningKey(path)
	if err != nil {
		return preferenceKey{}, err
	}
	public := private.Public().(ed25519.PublicKey)
	return preferenceKey{KeyID: protocol.KeyID(public), PublicKey: public}, nil
}

// profileOf is the profile of the site, without its settings. Its UUIDs derive from
// the site and the group, so that a profile made again replaces the one before it.
func (o profileOptions) profileOf(operator site.OperatorSite) (profile.Profile, error) {
	namespace, err := uuid.Parse(operator.SiteID)
	if err != nil {
		return profile.Profile{}, fmt.Errorf("site id: %w", err)
	}
	return profile.Profile{
		Identifier:   config.Domain + ".profile." + operator.SiteID,
		DisplayName:  "prlagent for " + operator.Name,
		Description:  "Lets prlagent enroll with " + operator.URL + ".",
		Organization: operator.Name,
		Namespace:    namespace,
		Variant:      o.group,
	}, nil
}
