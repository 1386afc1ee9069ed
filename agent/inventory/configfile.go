package inventory

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/platform/safefile"
	"prlagent/platform/tool"
	"prlagent/prlctl"
)

// config.pvs is read for what the tool does not show: at each look where it says
// how a machine is encrypted, and otherwise, where a policy needs it, when it was
// changed since it was read. When it was read is remembered in the life of a
// process only: the tool may touch the file at every list, and what changes with
// every look must not be written with every look.

func (m *Machine) configPath() string { return m.Bundle.Path + "/config.pvs" }

// configQuestion asks about config.pvs; none where nobody needs it.
func (m *Machine) configQuestion() []platform.FileQuestion {
	switch {
	case m.encryption() == protocol.Encrypted:
		return []platform.FileQuestion{{Path: m.configPath(), Reader: prlctl.ConfigReader}}
	case m.needsConfig:
		return []platform.FileQuestion{{Path: m.configPath()}}
	}
	return nil
}

// takeConfigAnswer takes the answer to configQuestion.
func (m *Machine) takeConfigAnswer(answer *platform.FileAnswer, at time.Time) {
	if answer.Err == nil && answer.Fields != nil {
		m.takeConfig(answer.Fields)
		return
	}
	m.configDue = false
	if answer.Err != nil || m.encryption() == protocol.Encrypted {
		m.loseConfig(answer.Err)
		return
	}
	changed := answer.ModifiedAt.UTC()
	m.configDue = m.Config == nil || changed.IsZero() || !changed.Equal(m.configChanged)
	if m.configChanged = changed; at.Sub(changed).Abs() <= startSlack {
		m.configChanged = time.Time{} // it may change again within the same second
	}
}

// loseConfig forgets what config.pvs said where it cannot be read any more, so
// that nobody takes for true what was: not where only the look failed, and not
// how the machine is encrypted.
func (m *Machine) loseConfig(err error) {
	var failed *tool.Error
	if errors.As(err, &failed) || m.encryption() == protocol.Encrypted {
		return
	}
	for _, lost := range []error{fs.ErrNotExist, fs.ErrPermission, platform.ErrNotUnderstood,
		safefile.ErrSymlink, safefile.ErrNotRegular, safefile.ErrTooLarge, safefile.ErrOwner} {
		if errors.Is(err, lost) {
			m.Config, m.configChanged = nil, time.Time{}
		}
	}
}

// readConfigs reads the config.pvs of those machines whose was changed.
func (v *visit) readConfigs(ctx context.Context, found []*Machine) error {
	var due []*Machine
	var questions []platform.FileQuestion
	for _, m := range found {
		if m.configDue {
			due = append(due, m)
			questions = append(questions, platform.FileQuestion{Path: m.configPath(), Reader: prlctl.ConfigReader})
		}
	}
	answers, err := v.lookAtFiles(ctx, questions)
	for i, m := range due {
		m.configDue = false
		if answers[i].Err == nil {
			m.takeConfig(answers[i].Fields)
			continue
		}
		m.configChanged = time.Time{} // the next look asks again
		m.loseConfig(answers[i].Err)
	}
	return err
}
