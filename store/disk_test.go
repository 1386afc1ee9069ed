package store_test

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// change is one thing a program did to the state folder.
type change struct {
	Op   string
	Name string // within the folder, or folderItself
	To   string `json:",omitempty"` // the new name
	At   int64  `json:",omitempty"` // the offset, or the new size
	Data []byte `json:",omitempty"`
}

const (
	opCreate   = "create"
	opWrite    = "write"
	opTruncate = "truncate"
	opSync     = "sync"
	opRename   = "rename"
	opLink     = "link"
	opRemove   = "remove"
	opSaid     = "said" // Name is what the program said to the outside

	folderItself = "."
)

// file is the content of a file that is on the disk for certain, and what was
// done to it since the last flush.
type file struct {
	content []byte
	pending []change
}

// names is what a folder holds.
type names map[string]*file

// disk is a folder on a disk with a cache. Changes to a file reach it in any
// order, in part or not at all, until the file is flushed. Changes to names reach
// it in order, which the journals of APFS and ext4 see to, and independent of the
// files, until the folder is flushed.
type disk struct {
	now     names
	flushed names
	pending []names // the folder after each change of a name since
	lies    bool    // says it has flushed, and has not
}

func newDisk(content map[string][]byte) *disk {
	d := &disk{now: names{}}
	for name, bytes := range content {
		d.now[name] = &file{content: bytes}
	}
	d.flushed = maps.Clone(d.now)
	return d
}

func (d *disk) do(c change) {
	switch c.Op {
	case opWrite, opTruncate:
		d.now[c.Name].pending = append(d.now[c.Name].pending, c)
	case opSync:
		d.sync(c.Name)
	case opCreate:
		if d.now[c.Name] == nil {
			d.now[c.Name] = &file{}
			d.renamed()
		}
	case opRename:
		d.now[c.To] = d.now[c.Name]
		delete(d.now, c.Name)
		d.renamed()
	case opLink:
		d.now[c.To] = d.now[c.Name]
		d.renamed()
	case opRemove:
		delete(d.now, c.Name)
		d.renamed()
	}
}

func (d *disk) renamed() { d.pending = append(d.pending, maps.Clone(d.now)) }

func (d *disk) sync(name string) {
	switch {
	case d.lies:
	case name == folderItself:
		d.flushed, d.pending = maps.Clone(d.now), nil
	default:
		flushed := d.now[name]
		flushed.content, flushed.pending = flushed.after(everything), nil
	}
}

// fate says what becomes of one of the pending changes of a file, the nth of all.
type fate func(n int, c change) []change

func everything(_ int, c change) []change { return []change{c} }
func nothing(int, change) []change        { return nil }

func only(wanted int) fate {
	return func(n int, c change) []change {
		if n == wanted {
			return []change{c}
		}
		return nil
	}
}

func allBut(lost int) fate {
	return func(n int, c change) []change {
		if n == lost {
			return nil
		}
		return []change{c}
	}
}

// anySubset keeps each change or not.
func anySubset(random *rand.Rand) fate {
	return func(_ int, c change) []change {
		if random.IntN(2) == 0 {
			return nil
		}
		return []change{c}
	}
}

const sectorSize = 512

// torn keeps any of the sectors of each write.
func torn(random *rand.Rand) fate {
	return func(_ int, c change) []change {
		var kept []change
		for at := 0; at < len(c.Data); at += sectorSize {
			if random.IntN(2) == 0 {
				part := c.Data[at:min(at+sectorSize, len(c.Data))]
				kept = append(kept, change{Op: c.Op, Name: c.Name, At: c.At + int64(at), Data: part})
			}
		}
		return kept
	}
}

// garbled is a sector the power failed in, in the last write.
func garbled(random *rand.Rand, last int) fate {
	return func(n int, c change) []change {
		if n != last || len(c.Data) == 0 {
			return []change{c}
		}
		bad := slices.Clone(c.Data)
		randomize(random, bad[:min(sectorSize, len(bad))])
		return []change{{Op: c.Op, Name: c.Name, At: c.At, Data: bad}}
	}
}

func (f *file) after(what fate) []byte { return f.afterFrom(0, what) }

func (f *file) afterFrom(first int, what fate) []byte {
	content := slices.Clone(f.content)
	for i, c := range f.pending {
		for _, kept := range what(first+i, c) {
			content = applied(content, kept)
		}
	}
	return content
}

func applied(content []byte, c change) []byte {
	if c.Op == opTruncate {
		return resized(content, c.At)
	}
	if end := c.At + int64(len(c.Data)); end > int64(len(content)) {
		content = resized(content, end)
	}
	copy(content[c.At:], c.Data)
	return content
}

func resized(content []byte, size int64) []byte {
	if size <= int64(len(content)) {
		return content[:size]
	}
	return append(content, make([]byte, size-int64(len(content)))...)
}

// pendingWrites counts what the fates are about.
func (d *disk) pendingWrites() int {
	count := 0
	for _, f := range d.files() {
		count += len(f.pending)
	}
	return count
}

// files lists every file once, in the order of the names.
func (d *disk) files() []*file {
	var files []*file
	for _, name := range slices.Sorted(maps.Keys(d.now)) {
		if !slices.Contains(files, d.now[name]) {
			files = append(files, d.now[name])
		}
	}
	return files
}

// cut is what is found after the power failed: the folder as it was after some
// of the pending changes of names, each file after what its fate left.
func (d *disk) cut(renames int, what fate) map[string][]byte {
	folder := d.flushed
	if renames > 0 {
		folder = d.pending[renames-1]
	}
	first, count := map[*file]int{}, 0
	for _, f := range d.files() {
		first[f], count = count, count+len(f.pending)
	}
	left := map[string][]byte{}
	for name, f := range folder {
		left[name] = f.afterFrom(first[f], what)
	}
	return left
}

// cuts are the power failures that are tried at one point of time.
func (d *disk) cuts(random *rand.Rand, rounds int) []map[string][]byte {
	all, writes := len(d.pending), d.pendingWrites()
	found := []map[string][]byte{
		d.cut(0, nothing), d.cut(all, nothing), d.cut(0, everything), d.cut(all, everything),
		d.cut(all, garbled(random, writes-1)),
	}
	for n := range writes {
		found = append(found, d.cut(all, only(n)), d.cut(all, allBut(n)))
	}
	for range rounds {
		found = append(found, d.cut(random.IntN(all+1), anySubset(random)), d.cut(random.IntN(all+1), torn(random)))
	}
	return found
}
