package platform

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// filePeriod is how often a watched file is looked at. Each look wakes the Mac's
// processor; a VPN's resolvers may be noticed that much later than its routes.
const filePeriod = 2 * time.Second

// watchFile looks at a file's identity again and again: kqueue follows an open
// file, and this one need not be there and is replaced by another.
func watchFile(path string) (networkWatch, error) {
	before := identifyFile(path)
	return func(ctx context.Context, tell func()) error {
		ticker := time.NewTicker(filePeriod)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
			}
			if now := identifyFile(path); now != before {
				before = now
				tell()
			}
		}
	}, nil
}

// fileIdentity is what a file is known by; zero for one that is not there.
type fileIdentity struct {
	device, inode uint64
	size          int64
	modified      unix.Timespec
}

func identifyFile(path string) fileIdentity {
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		return fileIdentity{}
	}
	return fileIdentity{uint64(stat.Dev), stat.Ino, stat.Size, stat.Mtim}
}
