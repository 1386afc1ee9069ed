package localapi

import (
	"errors"
	"fmt"
	"net"
	"os/user"
	"slices"
	"strconv"
)

// Peer is who connected, as the kernel says it.
type Peer struct {
	UID uint32
	PID int // 0 where the system does not say; for the log only, it may have been reused
}

// Actor is what a peer may do, decided once per connection (H16).
type Actor struct {
	UID   uint32
	Name  string // account name; empty if the directory does not know the uid
	Admin bool   // root, the owner of a simulated Mac, or a member of the admin group
}

// errNoSocket means that a connection is not one of a unix socket.
var errNoSocket = errors.New("not a unix socket")

// peerOf asks the kernel who is at the other end.
func peerOf(connection net.Conn) (Peer, error) {
	socket, ok := connection.(*net.UnixConn)
	if !ok {
		return Peer{}, errNoSocket
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("read peer credentials: %w", err)
	}
	var peer Peer
	var peerError error
	err = raw.Control(func(descriptor uintptr) { peer, peerError = peerCredentials(int(descriptor)) })
	if err := errors.Join(err, peerError); err != nil {
		return Peer{}, fmt.Errorf("read peer credentials: %w", err)
	}
	return peer, nil
}

// AuthorizeLocal makes the decision of H16: root, ownerUID (the owner of a
// simulated Mac plays root) and the members of the Mac's admin group are
// admins. A uid that the directory does not know is an actor without a name
// and without rights.
func AuthorizeLocal(ownerUID uint32) func(Peer) Actor {
	return peerAuthorizer{owner: ownerUID, adminGroup: adminGroupID, account: lookUpAccount}.actorOf
}

type peerAuthorizer struct {
	owner      uint32
	adminGroup string // gid in decimal; empty = there is no such group
	account    func(uid uint32) (name string, groups []string, err error)
}

func (a peerAuthorizer) actorOf(peer Peer) Actor {
	name, groups, err := a.account(peer.UID)
	if err != nil {
		name, groups = "", nil
	}
	member := a.adminGroup != "" && slices.Contains(groups, a.adminGroup)
	return Actor{UID: peer.UID, Name: name, Admin: peer.UID == 0 || peer.UID == a.owner || member}
}

// lookUpAccount asks the system's directory, which also knows the groups that
// a process has not taken on.
func lookUpAccount(uid uint32) (string, []string, error) {
	account, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return "", nil, fmt.Errorf("look up account: %w", err)
	}
	groups, err := account.GroupIds()
	if err != nil {
		return account.Username, nil, nil
	}
	return account.Username, groups, nil
}
