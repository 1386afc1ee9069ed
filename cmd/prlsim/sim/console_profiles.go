package sim

import (
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"
)

func profileCommand() *cobra.Command {
	parent := commandGroup("profile", "Install and remove configuration profiles, as an MDM does",
		profileInstallCommand(), profileRemoveCommand(), profileListCommand())
	parent.Long = `Install and remove configuration profiles, as an MDM does: what they force is in
/Library/Managed Preferences at once, and the command profiles shows them. A profile
takes the place of one with the same identifier.`
	parent.Example = `  prlsim profile install agent.mobileconfig
  prlsim profile remove org.example.agent`
	return parent
}

func profileInstallCommand() *cobra.Command {
	var user string
	command := &cobra.Command{
		Use: "install FILE", Short: "Install a profile, for the Mac or for a user", Args: argumentCount(1, 1),
		RunE: func(command *cobra.Command, given []string) error {
			content, err := os.ReadFile(given[0])
			if err != nil {
				return fmt.Errorf("read profile: %w", err)
			}
			return changeMac(command, func(mac Mac, state *State) (string, error) {
				if user != "" {
					if _, err := state.userIndex(user); err != nil {
						return "", err
					}
				}
				document, err := mac.installProfile(state, content, user)
				return document.identifier + " is installed", err
			})
		},
	}
	command.Flags().StringVar(&user, "user", "", "whose it is (default: the Mac's)")
	return command
}

func profileRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove IDENTIFIER", Short: "Remove a profile, and what it forces", Args: argumentCount(1, 1),
		RunE: func(command *cobra.Command, given []string) error {
			return changeMac(command, func(mac Mac, state *State) (string, error) {
				return given[0] + " is removed", mac.removeProfile(state, given[0])
			})
		},
	}
}

// listedProfile is one of 'profile list --json'.
type listedProfile struct {
	Identifier string `json:"identifier"`
	installedProfile
}

func profileListCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use: "list", Short: "List the profiles that are installed", Args: argumentCount(0, 0),
		RunE: func(command *cobra.Command, _ []string) error {
			state, err := loadState(command)
			if err != nil {
				return err
			}
			rows, listed := [][]string{{"IDENTIFIER", "USER"}}, []listedProfile{}
			for _, identifier := range slices.Sorted(maps.Keys(state.Profiles)) {
				one := listedProfile{identifier, state.Profiles[identifier]}
				rows, listed = append(rows, []string{one.Identifier, one.User}), append(listed, one)
			}
			return printRows(command, asJSON, listed, rows...)
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}
