package platform

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// ENC-10: what a bundle takes is what its files have allocated, in every folder of it;
// what a link leads to, and the holes of a sparse file, do not count. It is asked as
// the user whose it is, and only where somebody wants to know.
func TestENC_10_WhatABundleTakes(t *testing.T) {
	t.Parallel()
	machine, _, root := helped(t)
	place(t, root, "/elsewhere", string(bytes.Repeat([]byte{1}, 1<<20)))
	place(t, root, "/Users/alice/a.pvm/config.pvs", "<xml/>")
	place(t, root, "/Users/alice/a.pvm/disk.hdd/0.hds", string(bytes.Repeat([]byte{1}, 300<<10)))
	sparse := filepath.Join(root, "/Users/alice/a.pvm/disk.hdd/1.hds")
	place(t, root, "/Users/alice/a.pvm/disk.hdd/1.hds", "")
	err := errors.Join(os.Truncate(sparse, 1<<30), os.Symlink(filepath.Join(root, "elsewhere"), filepath.Join(root, "/Users/alice/a.pvm/link")))
	if err != nil {
		t.Fatal(err)
	}
	answers, err := machine.LookAtFiles(t.Context(), aliceOnDisk, []FileQuestion{
		{Path: "/Users/alice/a.pvm", Space: true}, {Path: "/Users/alice/a.pvm"}, {Path: "/Users/alice/a.pvm/config.pvs", Space: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	if space := answers[0].Space; space.Used < 300<<10 || space.Used > 400<<10 || space.Free == 0 {
		t.Errorf("%+v", space)
	}
	if answers[1].Space != (Space{}) || answers[2].Space != (Space{}) || answers[2].Err != nil {
		t.Errorf("%+v", answers[1:])
	}
}
