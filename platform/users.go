package platform

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"prlagent/platform/plist"
	"prlagent/platform/tool"
)

// User is one account on the Mac. It is its uid: the name can change, and two
// records can have one uid.
type User struct {
	Name     string // short name
	UID      uint32 // a person's is at least 501
	Home     string // absolute Mac path
	RealName string // as the person or the admin typed it: data, not text to trust
}

// Users are the accounts that the Mac has a record of, sorted by uid.
type Users struct {
	// People have a uid of at least 501 (H13) and a home folder, and are no service
	// account (`_name`, nobody, daemon). Whether the home exists is for the user's
	// own process to see (H11): it may be on a volume that does not answer. Each
	// uid is there once, under the first of its names.
	People []User
	Others []User // with whatever is in their records
}

// Users gives the accounts that the Mac has a record of. Those that a directory
// service keeps only remotely are not among them (facts/macos.md 8).
func (m *Machine) Users(ctx context.Context) (Users, error) {
	out, err := m.runQuery(ctx, &tool.Command{
		Path: "/usr/bin/dscl",
		Args: []string{"-plist", ".", "-readall", "/Users", "RecordName", "UniqueID", "NFSHomeDirectory", "RealName"},
	})
	if err != nil {
		return Users{}, fmt.Errorf("list users: %w", err)
	}
	users, err := parseUsers(out)
	if err != nil {
		return Users{}, fmt.Errorf("list users: %w", err)
	}
	return users, nil
}

// parseUsers reads the list of records of `dscl -plist … -readall`: each is a
// dictionary whose values are lists of strings. Those without a name or a uid
// are left out.
func parseUsers(data []byte) (Users, error) {
	tree, err := plist.Decode(data)
	if err != nil {
		return Users{}, err
	}
	records, ok := tree.([]any)
	if !ok {
		return Users{}, &plist.Error{Code: plist.CodeWrongType, Err: fmt.Errorf("not a list of records but %T", tree)}
	}
	var users Users
	for _, record := range records {
		switch user, ok := parseUser(record); {
		case !ok:
		case user.isPerson() && user.hasHome():
			users.People = append(users.People, user)
		default:
			users.Others = append(users.Others, user)
		}
	}
	for _, list := range [][]User{users.People, users.Others} {
		sort.SliceStable(list, func(i, j int) bool {
			return cmp.Or(cmp.Compare(list[i].UID, list[j].UID), cmp.Compare(list[i].Name, list[j].Name)) < 0
		})
	}
	users.People = slices.CompactFunc(users.People, func(a, b User) bool { return a.UID == b.UID })
	return users, nil
}

func parseUser(record any) (User, bool) {
	fields, ok := record.(map[string]any)
	if !ok {
		return User{}, false
	}
	uid, err := strconv.ParseInt(firstValue(fields, "UniqueID"), 10, 64) // nobody's is -2, in 32 bits
	if err != nil || uid > math.MaxUint32 || uid < math.MinInt32 {
		return User{}, false
	}
	user := User{
		Name:     firstValue(fields, "RecordName"),
		UID:      uint32(uid),
		Home:     firstValue(fields, "NFSHomeDirectory"),
		RealName: firstValue(fields, "RealName"),
	}
	return user, user.Name != ""
}

// noHomes stand for having none, as in accounts that only share files.
var noHomes = []string{"/dev/null", "/var/empty"}

// firstValue gives the first value of a directory attribute, "" without one.
func firstValue(fields map[string]any, name string) string {
	values, _ := fields["dsAttrTypeStandard:"+name].([]any)
	if len(values) == 0 {
		return ""
	}
	text, _ := values[0].(string)
	return text
}

// serviceNames have no leading underscore; nobody's uid is -2, which some tools
// print as a large number.
var serviceNames = []string{"", "root", "nobody", "daemon"}

// isPerson reports whether the account may be a person's, by its uid and name.
func (u User) isPerson() bool { return !u.HasLowUID() && !u.HasHighUID() && !u.IsService() }

// HasLowUID reports whether the account's uid is below those of people, as that
// of an administrator whom the login window does not show. Nothing is run as it
// (H13).
func (u User) HasLowUID() bool { return u.UID < firstUserUID }

// HasHighUID reports whether the account's uid is more than the tools take,
// which read it as a negative number.
func (u User) HasHighUID() bool { return u.UID > math.MaxInt32 }

// IsService reports whether the account's name is one of the system's.
func (u User) IsService() bool {
	return strings.HasPrefix(u.Name, "_") || slices.Contains(serviceNames, u.Name)
}

func (u User) hasHome() bool { return filepath.IsAbs(u.Home) && !slices.Contains(noHomes, u.Home) }
