package inventory

import (
	"context"
	"fmt"
	"path"
	"sort"
	"strconv"

	"prlagent/platform"
	"prlagent/prlctl"
)

// needsPreferences reports whether a policy needs to know when preferences change.
func (v *visit) needsPreferences() bool {
	return v.sources.NeedsPreferences != nil && v.sources.NeedsPreferences()
}

func (v *visit) preferenceQuestion() platform.FileQuestion {
	return platform.FileQuestion{Path: path.Join(v.user.Home, prlctl.PreferenceFile)}
}

// lookAtPreferences looks at the file behind the account's preferences alone, if a
// policy needs it.
func (v *visit) lookAtPreferences(ctx context.Context) string {
	if !v.needsPreferences() {
		return ""
	}
	answers, _ := v.lookAtFiles(ctx, []platform.FileQuestion{v.preferenceQuestion()}) // the answer has the error
	return preferencesState(&answers[0])
}

// preferencesState tells one state of the file from another; empty if nobody can
// tell. cfprefsd writes the file anew each time (facts/macos.md 5.1), so that it is
// another one then.
func preferencesState(answer *platform.FileAnswer) string {
	switch {
	case isAbsent(answer.Err):
		return "absent"
	case answer.Err != nil:
		return ""
	default:
		return fmt.Sprintf("%d %d", answer.Inode, answer.ModifiedAt.Unix())
	}
}

// maxRuns is how many runs of the application are told apart: a user may launch any
// number.
const maxRuns = 8

// applicationRuns are the runs of the application that may be the account's, the
// oldest first. Below a root one account plays all users, and a run may be each
// one's.
func (l *look) applicationRuns(user platform.User) (names []string) {
	var runs []*platform.Process
	for i := range l.processes {
		process := &l.processes[i]
		if path.Clean(process.Path) == prlctl.ClientApp && process.UID == l.collector.sources.Files.UIDOnDisk(user) {
			runs = append(runs, process)
		}
	}
	sort.SliceStable(runs, func(i, j int) bool { return runs[i].Started.Before(runs[j].Started) })
	for _, run := range runs[:min(len(runs), maxRuns)] {
		names = append(names, strconv.Itoa(run.PID)+"@"+strconv.FormatInt(run.Started.UnixNano(), 10))
	}
	return names
}
