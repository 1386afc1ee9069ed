package pkg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// bomReader is a reader of its own: it knows the format, and nothing of the writer.
type bomReader struct {
	data   []byte
	blocks [][]byte
	names  map[string]uint32
	used   map[uint32]bool // blocks
}

// bomListed is a row of a bill of materials.
type bomListed struct {
	listed
	sum uint32
	id  uint32
}

// readBom gives the rows in the order of the tree.
func readBom(data []byte) ([]bomListed, error) {
	r := bomReader{data: data, names: map[string]uint32{}, used: map[uint32]bool{}}
	if err := r.readStore(); err != nil {
		return nil, err
	}
	if got := slices.Sorted(maps.Keys(r.names)); !slices.Equal(got, []string{"BomInfo", "HLIndex", "Paths", "Size64", "VIndex"}) {
		return nil, fmt.Errorf("names %v", got)
	}
	views := r.block(r.names["VIndex"])
	if len(views) != 13 || word(views, 0) != 1 || word(views, 8) != 0 || views[12] != 0 {
		return nil, fmt.Errorf("VIndex %x", views)
	}
	for _, tree := range []uint32{r.names["HLIndex"], r.names["Size64"], word(views, 4)} {
		if pairs, err := r.pairs(tree); err != nil || len(pairs) != 0 {
			return nil, fmt.Errorf("%d pairs in an empty tree: %w", len(pairs), err)
		}
	}
	pairs, err := r.pairs(r.names["Paths"])
	if err != nil {
		return nil, err
	}
	info := r.block(r.names["BomInfo"])
	if len(info) != 12 || word(info, 0) != 1 || int(word(info, 4)) != len(pairs)+1 || word(info, 8) != 0 {
		return nil, fmt.Errorf("BomInfo %x for %d paths", info, len(pairs))
	}
	rows, err := r.rows(pairs)
	if len(r.used) != len(r.blocks)-1 {
		return nil, errors.New("there are blocks that nothing leads to")
	}
	return rows, err
}

func word(data []byte, at int) uint32 {
	if at+4 > len(data) {
		return 1<<32 - 1
	}
	return binary.BigEndian.Uint32(data[at:])
}

func (r *bomReader) part(offset, length uint32) []byte {
	if uint64(offset)+uint64(length) > uint64(len(r.data)) {
		return nil
	}
	return r.data[offset : offset+length]
}

func (r *bomReader) block(number uint32) []byte {
	if number == 0 || int(number) >= len(r.blocks) || r.used[number] {
		return nil // each block is of one thing
	}
	r.used[number] = true
	return r.blocks[number]
}

// readStore reads header, table and names. No two blocks share a byte.
func (r *bomReader) readStore() error {
	if len(r.data) < 512 || string(r.data[:8]) != "BOMStore" || word(r.data, 8) != 1 {
		return errors.New("no bill of materials")
	}
	table, names := r.part(word(r.data, 16), word(r.data, 20)), r.part(word(r.data, 24), word(r.data, 28))
	if int(word(r.data, 16)+word(r.data, 20)) != len(r.data) {
		return errors.New("the table is not at the end")
	}
	count := int(word(table, 0))
	if len(table) != 4+8*count+4+16 || bytes.Count(table[4+8*count:], []byte{0}) != 20 || word(r.data, 12) != uint32(count-1) {
		return fmt.Errorf("a table of %d bytes for %d blocks", len(table), count)
	}
	end := word(r.data, 24) + word(r.data, 28)
	for i := range count {
		offset, length := word(table, 4+8*i), word(table, 8+8*i)
		if i == 0 && (offset != 0 || length != 0) || i > 0 && offset != end {
			return fmt.Errorf("block %d is at %d, not at %d", i, offset, end)
		}
		if i > 0 {
			end += length
		}
		r.blocks = append(r.blocks, r.part(offset, length))
	}
	if end != word(r.data, 16) {
		return fmt.Errorf("the blocks end at %d", end)
	}
	at := 4
	for range word(names, 0) {
		if at+5 > len(names) || at+5+int(names[at+4]) > len(names) {
			return errors.New("the names end too early")
		}
		length := int(names[at+4])
		r.names[string(names[at+5:at+5+length])] = word(names, at)
		at += 5 + length
	}
	if at != len(names) {
		return errors.New("something is behind the names")
	}
	return nil
}

