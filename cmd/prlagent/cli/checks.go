package cli

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"prlagent/agent/checkin"
	"prlagent/agent/config"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/text"
	"prlagent/platform/tool"
	"prlagent/prlctl"
)

// doctorCheck is one row of the table of checks.
type doctorCheck struct {
	id, title string
	needs     []string // ids of the checks that must be good before it can look
	look      func(*checkedMac, context.Context) checkResult
}

// doctorChecks are what doctor looks at. They are shown in this order, and a check
// stands behind those that it needs.
var doctorChecks = []doctorCheck{
	{"job", "launchd keeps the daemon", nil, (*checkedMac).checkJob},
	{"daemon", "The daemon answers", nil, (*checkedMac).checkDaemon},
	{"health", "The daemon calls itself healthy", []string{"daemon"}, (*checkedMac).checkHealth},
	{"configuration", "The configuration can be used", nil, (*checkedMac).checkConfiguration},
	{"portal", "The portal has a report", []string{"daemon"}, (*checkedMac).checkPortal},
	{"state", "The state database is whole", nil, (*checkedMac).checkState},
	{"disk", "There is room for the state", nil, (*checkedMac).checkDisk},
	{"folders", "Only root can change the agent's folders", nil, (*checkedMac).checkFolders},
	{"snapshot", "Management tools can read the snapshot", nil, (*checkedMac).checkSnapshot},
	{"log", "The log has no errors of the last day", nil, (*checkedMac).checkLog},
	{"old_logs", "No logs of an older version are left", nil, (*checkedMac).checkOldLogs},

	{"network", "This Mac has a way out", nil, (*checkedMac).checkNetwork},
	{"portal_name", "The portal's name has an address", []string{"network"}, portalStep(checkin.ReachName)},
	{"portal_connect", "The portal takes connections", []string{"portal_name"}, portalStep(checkin.ReachConnect)},
	{"portal_tls", "The portal has the right certificate", []string{"portal_connect"}, portalStep(checkin.ReachTLS)},
	{"portal_answer", "The portal answers", []string{"portal_tls"}, portalStep(checkin.ReachAnswer)},
	{"clock", "The clock agrees with the portal's", []string{"portal_answer"}, (*checkedMac).checkClock},
	{"license_name", "The vendor's license host has an address", []string{"network"}, licenseStep(checkin.ReachName)},
	{"license_connect", "The license host takes connections", []string{"license_name"}, licenseStep(checkin.ReachConnect)},
	{"license_tls", "The license host has a good certificate", []string{"license_connect"}, licenseStep(checkin.ReachTLS)},
	{"license_answer", "The license host answers", []string{"license_tls"}, licenseStep(checkin.ReachAnswer)},

	{"product", "Parallels Desktop is installed", nil, (*checkedMac).checkProduct},
	{"product_setup", "Parallels Desktop has set itself up", []string{"product"}, (*checkedMac).checkProductSetup},
	{"tools", "Its tools carry the vendor's signature", nil, (*checkedMac).checkTools},
	{"licensing_profile", "The licensing profile came before Parallels Desktop", []string{"product"}, (*checkedMac).checkLicensingProfile},
	{"licensing_profiles", "Not two licensing profiles say different things", nil, (*checkedMac).checkLicensingProfiles},
	{"license_of_profile", "The license is the one of the profile", []string{"product"}, (*checkedMac).checkLicenseOfProfile},
	{"license_guard", "Parallels Desktop refuses another license than the profile's", []string{"product"}, (*checkedMac).checkLicenseGuard},
	{"privacy_profile", "A privacy profile knows Parallels Desktop by its signature", []string{"product"}, (*checkedMac).checkPrivacyProfile},
	{"activation", "Parallels Desktop is activated", []string{"product"}, (*checkedMac).checkActivation},
	{"single_application", "Single Application Mode is a one-way street", []string{"product"}, (*checkedMac).checkSingleApplication},
	{"kernel_extensions", "Kernel extensions are approved", []string{"product"}, (*checkedMac).checkKernelExtensions},
	{"users", "Every user's machines can be listed", []string{"daemon"}, (*checkedMac).checkUsers},
	{"event_streams", "Every user's stream of events is open", []string{"daemon"}, (*checkedMac).checkStreams},
	{"preferences", "Nothing outranks the preferences of the policy", []string{"daemon"}, (*checkedMac).checkPreferences},
	{"controls", "The security controls of the policy can be held", []string{"daemon"}, (*checkedMac).checkControls},
	{"command_keys", "Commands of the portal can be carried out", nil, (*checkedMac).checkCommandKeys},
	{"command_time", "The time is proven, for what nothing puts back", []string{"daemon"}, (*checkedMac).checkCommandTime},
	{"command_record", "What commands begin can be kept on record", []string{"daemon"}, (*checkedMac).checkCommandRecord},
	{"holds", "What is to stay suspended does not run", []string{"daemon"}, (*checkedMac).checkHolds},
	{"privacy", "macOS lets the agent read the virtual machines", []string{"daemon"}, (*checkedMac).checkPrivacy},
}

