package launchd

import (
	"testing"

	"prlagent/platform/plist/plisttest"
)

func TestAgentJobReadByPlistutil(t *testing.T) {
	t.Parallel()
	if err := plisttest.Find(t).Agrees(rendered(t, AgentJob())); err != nil {
		t.Error(err)
	}
}
