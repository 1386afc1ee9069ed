package sim

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// feedOffer is a version that an update server offers.
type feedOffer struct {
	URL     string `json:"url,omitempty"` // empty: the vendor's
	Version string `json:"version"`
}

// productMove is one change of the product's version.
type productMove struct {
	Time time.Time `json:"time"`
	From string    `json:"from"`
	To   string    `json:"to"`
	User string    `json:"user,omitempty"` // whose application did it; empty: a person, by hand
}

// Preferences of updates (acting.md 2; deploy-and-updates.md 6.3), and when the
// application last looked for them (captures.md 4.5, where a slash is between the
// words, and the type is not told).
const (
	updatePolicyKey   = "Application preferences.VolumeLicenseUpdatePolicy"
	updateCheckKey    = "Application preferences.Check for updates"
	updateDownloadKey = "Application preferences.Download updates automatically"
	lastCheckKey      = "User Preferences.Update.Last Checked On"
)

// updatePreferences are what an application goes by.
type updatePreferences struct {
	server   string // empty: the vendor's
	checks   bool
	download bool
}

// readUpdatePreferences reads them as the guide tells them: the words of the policy
// are case-sensitive, and without one the vendor's server is asked. A value of
// another type counts as none (inferred). Other servers are for two editions only.
func readUpdatePreferences(values map[string]any, edition string) updatePreferences {
	policy, _ := values[updatePolicyKey].(string)
	frequency, numbered := values[updateCheckKey].(uint64)
	download, _ := values[updateDownloadKey].(bool)
	if edition != "business" && edition != "enterprise" {
		policy = ""
	}
	wanted := updatePreferences{server: policy, checks: policy != "None" && (!numbered || frequency != 0), download: download}
	if policy == "Parallels" {
		wanted.server = ""
	}
	return wanted
}

// checkForUpdates lets the application of a user look for updates: at its launch,
// and when something new is offered while it runs. How often it does in between is
// not played. It goes by the preferences that it has read, not by those that were
// written since.
func (m Mac) checkForUpdates(state *State, name string) (outcome string, err error) {
	index := slices.IndexFunc(state.Apps, func(app runningApp) bool { return app.User == name })
	app := &state.Apps[index]
	memory, err := m.readApplication(app.UID)
	if err != nil {
		return "", err
	}
	wanted := readUpdatePreferences(memory.inUse(), state.Product.Edition)
	if !wanted.checks {
		return name + ": does not look for updates", nil
	}
	checked := func(values map[string]any) { values[lastCheckKey] = time.Now().UTC().Truncate(time.Second) }
	user, _ := state.userByName(name)
	if err := m.changeInApplication(state, user, checked); err != nil {
		return "", err
	}
	version := state.newestOffer(wanted.server)
	switch {
	case version == "":
		return name + ": finds nothing new", nil
	case !wanted.download:
		return name + ": tells of " + version, nil
	case state.assumes("update_installed", "at_once"):
		return name + ": installs " + version, m.installUpdate(state, name, version)
	}
	app.Update = version
	return name + ": installs " + version + " at its quit", nil
}

// newestOffer is the newest version of a server that is newer than what is
// installed. Whether another major version is among them is not known
// (facts/prlctl.md 6: a profile or a policy allows it).
func (s *State) newestOffer(server string) (newest string) {
	for _, offer := range s.Feed {
		other := product{Version: offer.Version}.majorVersion() != s.Product.majorVersion()
		if offer.URL != server || compareVersions(offer.Version, s.Product.Version) <= 0 ||
			other && s.assumes("major_upgrade", "withheld") {
			continue
		}
		if newest == "" || compareVersions(offer.Version, newest) > 0 {
			newest = offer.Version
		}
	}
	return newest
}

// compareVersions compares two like 26.4.0-57513 number by number.
func compareVersions(a, b string) int {
	numbers := func(version string) (values []int) {
		for part := range strings.FieldsFuncSeq(version, func(r rune) bool { return r == '.' || r == '-' }) {
			number, _ := strconv.Atoi(part) // wholeVersion has checked it
			values = append(values, number)
		}
		return values
	}
	return slices.CompareFunc(numbers(a), numbers(b), cmp.Compare[int])
}

func (m Mac) installUpdate(state *State, user, version string) error {
	if compareVersions(version, state.Product.Version) <= 0 {
		return nil // somebody else did
	}
	state.moveProduct(version, user)
	return m.writeProductFiles(state)
}

// moveProduct changes the version and notes it.
func (s *State) moveProduct(version, user string) {
	s.Updates = append(s.Updates, productMove{time.Now().UTC(), s.Product.Version, version, user})
	s.Product.Version = version
}

func productFeedCommand() *cobra.Command {
	var server string
	var withdraw bool
	command := &cobra.Command{
		Use: "feed [VERSION]", Short: "Offer a version on an update server, or show what is offered and what was installed", Args: argumentCount(0, 1),
		Long: `Offer a version on the vendor's update server or on another one. The applications
that run look for updates then, as others do at their launch, by the preferences
of their user that they read at their launch.`,
		Example: `  prlsim product feed 26.5.0-58001
  prlsim product feed 27 --at https://updates.example.com/parallels_updates.xml
  prlsim product feed --withdraw`,
		RunE: func(command *cobra.Command, given []string) error {
			switch {
			case withdraw && len(given) == 0:
				return changeMac(command, func(_ Mac, state *State) (string, error) { state.Feed = nil; return "", nil })
			case withdraw:
				return fmt.Errorf("%w: --withdraw takes everything back", errUsage)
			case len(given) == 0:
				return showFeed(command)
			}
			return changeMac(command, func(mac Mac, state *State) (string, error) {
				return mac.offerVersion(state, given[0], server)
			})
		},
	}
	command.Flags().StringVar(&server, "at", "", "URL of the update server (default: the vendor's)")
	command.Flags().BoolVar(&withdraw, "withdraw", false, "offer nothing any more")
	return command
}

// offerVersion offers a version and lets the running applications look.
func (m Mac) offerVersion(state *State, text, server string) (string, error) {
	version, err := wholeVersion(text)
	if err != nil {
		return "", err
	}
	state.Feed = append(state.Feed, feedOffer{server, version})
	lines := []string{version + " is offered"}
	var failed error
	for _, app := range slices.Clone(state.Apps) {
		line, err := m.checkForUpdates(state, app.User)
		lines, failed = append(lines, line), errors.Join(failed, err)
	}
	return strings.Join(lines, "; "), failed
}

func showFeed(command *cobra.Command) error {
	state, err := loadState(command)
	if err != nil {
		return err
	}
	rows := [][]string{{"SERVER", "OFFERS"}}
	servers := map[string][]string{}
	for _, offer := range state.Feed {
		name := cmp.Or(offer.URL, "the vendor's")
		servers[name] = append(servers[name], offer.Version)
	}
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		rows = append(rows, []string{name, strings.Join(servers[name], ", ")})
	}
	if err := printRows(command, false, nil, rows...); err != nil {
		return err
	}
	rows = [][]string{{"INSTALLED", "FROM", "TO", "BY"}}
	for _, move := range state.Updates {
		rows = append(rows, []string{move.Time.Format(time.RFC3339), move.From, move.To, cmp.Or(move.User, "a person")})
	}
	return printRows(command, false, nil, rows...)
}
