package sim

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// printID plays `id -u`, which scripts ask for root.
func printID(in *invocation) int {
	if len(in.args) != 1 || in.args[0] != "-u" {
		return in.failf(1, "usage: id -u")
	}
	uid := 0
	if user, known := in.state.userByName(in.caller); known {
		uid = user.UID
	}
	in.printLinef("%d", uid)
	return 0
}

// changeOwner plays `chown 0:0 FILE…` with paths of this machine, as scripts have them
// here. Root is the owner of the Mac's folder.
func changeOwner(in *invocation) int {
	if len(in.args) < 2 || in.args[0] != "0:0" {
		return in.failf(1, "usage: chown 0:0 file ...")
	}
	root, err := os.Stat(in.mac.Dir)
	if err != nil {
		return in.failf(1, "chown: %v", err)
	}
	for _, file := range in.args[1:] {
		info, err := os.Lstat(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return in.failf(1, "chown: %s: No such file or directory", file)
		case err != nil || !strings.HasPrefix(file, in.mac.Dir+string(filepath.Separator)):
			return in.failf(1, "chown: %s: Operation not permitted", file)
		case ownerOf(info) == ownerOf(root):
			continue
		}
		if err := os.Lchown(file, int(ownerOf(root)), -1); err != nil {
			return in.failf(1, "chown: %s: %v", file, err)
		}
	}
	return 0
}
