package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// The file format of bbolt 1.x (version 2), as bbolt's internal/common declares
// it. Numbers are in the byte order of the machine, which is little-endian on
// every machine this runs on. A page begins with
//
//	id uint64, flags uint16, count uint16, overflow uint32
//
// and pages 0 and 1 go on with the meta: magic, version, page size and flags as
// uint32; root page, sequence, freelist page, high water mark and transaction id
// as uint64; FNV-1a 64 of all before it.
const (
	formatMagic   = 0xED0CDAED
	formatVersion = 2

	pageHeaderSize   = 16
	entrySize        = 16
	bucketHeaderSize = 16
	metaSize         = 64
	metaSummedSize   = 56

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10
	flagBucket   = 0x01

	firstDataPage = 2
	minPageSize   = 1 << 10
	maxPageSize   = 1 << 24
)

var byteOrder = binary.LittleEndian

// pageFile reads a database file with plain reads: no mapping, so that damage
// is a value and never a fault, and a failing disk is an error number.
type pageFile struct {
	reader   io.ReaderAt
	size     int64
	pageSize int64
}

// metaPage is one valid meta page.
type metaPage struct {
	pageSize  int64
	root      uint64
	freelist  uint64
	highWater uint64
	txid      uint64
}

// readAt fills a buffer. A file that ends too early is damaged; any other
// failure is the system's.
func (f *pageFile) readAt(length, offset int64) ([]byte, error) {
	if offset < 0 || length < 0 || offset > f.size || length > f.size-offset {
		return nil, damagedError("%d bytes at %d are beyond the end (%d)", length, offset, f.size)
	}
	buffer := make([]byte, length)
	_, err := f.reader.ReadAt(buffer, offset)
	if errors.Is(err, io.EOF) {
		return nil, damagedError("the file ends within %d bytes at %d", length, offset)
	}
	if err != nil {
		return nil, withKind(fmt.Errorf("read: %w", err))
	}
	return buffer, nil
}

// readMetas finds both metas and returns the one that counts: the valid one with
// the higher transaction id. intact is false if only one is valid: the other may
// have been the last commit.
func readMetas(file *pageFile) (newest *metaPage, intact bool, err error) {
	first, firstErr := readMeta(file, 0)
	if firstErr != nil && !errors.Is(firstErr, ErrDamaged) {
		return nil, false, firstErr
	}
	if firstErr != nil {
		newest, err = findSecondMeta(file)
		return newest, false, err
	}
	second, err := readMeta(file, first.pageSize)
	switch {
	case errors.Is(err, ErrDamaged):
		return first, false, nil
	case err != nil:
		return nil, false, err
	case second.pageSize != first.pageSize:
		return nil, false, damagedError("the metas name page sizes %d and %d", first.pageSize, second.pageSize)
	case second.txid > first.txid:
		return second, true, nil
	}
	return first, true, nil
}

// findSecondMeta looks for the second meta at every possible page size.
func findSecondMeta(file *pageFile) (*metaPage, error) {
	for pageSize := int64(minPageSize); pageSize <= maxPageSize; pageSize *= 2 {
		found, err := readMeta(file, pageSize)
		if err == nil && found.pageSize == pageSize {
			return found, nil
		}
		if err != nil && !errors.Is(err, ErrDamaged) {
			return nil, err
		}
	}
	return nil, damagedError("both metas are invalid")
}

func readMeta(file *pageFile, offset int64) (*metaPage, error) {
	raw, err := file.readAt(metaSize, offset+pageHeaderSize)
	if err != nil {
		return nil, err
	}
	sum := fnv.New64a()
	_, _ = sum.Write(raw[:metaSummedSize])
	found := &metaPage{
		pageSize:  int64(byteOrder.Uint32(raw[8:])),
		root:      byteOrder.Uint64(raw[16:]),
		freelist:  byteOrder.Uint64(raw[32:]),
		highWater: byteOrder.Uint64(raw[40:]),
		txid:      byteOrder.Uint64(raw[48:]),
	}
	switch {
	case byteOrder.Uint32(raw) != formatMagic, byteOrder.Uint32(raw[4:]) != formatVersion:
		return nil, damagedError("no meta at %d", offset)
	case byteOrder.Uint64(raw[metaSummedSize:]) != sum.Sum64():
		return nil, damagedError("wrong checksum of the meta at %d", offset)
	case found.pageSize < minPageSize || found.pageSize > maxPageSize || found.pageSize&(found.pageSize-1) != 0:
		return nil, damagedError("impossible page size %d", found.pageSize)
	}
	return found, nil
}

