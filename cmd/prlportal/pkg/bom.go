package pkg

import (
	"encoding/binary"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// A bill of materials is a store of numbered blocks with a table of where each is,
// and names for a few of them. All numbers are big-endian.
//
//	header      magic, version, number of blocks, place of the table and of the names
//	names       BomInfo, Paths, HLIndex, VIndex, Size64: each names a block
//	blocks
//	table       place and length of each block, the first of which is none; free blocks
//
// Paths is a tree of one leaf, whose pairs of blocks stand in the order of parent and
// name: a number with what is known of the file, and its parent's number with its name.
// Layout and constants are those that facts/acting.md 4 and facts/macos.md 13.1 name;
// where Fleet's writer and bomutils differ, the longer form of bomutils.
const (
	bomHeaderSize = 512
	bomLeafSize   = 256 // pairs in a leaf; we have no use for a second one
	bomTreeSize   = 4096
	bomViewsSize  = 128 // of the tree below VIndex
)

// bomStore collects the blocks. Block 0 is none.
type bomStore struct {
	blocks [][]byte
	names  []bomName
}

type bomName struct {
	name  string
	block uint32
}

func (s *bomStore) add(block []byte) (number uint32) {
	s.blocks = append(s.blocks, block)
	return uint32(len(s.blocks))
}

func (s *bomStore) addNamed(name string, block []byte) {
	s.names = append(s.names, bomName{name, s.add(block)})
}

// encodeBom gives the bill of materials of entries.
func encodeBom(entries []entry, modified time.Time) ([]byte, error) {
	if err := checkEntries(entries); err != nil {
		return nil, err
	}
	if len(entries) > bomLeafSize {
		return nil, fmt.Errorf("a bill of materials of %d entries needs more than one leaf", len(entries))
	}
	var s bomStore
	s.addNamed("BomInfo", numbers(1, uint32(len(entries)+1), 0))
	leaf := bomLeaf(s.addPaths(entries, modified))
	s.addNamed("Paths", bomTree(s.add(leaf), bomTreeSize, len(entries)))
	s.addNamed("HLIndex", bomTree(s.add(bomLeaf(nil)), bomTreeSize, 0))
	views := s.add(bomTree(s.add(bomLeaf(nil)), bomViewsSize, 0))
	s.addNamed("VIndex", append(numbers(1, views, 0), 0))
	s.addNamed("Size64", bomTree(s.add(bomLeaf(nil)), bomTreeSize, 0))
	return s.encode(), nil
}

// addPaths adds the blocks of all entries, and gives the pairs of the leaf.
func (s *bomStore) addPaths(entries []entry, modified time.Time) (pairs [][2]uint32) {
	type key struct {
		parent uint32
		name   string
		pair   [2]uint32
	}
	keys, parents := make([]key, len(entries)), parentOf(entries)
	for i, e := range entries {
		known := s.add(numbers(uint32(i+1), s.add(bomFacts(e, modified))))
		parent, name := uint32(parents[i]+1), path.Base(e.path)
		keys[i] = key{parent, name, [2]uint32{known, s.add(append(append(numbers(parent), name...), 0))}}
	}
	slices.SortFunc(keys, func(a, b key) int {
		if a.parent != b.parent {
			return int(a.parent) - int(b.parent)
		}
		return strings.Compare(a.name, b.name)
	})
	for _, k := range keys {
		pairs = append(pairs, k.pair)
	}
	return pairs
}

// bomFacts is what is known of a file or folder: type, architecture, mode, owner,
// group, time, size, checksum, length of a link's target; of a file, four bytes more.
func bomFacts(e entry, modified time.Time) []byte {
	kind, sum := byte(1), cksum(e.data)
	if e.isFolder() {
		kind, sum = 2, 0
	}
	block := []byte{kind, 1}
	block = binary.BigEndian.AppendUint16(block, 3)
	block = binary.BigEndian.AppendUint16(block, uint16(e.unixMode()))
	block = append(block, numbers(e.owner, e.group, uint32(modified.Unix()), uint32(len(e.data)))...)
	block = append(block, 1)
	block = append(block, numbers(sum, 0)...)
	if !e.isFolder() {
		block = append(block, numbers(0)...)
	}
	return block
}

// bomTree is a tree of one leaf.
func bomTree(leaf uint32, size uint32, count int) []byte {
	return append(append([]byte("tree"), numbers(1, leaf, size, uint32(count))...), 0)
}

// bomLeaf is a leaf with none before it and none behind it.
func bomLeaf(pairs [][2]uint32) []byte {
	block := binary.BigEndian.AppendUint16(nil, 1)
	block = binary.BigEndian.AppendUint16(block, uint16(len(pairs)))
	block = append(block, numbers(0, 0)...)
	for _, pair := range pairs {
		block = append(block, numbers(pair[0], pair[1])...)
	}
	return block
}

// encode puts the blocks behind each other. The list of free blocks is empty, with
// the two entries of nothing that Apple's mkbom writes.
func (s *bomStore) encode() []byte {
	names := numbers(uint32(len(s.names)))
	for _, n := range s.names {
		names = append(append(append(names, numbers(n.block)...), byte(len(n.name))), n.name...)
	}
	at := uint32(bomHeaderSize + len(names))
	table, body := numbers(uint32(len(s.blocks)+1), 0, 0), []byte(nil)
	for _, block := range s.blocks {
		table = append(table, numbers(at, uint32(len(block)))...)
		body, at = append(body, block...), at+uint32(len(block))
	}
	table = append(table, numbers(0, 0, 0, 0, 0)...)
	header := append([]byte("BOMStore"), numbers(1, uint32(len(s.blocks)), at, uint32(len(table)), bomHeaderSize, uint32(len(names)))...)
	header = append(header, make([]byte, bomHeaderSize-len(header))...)
	return slices.Concat(header, names, body, table)
}

func numbers(values ...uint32) []byte {
	var data []byte
	for _, value := range values {
		data = binary.BigEndian.AppendUint32(data, value)
	}
	return data
}

// cksum is the checksum of POSIX cksum(1): a CRC of the data and then of its length,
// the lowest byte first, inverted.
func cksum(data []byte) uint32 {
	const polynomial = 0x04C11DB7
	var table [256]uint32
	for i := range table {
		sum := uint32(i) << 24
		for range 8 {
			carry := sum >> 31
			sum = sum<<1 ^ carry*polynomial
		}
		table[i] = sum
	}
	var sum uint32
	for _, b := range data {
		sum = sum<<8 ^ table[byte(sum>>24)^b]
	}
	for length := len(data); length > 0; length >>= 8 {
		sum = sum<<8 ^ table[byte(sum>>24)^byte(length)]
	}
	return ^sum
}
