package cmd_test

import (
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"prlagent/platform/safefile"
)

// backupUnderLoad backs up the portal while both Macs of the script check in. With
// "kill" the portal is killed while the backup is being sent, of which there must
// be nothing left.
func backupUnderLoad(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || len(args) > 2 || len(args) == 2 && args[1] != "kill" {
		ts.Fatalf("usage: backup-under-load FILE [kill]")
	}
	stop, done := startLoad(ts)
	file := ts.MkAbs(args[0])
	if len(args) == 1 {
		run(ts, "prlportal", "backup", file)
	} else {
		backUpAndKill(ts, file)
	}
	if checkins := stop(); checkins == 0 && len(args) == 1 {
		ts.Fatalf("nobody checked in meanwhile")
	}
	<-done
}

// startLoad has both Macs check in until it is stopped, which gives how often they
// did.
func startLoad(ts *testscript.TestScript) (stop func() int64, done <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	var checkins atomic.Int64
	var working, begun sync.WaitGroup
	begun.Add(2)
	for _, root := range []string{ts.Getenv("MAC"), ts.Getenv("MAC2")} {
		working.Go(func() {
			first := sync.OnceFunc(begun.Done)
			defer first()
			for ctx.Err() == nil {
				command := exec.CommandContext(ctx, stageOf(ts).program("prlagent"), "checkin", "--wait", "--root", root)
				if command.Run() == nil {
					checkins.Add(1)
				}
				first()
			}
		})
	}
	begun.Wait()
	ended := make(chan struct{})
	go func() {
		working.Wait()
		close(ended)
	}()
	return func() int64 { cancel(); return checkins.Load() }, ended
}

// backUpAndKill makes the backup long with a policy that nothing makes smaller.
func backUpAndKill(ts *testscript.TestScript, file string) {
	s := stageOf(ts)
	large := filepath.Join(ts.Getenv("PORTAL"), "portal", "content", "policies", "large")
	random := make([]byte, 48<<20)
	_, _ = rand.Read(random)
	ts.Check(os.WriteFile(large, random, 0o600))
	backup := exec.Command(s.program("prlportal"), "backup", file, "--dir", ts.Getenv("PRLPORTAL_DIR"), "--url", ts.Getenv("PRLPORTAL_URL"))
	ts.Check(backup.Start())
	ended := make(chan error, 1)
	go func() { ended <- backup.Wait() }()
	for deadline := time.Now().Add(readyLimit); sizeOfTemporary(ts, filepath.Dir(file)) < 1<<20; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("the backup did not begin")
		}
	}
	ts.Check(s.stop(portalName, syscall.SIGKILL, stopLimit))
	if <-ended; backup.ProcessState.ExitCode() != 1 {
		ts.Fatalf("backup of a portal that was killed: %s", backup.ProcessState)
	}
	if size := sizeOfTemporary(ts, filepath.Dir(file)); size >= 0 {
		ts.Fatalf("%d bytes of it are left", size)
	}
	ts.Check(os.Remove(large))
}

// sizeOfTemporary is how large the file is that is being written in the folder; -1
// if there is none.
func sizeOfTemporary(ts *testscript.TestScript, folder string) int64 {
	entries, err := os.ReadDir(folder)
	ts.Check(err)
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && strings.HasPrefix(entry.Name(), safefile.TempPrefix) {
			return info.Size()
		}
	}
	return -1
}
