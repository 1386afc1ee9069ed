package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// DeleteOptions are what a deletion needs beside the Mac.
type DeleteOptions struct {
	Mac *Mac
	// Lift lifts what keeps machines from being removed, until it is put back, or until
	// a time, whatever ends the daemon (SEC-10, H68); nil: nothing does that here.
	Lift func(ctx context.Context, until time.Time) (restore func(context.Context) error, err error)
	// RemovalAsksPassword reports whether the host asks for an administrator before a
	// machine is removed, as the account's tool shows it.
	RemovalAsksPassword func(ctx context.Context, account *Account) (bool, error)
	// IsHeld reports whether a hold keeps the machine suspended: nobody can stop it
	// then, so nobody is waited for.
	IsHeld func(protocol.VMKey) bool
}

// Deletion deletes virtual machines (vm.delete).
//
// A machine that is in use is waited for, unless the command says otherwise, until it
// is stopped, not until it is suspended: most machines are suspended when their window
// is closed, with unsaved work in their memory, and are never stopped (facts/acting.md
// 1). With when: now, and from the deadline on, its user is told, the guest gets a
// minute to shut down, and is then ended; what a suspended machine had in its memory is
// dropped. So is that of a held one, which nobody could stop.
//
// It is done once no list of any account has the machine, no new machine is registered
// that carries its id or that of its source, its volume is there, and nothing on the
// disk leads any more to what was in its bundle (H25). Copies, snapshots of the volume
// and backups are not looked for, and nothing is overwritten.
type Deletion struct {
	options DeleteOptions

	mu    sync.Mutex
	acts  map[string]*deleteAct // by command id: what acts of this process saw
	lifts lifts
}

// deleteAct is what an act saw, and a process after this one cannot see again.
type deleteAct struct {
	files fileVerdict
	said  protocol.Code // by the tool that deleted; empty: nothing
}

// fileVerdict is what became of the files of a bundle.
type fileVerdict struct {
	known bool // they were held until they were looked at
	whole bool // nothing that was there was not held
	left  int  // files that are still there, whatever they are called
	keys  []string
	err   error // why it is not known
}

// NewDeletion returns the executor of vm.delete.
func NewDeletion(options DeleteOptions) *Deletion {
	return &Deletion{options: options, acts: make(map[string]*deleteAct)}
}

// deleteIntent is what is on record before a machine is deleted.
type deleteIntent struct {
	User     platform.User   `json:"user"`
	Bundle   string          `json:"bundle"` // Mac path
	Identity protocol.Bundle `json:"identity"`
	// Files find what was in the bundle again, after a restart: see fileKey. Before is
	// the same of an attempt before, and is not in the bundle any more.
	Files   []string `json:"files"`
	Before  []string `json:"before,omitempty"`
	Whole   bool     `json:"whole"` // nothing that is in the bundle is missing in Files
	Outside []string `json:"outside,omitempty"`
	Source  string   `json:"source,omitempty"`
	// Others are the machines that other entries of any list are, so that one that was
	// not there before is seen.
	Others []string `json:"others,omitempty"`
	Force  bool     `json:"force,omitempty"` // who uses it is not waited for
	Held   bool     `json:"held,omitempty"`  // nor is somebody who cannot stop it, as long as a hold has it suspended
}

const (
	deleteAgain = 30 * time.Second
	maxOthers   = 2 * protocol.MaxVMs // that an intent holds
)

// deleteText is what the user of a machine is told that is not waited for.
const deleteText = "Your organization removes one of your Parallels virtual machines. It is shut down within a minute; save your work."

// Prepare only reads.
func (d *Deletion) Prepare(ctx context.Context, job *Job) (*Readiness, error) {
	p := &deletePreparation{Deletion: d, mac: d.options.Mac, job: job, target: &job.Command.Target}
	if err := job.Command.DecodeParams(&p.params); err != nil {
		return rejectedAs(protocol.CodeCommandInvalid, ""), nil
	}
	leave, err := p.mac.takeLook(ctx, job)
	if err != nil {
		return nil, err
	}
	defer leave()
	return p.run(ctx)
}

