package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"sort"

	"prlagent/agent/protocol"
	"prlagent/platform"
)

// maxUnlooked bounds how many accounts are named that are not looked at. Who
// has a session is said by a text that a user can lengthen (platform.Console).
const maxUnlooked = 32

// unlookedAccounts are those that are not looked at and would be missed, over
// the life of a process: whoever ran a virtual machine once has one.
type unlookedAccounts struct {
	haveRun map[uint32]bool
	named   map[uint32]protocol.Code // in the log
	names   map[uint32]string        // of accounts without a record, as the console called them
}

func newUnlooked() unlookedAccounts {
	return unlookedAccounts{haveRun: make(map[uint32]bool), named: make(map[uint32]protocol.Code), names: make(map[uint32]string)}
}

// nameUnlooked adds to the users of the look the accounts that it leaves out,
// each with its reason. While nobody knows who there is, nobody is left out.
func (l *look) nameUnlooked() {
	if !l.knowsUsers {
		return
	}
	var unlooked []protocol.UserLook
	missed := l.missedAccounts()
	named := missed[:min(len(missed), maxUnlooked)]
	for _, uid := range named {
		account := l.accountOf(uid)
		unlooked = append(unlooked, protocol.UserLook{Name: account.Name, UID: uid, Code: l.reasonUnlooked(account)})
	}
	if more := len(missed) - len(named); more > 0 {
		unlooked[len(unlooked)-1].LeftOut = more
	}
	l.result.Users = append(l.result.Users, unlooked...)
	users := l.result.Users
	sort.SliceStable(users, func(i, j int) bool { return users[i].UID < users[j].UID })
	l.logUnlooked(unlooked)
}

// missedAccounts are the uids that are no looked-at account's and have a session,
// have run a virtual machine, or have a record as if they were a person's; in
// order, those first that are more than a text about sessions.
func (l *look) missedAccounts() []uint32 {
	for _, uid := range l.runners {
		l.collector.unlooked.haveRun[uid] = true
	}
	missed := slices.Clone(l.console.Sessions)
	for uid := range l.collector.unlooked.haveRun {
		missed = append(missed, uid)
	}
	for _, user := range l.others {
		if user.HasHighUID() && !user.IsService() {
			missed = append(missed, user.UID)
		}
	}
	slices.Sort(missed)
	missed = slices.DeleteFunc(slices.Compact(missed), l.isLookedAt)
	var sure, unsure []uint32
	for _, uid := range missed {
		if findUser(l.others, uid) != nil || l.collector.unlooked.haveRun[uid] {
			sure = append(sure, uid)
		} else {
			unsure = append(unsure, uid)
		}
	}
	return append(sure, unsure...)
}

// isLookedAt reports whether the uid is that of an account that is looked at:
// below a root one uid plays all of them.
func (l *look) isLookedAt(uid uint32) bool {
	for _, user := range l.users {
		if user.UID == uid || l.collector.sources.Files.UIDOnDisk(user) == uid {
			return true
		}
	}
	return false
}

// accountOf is what is known of an account that is not looked at.
func (l *look) accountOf(uid uint32) *platform.User {
	if user := findUser(l.others, uid); user != nil {
		return user
	}
	if l.console.UID == uid && l.console.User != "" {
		l.collector.unlooked.names[uid] = l.console.User
	}
	return &platform.User{Name: cmp.Or(l.collector.unlooked.names[uid], fmt.Sprintf("uid %d", uid)), UID: uid}
}

func (l *look) reasonUnlooked(account *platform.User) protocol.Code {
	switch {
	case account.HasLowUID():
		return protocol.CodeAccountUIDLow
	case account.HasHighUID():
		return protocol.CodeAccountUIDHigh
	case findUser(l.others, account.UID) != nil:
		return protocol.CodeAccountHidden
	}
	return protocol.CodeAccountNotLocal
}

// logUnlooked logs each account once for each reason.
func (l *look) logUnlooked(unlooked []protocol.UserLook) {
	for _, account := range unlooked {
		if l.collector.unlooked.named[account.UID] == account.Code {
			continue
		}
		l.collector.unlooked.named[account.UID] = account.Code
		l.collector.log.Warn().Str("user", account.Name).Uint32("uid", account.UID).Str("code", string(account.Code)).
			Msg("an account is not looked at")
	}
}