// checkedMac is what the checks look at. What several of them need is read once.
type checkedMac struct {
	mac    *platform.Machine
	tools  *tool.Runner
	root   string
	now    func() time.Time
	client *localapi.Client
	// offline says that nothing is asked over a network.
	offline bool

	status    func() (localapi.Status, error) // the daemon's; its last snapshot if it does not run
	inventory func() (localapi.Inventory, error)
	policy    func() (localapi.Policy, error)
	explained func() config.Explanation
	profiles  func() ([]prlctl.LicensingProfile, error)
	portal    func() checkin.Reached
	vendor    func() checkin.Reached
	license   licenseHost
}

// newCheckedMac makes the questions, and asks none.
func (p *program) newCheckedMac(ctx context.Context, license licenseHost) *checkedMac {
	tools := &tool.Runner{Root: p.root}
	m := &checkedMac{mac: platform.New(p.root, tools), tools: tools, root: p.root, now: p.now, client: p.newClient(), license: license}
	bounded := func() (context.Context, context.CancelFunc) { return p.withTimeout(ctx) }
	m.status = sync.OnceValues(func() (localapi.Status, error) { return p.lastStatus(ctx) })
	m.inventory = sync.OnceValues(func() (localapi.Inventory, error) {
		ctx, cancel := bounded()
		defer cancel()
		return m.client.Inventory(ctx)
	})
	m.policy = func() (localapi.Policy, error) {
		ctx, cancel := bounded()
		defer cancel()
		return m.client.Policy(ctx)
	}
	m.explained = sync.OnceValue(func() config.Explanation { return config.Explain(p.configPaths()) })
	m.profiles = sync.OnceValues(func() ([]prlctl.LicensingProfile, error) {
		return prlctl.ReadLicensingProfiles(m.mac.Path(prlctl.ManagedPreferences))
	})
	m.portal = sync.OnceValue(func() checkin.Reached {
		ctx, cancel := bounded()
		defer cancel()
		c := m.explained().Config
		return checkin.Reach(ctx, checkin.ReachOptions{URL: c.ServerURL, Certificates: c.ServerCertificates, Proxy: c.Proxy, Portal: true})
	})
	m.vendor = sync.OnceValue(func() checkin.Reached {
		ctx, cancel := bounded()
		defer cancel()
		return checkin.Reach(ctx, checkin.ReachOptions{URL: license.url, Proxy: m.explained().Config.Proxy})
	})
	return m
}

// configPaths are the files of the configuration on this disk.
func (p *program) configPaths() config.Paths {
	mac := platform.New(p.root, &tool.Runner{Root: p.root})
	owner, err := mac.Owner()
	if err != nil {
		owner = uint32(os.Geteuid())
	}
	return config.Paths{
		Managed: mac.Path(localapi.ManagedConfig), Local: mac.Path(localapi.LocalConfig), LocalOwner: owner, Root: p.root != "",
	}
}

func (m *checkedMac) daemonRuns() bool {
	status, err := m.status()
	return err == nil && status.Daemon.Running
}

func okResult(format string, args ...any) checkResult {
	return checkResult{Outcome: outcomeOK, Text: fmt.Sprintf(format, args...)}
}

// unneededResult is that of a check with nothing to look at on this Mac.
func unneededResult(text string) checkResult {
	return checkResult{Outcome: outcomeUnneeded, Text: text}
}

// codeResult is a result in the words of a code; detail says more where there
// is more. Nothing that is found is good, whatever severity its code has.
func codeResult(code protocol.Code, detail string) checkResult {
	words := code.Text()
	outcome := outcomeWarning
	if words.Severity == protocol.Failure {
		outcome = outcomeFailure
	}
	return checkResult{Outcome: outcome, Code: code, Text: joinParts(" ", words.Text, detail), Remedy: words.Remedy}
}

// unknownResult is that of a check that could not look.
func unknownResult(why string) checkResult {
	return checkResult{Outcome: outcomeUnknown, Text: "Not looked at: " + why + "."}
}

// asRoot is an unknownResult with the way to know.
func asRoot(why string) checkResult {
	result := unknownResult(why)
	result.Remedy = "Run 'sudo prlagent doctor'."
	return result
}

// licenseHost is where Parallels Desktop activates itself.
type licenseHost struct {
	url   *url.URL
	named bool // by a person; else it is inferred
}

// inferredLicenseHost is what the vendor's application is seen to talk to, by
// people who block it. The guide names port 443 and no host (conformance TRG-17).
const inferredLicenseHost = "desktop.parallels.com"

func licenseHostURL(typed string) (licenseHost, error) {
	host := strings.ToLower(text.TrimTyped(typed))
	if host == "" {
		return licenseHost{url: &url.URL{Scheme: "https", Host: inferredLicenseHost}}, nil
	}
	location, err := url.Parse("https://" + host)
	if err != nil || location.Host != host || location.Hostname() == "" {
		return licenseHost{}, fmt.Errorf("--license-host is HOST or HOST:PORT, not %q", text.DisplayValue(typed))
	}
	return licenseHost{url: location, named: true}, nil
}