// deletePreparation is one Prepare.
type deletePreparation struct {
	*Deletion
	mac    *Mac
	job    *Job
	target *protocol.CommandTarget
	params protocol.DeleteParams

	account *Account
	lists   listings
	vm      *prlctl.VM
	intent  deleteIntent
}

func rejectedAs(code protocol.Code, message string) *Readiness {
	return &Readiness{State: protocol.CommandRejected, Code: code, Message: message}
}

func failedAtOnce(code protocol.Code, message string) *Readiness {
	return &Readiness{State: protocol.CommandFailed, Code: code, Message: message}
}

func deferredAs(code protocol.Code, message string, retryAt time.Time) *Readiness {
	return &Readiness{State: protocol.CommandDeferred, Code: code, Message: message, RetryAt: retryAt}
}

// run looks for what speaks against the deletion, in this order: who it belongs to,
// whether it is what was signed, what state it is in, what depends on it. A step is nil
// if nothing does.
func (p *deletePreparation) run(ctx context.Context) (*Readiness, error) {
	for _, step := range deleteSteps {
		if ready, err := step(p, ctx); err != nil || ready != nil {
			return ready, err
		}
	}
	intent, err := json.Marshal(&p.intent)
	if err != nil {
		return nil, fmt.Errorf("make intent: %w", err)
	}
	return &Readiness{Intent: intent, Observed: map[string]string{"vm_state": string(stateOf(p.vm)), "files": strconv.Itoa(len(p.intent.Files))}}, nil
}

var deleteSteps = []func(*deletePreparation, context.Context) (*Readiness, error){
	(*deletePreparation).findVM, (*deletePreparation).compare, (*deletePreparation).judgeState,
	(*deletePreparation).judgeDependents, (*deletePreparation).record,
}

// findVM finds the machine in its owner's list.
func (p *deletePreparation) findVM(ctx context.Context) (*Readiness, error) {
	accounts, owner, err := p.mac.accountsWith(ctx, p.target.UID)
	if err != nil {
		return nil, err
	}
	p.account = owner
	p.lists = p.mac.listAll(ctx, accounts)
	if p.account != nil {
		listed, failed := p.lists.find(p.target.UID, p.target.VMID)
		if listed != nil {
			return p.readVM(ctx, listed)
		}
		if failed != nil {
			return deferredAs(protocol.CodeTargetUnlisted, string(protocol.CodeOf(failed)), time.Time{}), nil
		}
	}
	for _, other := range p.lists.each() {
		if other.vm.ID == p.target.VMID {
			return rejectedAs(protocol.CodeTargetOwner, "It belongs to uid "+strconv.FormatUint(uint64(other.account.User.UID), 10)+"."), nil
		}
	}
	if account, failed := p.lists.unlisted(); account != nil {
		return deferredAs(protocol.CodeTargetUnlisted, "uid "+strconv.FormatUint(uint64(account.User.UID), 10)+": "+string(protocol.CodeOf(failed)), time.Time{}), nil
	}
	return p.judgeAbsent(ctx)
}

// readVM asks for the machine by its id: the bulk list may leave the bundle out.
func (p *deletePreparation) readVM(ctx context.Context, listed *prlctl.VM) (ready *Readiness, err error) {
	p.vm, err = p.mac.get(ctx, p.account, listed.ID)
	if protocol.CodeOf(err) == protocol.CodeVMNotFound { // between the two
		return deferredAs(protocol.CodeVMBusy, "", p.mac.Now().Add(deleteAgain)), nil
	}
	return nil, err
}

