package sim

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// launchdPath is where launchd is. On a Mac it is process 1 and keeps all jobs; here a
// process of it keeps one.
const launchdPath = "/sbin/launchd"

// jobKeeper starts the program of one job, sees it end, and starts it again.
type jobKeeper struct {
	in    *invocation
	label string
	pipe  *wakePipe

	program   *exec.Cmd // nil: it does not run
	ended     chan int  // its exit code
	startedAt time.Time // its last start
	wanted    bool      // it is to run
	atOnce    bool      // and does not wait for ThrottleInterval
	again     bool      // it is to run again once it has ended
	kicks     int       // of the job, that were obeyed
	kills     int
	killAt    time.Time // when it is killed that was asked to end
	endedAt   time.Time // when nothing ran any more of a job that leaves
}

// runLaunchd plays `launchd LABEL`.
func runLaunchd(in *invocation) int {
	if len(in.args) != 1 {
		return in.failf(1, "launchd: wrong arguments")
	}
	unlock, err := in.mac.openLock(os.O_RDWR, unix.LOCK_SH) // the starter saves our id
	if err != nil {
		return in.failf(1, "launchd: %v", err)
	}
	unlock()
	k := &jobKeeper{in: in, label: in.args[0], pipe: inheritedWakePipe(0), ended: make(chan int, 1)}
	defer k.kill()
	poll := backgroundPoll
	if k.pipe.descriptor < 0 {
		poll = backgroundPollAlone
	}
	for {
		wait, err := k.step()
		if err != nil || wait < 0 {
			return 0
		}
		k.pipe.wait(min(wait, poll), -1)
	}
}

// step does what is due, and says how long nothing is; below 0, that the job is gone.
func (k *jobKeeper) step() (time.Duration, error) {
	select {
	case exit := <-k.ended:
		if err := k.noteEnd(exit); err != nil {
			return 0, err
		}
	default:
	}
	state, err := k.in.mac.Load()
	if err != nil {
		return 0, err // the Mac is gone
	}
	job := state.Jobs[k.label]
	if job.Keeper != os.Getpid() {
		return -1, nil
	}
	if job.Runs == 0 && k.startedAt.IsZero() && !k.wanted {
		k.wanted = job.Definition.RunAtLoad
	}
	k.obey(state, job)
	switch {
	case job.Leaving:
		return k.leave(state, job)
	case k.program != nil:
		return k.endInTime(), nil
	case !k.wanted:
		return backgroundPoll, nil
	}
	if wait := time.Until(k.startedAt.Add(job.Definition.throttle())); !k.startedAt.IsZero() && !k.atOnce && wait > 0 {
		return wait, k.noteThrottled()
	}
	return 0, k.start(state, job)
}

// obey does what kickstart asks for.
func (k *jobKeeper) obey(state *State, job launchdJob) {
	if job.Kicks == k.kicks {
		return
	}
	k.kicks, k.wanted = job.Kicks, true
	k.atOnce = state.assumes("kickstart_throttle", "at_once")
	if job.Kills == k.kills {
		return
	}
	k.kills, k.again = job.Kills, k.program != nil
	if state.assumes("kickstart_kill", "term") {
		k.terminate(job)
		return
	}
	k.kill()
}

// leave ends the program, and then lets launchd forget the job.
func (k *jobKeeper) leave(state *State, job launchdJob) (time.Duration, error) {
	k.wanted = false
	if k.program != nil {
		if k.killAt.IsZero() {
			k.terminate(job)
		}
		return k.endInTime(), nil
	}
	if k.endedAt.IsZero() {
		k.endedAt = time.Now()
	}
	if wait := time.Until(k.endedAt.Add(state.teardownDelay())); wait > 0 {
		return wait, nil
	}
	return -1, k.change(func(job *launchdJob) { job.unload() })
}

// terminate asks the program to end, within ExitTimeOut.
func (k *jobKeeper) terminate(job launchdJob) {
	if k.program != nil {
		_ = k.program.Process.Signal(syscall.SIGTERM) // it may have ended
		k.killAt = time.Now().Add(job.Definition.exitLimit())
	}
}

