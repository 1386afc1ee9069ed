package sim

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func userCommand() *cobra.Command {
	return commandGroup("user", "List, add and rename the users, log them in and out",
		userListCommand(), userAddCommand(), userRenameCommand(), userSessionCommand("login", "Give a user a session and the screen", (*State).logIn),
		userSessionCommand("logout", "End a user's session", (*State).logOut), userNotificationsCommand())
}

func userListCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use: "list", Short: "List the users", Args: argumentCount(0, 0),
		RunE: func(command *cobra.Command, _ []string) error {
			state, err := loadState(command)
			if err != nil {
				return err
			}
			rows := [][]string{{"NAME", "UID", "SESSION"}}
			for _, user := range state.Users {
				rows = append(rows, []string{user.Name, strconv.Itoa(user.UID), state.sessionText(user)})
			}
			return printRows(command, asJSON, state.Users, rows...)
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}

func (s *State) sessionText(user macUser) string {
	switch {
	case user.Name == s.Console:
		return "on the screen"
	case user.LoggedIn:
		return "switched out"
	}
	return "none"
}

func userSessionCommand(use, short string, apply func(*State, int)) *cobra.Command {
	return &cobra.Command{
		Use: use + " NAME", Short: short, Args: argumentCount(1, 1),
		RunE: func(command *cobra.Command, given []string) error {
			return changeMac(command, func(_ Mac, state *State) (string, error) {
				index, err := state.userIndex(given[0])
				if err != nil {
					return "", err
				}
				apply(state, index)
				return given[0] + ": " + state.sessionText(state.Users[index]), nil
			})
		},
	}
}

func (s *State) userIndex(name string) (int, error) {
	index := slices.IndexFunc(s.Users, func(u macUser) bool { return u.Name == name })
	if index < 0 {
		return 0, fmt.Errorf("no user %q on this Mac", name)
	}
	return index, nil
}

func (s *State) logInByName(name string) error {
	index, err := s.userIndex(name)
	if err == nil {
		s.logIn(index)
	}
	return err
}

// logIn puts the user on the screen; who was there is switched out.
func (s *State) logIn(index int) {
	s.Users[index].LoggedIn = true
	s.Console = s.Users[index].Name
}

// logOut ends the session and its application; the screen shows the login
// window if it was there.
func (s *State) logOut(index int) {
	s.Users[index].LoggedIn = false
	s.quitApp(s.Users[index].Name)
	if s.Console == s.Users[index].Name {
		s.Console = ""
	}
}

func userAddCommand() *cobra.Command {
	var uid int
	var standard, newcomer bool
	command := &cobra.Command{
		Use: "add NAME", Short: "Add an account, without a session", Args: argumentCount(1, 1),
		Example: "  prlsim user add carol\n  prlsim user add dave --standard --new\n  prlsim user add svc --uid 450",
		RunE: func(command *cobra.Command, given []string) error {
			return changeMac(command, func(mac Mac, state *State) (string, error) {
				user := macUser{Name: given[0], FullName: given[0], UID: uid, Standard: standard}
				if err := state.addUser(user); err != nil || newcomer {
					return user.Name + ": added", err
				}
				return user.Name + ": added", mac.makeFolders(user.home()+"/Parallels", user.home()+"/Library/Preferences")
			})
		},
	}
	command.Flags().IntVar(&uid, "uid", 0, "user id (default: the next one)")
	command.Flags().BoolVar(&standard, "standard", false, "no administrator")
	command.Flags().BoolVar(&newcomer, "new", false, "without a home folder, which the first login makes")
	return command
}

// addUser adds an account; without a uid it gets the next one.
func (s *State) addUser(user macUser) error {
	if err := s.checkUserName(user.Name); err != nil {
		return err
	}
	if user.UID == 0 {
		user.UID = firstUID
		for _, other := range s.Users {
			user.UID = max(user.UID, other.UID+1)
		}
	}
	if other, twice := s.userByUID(user.UID); twice {
		return fmt.Errorf("%w: uid %d is %s", errUsage, user.UID, other.Name)
	}
	s.Users = append(s.Users, user)
	return nil
}

func (s *State) checkUserName(name string) error {
	if _, twice := s.userByName(name); twice || name == rootUser || !userName().MatchString(name) {
		return fmt.Errorf("%w: %q cannot be the name of a user", errUsage, name)
	}
	return nil
}

func userRenameCommand() *cobra.Command {
	var moveHome bool
	command := &cobra.Command{
		Use: "rename NAME NEW-NAME", Short: "Rename an account; its uid stays", Args: argumentCount(2, 2),
		Long: `Rename an account. Its uid stays, and so does its home folder, unless it is
renamed, too.`,
		RunE: func(command *cobra.Command, given []string) error {
			return changeMac(command, func(mac Mac, state *State) (string, error) {
				if err := state.renameUser(given[0], given[1]); err != nil {
					return "", err
				}
				if moveHome {
					if err := mac.moveHome(state, given[1]); err != nil {
						return "", err
					}
				}
				return given[0] + ": now " + given[1], nil
			})
		},
	}
	command.Flags().BoolVar(&moveHome, "move-home", false, "rename the home folder, with the VMs in it")
	return command
}

// renameUser gives an account another name. All that belongs to it goes along.
func (s *State) renameUser(old, name string) error {
	index, err := s.userIndex(old)
	if err != nil {
		return err
	}
	if err := s.checkUserName(name); err != nil {
		return err
	}
	s.Users[index].Home = s.Users[index].home()
	s.Users[index].Name = name
	owners := []*string{&s.Console}
	for _, vm := range s.VMs {
		owners = append(owners, &vm.Owner)
	}
	for i := range s.Apps {
		owners = append(owners, &s.Apps[i].User)
	}
	for i := range s.Faults {
		owners = append(owners, &s.Faults[i].User)
	}
	for _, owner := range owners {
		if *owner == old {
			*owner = name
		}
	}
	return nil
}

// moveHome gives a user's home folder the user's name. VMs in it must be at rest.
func (m Mac) moveHome(state *State, name string) error {
	index, err := state.userIndex(name)
	if err != nil {
		return err
	}
	old := state.Users[index].home()
	state.Users[index].Home = ""
	home := state.Users[index].home()
	for _, vm := range state.VMs {
		inside, is := strings.CutPrefix(vm.Bundle, old+"/")
		if is && vm.hasProcess() {
			return fmt.Errorf("%s: %w: it is %s", vm.Name, errWrongState, vm.State)
		}
		if is {
			vm.Bundle = home + "/" + inside
		}
	}
	if _, err := os.Lstat(m.Path(home)); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is there already", home)
	}
	if err := os.Rename(m.Path(old), m.Path(home)); err != nil {
		return fmt.Errorf("move home folder: %w", err)
	}
	return nil
}