// judgeAbsent says what it means that nobody lists the machine: that it is gone, or
// that its bundle is somewhere, unregistered.
func (p *deletePreparation) judgeAbsent(ctx context.Context) (*Readiness, error) {
	if len(p.job.Intent) > 0 { // what was in it is on record since the attempt before
		seen, err := p.verify(ctx, p.job)
		if err != nil {
			return nil, err
		}
		if seen.State == "" { // it is listed again
			return deferredAs(protocol.CodeVMBusy, "", p.mac.Now().Add(deleteAgain)), nil
		}
		return &Readiness{State: seen.State, Code: seen.Code, Message: seen.Message, Observed: seen.Observed}, nil
	}
	gone, err := p.isGone(ctx, p.account, p.target)
	switch {
	case err != nil:
		return nil, err
	case !gone:
		return deferredAs(protocol.CodeTargetChanged, "It is in no list, and its bundle is still there.", time.Time{}), nil
	}
	return &Readiness{State: protocol.CommandSucceeded, Code: protocol.CodeAlreadyAbsent, Observed: map[string]string{
		"accounts_listed": strconv.Itoa(len(p.lists)),
	}}, nil
}

// isGone reports whether the bundle that was signed for is nowhere to be found on its
// volume. The error has the code not_observable where nobody can tell.
func (d *Deletion) isGone(ctx context.Context, account *Account, target *protocol.CommandTarget) (bool, error) {
	isNamed := target.Bundle.Inode != 0 && (target.Bundle.Volume != "" || target.Bundle.Device != 0)
	if account == nil || !isNamed {
		return false, newCodeError(protocol.CodeNotObservable, "Nobody can look for its bundle.")
	}
	home := account.User.Home
	near := path.Join(home, "Parallels")
	if last := d.options.Mac.LastBundle; last != nil {
		near = cmp.Or(last(target.VM()), near)
	}
	search := platform.FolderSearch{
		Inode: target.Bundle.Inode, Volume: target.Bundle.Volume, Device: target.Bundle.Device, Places: []string{home, "/Users/Shared"},
	}
	if folder := path.Dir(near); !strings.HasPrefix(folder+"/", home+"/") && !strings.HasPrefix(folder+"/", "/Users/Shared/") {
		search.Places = append(search.Places, folder)
	}
	var found platform.FoundFolder
	err := d.options.Mac.Lanes.Run(ctx, account.User.UID, hangsAfter, func() (err error) {
		found, err = d.options.Mac.Files.FindFolder(ctx, account.User, near, search)
		return err
	})
	switch {
	case err != nil:
		return false, fmt.Errorf("look for the bundle: %w", err)
	case found.Present:
		return false, nil
	case !found.Mounted:
		return false, newCodeError(protocol.CodeNotObservable, "The volume on which its bundle lay is not there.")
	case !found.Known && !found.Whole:
		return false, newCodeError(protocol.CodeNotObservable, "Not everything in which its bundle could be may be looked at.")
	}
	return true, nil
}

// compare holds what is there against what was signed (H20, H21).
func (p *deletePreparation) compare(ctx context.Context) (*Readiness, error) {
	if isRenamed(p.vm, p.target) {
		return deferredAs(protocol.CodeTargetChanged, "It has another name.", time.Time{}), nil
	}
	if p.vm.Security.Packed.On() {
		return failedAtOnce(protocol.CodeVMPacked, "Unpack it first: what becomes of a packed one cannot be seen."), nil
	}
	if p.target.Bundle.Inode == 0 {
		return failedAtOnce(protocol.CodeNotObservable, "The command does not name its bundle."), nil
	}
	p.intent.Bundle, p.intent.User = p.vm.Bundle(), p.account.User
	if p.intent.Bundle == "" {
		return deferredAs(protocol.CodeTargetChanged, "Its bundle is not known.", time.Time{}), nil
	}
	answers, err := p.mac.lookAtFiles(ctx, &p.account.User, []platform.FileQuestion{{Path: p.intent.Bundle}})
	if err != nil {
		return nil, err
	}
	answer := &answers[0]
	switch {
	case isAbsent(answer.Err):
		return deferredAs(protocol.CodeTargetChanged, "Its bundle is not there.", time.Time{}), nil
	case answer.Err != nil:
		return nil, newCodeError(protocol.CodeNotObservable, "Its bundle may not be looked at.")
	case !answer.Folder || !isSignedBundle(bundleIdentity(answer), p.target.Bundle):
		return deferredAs(protocol.CodeTargetChanged, "Its bundle is another one.", time.Time{}), nil
	case stateOf(p.vm) == prlctl.StateInvalid:
		// The vendor's tools do not delete such a one (facts/prlctl.md 2.8), and nobody
		// else deletes in a user's folders.
		return failedAtOnce(protocol.CodeVMInvalid, "The tools do not delete a machine that they call invalid."), nil
	}
	p.intent.Identity = bundleIdentity(answer)
	return nil, nil
}

