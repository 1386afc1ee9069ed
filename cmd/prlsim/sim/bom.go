package sim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
)

// A bill of materials lists what a package installs (facts/macos.md 13.1, facts/acting.md
// 4): a store of numbered blocks with names for a few, of which Paths is a tree. This
// reader takes trees of any height, and of any number of leaves.

// bomRow is what is known of one path.
type bomRow struct {
	mode, owner, group, size, sum uint32
}

type bomStore struct {
	data    []byte
	table   []byte
	budget  int // of blocks to look at: no store leads around in circles
	names   map[uint32]string
	parents map[uint32]uint32
	rows    map[uint32]bomRow
}

// readBom gives the rows by path.
func readBom(data []byte) (map[string]bomRow, error) {
	if len(data) < 32 || string(data[:8]) != "BOMStore" {
		return nil, errors.New("it is no bill of materials")
	}
	number := func(at int) int { return int(binary.BigEndian.Uint32(data[at:])) }
	table, err := part(data, number(16), number(20))
	if err != nil {
		return nil, err
	}
	names, err := part(data, number(24), number(28))
	if err != nil {
		return nil, err
	}
	s := bomStore{data: data, table: table, budget: len(data), names: map[uint32]string{}, parents: map[uint32]uint32{}, rows: map[uint32]bomRow{}}
	root, err := namedBlock(names, "Paths")
	if err != nil {
		return nil, err
	}
	if err := s.readTree(root); err != nil {
		return nil, err
	}
	return s.byPath()
}

// namedBlock is the number of the block that has a name.
func namedBlock(names []byte, wanted string) (uint32, error) {
	if len(names) < 4 {
		return 0, errors.New("it has no names")
	}
	for rest := names[4:]; len(rest) >= 5 && len(rest) >= 5+int(rest[4]); rest = rest[5+int(rest[4]):] {
		if string(rest[5:5+int(rest[4])]) == wanted {
			return binary.BigEndian.Uint32(rest), nil
		}
	}
	return 0, fmt.Errorf("it has no %s", wanted)
}

// block gives a block, which has a least size.
func (s *bomStore) block(number uint32, least int) ([]byte, error) {
	if s.budget--; s.budget < 0 {
		return nil, errors.New("it leads around in circles")
	}
	place, err := part(s.table, 4+8*int(number), 8)
	if err != nil {
		return nil, err
	}
	block, err := part(s.data, int(binary.BigEndian.Uint32(place)), int(binary.BigEndian.Uint32(place[4:])))
	if err == nil && len(block) < least {
		err = fmt.Errorf("block %d is too short", number)
	}
	return block, err
}

// readTree goes down to the first leaf, and then from leaf to leaf.
func (s *bomStore) readTree(number uint32) error {
	tree, err := s.block(number, 12)
	if err != nil {
		return err
	}
	if string(tree[:4]) != "tree" {
		return errors.New("its paths are no tree")
	}
	for next := binary.BigEndian.Uint32(tree[8:]); next != 0; {
		page, err := s.block(next, 12)
		if err != nil {
			return err
		}
		count := int(binary.BigEndian.Uint16(page[2:]))
		pairs, err := part(page, 12, 8*count)
		if err != nil {
			return err
		}
		if binary.BigEndian.Uint16(page) == 0 && count > 0 { // a branch, which names its pages
			next = binary.BigEndian.Uint32(pairs)
			continue
		}
		if err := s.readLeaf(pairs); err != nil {
			return err
		}
		next = binary.BigEndian.Uint32(page[4:])
	}
	return nil
}

// readLeaf reads pairs: a number with what is known, and its parent's with the name.
func (s *bomStore) readLeaf(pairs []byte) error {
	for ; len(pairs) > 0; pairs = pairs[8:] {
		known, err := s.block(binary.BigEndian.Uint32(pairs), 8)
		if err != nil {
			return err
		}
		named, err := s.block(binary.BigEndian.Uint32(pairs[4:]), 5)
		if err != nil {
			return err
		}
		facts, err := s.block(binary.BigEndian.Uint32(known[4:]), 27)
		if err != nil {
			return err
		}
		id := binary.BigEndian.Uint32(known)
		name, _, ended := bytes.Cut(named[4:], []byte{0})
		if _, twice := s.rows[id]; twice || !ended {
			return fmt.Errorf("row %d is there twice, or has no name", id)
		}
		number := func(at int) uint32 { return binary.BigEndian.Uint32(facts[at:]) }
		s.names[id], s.parents[id] = string(name), binary.BigEndian.Uint32(named)
		s.rows[id] = bomRow{mode: uint32(binary.BigEndian.Uint16(facts[4:])), owner: number(6), group: number(10), size: number(18), sum: number(23)}
	}
	return nil
}

func (s *bomStore) byPath() (map[string]bomRow, error) {
	found := map[string]bomRow{}
	for id, row := range s.rows {
		name, depth := s.names[id], 0
		for above := s.parents[id]; above != 0; above = s.parents[above] {
			if _, known := s.rows[above]; !known || depth > len(s.rows) {
				return nil, fmt.Errorf("%q is in no folder", name)
			}
			name, depth = path.Join(s.names[above], name), depth+1
		}
		name, err := cleanPath(name)
		if err != nil {
			return nil, err
		}
		if _, twice := found[name]; twice {
			return nil, fmt.Errorf("%q is there twice", name)
		}
		found[name] = row
	}
	return found, nil
}

// posixSum is the checksum of cksum(1): a CRC of data and length.
func posixSum(data []byte) uint32 {
	var table [256]uint32
	for i := range table {
		table[i] = uint32(i) << 24
		for range 8 {
			carry := table[i] >> 31
			table[i] = table[i]<<1 ^ carry*0x04c11db7
		}
	}
	sum := uint32(0)
	for _, b := range data { // tens of megabytes: without a call for each
		sum = sum<<8 ^ table[byte(sum>>24)^b]
	}
	for length := len(data); length > 0; length >>= 8 {
		sum = sum<<8 ^ table[byte(sum>>24)^byte(length)]
	}
	return ^sum
}
