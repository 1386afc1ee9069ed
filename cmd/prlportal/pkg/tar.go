package pkg

import (
	"archive/tar"
	"bytes"
	"fmt"
	"time"
)

// encodeTar gives what is ours of entries as a compressed tar, for whoever installs by
// hand: sudo tar -xpzf FILE -C /. It has none of the system's folders, so that
// unpacking it as root does not touch them.
func encodeTar(entries []entry, modified time.Time) ([]byte, error) {
	if err := checkEntries(entries); err != nil {
		return nil, err
	}
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	for _, e := range entries {
		if e.shared {
			continue
		}
		header := tar.Header{
			Name: e.path, Mode: int64(e.mode.Perm()), Uid: int(e.owner), Gid: int(e.group), Uname: "root", Gname: "wheel",
			ModTime: modified, Typeflag: tar.TypeReg, Size: int64(len(e.data)), Format: tar.FormatUSTAR,
		}
		if e.isFolder() {
			header.Name, header.Typeflag = e.path+"/", tar.TypeDir
		}
		if err := writer.WriteHeader(&header); err != nil {
			return nil, fmt.Errorf("write tar: %w", err)
		}
		if _, err := writer.Write(e.data); err != nil {
			return nil, fmt.Errorf("write tar: %w", err)
		}
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("write tar: %w", err)
	}
	return compress(archive.Bytes())
}