// isSignedBundle reports whether a bundle is the one that was signed for: what cannot be
// compared is no match where something is destroyed. Device numbers are given anew at each
// boot, and say nothing (H21).
func isSignedBundle(found, signed protocol.Bundle) bool {
	return found.Inode == signed.Inode && (signed.Volume == "" || found.Volume == signed.Volume)
}

// judgeState says whether the machine is waited for.
func (p *deletePreparation) judgeState(ctx context.Context) (*Readiness, error) {
	deadline := p.params.Deadline
	p.intent.Force = p.params.When == protocol.DeleteNow || !deadline.IsZero() && !p.mac.Now().Before(deadline)
	state := stateOf(p.vm)
	if state == prlctl.StateStopped {
		processes, err := p.mac.vmProcesses(ctx, p.vm.ID)
		if err != nil {
			return nil, err
		}
		if len(processes) > 0 { // from outside of a session the tool is known to say so (facts/prlctl.md 5.4)
			state = prlctl.StateRunning
		}
	}
	switch {
	case state == prlctl.StateStopped, p.intent.Force:
		return nil, nil
	case p.isKept(p.target.VM()) && state == prlctl.StateSuspended:
		p.intent.Held = true
		return nil, nil
	}
	return deferredAs(protocol.CodeWaitsForStop, "It is "+protocol.CutText(string(state), 32)+".", deadline), nil
}

// isKept reports whether a hold keeps the machine suspended now.
func (d *Deletion) isKept(key protocol.VMKey) bool {
	return d.options.IsHeld != nil && d.options.IsHeld(key)
}

// judgeDependents refuses a machine of which linked clones live: the link is only in
// their config.pvs (facts/prlctl.md 2.4). What cannot be read of others keeps nothing
// from being deleted.
func (p *deletePreparation) judgeDependents(ctx context.Context) (*Readiness, error) {
	clones := 0
	all := p.lists.each()
	configs := p.mac.readConfigs(ctx, all)
	for i := range all {
		listed := &all[i]
		config := configs[i]
		if config == nil { // it cannot be read
			config = &prlctl.ConfigPVS{}
		}
		switch {
		case listed.key() == p.target.VM():
			p.intent.Source = config.SourceVMUUID
			continue
		case listed.vm.ID == p.vm.ID && p.isSameBundle(ctx, listed):
			continue // a machine that several accounts share
		case config.LinkedVMUUID == p.vm.ID:
			clones++
		}
		if len(p.intent.Others) < maxOthers {
			p.intent.Others = append(p.intent.Others, listed.key().String())
		}
	}
	if clones > 0 {
		return failedAtOnce(protocol.CodeHasDependents, strconv.Itoa(clones)+" linked clones depend on it."), nil
	}
	return nil, nil
}

// isSameBundle reports whether another account lists the same bundle.
func (p *deletePreparation) isSameBundle(ctx context.Context, listed *listedVM) bool {
	vm, err := listed.vm, error(nil)
	if vm.Bundle() == "" {
		vm, err = p.mac.get(ctx, listed.account, vm.ID)
	}
	return err == nil && vm.Bundle() == p.intent.Bundle
}