// endInTime kills the program when its time to end is over.
func (k *jobKeeper) endInTime() time.Duration {
	if k.killAt.IsZero() {
		return backgroundPoll
	}
	if wait := time.Until(k.killAt); wait > 0 {
		return wait
	}
	k.kill()
	return backgroundPoll
}

// kill ends the program and what is left in its process group.
func (k *jobKeeper) kill() {
	if k.program != nil {
		_ = syscall.Kill(-k.program.Process.Pid, syscall.SIGKILL) // it may have ended
	}
}

// start starts the program with an environment that has nothing of this process.
func (k *jobKeeper) start(state *State, job launchdJob) error {
	k.startedAt, k.atOnce, k.killAt = time.Now(), false, time.Time{}
	program, err := k.command(state, job.Definition)
	if err != nil { // it cannot be started: as launchd says of a program that is missing
		return k.noteEnd(exitNoProgram)
	}
	k.program = program
	go k.await(program)
	return k.change(func(job *launchdJob) {
		job.PID, job.Throttled, job.Runs = program.Process.Pid, false, job.Runs+1
	})
}

// exitNoProgram is EX_CONFIG of sysexits(3): a job that cannot be started at all.
const exitNoProgram = 78

func (k *jobKeeper) command(state *State, definition jobDefinition) (*exec.Cmd, error) {
	mac := k.in.mac
	path := mac.Path(definition.program())
	program := exec.Command(path, definition.Arguments[min(1, len(definition.Arguments)):]...)
	program.Args[0] = mac.Dir + definition.program()
	program.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin"}
	for _, name := range slices.Sorted(maps.Keys(state.JobEnvironment)) {
		program.Env = append(program.Env, name+"="+state.JobEnvironment[name])
	}
	program.Dir = mac.Path(cmp.Or(definition.Folder, "/"))
	program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	previous := unix.Umask(definition.Umask)
	defer unix.Umask(previous)
	output, err := openJobFile(mac, definition.OutputFile)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	problems, err := openJobFile(mac, definition.ErrorFile)
	if err != nil {
		return nil, err
	}
	defer problems.Close()
	program.Stdout, program.Stderr = output, problems
	if err := program.Start(); err != nil {
		return nil, fmt.Errorf("start job: %w", err)
	}
	return program, nil
}

// openJobFile opens a file for what a job prints. launchd makes no folder for it.
func openJobFile(mac Mac, macPath string) (*os.File, error) {
	if macPath == "" {
		return os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	}
	return os.OpenFile(filepath.Clean(mac.Path(macPath)), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
}

// await waits for the program's end and wakes the keeper.
func (k *jobKeeper) await(program *exec.Cmd) {
	err := program.Wait()
	exit := program.ProcessState.ExitCode()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		if status, ok := ended.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			exit = int(status.Signal())
		}
	}
	k.ended <- exit
	if k.pipe.descriptor >= 0 {
		_, _ = unix.Write(k.pipe.descriptor, []byte{'\n'}) // a full pipe wakes already
	}
}

// noteEnd notes that the program has ended, with what is left in its process group.
func (k *jobKeeper) noteEnd(exit int) error {
	k.kill()
	again := k.again
	k.program, k.killAt, k.again = nil, time.Time{}, false
	return k.change(func(job *launchdJob) {
		job.PID, job.LastExit = 0, exit
		k.wanted = again || job.Definition.startsAgain(exit)
	})
}

func (k *jobKeeper) noteThrottled() error {
	state, err := k.in.mac.Load()
	if err != nil || state.Jobs[k.label].Throttled {
		return err
	}
	return k.change(func(job *launchdJob) { job.Throttled = true })
}

// change changes what the Mac knows of the job, if it is still ours.
func (k *jobKeeper) change(apply func(*launchdJob)) error {
	return k.in.mac.update(func(state *State) error {
		if job := state.Jobs[k.label]; job.Keeper == os.Getpid() {
			apply(&job)
			state.setJob(k.label, job)
		}
		return nil
	})
}
