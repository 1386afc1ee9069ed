package store

import (
	"bytes"
	"fmt"
	"os"
)

// maxDepth bounds the descent into the tree; a tree of this depth would need
// more pages than any file has.
const maxDepth = 48

// visitor sees every record of every bucket, in key order.
type visitor func(bucket string, key, value []byte) error

// walker checks the structure of a database file: every page below the high
// water mark is used exactly once or free, types, offsets and the order of keys
// are right. After it nothing in the file can lead bbolt out of the mapping or
// around in circles, which it would not survive: bbolt's own Check runs in a
// goroutine of its own, beyond the reach of SetPanicOnFault, and a recursion
// without end cannot be recovered from.
type walker struct {
	file  pageFile
	meta  meta
	used  []bool
	visit visitor
}

// walkFile checks the structure of an open file and shows every record to visit.
// intact is false if one of the two metas is invalid.
func walkFile(file *os.File, visit visitor) (newest meta, intact bool, err error) {
	info, err := file.Stat()
	if err != nil {
		return meta{}, false, classify(fmt.Errorf("inspect: %w", err))
	}
	return walkPages(pageFile{reader: file, size: info.Size()}, visit)
}

func walkPages(pages pageFile, visit visitor) (newest meta, intact bool, err error) {
	newest, intact, err = readMetas(pages)
	if err != nil {
		return newest, false, err
	}
	pages.pageSize = newest.pageSize
	if newest.highWater < firstDataPage || newest.highWater > uint64(pages.size/pages.pageSize) {
		return newest, false, damaged("truncated: %d pages expected, %d found", newest.highWater, pages.size/pages.pageSize)
	}
	walk := walker{file: pages, meta: newest, used: make([]bool, newest.highWater), visit: visit}
	walk.used[0], walk.used[1] = true, true
	if err := walk.tree(newest.root, bounds{}, 0, walk.bucket); err != nil {
		return newest, false, err
	}
	return newest, intact, walk.freelist()
}

// bounds is the range of keys a page may hold; nil is open.
type bounds struct{ from, before []byte }

func (b bounds) hold(key []byte) bool {
	return bytes.Compare(key, b.from) >= 0 && (b.before == nil || bytes.Compare(key, b.before) < 0)
}

// tree walks the pages below root in key order.
func (w *walker) tree(root uint64, within bounds, depth int, leaf func(element) error) error {
	if depth > maxDepth {
		return damaged("the tree is deeper than %d pages", maxDepth)
	}
	read, err := w.claim(root)
	if err != nil {
		return err
	}
	switch read.flags {
	case flagLeaf:
		return eachOrdered(read, within, func(_ int, _ []element, entry element) error { return leaf(entry) })
	case flagBranch:
		return eachOrdered(read, within, func(i int, entries []element, entry element) error {
			child := bounds{from: entry.key, before: within.before}
			if i+1 < len(entries) {
				child.before = entries[i+1].key
			}
			return w.tree(entry.child, child, depth+1, leaf)
		})
	}
	return damaged("page %d has type %#x within a tree", root, read.flags)
}

// eachOrdered decodes a page and calls do for its entries, whose keys must rise
// and stay within the bounds.
func eachOrdered(read page, within bounds, do func(i int, entries []element, entry element) error) error {
	entries, err := read.elements()
	if err != nil {
		return err
	}
	if read.flags == flagBranch && len(entries) == 0 {
		return damaged("branch page %d is empty", read.id)
	}
	for i, entry := range entries {
		if !within.hold(entry.key) || i > 0 && bytes.Compare(entries[i-1].key, entry.key) >= 0 {
			return damaged("page %d: key %d is out of order", read.id, i)
		}
		if err := do(i, entries, entry); err != nil {
			return err
		}
	}
	return nil
}

// bucket walks one entry of the root tree, which holds nothing but buckets. A
// small bucket lies inline behind its header.
func (w *walker) bucket(entry element) error {
	if !entry.bucket || len(entry.value) < bucketHeaderSize {
		return damaged("the root holds something that is no bucket")
	}
	name := string(entry.key)
	record := func(row element) error {
		if row.bucket {
			return damaged("bucket %q holds a bucket", name)
		}
		return w.visit(name, row.key, row.value)
	}
	if root := order.Uint64(entry.value); root != 0 {
		return w.tree(root, bounds{}, 1, record)
	}
	return inlineBucket(name, entry.value[bucketHeaderSize:], record)
}

func inlineBucket(name string, raw []byte, record func(element) error) error {
	if len(raw) < pageHeaderSize {
		return damaged("bucket %q is cut off", name)
	}
	inline := parsePageHeader(raw)
	if inline.flags != flagLeaf || inline.pages != 1 {
		return damaged("bucket %q has no leaf", name)
	}
	inline.data = raw
	return eachOrdered(inline, bounds{}, func(_ int, _ []element, entry element) error { return record(entry) })
}

// claim reads a page and marks it and its overflow as used.
func (w *walker) claim(id uint64) (page, error) {
	read, err := w.file.readPage(id, w.meta.highWater)
	if err != nil {
		return page{}, err
	}
	return read, w.mark(id, read.pages)
}

func (w *walker) mark(id, pages uint64) error {
	for n := id; n < id+pages; n++ {
		if w.used[n] {
			return damaged("page %d is used twice", n)
		}
		w.used[n] = true
	}
	return nil
}

// freelist checks that the pages no tree uses are exactly the free ones.
func (w *walker) freelist() error {
	read, err := w.claim(w.meta.freelist)
	if err != nil {
		return err
	}
	if read.flags != flagFreelist {
		return damaged("page %d has type %#x, not a freelist", read.id, read.flags)
	}
	ids, err := read.freePages()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if id < firstDataPage || id >= w.meta.highWater {
			return damaged("free page %d is not between 2 and %d", id, w.meta.highWater)
		}
		if err := w.mark(id, 1); err != nil {
			return err
		}
	}
	for id, used := range w.used {
		if !used {
			return damaged("page %d is neither used nor free", id)
		}
	}
	return nil
}
