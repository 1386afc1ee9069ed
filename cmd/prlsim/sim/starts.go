package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Start is a record of `.prlsim/calls`: one start of a tool, whatever it does
// then. Only a Mac that has the file keeps them.
type Start struct {
	Tool string   `json:"tool"`
	Args []string `json:"args"`
}

// StartsFile is where the starts are kept, as a path on the Mac.
const StartsFile = "/" + markerFolder + "/calls"

func (m Mac) noteStart(tool string, args []string) error {
	out, err := os.OpenFile(m.Path(StartsFile), os.O_APPEND|os.O_WRONLY, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // nobody asks
	case err != nil:
		return fmt.Errorf("open record file: %w", err)
	}
	defer out.Close()
	line, err := json.Marshal(Start{tool, args})
	if err == nil {
		_, err = out.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}