// pairs gives the pairs of a tree's only leaf.
func (r *bomReader) pairs(tree uint32) (pairs [][2]uint32, err error) {
	root := r.block(tree)
	if len(root) != 21 || string(root[:4]) != "tree" || word(root, 4) != 1 || word(root, 12) != 4096 && word(root, 12) != 128 || root[20] != 0 {
		return nil, fmt.Errorf("no tree: %x", root)
	}
	leaf := r.block(word(root, 8))
	if len(leaf) < 12 || binary.BigEndian.Uint16(leaf) != 1 || word(leaf, 4) != 0 || word(leaf, 8) != 0 {
		return nil, fmt.Errorf("no single leaf: %x", leaf)
	}
	count := int(binary.BigEndian.Uint16(leaf[2:]))
	if len(leaf) != 12+8*count || int(word(root, 16)) != count {
		return nil, fmt.Errorf("a leaf of %d pairs in a tree of %d", count, word(root, 16))
	}
	for i := range count {
		pairs = append(pairs, [2]uint32{word(leaf, 12+8*i), word(leaf, 16+8*i)})
	}
	return pairs, nil
}

// rows puts the paths together: a row's parent comes before it, by its number.
func (r *bomReader) rows(pairs [][2]uint32) (rows []bomListed, err error) {
	paths := map[uint32]string{}
	lastParent, lastName := uint32(0), ""
	for _, pair := range pairs {
		known, named := r.block(pair[0]), r.block(pair[1])
		if len(known) != 8 || len(named) < 6 || named[len(named)-1] != 0 || bytes.IndexByte(named[4:], 0) != len(named)-5 {
			return nil, fmt.Errorf("pair %v", pair)
		}
		id, parent, name := word(known, 0), word(named, 0), string(named[4:len(named)-1])
		above, isKnown := paths[parent]
		if _, twice := paths[id]; twice || parent != 0 && !isKnown || (parent == 0) != (name == ".") || strings.Contains(name, "/") {
			return nil, fmt.Errorf("%q is number %d in %d", name, id, parent)
		}
		if parent < lastParent || parent == lastParent && name <= lastName {
			return nil, fmt.Errorf("%q of %d comes behind %q of %d", name, parent, lastName, lastParent)
		}
		lastParent, lastName = parent, name
		paths[id] = strings.TrimPrefix(above+"/"+name, "/")
		row, err := readBomFacts(r.block(word(known, 4)), paths[id])
		if err != nil {
			return nil, err
		}
		row.id = id
		rows = append(rows, row)
	}
	return rows, nil
}

func readBomFacts(block []byte, path string) (bomListed, error) {
	if len(block) < 31 || block[1] != 1 || binary.BigEndian.Uint16(block[2:]) != 3 || block[22] != 1 || word(block, 27) != 0 {
		return bomListed{}, fmt.Errorf("%s: %x", path, block)
	}
	mode := binary.BigEndian.Uint16(block[4:])
	row := bomListed{listed{path: path, mode: uint64(mode), owner: uint64(word(block, 6)), group: uint64(word(block, 10)), modified: uint64(word(block, 14)), size: uint64(word(block, 18))}, word(block, 23), 0}
	switch {
	case block[0] == 1 && mode&0o170000 == 0o100000 && len(block) == 35 && word(block, 31) == 0:
	case block[0] == 2 && mode&0o170000 == 0o040000 && len(block) == 31 && row.size == 0 && row.sum == 0:
	default:
		return bomListed{}, fmt.Errorf("%s is of kind %d with mode %o", path, block[0], mode)
	}
	return row, nil
}
