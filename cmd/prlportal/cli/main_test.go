package cli

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// TestMain keeps the views of whoever runs the tests out of them.
func TestMain(m *testing.M) {
	if err := os.Setenv(environmentName("views"), filepath.Join(os.TempDir(), "there is no such folder", "views.json")); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}
