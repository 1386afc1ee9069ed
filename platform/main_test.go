package platform

import (
	"os"
	"testing"
)

// TestMain lets the test binary play the programs that the tests start.
func TestMain(m *testing.M) {
	helperRole()
	vmAppRole()
	killedDaemonRole()
	os.Exit(m.Run())
}
