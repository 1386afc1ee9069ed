package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/lane"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// Account is an account of the Mac.
type Account struct {
	User    platform.User
	Session bool // it has a GUI session
}

// Directory says who uses the Mac. *platform.Machine does.
type Directory interface {
	Users(context.Context) (platform.Users, error)
	Console(context.Context) (platform.Console, error)
	Processes(context.Context) ([]platform.Process, error)
}

// Files looks at what is under a user's control, as that user (H11).
// *platform.Machine does.
type Files interface {
	LookAtFiles(context.Context, platform.User, []platform.FileQuestion) ([]platform.FileAnswer, error)
	HoldFiles(ctx context.Context, u platform.User, paths []string) (*platform.Held, error)
	FindFiles(ctx context.Context, u platform.User, path string, ids []string) (present []string, volume string, err error)
	FindFolder(ctx context.Context, u platform.User, near string, search platform.FolderSearch) (platform.FoundFolder, error)
}

// VMTool is prlctl as one user. What a verb says is a hint.
type VMTool interface {
	List(context.Context) (prlctl.Listing, error)
	Get(ctx context.Context, id string) (prlctl.VM, error)
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id string) error
	Kill(ctx context.Context, id string) error
	DropState(ctx context.Context, id string) error
	Restart(ctx context.Context, id string) error
	Delete(ctx context.Context, id string) error
}

// Mac is what the executors work with.
type Mac struct {
	Directory Directory
	Files     Files
	Lanes     *lane.Lanes
	// Tool gives prlctl as the user, inside their GUI session if they have one.
	Tool func(*Account) VMTool
	// LastBundle is where a machine's bundle was at the last look; empty if that is not
	// known; nil: it never is.
	LastBundle func(protocol.VMKey) string
	// Tell asks the Mac to show a user a text, which is all ours; nil: nobody is told.
	Tell func(ctx context.Context, user *platform.User, text string)
	Now  func() time.Time // the likely time of day
	// Pause waits before something is looked at again.
	Pause func(ctx context.Context, wait time.Duration)
	Log   zerolog.Logger

	looks turns
}

// turns are whose turn it is, by uid.
type turns struct {
	atOnce int // how many have it for one user at the same time; 0 is one
	mu     sync.Mutex
	of     map[uint32]chan struct{} // full while nobody else can have it
}

func (t *turns) at(uid uint32) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = make(map[uint32]chan struct{})
	}
	if t.of[uid] == nil {
		t.of[uid] = make(chan struct{}, max(t.atOnce, 1))
	}
	return t.of[uid]
}