// filePage is one page with its overflow pages.
type filePage struct {
	id    uint64
	flags uint16
	count int
	pages uint64 // 1 + overflow
	data  []byte // whole, header included
}

// readPage reads page id below the high water mark, its overflow included.
func (f *pageFile) readPage(id, highWater uint64) (*filePage, error) {
	if id < firstDataPage || id >= highWater {
		return nil, damagedError("page %d is not between 2 and %d", id, highWater)
	}
	offset := int64(id) * f.pageSize
	header, err := f.readAt(pageHeaderSize, offset)
	if err != nil {
		return nil, err
	}
	read := parsePageHeader(header)
	if read.id != id {
		return nil, damagedError("page %d says it is page %d", id, read.id)
	}
	if read.pages > highWater-id {
		return nil, damagedError("page %d runs over the high water mark", id)
	}
	read.data, err = f.readAt(int64(read.pages)*f.pageSize, offset)
	return read, err
}

func parsePageHeader(raw []byte) *filePage {
	return &filePage{
		id:    byteOrder.Uint64(raw),
		flags: byteOrder.Uint16(raw[8:]),
		count: int(byteOrder.Uint16(raw[10:])),
		pages: uint64(byteOrder.Uint32(raw[12:])) + 1,
	}
}

// pageEntry is one entry of a branch page (child is set) or of a leaf page.
type pageEntry struct {
	bucket bool
	child  uint64
	key    []byte
	value  []byte
}

// decodeEntries decodes the entries of a branch or leaf page; every offset is
// checked against the page before it is followed.
func (p *filePage) decodeEntries() ([]pageEntry, error) {
	tableEnd := uint64(pageHeaderSize + p.count*entrySize)
	if tableEnd > uint64(len(p.data)) {
		return nil, damagedError("page %d cannot hold %d entries", p.id, p.count)
	}
	entries := make([]pageEntry, p.count)
	for i := range entries {
		if err := p.decodeEntry(&entries[i], uint64(pageHeaderSize+i*entrySize), tableEnd); err != nil {
			return nil, fmt.Errorf("page %d, entry %d: %w", p.id, i, err)
		}
	}
	return entries, nil
}

func (p *filePage) decodeEntry(entry *pageEntry, at, tableEnd uint64) error {
	raw := p.data[at : at+entrySize]
	var start, keySize, valueSize uint64
	if p.flags == flagBranch {
		start, keySize = uint64(byteOrder.Uint32(raw)), uint64(byteOrder.Uint32(raw[4:]))
		entry.child = byteOrder.Uint64(raw[8:])
	} else {
		flags := byteOrder.Uint32(raw)
		if flags > flagBucket {
			return damagedError("unknown flags %#x", flags)
		}
		entry.bucket = flags == flagBucket
		start, keySize = uint64(byteOrder.Uint32(raw[4:])), uint64(byteOrder.Uint32(raw[8:]))
		valueSize = uint64(byteOrder.Uint32(raw[12:]))
	}
	start += at
	end := start + keySize + valueSize
	if start < tableEnd || end > uint64(len(p.data)) || keySize == 0 {
		return damagedError("key at %d to %d", start, end)
	}
	entry.key = p.data[start : start+keySize]
	entry.value = p.data[start+keySize : end]
	return nil
}

// freePages decodes a freelist page. A count of 0xFFFF means that the count is
// the first number of the list.
func (p *filePage) freePages() ([]uint64, error) {
	count, at := uint64(p.count), uint64(pageHeaderSize)
	room := (uint64(len(p.data)) - pageHeaderSize) / 8
	if p.count == 0xFFFF {
		count, at, room = byteOrder.Uint64(p.data[at:]), at+8, room-1
	}
	if count > room {
		return nil, damagedError("freelist page %d cannot hold %d numbers", p.id, count)
	}
	ids := make([]uint64, count)
	for i := range ids {
		ids[i] = byteOrder.Uint64(p.data[at+uint64(i)*8:])
	}
	return ids, nil
}
