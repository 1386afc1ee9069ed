package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// pointless are refusals of the tool that another attempt would meet again.
var pointless = []protocol.Code{
	protocol.CodeVMPassword, protocol.CodeAdminPassword, protocol.CodeEdition, protocol.CodeLicenseExpired,
	protocol.CodeNoLicense, protocol.CodeUnrecognized, protocol.CodeReleaseUnproven,
}

// Verify only reads. It succeeds only where everything that H25 asks for was seen; what
// cannot be seen now is asked for again, and what cannot be seen at all is
// not_observable.
func (d *Deletion) Verify(ctx context.Context, job *Job) (*Outcome, error) {
	leave, err := d.options.Mac.takeLook(ctx, job)
	if err != nil {
		return nil, err
	}
	defer leave()
	return d.verify(ctx, job)
}

func (d *Deletion) verify(ctx context.Context, job *Job) (*Outcome, error) {
	v := &deleteVerification{Deletion: d, mac: d.options.Mac, job: job, act: d.actOf(job.Command.CommandID)}
	return v.run(ctx)
}

// deleteVerification is one Verify.
type deleteVerification struct {
	*Deletion
	mac    *Mac
	job    *Job
	act    *deleteAct // nil: of another process
	intent deleteIntent
	lists  listings
}

func failedAs(code protocol.Code, message string) *Outcome {
	return &Outcome{State: protocol.CommandFailed, Code: code, Message: message}
}

func (v *deleteVerification) run(ctx context.Context) (*Outcome, error) {
	target := &v.job.Command.Target
	accounts, _, err := v.mac.accountsWith(ctx, target.UID)
	if err != nil {
		return nil, err
	}
	v.lists = v.mac.listAll(ctx, accounts)
	if listed, _ := v.lists.find(target.UID, target.VMID); listed != nil {
		return v.notDone(), nil
	}
	if account, err := v.lists.unlisted(); account != nil {
		return nil, fmt.Errorf("list machines of uid %d: %w", account.User.UID, err)
	}
	if len(v.job.Intent) == 0 || json.Unmarshal(v.job.Intent, &v.intent) != nil {
		return v.judgeWithoutIntent(ctx)
	}
	if outcome := v.judgeOthers(ctx); outcome != nil {
		return outcome, nil
	}
	return v.judgeFiles(ctx)
}

// notDone is that the machine is still in its owner's list.
func (v *deleteVerification) notDone() *Outcome {
	code := protocol.Code("")
	if v.act != nil {
		code = v.act.said
	}
	if slices.Contains(pointless, code) {
		return failedAs(code, "The tool refuses to delete it.")
	}
	outcome := &Outcome{Code: protocol.CodeNotDone}
	if code != "" {
		outcome.Message = "The tool says: " + string(code)
	}
	return outcome
}

// judgeWithoutIntent goes by the command alone: what was in the bundle is not known.
func (v *deleteVerification) judgeWithoutIntent(ctx context.Context) (*Outcome, error) {
	account, err := v.mac.account(ctx, v.job.Command.Target.UID)
	if err != nil {
		return nil, err
	}
	gone, err := v.isGone(ctx, account, &v.job.Command.Target)
	switch {
	case protocol.CodeOf(err) == protocol.CodeNotObservable:
		return failedAs(protocol.CodeNotObservable, err.Error()), nil
	case err != nil:
		return nil, err
	case !gone:
		return failedAs(protocol.CodeTargetChanged, "It is in no list, and its bundle is still there."), nil
	}
	return failedAs(protocol.CodeNotObservable, "Its bundle is not where it was; what was in it is not known."), nil
}

// judgeOthers looks whether the machine is registered once more, under another account
// or another id: by what its config.pvs says, of every entry that was not there before.
// It is nil if it is not.
func (v *deleteVerification) judgeOthers(ctx context.Context) *Outcome {
	all := v.lists.each()
	for i := range all {
		listed := &all[i]
		switch {
		case slices.Contains(v.intent.Others, listed.key().String()):
			continue
		case listed.vm.ID == v.job.Command.Target.VMID:
			return failedAs(protocol.CodeTargetChanged, "It is registered with uid "+strconv.FormatUint(uint64(listed.account.User.UID), 10)+".")
		}
		config, err := v.mac.readConfig(ctx, listed)
		switch {
		case err != nil:
			return failedAs(protocol.CodeNotObservable, "A machine was registered meanwhile of which nothing can be read.")
		case v.isKin(config.VMUUID, config.SourceVMUUID, config.LinkedVMUUID):
			return failedAs(protocol.CodeTargetChanged, "A machine was registered meanwhile that carries its id or that of its source.")
		}
	}
	return nil
}