// take waits for the turn of an account, which leave ends.
func (t *turns) take(ctx context.Context, uid uint32) (leave func(), err error) {
	turn := t.at(uid)
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// takeLook has one command of an account after the other looked for, until leave. A look is
// many runs in the account's lane: were those of a hundred commands mixed there, none would
// end in time.
func (m *Mac) takeLook(ctx context.Context, job *Job) (leave func(), err error) {
	return m.looks.take(ctx, job.Command.Target.UID)
}

// Limits of what executors do in a user's lane and wait for.
const (
	hangsAfter = 10 * time.Second // a run gives its slot to others
	lookEvery  = time.Second      // while something is to become visible
)

// accounts are those that may have virtual machines, as the Mac says it now: with a
// GUI session, or with traces of the product.
func (m *Mac) accounts(ctx context.Context) ([]*Account, error) {
	users, err := m.Directory.Users(ctx)
	if err != nil {
		return nil, err
	}
	if len(users.People) == 0 { // a directory that knows nobody is no proof that all are gone
		return nil, fmt.Errorf("list users: %w", newCodeError(protocol.CodeTargetUnlisted, ""))
	}
	console, err := m.Directory.Console(ctx)
	if err != nil {
		return nil, err
	}
	found := make([]*Account, len(users.People))
	var visits sync.WaitGroup
	for i := range users.People {
		account := accountIn(&users, i, &console)
		visits.Go(func() {
			if account.Session || m.hasTraces(ctx, &account.User) {
				found[i] = account
			}
		})
	}
	visits.Wait()
	var accounts []*Account
	for _, account := range found {
		if account != nil {
			accounts = append(accounts, account)
		}
	}
	return accounts, ctx.Err()
}

// accountIn is the account of one of the people, with what the console says of them.
func accountIn(users *platform.Users, person int, console *platform.Console) *Account {
	user := users.People[person]
	return &Account{User: user, Session: slices.Contains(console.Sessions, user.UID)}
}

// hasTraces reports whether the account may have used the product: what may not be
// looked at may be there.
func (m *Mac) hasTraces(ctx context.Context, user *platform.User) bool {
	questions := make([]platform.FileQuestion, len(prlctl.UsageTraces))
	for i, trace := range prlctl.UsageTraces {
		questions[i].Path = path.Join(user.Home, trace)
	}
	answers, err := m.lookAtFiles(ctx, user, questions)
	for i := range answers {
		if !isAbsent(answers[i].Err) {
			return true
		}
	}
	return err != nil
}

// account is accountOf of the Mac's own directory.
func (m *Mac) account(ctx context.Context, uid uint32) (*Account, error) {
	return accountOf(ctx, m.Directory, uid)
}

// accountOf finds an account by its uid; nil if the Mac has none. Whether it used the
// product is not asked.
func accountOf(ctx context.Context, directory Directory, uid uint32) (*Account, error) {
	users, err := directory.Users(ctx)
	if err != nil || len(users.People) == 0 {
		return nil, errors.Join(err, newCodeError(protocol.CodeTargetUnlisted, ""))
	}
	console, err := directory.Console(ctx)
	if err != nil {
		return nil, err
	}
	for i := range users.People {
		if users.People[i].UID == uid {
			return accountIn(&users, i, &console), nil
		}
	}
	return nil, nil
}

// accountsWith are the accounts that may have virtual machines, and in any case the one
// with the uid, whatever traces it has left; owner is nil if the Mac has none such.
func (m *Mac) accountsWith(ctx context.Context, uid uint32) (accounts []*Account, owner *Account, err error) {
	if owner, err = m.account(ctx, uid); err != nil {
		return nil, nil, err
	}
	if accounts, err = m.accounts(ctx); err != nil {
		return nil, nil, err
	}
	for _, account := range accounts {
		if account.User.UID == uid {
			return accounts, owner, nil
		}
	}
	if owner != nil {
		accounts = append(accounts, owner)
	}
	return accounts, owner, nil
}

// inLane runs something when it is the account's turn.
func (m *Mac) inLane(ctx context.Context, account *Account, run func(VMTool) error) error {
	return m.Lanes.Run(ctx, account.User.UID, hangsAfter, func() error { return run(m.Tool(account)) })
}

func (m *Mac) lookAtFiles(ctx context.Context, user *platform.User, questions []platform.FileQuestion) (answers []platform.FileAnswer, err error) {
	err = m.Lanes.Run(ctx, user.UID, hangsAfter, func() (err error) {
		answers, err = m.Files.LookAtFiles(ctx, *user, questions)
		return err
	})
	return answers, err
}

func (m *Mac) get(ctx context.Context, account *Account, id string) (*prlctl.VM, error) {
	var vm prlctl.VM
	err := m.inLane(ctx, account, func(tool VMTool) (err error) {
		vm, err = tool.Get(ctx, id)
		return err
	})
	return &vm, err
}

func (m *Mac) tell(ctx context.Context, account *Account, text string) {
	if m.Tell != nil && account.Session {
		m.Tell(ctx, &account.User, text)
	}
}

// vmProcesses are the processes that run the machine with this id. Another account's
// machine may have the same id, so that more may be found than there are of it.
func (m *Mac) vmProcesses(ctx context.Context, id string) ([]platform.Process, error) {
	processes, err := m.Directory.Processes(ctx)
	if err != nil {
		return nil, err
	}
	running := processes[:0]
	for i := range processes {
		process := &processes[i]
		if named, err := prlctl.ParseID(process.Arguments.VMID); err == nil && named == id && prlctl.IsVMProgram(process.Path) {
			running = append(running, *process)
		}
	}
	return running, nil
}

// listing is what a fresh list of an account says.
type listing struct {
	account *Account
	list    prlctl.Listing
	failed  error // why there is no list, or none that is whole
}

type listings []listing

// listAll lists the machines of all accounts, side by side.
func (m *Mac) listAll(ctx context.Context, accounts []*Account) listings {
	seen := make(listings, len(accounts))
	var visits sync.WaitGroup
	for i := range seen {
		one := &seen[i]
		one.account = accounts[i]
		visits.Go(func() {
			one.failed = m.inLane(ctx, one.account, func(tool VMTool) (err error) {
				one.list, err = tool.List(ctx)
				return err
			})
			if one.failed == nil && len(one.list.Unreadable) > 0 {
				one.failed = newCodeError(protocol.CodeUnreadableVM, "")
			}
		})
	}
	visits.Wait()
	return seen
}

// unlisted is an account that could not be listed as a whole; nil if all were.
func (l listings) unlisted() (*Account, error) {
	for i := range l {
		if l[i].failed != nil {
			return l[i].account, l[i].failed
		}
	}
	return nil, nil
}

// find is a machine as an account lists it, or nil, and then why the list may not have it.
func (l listings) find(uid uint32, id string) (vm *prlctl.VM, failed error) {
	for i := range l {
		if l[i].account.User.UID != uid {
			continue
		}
		for n := range l[i].list.VMs {
			if vm = &l[i].list.VMs[n]; vm.ID == id {
				return vm, nil
			}
		}
		return nil, l[i].failed
	}
	return nil, nil
}

// listedVM is a machine in the list of an account.
type listedVM struct {
	account *Account
	vm      *prlctl.VM
}

func (v *listedVM) key() protocol.VMKey { return protocol.VMKey{ID: v.vm.ID, UID: v.account.User.UID} }

// each are the machines of all lists, by account.
func (l listings) each() (all []listedVM) {
	for i := range l {
		for n := range l[i].list.VMs {
			all = append(all, listedVM{l[i].account, &l[i].list.VMs[n]})
		}
	}
	return all
}

// readConfig reads config.pvs of a machine, as its user. Of the bulk list the bundle's
// path may be missing (facts/prlctl.md 2.1).
func (m *Mac) readConfig(ctx context.Context, listed *listedVM) (*prlctl.ConfigPVS, error) {
	vm, err := listed.vm, error(nil)
	if vm.Bundle() == "" {
		if vm, err = m.get(ctx, listed.account, vm.ID); err != nil {
			return nil, err
		}
	}
	configs, err := m.configsAt(ctx, listed.account, []string{vm.Bundle()})
	if err != nil || configs[0] == nil {
		return nil, errors.Join(err, newCodeError(protocol.CodeNotReadable, ""))
	}
	return configs[0], nil
}

// readConfigs reads what can be read of config.pvs of many machines, with one look for
// each account; where a bundle is, the last look of the agent says, or else the tool.
// There is one of each machine, in their order, nil where it cannot be read.
func (m *Mac) readConfigs(ctx context.Context, all []listedVM) (found []*prlctl.ConfigPVS) {
	for len(all) > 0 {
		count := 1
		for count < len(all) && all[count].account == all[0].account {
			count++
		}
		found = append(found, m.readConfigsOf(ctx, all[:count])...)
		all = all[count:]
	}
	return found
}

func (m *Mac) readConfigsOf(ctx context.Context, ofAccount []listedVM) []*prlctl.ConfigPVS {
	bundles := make([]string, len(ofAccount))
	for i := range ofAccount {
		bundles[i] = ofAccount[i].vm.Bundle()
		if bundles[i] == "" && m.LastBundle != nil {
			bundles[i] = m.LastBundle(ofAccount[i].key())
		}
	}
	configs, err := m.configsAt(ctx, ofAccount[0].account, bundles)
	if err != nil {
		configs = make([]*prlctl.ConfigPVS, len(ofAccount))
	}
	for i := range ofAccount {
		if configs[i] == nil || configs[i].VMUUID != ofAccount[i].vm.ID { // what is missing is asked for one by one
			configs[i], _ = m.readConfig(ctx, &ofAccount[i])
		}
	}
	return configs
}

// configsAt reads config.pvs in bundles; nil for one that cannot be read.
func (m *Mac) configsAt(ctx context.Context, account *Account, bundles []string) ([]*prlctl.ConfigPVS, error) {
	questions := make([]platform.FileQuestion, len(bundles))
	for i, bundle := range bundles {
		questions[i] = platform.FileQuestion{Path: path.Join("/", bundle, "config.pvs"), Reader: prlctl.ConfigReader}
	}
	answers, err := m.lookAtFiles(ctx, &account.User, questions)
	if err != nil {
		return nil, err
	}
	configs := make([]*prlctl.ConfigPVS, len(bundles))
	for i := range answers {
		if bundles[i] == "" || answers[i].Err != nil {
			continue
		}
		if config, err := prlctl.DecodeConfigPVS(answers[i].Fields); err == nil {
			configs[i] = config
		}
	}
	return configs, nil
}

// bundleIdentity is what an answer about a bundle's path says of it (H21).
func bundleIdentity(answer *platform.FileAnswer) protocol.Bundle {
	if answer.Volume == "" {
		return protocol.Bundle{Device: answer.Device, Inode: answer.Inode}
	}
	return protocol.Bundle{Volume: answer.Volume, Inode: answer.Inode}
}

// state is a machine's state in lower case, as the tool has it.
func stateOf(vm *prlctl.VM) prlctl.State { return prlctl.State(strings.ToLower(string(vm.State))) }

// codeError is an error that is nothing but a code.
type codeError struct {
	code protocol.Code
	text string
}

// newCodeError is one with a text, or with the code's where that is empty.
func newCodeError(code protocol.Code, text string) error { return &codeError{code, text} }

// Error is the text, or the code's.
func (e *codeError) Error() string { return cmp.Or(e.text, e.code.Text().Text) }

// ErrorCode is the code.
func (e *codeError) ErrorCode() string { return string(e.code) }

func isAbsent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
