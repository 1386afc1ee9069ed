package cli

import (
	"cmp"
	"crypto/ed25519"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/site"
	"prlagent/platform/plist"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

// preferenceDomain is where the agent's configuration lives (DESIGN 4).
const preferenceDomain = "org.prlagent.agent"

// allCommands is what a Mac may be told to allow (DESIGN 8). The profile has
// every one, so that an admin strikes what they do not want.
func allCommands() []string {
	return protocol.CommandNames(func(protocol.CommandType) bool { return true })
}

// preferences are the agent's configuration keys that a profile carries
// (protocol.md 2.2 as amended by DESIGN 4.1).
type preferences map[string]any

// preferenceKey is one entry of PolicyKeys or CommandKeys.
type preferenceKey struct {
	KeyID     string
	PublicKey []byte // 32 bytes
}

// configurationProfile has one payload: the agent's domain as a payload of its
// own type, whose keys macOS writes to the managed preferences of that domain
// (facts/macos.md 5.3).
type configurationProfile struct {
	PayloadType         string
	PayloadVersion      int
	PayloadIdentifier   string
	PayloadUUID         string
	PayloadDisplayName  string
	PayloadDescription  string
	PayloadOrganization string
	PayloadScope        string
	PayloadContent      []preferences
}

type profileOptions struct {
	dir, url, group, mode, output, format string
}

func newProfileCommand() *cobra.Command {
	var options profileOptions
	command := &cobra.Command{
		Use:   "profile --dir DIR -o FILE.mobileconfig",
		Short: "Write the configuration profile that makes a Mac trust this portal",
		Long: `Profile writes what a Mac needs to enroll: the portal's URL and certificate, the
enrollment secret, the keys that may sign policies and commands, and the list of
commands that the Mac allows. Strike from AllowedCommands what you do not want.

--format plist writes the bare preferences, as MDM would leave them in
/Library/Managed Preferences/` + preferenceDomain + `.plist, or as root's own
/Library/Application Support/prlagent/config.plist.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			options.readTyped()
			if err := writeProfile(options); err != nil {
				return err
			}
			_, err := fmt.Fprintf(command.OutOrStdout(), "Wrote %s. It holds the enrollment secret.\n%s", text.Display(options.output), options.originNote())
			return err
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.dir, "dir", ".", "the site's folder, made by init")
	flags.StringVar(&options.url, "url", "", "URL under which agents reach the portal (default: as made by init)")
	flags.StringVar(&options.group, "group", "", "put the Macs that get this profile into this group")
	flags.StringVar(&options.mode, "mode", "monitor", "monitor (observe and report) or enforce (H40)")
	flags.StringVarP(&options.output, "output", "o", "", "file to write, with mode 0600")
	flags.StringVar(&options.format, "format", "mobileconfig", "mobileconfig or plist")
	return command
}

func writeProfile(options profileOptions) error {
	if err := options.checkFlags(); err != nil {
		return err
	}
	operator, err := site.LoadOperatorSite(options.dir)
	if err != nil {
		return err
	}
	wanted, err := options.readPreferences(operator)
	if err != nil {
		return err
	}
	var document any = wanted
	if options.format == "mobileconfig" {
		document, err = options.wrapProfile(operator, wanted)
		if err != nil {
			return err
		}
	}
	data, err := plist.EncodeXML(document)
	if err != nil {
		return fmt.Errorf("encode profile: %w", err)
	}
	if err := safefile.WriteFile(options.output, data, 0o600); err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	return nil
}

// originNote says what the portal needs to be told if it does not know the URL of
// the profile for its own: no Mac could enroll there (H54).
func (o profileOptions) originNote() string {
	folder := filepath.Join(o.dir, site.PortalFolder)
	config, err := site.LoadConfig(folder)
	if o.url == "" || err != nil {
		return ""
	}
	if listening, err := safefile.ReadFile(filepath.Join(folder, site.ListeningFile), protocol.MaxText); err == nil {
		config.Origins = append(config.Origins, strings.TrimSpace(string(listening)))
	}
	location, err := url.Parse(o.url)
	if err != nil || config.AcceptsOrigin(protocol.OriginOf(location)) {
		return ""
	}
	return fmt.Sprintf("If the portal neither listens at this port nor has the name in its certificate, add %q to \"origins\" in %s and restart it: Macs enroll at addresses that it knows.\n",
		protocol.OriginOf(location), text.Display(filepath.Join(folder, site.ConfigFile)))
}

// readTyped takes fixed words, ids and the URL as people type them.
func (o *profileOptions) readTyped() {
	o.format, o.mode, o.group = text.TypedWord(o.format), text.TypedWord(o.mode), text.TypedWord(o.group)
	o.url = text.TrimTyped(o.url)
}

func (o profileOptions) checkFlags() error {
	switch {
	case o.output == "":
		return usageError("--output is missing")
	case o.format != "mobileconfig" && o.format != "plist":
		return usageError("--format is mobileconfig or plist")
	case o.mode != "monitor" && o.mode != "enforce":
		return usageError("--mode is monitor or enforce")
	case o.url != "" && !strings.HasPrefix(o.url, "https://"):
		return usageError("--url must begin with https://")
	case o.group != "" && !protocol.ValidName(o.group):
		return usageError("--group is a group id: 1 to 64 of a-z 0-9 . _ - that do not begin with a dot")
	}
	return nil
}

// readPreferences reads what a Mac must trust from the operator's folder; from
// the portal's only its certificate.
func (o profileOptions) readPreferences(operator site.OperatorSite) (preferences, error) {
	certificates, err := site.LoadCertificates(filepath.Join(o.dir, site.PortalFolder, site.CertificateFile))
	if err != nil {
		return nil, err
	}
	secret, err := site.ReadSecret(filepath.Join(o.dir, site.OperatorFolder, site.SecretFile))
	if err != nil {
		return nil, err
	}
	policyKey, err := publicHalf(filepath.Join(o.dir, site.OperatorFolder, site.PolicyKeyFile))
	if err != nil {
		return nil, err
	}
	commandKey, err := publicHalf(filepath.Join(o.dir, site.OperatorFolder, site.CommandKeyFile))
	if err != nil {
		return nil, err
	}
	wanted := preferences{
		"ServerURL":          cmp.Or(o.url, operator.URL),
		"ServerCertificates": certificates, // DER
		"EnrollmentSecret":   secret,
		"SiteID":             operator.SiteID,
		"PolicyKeys":         []preferenceKey{policyKey},
		"CommandKeys":        []preferenceKey{commandKey},
		"AllowedCommands":    allCommands(),
		"Mode":               o.mode,
	}
	if o.group != "" {
		wanted["Group"] = o.group
	}
	return wanted, nil
}

func publicHalf(path string) (preferenceKey, error) {
	private, err := site.LoadSigningKey(path)
	if err != nil {
		return preferenceKey{}, err
	}
	public := private.Public().(ed25519.PublicKey)
	return preferenceKey{KeyID: protocol.KeyID(public), PublicKey: public}, nil
}

// wrapProfile wraps the preferences. Its UUIDs derive from the site and the
// group, so that a profile made again replaces the one before it.
func (o profileOptions) wrapProfile(operator site.OperatorSite, wanted preferences) (configurationProfile, error) {
	namespace, err := uuid.Parse(operator.SiteID)
	if err != nil {
		return configurationProfile{}, fmt.Errorf("site id: %w", err)
	}
	derive := func(what string) string {
		return strings.ToUpper(uuid.NewSHA1(namespace, []byte(what+"/"+o.group)).String())
	}
	identifier := preferenceDomain + ".profile." + operator.SiteID
	payload := maps.Clone(wanted)
	maps.Copy(payload, preferences{
		"PayloadType":        preferenceDomain,
		"PayloadVersion":     1,
		"PayloadIdentifier":  identifier + ".preferences",
		"PayloadUUID":        derive("preferences"),
		"PayloadDisplayName": "prlagent",
	})
	return configurationProfile{
		PayloadType:         "Configuration",
		PayloadVersion:      1,
		PayloadIdentifier:   identifier,
		PayloadUUID:         derive("profile"),
		PayloadDisplayName:  "prlagent for " + operator.Name,
		PayloadDescription:  "Lets prlagent enroll with " + cmp.Or(o.url, operator.URL) + ".",
		PayloadOrganization: operator.Name,
		PayloadScope:        "System",
		PayloadContent:      []preferences{payload},
	}, nil
}
