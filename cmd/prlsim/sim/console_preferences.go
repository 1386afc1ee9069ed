package sim

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func preferencesCommand() *cobra.Command {
	parent := commandGroup("prefs", "Look at preferences, and change them as a user, the application or an MDM does",
		prefsShowCommand(), prefsSetCommand(), prefsDeleteCommand(), prefsEditCommand(), prefsForceCommand(), prefsUnforceCommand(), prefsForgetCommand())
	parent.Long = `Look at a user's preferences, and change them in the ways in which they change on
a Mac: through cfprefsd, as the command defaults does (set, delete), in a window of
the application (set --in-app), in the file, which cfprefsd does not notice while
it remembers the domain (edit), and by the profile of an MDM (force, unforce).`
	parent.Example = `  prlsim prefs show --user alice
  prlsim prefs set "Application preferences.Check for updates" 0 --type int
  prlsim prefs set "Application preferences.Check for updates" 3 --type int --in-app
  prlsim prefs force "Application preferences.VolumeLicenseUpdatePolicy" None --all`
	parent.PersistentFlags().String("user", "", "whose preferences (default: of the user on the screen)")
	parent.PersistentFlags().String("domain", productDomain, "the domain")
	return parent
}

// prefsTarget is whose domain a command is about.
type prefsTarget struct {
	user   macUser
	domain string
}

func prefsTargetOf(command *cobra.Command, state *State) (target prefsTarget, err error) {
	name, err := command.Flags().GetString("user")
	if err != nil {
		return target, err
	}
	if name == "" {
		name = state.defaultOwner()
	}
	index, err := state.userIndex(name)
	if err != nil {
		return target, err
	}
	domain, err := command.Flags().GetString("domain")
	if err == nil && (domain == "" || strings.HasPrefix(domain, ".") || strings.Contains(domain, "/")) {
		err = fmt.Errorf("%w: %q is no domain", errUsage, domain)
	}
	return prefsTarget{state.Users[index], domain}, err
}

// prefsChange runs a change of a user's domain.
func prefsChange(command *cobra.Command, apply func(Mac, *State, prefsTarget) error) error {
	return changeMac(command, func(mac Mac, state *State) (string, error) {
		target, err := prefsTargetOf(command, state)
		if err == nil {
			err = apply(mac, state, target)
		}
		return "", err
	})
}

// shownPreference is one row of `prefs show`.
type shownPreference struct {
	Key    string `json:"key"`
	Type   string `json:"type"`
	Value  string `json:"value"`
	Forced bool   `json:"forced"`
	// InUse is what a running application goes by, where that is something else.
	InUse string `json:"in_use,omitempty"`
}

func prefsShowCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use: "show [KEY]…", Short: "Show preferences, and what a running application goes by instead", Args: argumentCount(0, -1),
		RunE: func(command *cobra.Command, keys []string) error {
			var shown []shownPreference
			mac, err := macOf(command)
			if err != nil {
				return err
			}
			err = mac.update(func(state *State) error {
				target, err := prefsTargetOf(command, state)
				if err == nil {
					shown, err = mac.shownPreferences(state, target)
				}
				return err
			})
			if err != nil {
				return err
			}
			shown = slices.DeleteFunc(shown, func(one shownPreference) bool { return len(keys) > 0 && !slices.Contains(keys, one.Key) })
			rows := [][]string{{"KEY", "TYPE", "VALUE", "FORCED", "IN USE"}}
			for _, one := range shown {
				rows = append(rows, []string{one.Key, one.Type, one.Value, map[bool]string{true: "forced"}[one.Forced], one.InUse})
			}
			return printRows(command, asJSON, shown, rows...)
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}