// isKin reports whether one of the ids is the machine's or its source's.
func (v *deleteVerification) isKin(ids ...string) bool {
	return slices.ContainsFunc(ids, func(id string) bool {
		return id != "" && (id == v.job.Command.Target.VMID || id == v.intent.Source)
	})
}

// judgeFiles says whether the files of the bundle are gone.
func (v *deleteVerification) judgeFiles(ctx context.Context) (*Outcome, error) {
	user := &v.intent.User
	answers, err := v.mac.lookAtFiles(ctx, user, []platform.FileQuestion{{Path: v.intent.Bundle}})
	if err != nil {
		return nil, err
	}
	switch answer := &answers[0]; {
	case answer.Err == nil && v.isRemoving():
		return nil, newCodeError(protocol.CodeNotDone, "It is in no list any more; its bundle is still there.")
	case answer.Err == nil && answer.Inode == v.intent.Identity.Inode:
		return failedAs(protocol.CodeNotDone, "It is in no list any more, and its bundle is still there."), nil
	case answer.Err == nil:
		return failedAs(protocol.CodeTargetChanged, "Something else is where its bundle was."), nil
	case !isAbsent(answer.Err):
		return failedAs(protocol.CodeNotObservable, "Where its bundle was may not be looked at."), nil
	}
	left, volume, err := v.findFiles(ctx, user)
	switch {
	case errors.Is(err, platform.ErrNotFindable):
		return v.judgeByAct(volume), nil
	case err != nil:
		return nil, err
	case volume != v.intent.Identity.Volume:
		return failedAs(protocol.CodeNotObservable, "Its volume is not there."), nil
	case left > 0:
		return v.filesLeft(left), nil
	case !v.intent.Whole || v.act != nil && v.act.files.known && !v.act.files.whole:
		return failedAs(protocol.CodeNotObservable, "Not everything in its bundle could be observed."), nil
	}
	return v.done("by number"), nil
}

// isRemoving reports whether what another daemon began may still go on: the vendor's
// service does the work, and not the tool that ended with that daemon. Nobody saw the
// tool come back.
func (v *deleteVerification) isRemoving() bool {
	began := v.job.BegunAt
	return v.act == nil && !began.IsZero() && v.mac.Now().Sub(began).Abs() < prlctl.DeleteLimit
}

// findFiles counts what is left of the files on record, wherever it is. The error is
// platform.ErrNotFindable where only an act that held them can tell.
func (v *deleteVerification) findFiles(ctx context.Context, user *platform.User) (left int, volume string, err error) {
	ids := append(append([]string{}, v.intent.Files...), v.intent.Before...)
	if v.act != nil {
		ids = append(ids, v.act.files.keys...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	findable := slices.DeleteFunc(slices.Clone(ids), func(key string) bool { return strings.HasPrefix(key, "#") })
	var present []string
	err = v.mac.Lanes.Run(ctx, user.UID, hangsAfter, func() (err error) {
		present, volume, err = v.mac.Files.FindFiles(ctx, *user, v.intent.Bundle, findable)
		return err
	})
	if err == nil && len(findable) < len(ids) {
		err = platform.ErrNotFindable
	}
	return len(present), volume, err
}

// judgeByAct goes by what the act saw that held the files.
func (v *deleteVerification) judgeByAct(volume string) *Outcome {
	switch {
	case volume != v.intent.Identity.Volume:
		return failedAs(protocol.CodeNotObservable, "Its volume is not there.")
	case v.act == nil || !v.act.files.known:
		return failedAs(protocol.CodeNotObservable, "It is in no list any more; nobody saw what became of its files.")
	case v.act.files.left > 0:
		return v.filesLeft(v.act.files.left)
	case !v.act.files.whole || !v.intent.Whole:
		return failedAs(protocol.CodeNotObservable, "Not everything in its bundle could be observed.")
	case len(v.intent.Before) > 0:
		return failedAs(protocol.CodeNotObservable, "Files were taken out of its bundle between two attempts.")
	}
	return v.done("by open files")
}

// filesLeft is that some of the files have a name still. Where the machine has disk
// images elsewhere, it may be these.
func (v *deleteVerification) filesLeft(count int) *Outcome {
	outcome := failedAs(protocol.CodeTargetChanged, "Its bundle is gone, and some of its files are still on the volume.")
	if len(v.intent.Outside) > 0 {
		outcome.Code, outcome.Message = protocol.CodeNotDone, "Disk images that are not in its bundle, or other files of it, are still there."
	}
	outcome.Observed = map[string]string{"files_left": strconv.Itoa(count)}
	return outcome
}

func (v *deleteVerification) done(how string) *Outcome {
	return &Outcome{State: protocol.CommandSucceeded, Code: protocol.CodeVerifiedAbsent, Observed: map[string]string{
		"accounts_listed": strconv.Itoa(len(v.lists)), "files_gone": strconv.Itoa(len(v.intent.Files)), "seen": how,
	}}
}
