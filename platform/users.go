package platform

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"prlagent/platform/plist"
	"prlagent/platform/tool"
)

// User is one person's account on the Mac.
type User struct {
	Name     string // short name
	UID      uint32 // at least 501
	Home     string // absolute Mac path
	RealName string // as the person or the admin typed it: data, not text to trust
}

// Users gives the accounts of people, sorted by uid: uid of at least
// 501 (H13), no service account (`_name`, nobody, daemon), and a home
// folder. Whether that exists is for the user's own process to see (H11): it may
// be on a volume that does not answer. Accounts that a directory service keeps
// only remotely are not among them (facts/macos.md 8).
func (m *Machine) Users(ctx context.Context) ([]User, error) {
	out, err := m.runQuery(ctx, tool.Command{
		Path: "/usr/bin/dscl",
		Args: []string{"-plist", ".", "-readall", "/Users", "RecordName", "UniqueID", "NFSHomeDirectory", "RealName"},
	})
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	users, err := parseUsers(out)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	return users, nil
}

// parseUsers reads the list of records of `dscl -plist … -readall`: each is a
// dictionary whose values are lists of strings. Records that are not a person's
// account, or that lack what one needs, are left out.
func parseUsers(data []byte) ([]User, error) {
	tree, err := plist.Decode(data)
	if err != nil {
		return nil, err
	}
	records, ok := tree.([]any)
	if !ok {
		return nil, &plist.Error{Code: plist.CodeWrongType, Err: fmt.Errorf("not a list of records but %T", tree)}
	}
	var users []User
	for _, record := range records {
		if user, ok := parseUser(record); ok {
			users = append(users, user)
		}
	}
	slices.SortFunc(users, func(a, b User) int {
		return cmp.Or(cmp.Compare(a.UID, b.UID), cmp.Compare(a.Name, b.Name))
	})
	return users, nil
}

func parseUser(record any) (User, bool) {
	fields, ok := record.(map[string]any)
	if !ok {
		return User{}, false
	}
	uid, err := strconv.ParseUint(firstValue(fields, "UniqueID"), 10, 32)
	if err != nil {
		return User{}, false
	}
	user := User{
		Name:     firstValue(fields, "RecordName"),
		UID:      uint32(uid),
		Home:     firstValue(fields, "NFSHomeDirectory"),
		RealName: firstValue(fields, "RealName"),
	}
	return user, user.isPerson() && filepath.IsAbs(user.Home) && !slices.Contains(noHomes, user.Home)
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

func (u User) isPerson() bool {
	return u.UID >= firstUserUID && u.UID <= math.MaxInt32 &&
		!strings.HasPrefix(u.Name, "_") && !slices.Contains(serviceNames, u.Name)
}