func (m Mac) shownPreferences(state *State, target prefsTarget) ([]shownPreference, error) {
	daemon := m.preferencesInSession(state, target.user.Name)
	forced, err := daemon.forced(target.domain)
	if err != nil {
		return nil, err
	}
	values, err := daemon.effective(target.domain)
	if err != nil {
		return nil, err
	}
	inUse := values
	if target.domain == productDomain && state.hasApp(target.user.Name) {
		memory, err := m.readApplication(target.user.UID)
		if err != nil {
			return nil, err
		}
		inUse = memory.inUse()
	}
	shown := []shownPreference{}
	all := maps.Clone(inUse)
	maps.Copy(all, values)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		one := shownPreference{Key: key, InUse: "nothing"}
		if value, has := values[key]; has {
			one.Type, one.Value = defaultsType(value), oldStyle(value, 0)
		}
		_, one.Forced = forced[key]
		if value, has := inUse[key]; has {
			one.InUse = oldStyle(value, 0)
		}
		if reflect.DeepEqual(values[key], inUse[key]) {
			one.InUse = ""
		}
		shown = append(shown, one)
	}
	return shown, nil
}

// valueFlag adds --type to a command and gives what reads its value.
func valueFlag(command *cobra.Command) (read func(text string) (any, error)) {
	kind := command.Flags().String("type", "string", "string, int, float, bool, date, data (hexadecimal) or xml (a fragment of a property list)")
	return func(text string) (any, error) {
		parse := typedDefaults["-"+*kind]
		if *kind == "xml" {
			parse = parsePropertyList
		}
		if parse == nil {
			return nil, fmt.Errorf("%w: there is no type %q", errUsage, *kind)
		}
		value, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("%w: %q is no %s", errUsage, text, *kind)
		}
		return value, nil
	}
}

func prefsSetCommand() *cobra.Command {
	var inApplication bool
	command := &cobra.Command{
		Use: "set KEY VALUE", Short: "Set a preference as defaults does, or in the application's window", Args: argumentCount(2, 2),
		Example: `  prlsim prefs set SupportRequestUrl https://it.example.com --user bob
  prlsim prefs set "Application preferences.Download updates automatically" no --type bool`,
	}
	read := valueFlag(command)
	command.Flags().BoolVar(&inApplication, "in-app", false, "in the application, which goes by it at once; it must run")
	command.RunE = func(command *cobra.Command, given []string) error {
		value, err := read(given[1])
		if err != nil {
			return err
		}
		return prefsChange(command, func(mac Mac, state *State, target prefsTarget) error {
			set := func(values map[string]any) { values[given[0]] = value }
			switch {
			case inApplication && target.domain != productDomain:
				return fmt.Errorf("%w: the application's domain is %s", errUsage, productDomain)
			case inApplication && state.checkPreferencesLock(target.user) != nil:
				return state.checkPreferencesLock(target.user)
			case inApplication:
				return mac.changeInApplication(state, target.user, set)
			}
			return mac.preferencesInSession(state, target.user.Name).change(target.domain, set)
		})
	}
	return command
}

func prefsDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete [KEY]…", Short: "Delete preferences as defaults does: those named, or all", Args: argumentCount(0, -1),
		RunE: func(command *cobra.Command, keys []string) error {
			return prefsChange(command, func(mac Mac, state *State, target prefsTarget) error {
				return mac.preferencesInSession(state, target.user.Name).change(target.domain, func(values map[string]any) {
					maps.DeleteFunc(values, func(key string, _ any) bool { return len(keys) == 0 || slices.Contains(keys, key) })
				})
			})
		},
	}
}

func prefsEditCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "edit KEY VALUE", Short: "Change the file and not the preference: cfprefsd does not notice", Args: argumentCount(2, 2),
		Example: `  prlsim prefs edit "Application preferences.Check for updates" 0 --type int`,
	}
	read := valueFlag(command)
	command.RunE = func(command *cobra.Command, given []string) error {
		value, err := read(given[1])
		if err != nil {
			return err
		}
		return prefsChange(command, func(mac Mac, state *State, target prefsTarget) error {
			// A daemon that remembers nothing changes only the file.
			file := preferenceDaemon{mac: mac, state: state, account: target.user.Name}
			return file.change(target.domain, func(values map[string]any) { values[given[0]] = value })
		})
	}
	return command
}

