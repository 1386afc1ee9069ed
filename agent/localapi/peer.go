package localapi

import (
	"errors"
	"fmt"
	"net"
	"os/user"
	"slices"
	"strconv"
	"sync"
	"time"

	"prlagent/platform"
)

// Peer is who connected, as the kernel says it.
type Peer = platform.Peer

// Actor is what a peer may do, decided once per connection (H16).
type Actor struct {
	UID   uint32
	Name  string // account name; empty if the directory does not know the uid
	Admin bool   // root, the owner of a simulated Mac, or a member of the admin group
	Root  bool   // one of the first two
	// Unresolved: the directory did not answer in time, so name and groups are
	// unknown.
	Unresolved bool
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
	err = raw.Control(func(descriptor uintptr) { peer, peerError = platform.PeerOf(int(descriptor)) })
	if err := errors.Join(err, peerError); err != nil {
		return Peer{}, fmt.Errorf("read peer credentials: %w", err)
	}
	return peer, nil
}

// AuthorizeLocal makes the decision of H16: root, ownerUID (the owner of a
// simulated Mac plays root) and the members of the Mac's admin group are
// admins. The first two are so by their uid, before anybody asks the directory
// (H66). A uid that the directory does not know is an actor without a name and
// without rights.
func AuthorizeLocal(ownerUID uint32) func(Peer) Actor {
	asked := &directory{account: lookUpAccount, patience: directoryPatience}
	return peerAuthorizer{owner: ownerUID, adminGroup: adminGroupID, account: asked.lookUp}.actorOf
}

type peerAuthorizer struct {
	owner      uint32
	adminGroup string // gid in decimal; empty = there is no such group
	account    func(uid uint32) (name string, groups []string, err error)
}

func (a peerAuthorizer) actorOf(peer Peer) Actor {
	if peer.UID == 0 || peer.UID == a.owner {
		return Actor{UID: peer.UID, Admin: true, Root: true}
	}
	name, groups, err := a.account(peer.UID)
	if err != nil {
		return Actor{UID: peer.UID, Unresolved: errors.Is(err, errDirectorySilent)}
	}
	member := a.adminGroup != "" && slices.Contains(groups, a.adminGroup)
	return Actor{UID: peer.UID, Name: name, Admin: member}
}

const (
	directoryPatience = 2 * time.Second
	maxLookUps        = 8 // at a time, those that hang included
)

var errDirectorySilent = errors.New("the directory does not answer in time")

// directory asks the system's directory, which may be a server far away that
// hangs: with a deadline, about each user once at a time, and no more while too
// many questions are open. It is safe for concurrent use.
type directory struct {
	account  func(uid uint32) (name string, groups []string, err error)
	patience time.Duration

	mutex sync.Mutex
	open  map[uint32]*lookUp
}

// lookUp is a question to the directory; its answer is there once done is closed.
type lookUp struct {
	done   chan struct{}
	name   string
	groups []string
	err    error
}

// lookUp gives name and groups of a user; errDirectorySilent if that takes too
// long.
func (d *directory) lookUp(uid uint32) (string, []string, error) {
	question := d.ask(uid)
	if question == nil {
		return "", nil, errDirectorySilent
	}
	patience := time.NewTimer(d.patience)
	defer patience.Stop()
	select {
	case <-question.done:
		return question.name, question.groups, question.err
	case <-patience.C:
		return "", nil, errDirectorySilent
	}
}

// ask gives the open question about a user, or asks; nil if too many are open.
func (d *directory) ask(uid uint32) *lookUp {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if question := d.open[uid]; question != nil || len(d.open) >= maxLookUps {
		return question
	}
	question := &lookUp{done: make(chan struct{})}
	if d.open == nil {
		d.open = make(map[uint32]*lookUp)
	}
	d.open[uid] = question
	go func() {
		question.name, question.groups, question.err = d.account(uid)
		close(question.done)
		d.mutex.Lock()
		defer d.mutex.Unlock()
		delete(d.open, uid)
	}()
	return question
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
