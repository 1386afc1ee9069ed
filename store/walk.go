package store

import (
	"bytes"
	"fmt"
	"os"
)

// maxDepth bounds the descent into the tree; a tree of this depth would need
// more pages than any file has.
const maxDepth = 48

// recordVisitor sees every record of every bucket, in key order.
type recordVisitor func(bucket string, key, value []byte) error

// pageWalker checks the structure of a database file: every page below the high
// water mark is used exactly once or free, types, offsets and the order of keys
// are right. After it nothing in the file can lead bbolt out of the mapping or
// around in circles, which it would not survive: bbolt's own Check runs in a
// goroutine of its own, beyond the reach of SetPanicOnFault, and a recursion
// without end cannot be recovered from.
type pageWalker struct {
	file  *pageFile
	meta  *metaPage
	used  []bool
	visit recordVisitor
}

// walkFile checks the structure of an open file and shows every record to visit.
// intact is false if one of the two metas is invalid.
func walkFile(file *os.File, visit recordVisitor) (newest *metaPage, intact bool, err error) {
	info, err := file.Stat()
	if err != nil {
		return nil, false, withKind(fmt.Errorf("inspect: %w", err))
	}
	return walkPages(&pageFile{reader: file, size: info.Size()}, visit)
}

func walkPages(pages *pageFile, visit recordVisitor) (newest *metaPage, intact bool, err error) {
	newest, intact, err = readMetas(pages)
	if err != nil {
		return newest, false, err
	}
	pages.pageSize = newest.pageSize
	if newest.highWater < firstDataPage || newest.highWater > uint64(pages.size/pages.pageSize) {
		return newest, false, damagedError("truncated: %d pages expected, %d found", newest.highWater, pages.size/pages.pageSize)
	}
	walk := pageWalker{file: pages, meta: newest, used: make([]bool, newest.highWater), visit: visit}
	walk.used[0], walk.used[1] = true, true
	if err := walk.walkTree(newest.root, &keyRange{}, 0, walk.walkBucket); err != nil {
		return newest, false, err
	}
	return newest, intact, walk.checkFreelist()
}

// keyRange is the range of keys a page may hold; nil is open.
type keyRange struct{ from, before []byte }

func (b *keyRange) contains(key []byte) bool {
	return bytes.Compare(key, b.from) >= 0 && (b.before == nil || bytes.Compare(key, b.before) < 0)
}

// walkTree walks the pages below root in key order.
func (w *pageWalker) walkTree(root uint64, within *keyRange, depth int, leaf func(*pageEntry) error) error {
	if depth > maxDepth {
		return damagedError("the tree is deeper than %d pages", maxDepth)
	}
	read, err := w.claimPage(root)
	if err != nil {
		return err
	}
	switch read.flags {
	case flagLeaf:
		return eachOrdered(read, within, func(entry, _ *pageEntry) error { return leaf(entry) })
	case flagBranch:
		return eachOrdered(read, within, func(entry, next *pageEntry) error {
			child := keyRange{from: entry.key, before: within.before}
			if next != nil {
				child.before = next.key
			}
			return w.walkTree(entry.child, &child, depth+1, leaf)
		})
	}
	return damagedError("page %d has type %#x within a tree", root, read.flags)
}

// eachOrdered decodes a page and calls do for its entries, each with the next one
// (nil for the last). Their keys must rise and stay within the bounds.
func eachOrdered(read *filePage, within *keyRange, do func(entry, next *pageEntry) error) error {
	entries, err := read.decodeEntries()
	if err != nil {
		return err
	}
	if read.flags == flagBranch && len(entries) == 0 {
		return damagedError("branch page %d is empty", read.id)
	}
	for i := range entries {
		var next *pageEntry
		if i+1 < len(entries) {
			next = &entries[i+1]
		}
		entry := &entries[i]
		if !within.contains(entry.key) || i > 0 && bytes.Compare(entries[i-1].key, entry.key) >= 0 {
			return damagedError("page %d: key %d is out of order", read.id, i)
		}
		if err := do(entry, next); err != nil {
			return err
		}
	}
	return nil
}

// walkBucket walks one entry of the root tree, which holds nothing but buckets. A
// small bucket lies inline behind its header.
func (w *pageWalker) walkBucket(entry *pageEntry) error {
	if !entry.bucket || len(entry.value) < bucketHeaderSize {
		return damagedError("the root holds something that is no bucket")
	}
	name := string(entry.key)
	record := func(row *pageEntry) error {
		if row.bucket {
			return damagedError("bucket %q holds a bucket", name)
		}
		return w.visit(name, row.key, row.value)
	}
	if root := byteOrder.Uint64(entry.value); root != 0 {
		return w.walkTree(root, &keyRange{}, 1, record)
	}
	return inlineBucket(name, entry.value[bucketHeaderSize:], record)
}

func inlineBucket(name string, raw []byte, record func(*pageEntry) error) error {
	if len(raw) < pageHeaderSize {
		return damagedError("bucket %q is cut off", name)
	}
	inline := parsePageHeader(raw)
	if inline.flags != flagLeaf || inline.pages != 1 {
		return damagedError("bucket %q has no leaf", name)
	}
	inline.data = raw
	return eachOrdered(inline, &keyRange{}, func(entry, _ *pageEntry) error { return record(entry) })
}

// claimPage reads a page and marks it and its overflow as used.
func (w *pageWalker) claimPage(id uint64) (*filePage, error) {
	read, err := w.file.readPage(id, w.meta.highWater)
	if err != nil {
		return nil, err
	}
	return read, w.markUsed(id, read.pages)
}

func (w *pageWalker) markUsed(id, pages uint64) error {
	for n := id; n < id+pages; n++ {
		if w.used[n] {
			return damagedError("page %d is used twice", n)
		}
		w.used[n] = true
	}
	return nil
}

// checkFreelist checks that the pages no tree uses are exactly the free ones.
func (w *pageWalker) checkFreelist() error {
	read, err := w.claimPage(w.meta.freelist)
	if err != nil {
		return err
	}
	if read.flags != flagFreelist {
		return damagedError("page %d has type %#x, not a freelist", read.id, read.flags)
	}
	ids, err := read.freePages()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if id < firstDataPage || id >= w.meta.highWater {
			return damagedError("free page %d is not between 2 and %d", id, w.meta.highWater)
		}
		if err := w.markUsed(id, 1); err != nil {
			return err
		}
	}
	for id, used := range w.used {
		if !used {
			return damagedError("page %d is neither used nor free", id)
		}
	}
	return nil
}
