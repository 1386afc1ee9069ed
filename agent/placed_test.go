package agent

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// H47: of a state that was damaged nobody knows what was placed before, however often it
// is asked; where there never was one nothing was placed.
func TestH47_PlacedBeforeTheStateWasDamaged(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if placed, err := Placed(t.Context(), root, nolog); err != nil || !placed.IsEmpty() {
		t.Errorf("without a state: %+v, %v", placed, err)
	}
	folder := filepath.Join(root, StateFolder)
	if err := errors.Join(os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, "state.db"), []byte("damaged"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if placed, err := Placed(t.Context(), root, nolog); !errors.Is(err, ErrForgotten) {
			t.Errorf("after damage: %+v, %v", placed, err)
		}
	}
}