// record takes down what is in the bundle.
func (p *deletePreparation) record(ctx context.Context) (*Readiness, error) {
	p.intent.Outside = disksOutside(p.vm, p.intent.Bundle)
	held, err := p.hold(ctx, p.account, &p.intent)
	if err != nil {
		return nil, err
	}
	defer held.Close()
	p.intent.Files, p.intent.Whole = fileKeys(held), held.Whole && hasDisks(held, p.vm, p.intent.Bundle)
	var earlier deleteIntent
	if len(p.job.Intent) > 0 && json.Unmarshal(p.job.Intent, &earlier) == nil {
		for _, key := range append(earlier.Files, earlier.Before...) {
			if !slices.Contains(p.intent.Files, key) {
				p.intent.Before = append(p.intent.Before, key)
			}
		}
		p.intent.Whole = p.intent.Whole && earlier.Whole
	}
	return nil, nil
}

// hold holds everything that is in a bundle, and the disk images that are not. It fails
// where the bundle is not the one on record any more.
func (d *Deletion) hold(ctx context.Context, account *Account, intent *deleteIntent) (held *platform.Held, err error) {
	err = d.options.Mac.Lanes.Run(ctx, account.User.UID, hangsAfter, func() (err error) {
		held, err = d.options.Mac.Files.HoldFiles(ctx, account.User, append([]string{intent.Bundle}, intent.Outside...))
		return err
	})
	if err != nil {
		return nil, err
	}
	if bundle := topOf(held); bundle == nil || !bundle.Folder || bundle.Inode != intent.Identity.Inode || bundle.Volume != intent.Identity.Volume {
		held.Close()
		return nil, newCodeError(protocol.CodeTargetChanged, "Its bundle is another one.")
	}
	for _, problem := range held.Problems[1:] {
		held.Whole = held.Whole && (problem == nil || isAbsent(problem))
	}
	return held, nil
}

// topOf is the bundle itself, of what is held; nil if it is not.
func topOf(held *platform.Held) *platform.HeldFile {
	for i := range held.Files {
		if file := &held.Files[i]; file.Asked == 0 && file.Top {
			return file
		}
	}
	return nil
}

// fileKeys name the files that are held, but for folders, so that they are found again.
func fileKeys(held *platform.Held) (keys []string) {
	for i := range held.Files {
		if !held.Files[i].Folder {
			keys = append(keys, fileKey(&held.Files[i]))
		}
	}
	return keys
}

// fileKey names a file: by what the system finds it with, or else, in this boot, by its
// numbers, behind a sign that no id has.
func fileKey(file *platform.HeldFile) string {
	return cmp.Or(file.ID, fmt.Sprintf("#%d/%d", file.Device, file.Inode))
}

// disksOutside are the machine's disk images that are not in its bundle.
func disksOutside(vm *prlctl.VM, bundle string) (outside []string) {
	for i := range vm.Disks {
		if image := imagePath(vm.Disks[i].Image, bundle); image != "" && image != bundle && !strings.HasPrefix(image, bundle+"/") {
			outside = append(outside, image)
		}
	}
	return outside[:min(len(outside), maxOutside)]
}

// maxOutside is how many of them are held; a machine has at most 16 disks.
const maxOutside = 16

// imagePath is where a disk image is; empty where none is named.
func imagePath(image, bundle string) string {
	switch {
	case image == "":
		return ""
	case path.IsAbs(image):
		return path.Clean(image)
	}
	return path.Join(bundle, image)
}

// hasDisks reports whether something is held of each disk image of the machine: one
// that somebody has taken away before is not gone.
func hasDisks(held *platform.Held, vm *prlctl.VM, bundle string) bool {
	for i := range vm.Disks {
		if image := imagePath(vm.Disks[i].Image, bundle); image != "" && !isHeld(held, image) {
			return false
		}
	}
	return true
}

// isHeld reports whether a disk image is held, or a file in it.
func isHeld(held *platform.Held, image string) bool {
	for i := range held.Files {
		file := &held.Files[i]
		if !file.Folder && (file.Path == image || strings.HasPrefix(file.Path, image+"/")) {
			return true
		}
	}
	return false
}

var errNoIntent = errors.New("nothing is on record of what was to be deleted")