// profileKeys are what an MDM says of the profile in the file of what it forces
// (facts/macos.md 5.3).
var profileKeys = map[string]any{"PayloadUUID": "5C7F6F0E-8F0D-4E54-9A3B-2C1E8B6D7A90", "_manualProfile": true}

func prefsForceCommand() *cobra.Command {
	var everybody bool
	command := &cobra.Command{
		Use: "force KEY VALUE", Short: "Force a preference by the profile of an MDM", Args: argumentCount(2, 2),
		Example: `  prlsim prefs force "Application preferences.Check for updates" 0 --type int --all`,
	}
	read := valueFlag(command)
	command.Flags().BoolVar(&everybody, "all", false, "for all users of the Mac")
	command.RunE = func(command *cobra.Command, given []string) error {
		value, err := read(given[1])
		if err != nil {
			return err
		}
		return prefsChange(command, func(mac Mac, _ *State, target prefsTarget) error {
			return mac.changeForced(target, everybody, func(values map[string]any) {
				maps.Copy(values, profileKeys)
				values[given[0]] = value
			})
		})
	}
	return command
}

func prefsUnforceCommand() *cobra.Command {
	var everybody bool
	command := &cobra.Command{
		Use: "unforce [KEY]…", Short: "Force preferences no longer: those named, or all", Args: argumentCount(0, -1),
		RunE: func(command *cobra.Command, keys []string) error {
			return prefsChange(command, func(mac Mac, _ *State, target prefsTarget) error {
				return mac.changeForced(target, everybody, func(values map[string]any) {
					maps.DeleteFunc(values, func(key string, _ any) bool { return len(keys) == 0 || slices.Contains(keys, key) })
				})
			})
		},
	}
	command.Flags().BoolVar(&everybody, "all", false, "those for all users of the Mac")
	return command
}

// changeForced changes what is forced on a user, or on everybody. A file that
// forces nothing is removed.
func (m Mac) changeForced(target prefsTarget, everybody bool, apply func(map[string]any)) error {
	user := target.user.Name
	if everybody {
		user = ""
	}
	values, err := readPreferences(m.forcedFile(target.domain, user))
	if err != nil {
		values = map[string]any{}
	}
	apply(values)
	if len(values) == 0 || len(values) == len(profileKeys) && values["PayloadUUID"] != nil {
		values = nil
	}
	return m.writeForced(target.domain, user, values)
}

func prefsForgetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "forget", Short: "End a user's cfprefsd: what it remembers of all domains is gone, and files are read anew", Args: argumentCount(0, 0),
		RunE: func(command *cobra.Command, _ []string) error {
			return prefsChange(command, func(mac Mac, state *State, target prefsTarget) error {
				return mac.forgetPreferences(state, target.user.UID)
			})
		},
	}
}

// createPreferences gives each user a domain as somebody has it who has used the
// application (captures.md 4.5, acting.md 2, facts/prlctl.md 7), with values of
// every type; the keys of the group Simulated are invented.
func (m Mac) createPreferences(state *State) error {
	for _, user := range state.Users {
		values := map[string]any{
			updateCheckKey: uint64(2), updateDownloadKey: true,
			lastCheckKey: time.Date(2026, 11, 20, 8, 15, 0, 0, time.UTC), lastPageKey: uint64(1),
			"Application preferences.Show Tray Icon": uint64(1), "Hidden Messages ID List.15077": uint64(1),
			"{" + seededUUID(state.Seed, "view of "+user.Name) + "}.0.ConsoleWidgetScaleFactorWithDynres": uint64(2),
			"Simulated.Huge": uint64(1<<64 - 1), "Simulated.Negative": int64(-1 << 63), "Simulated.Ratio": 0.1, "Simulated.Name": "Zoë \U0001F468\u200d\U0001F469",
			"Simulated.Bookmark": []byte("book\x00\x01\xff"), "Simulated.List": []any{"b", "a", uint64(0), false, map[string]any{"z": []any{}, "é": ""}},
		}
		content, err := encodeBinary(values)
		if err != nil {
			return err
		}
		if err := writeFileMode(m.Path(state.preferenceFile(user.Name, productDomain)), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}
