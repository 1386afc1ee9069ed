package sim

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
)

func isKnownState(name string) bool { return slices.Contains(knownStates, name) }

func productCommand() *cobra.Command {
	return commandGroup("product", "Activate, deactivate and update Parallels Desktop",
		productActivateCommand(), productDeactivateCommand(), productLicenseCommand(), productEditionCommand(), productUpdateCommand(), productFeedCommand())
}

// productChange changes the product and renders its files again.
func productChange(command *cobra.Command, apply func(*State) error) error {
	return changeMac(command, func(mac Mac, state *State) (string, error) {
		if err := apply(state); err != nil {
			return "", err
		}
		return state.Product.summary(), mac.writeProductFiles(state)
	})
}

var editions = []string{"standard", "pro", "business", "enterprise"}

func productActivateCommand() *cobra.Command {
	var sso bool
	var key, edition string
	command := &cobra.Command{
		Use: "activate --sso | --key [KEY]", DisableFlagsInUseLine: true, Short: "Activate the license, or activate it again", Args: argumentCount(0, 1),
		Long: `Activate the license by single sign-on or by a key. On a product that is active
this activates it again: with another key the license is another one.`,
		Example: `  prlsim product activate --sso
  prlsim product activate --key --edition business
  prlsim product activate --key ABCDEF-123456-GHJKLM-789ABC-NPQRST`,
		RunE: func(command *cobra.Command, given []string) error {
			byKey := command.Flags().Changed("key")
			if sso == byKey || !byKey && len(given) > 0 {
				return fmt.Errorf("%w: either --sso or --key [KEY]", errUsage)
			}
			if len(given) > 0 {
				key = given[0]
			}
			if err := checkEdition(edition); err != nil {
				return err
			}
			return productChange(command, func(state *State) error { return state.activateLicense(key, edition) })
		},
	}
	command.Flags().BoolVar(&sso, "sso", false, "by single sign-on")
	command.Flags().StringVar(&key, "key", "", "by license key, five groups of six letters and digits; without one by "+maskedKey)
	command.Flags().Lookup("key").NoOptDefVal = maskedKey
	command.Flags().StringVar(&edition, "edition", "enterprise", "standard, pro, business or enterprise")
	return command
}

func checkEdition(edition string) error {
	if !slices.Contains(editions, edition) {
		return fmt.Errorf("%w: unknown edition %q (one of %v)", errUsage, edition, editions)
	}
	return nil
}

func productEditionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "edition EDITION", Short: "Change the edition of the license without an activation, as the license server does", Args: argumentCount(1, 1),
		Example: "  prlsim product edition business",
		RunE: func(command *cobra.Command, given []string) error {
			if err := checkEdition(given[0]); err != nil {
				return err
			}
			return productChange(command, func(state *State) error {
				if !state.Product.isInstalled() {
					return errors.New("the product is not activated")
				}
				state.Product.Edition = given[0]
				return nil
			})
		},
	}
}

func productDeactivateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "deactivate", Short: "Take the license away", Args: argumentCount(0, 0),
		RunE: func(command *cobra.Command, _ []string) error {
			return productChange(command, func(state *State) error {
				return state.Product.setLicenseStatus(noLicense)
			})
		},
	}
}

func productLicenseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "license STATUS", Short: "Let the license be active, graced, expired or invalid, or let there be none", Args: argumentCount(1, 1),
		Example: "  prlsim product license expired\n  prlsim product license none",
		RunE: func(command *cobra.Command, given []string) error {
			return productChange(command, func(state *State) error { return state.Product.setLicenseStatus(given[0]) })
		},
	}
}

func productUpdateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "update VERSION", Short: "Install another version, for example 27 or 26.5.0-58001", Args: argumentCount(1, 1),
		RunE: func(command *cobra.Command, given []string) error {
			return productChange(command, func(state *State) error {
				version, err := wholeVersion(given[0])
				if err == nil {
					state.moveProduct(version, "")
				}
				return err
			})
		},
	}
}

func faultCommand() *cobra.Command {
	parent := commandGroup("fault", "Switch troubles on and off",
		faultSetCommand(), faultClearCommand(), faultListCommand(), faultKindsCommand())
	parent.PersistentFlags().String("user", "", "only when the tools run for this user")
	return parent
}

func faultSetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "set NAME[=VALUE]…", Short: "Switch faults on", Args: argumentCount(1, -1),
		Example: "  prlsim fault set service_down\n  prlsim fault set hang=0 --user bob\n  prlsim fault set slow=250\n  prlsim fault set on_delete=move\n  prlsim fault set action_fails_but_done=stop,delete",
		RunE: func(command *cobra.Command, given []string) error {
			user, err := command.Flags().GetString("user")
			if err != nil {
				return err
			}
			return changeMac(command, func(_ Mac, state *State) (string, error) {
				for _, setting := range given {
					if err := state.setFault(setting, user); err != nil {
						return "", err
					}
				}
				return "", nil
			})
		},
	}
}

func faultClearCommand() *cobra.Command {
	return &cobra.Command{
		Use: "clear [NAME]…", Short: "Switch faults off: those named, or all", Args: argumentCount(0, -1),
		RunE: func(command *cobra.Command, given []string) error {
			user, err := command.Flags().GetString("user")
			if err != nil {
				return err
			}
			return changeMac(command, func(_ Mac, state *State) (string, error) {
				if len(given) == 0 {
					state.clearFault("", user)
				}
				for _, name := range given {
					if _, err := findFaultKind(name); err != nil {
						return "", err
					}
					state.clearFault(name, user)
				}
				return "", nil
			})
		},
	}
}

func faultListCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use: "list", Short: "List the faults that are on", Args: argumentCount(0, 0),
		RunE: func(command *cobra.Command, _ []string) error {
			state, err := loadState(command)
			if err != nil {
				return err
			}
			faults := append([]activeFault{}, state.Faults...)
			rows := [][]string{{"NAME", "VALUE", "USER"}}
			for _, fault := range faults {
				rows = append(rows, []string{fault.Name, fault.Value, fault.User})
			}
			return printRows(command, asJSON, faults, rows...)
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}

func faultKindsCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use: "kinds", Short: "List the faults that can be switched on", Args: argumentCount(0, 0),
		RunE: func(command *cobra.Command, _ []string) error {
			rows := [][]string{{"NAME", "VALUE", "MEANS"}}
			for _, kind := range faultKinds {
				rows = append(rows, []string{kind.Name, kind.Value, kind.Means})
			}
			return printRows(command, asJSON, faultKinds, rows...)
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}
