package plist

import (
	"bytes"
	"encoding/binary"
	"math"
	"unicode/utf16"
)

// The binary format: eight bytes of header, objects, a table with the offset of
// each object, and a trailer that says where the table is and how wide offsets
// and object references are. All numbers are big-endian.
const (
	headerSize  = 8
	trailerSize = 32
)

// Object types, the upper half of an object's first byte.
const (
	objectSimple     = 0x0
	objectInteger    = 0x1
	objectReal       = 0x2
	objectDate       = 0x3
	objectData       = 0x4
	objectASCII      = 0x5
	objectUTF16      = 0x6
	objectUID        = 0x8
	objectArray      = 0xA
	objectDictionary = 0xD
)

// appleEpoch is 2001-01-01 in Unix seconds; the binary format counts from it.
const appleEpoch = 978307200

// scanBinary checks the trailer and every object that can be reached from the
// root, along every path to it, as the library will build them: shared objects
// are counted each time. Objects may not reach into the offset table.
func scanBinary(data []byte) error {
	s, root, err := newBinaryScanner(data)
	if err != nil {
		return err
	}
	return s.value(root, 1)
}

type binaryScanner struct {
	data       []byte
	table      uint64 // where the objects end and the offset table starts
	offsetSize uint64
	refSize    uint64
	objects    uint64
	budget     budget
}

// newBinaryScanner checks header and trailer and gives the root's number.
func newBinaryScanner(data []byte) (*binaryScanner, uint64, error) {
	if len(data) < headerSize+1+1+trailerSize {
		return nil, 0, fail(CodeInvalid, "too short for the binary format")
	}
	if !bytes.HasPrefix(data, []byte("bplist00")) && !bytes.HasPrefix(data, []byte("bplist01")) {
		return nil, 0, fail(CodeInvalid, "unknown version of the binary format")
	}
	end := uint64(len(data) - trailerSize)
	trailer := data[end:]
	s := &binaryScanner{
		data:       data,
		offsetSize: uint64(trailer[6]),
		refSize:    uint64(trailer[7]),
		objects:    binary.BigEndian.Uint64(trailer[8:]),
		table:      binary.BigEndian.Uint64(trailer[24:]),
	}
	root := binary.BigEndian.Uint64(trailer[16:])
	switch {
	case s.objects > maxNodes:
		return nil, 0, fail(CodeTooLarge, "more than %d objects", maxNodes)
	case s.offsetSize < 1 || s.offsetSize > 8 || s.refSize < 1 || s.refSize > 8:
		return nil, 0, fail(CodeInvalid, "impossible size of offsets or references")
	case s.table <= headerSize || s.table > end || s.table+s.objects*s.offsetSize != end:
		return nil, 0, fail(CodeInvalid, "offset table out of place")
	case root >= s.objects:
		return nil, 0, fail(CodeInvalid, "root object out of range")
	}
	return s, root, nil
}

// number reads a big-endian number of 1 to 8 bytes.
func (s *binaryScanner) number(at, size uint64) uint64 {
	var n uint64
	for _, b := range s.data[at : at+size] {
		n = n<<8 | uint64(b)
	}
	return n
}

// room checks that count pieces of the given size fit between at and the table.
func (s *binaryScanner) room(at, count, size uint64) error {
	if at > s.table || count > (s.table-at)/size {
		return fail(CodeInvalid, "object at byte %d reaches into the offset table", at)
	}
	return nil
}

// locate gives the place of an object's first byte.
func (s *binaryScanner) locate(object uint64) (uint64, error) {
	if object >= s.objects {
		return 0, fail(CodeInvalid, "object reference out of range")
	}
	at := s.number(s.table+object*s.offsetSize, s.offsetSize)
	if at < headerSize || at >= s.table {
		return 0, fail(CodeInvalid, "object offset out of range")
	}
	return at, nil
}

// value checks one object and all it refers to.
func (s *binaryScanner) value(object uint64, depth int) error {
	if err := s.budget.node(); err != nil {
		return err
	}
	at, err := s.locate(object)
	if err != nil {
		return err
	}
	switch s.data[at] >> 4 {
	case objectArray:
		return s.array(at, depth)
	case objectDictionary:
		return s.dictionary(at, depth)
	case objectData, objectASCII, objectUTF16:
		_, err := s.content(at)
		return err
	default:
		return s.scalar(at)
	}
}

// scalar checks the objects of fixed size.
func (s *binaryScanner) scalar(at uint64) error {
	marker := s.data[at]
	low := marker & 0xF
	size := uint64(1) << low
	valid := false
	switch marker >> 4 {
	case objectSimple:
		return s.simple(marker)
	case objectInteger:
		valid = low <= 4
	case objectReal:
		valid = low == 2 || low == 3
	case objectDate:
		valid = low == 3
	case objectUID:
		size = uint64(low) + 1
		valid = size == 1 || size == 2 || size == 4 || size == 8
	}
	if !valid {
		return fail(CodeInvalid, "unknown object at byte %d", at)
	}
	if err := s.room(at+1, 1, size); err != nil {
		return err
	}
	return s.inRange(at, size)
}

// simple accepts false and true; null and fill bytes are no values.
func (s *binaryScanner) simple(marker byte) error {
	if marker != 0x08 && marker != 0x09 {
		return fail(CodeInvalid, "null where a value should be")
	}
	return nil
}

// inRange checks the numbers whose upper part the library would drop: integers
// of 16 bytes that do not fit 64 bits, and dates beyond the calendar.
func (s *binaryScanner) inRange(at, size uint64) error {
	switch s.data[at] >> 4 {
	case objectInteger:
		if size < 16 {
			return nil
		}
		high, low := s.number(at+1, 8), s.number(at+9, 8)
		if high != 0 && (high != math.MaxUint64 || low < 1<<63) {
			return fail(CodeInvalid, "integer at byte %d has more than 64 bits", at)
		}
	case objectDate:
		seconds := math.Float64frombits(s.number(at+1, 8)) + appleEpoch
		if !(seconds >= startOfCalendar && seconds < endOfCalendar) {
			return fail(CodeInvalid, "date at byte %d is out of range", at)
		}
	}
	return nil
}

// count reads how many elements an object has, and where they start.
func (s *binaryScanner) count(at uint64) (count, start uint64, err error) {
	low := s.data[at] & 0xF
	if low != 0xF {
		return uint64(low), at + 1, nil
	}
	if err := s.room(at+1, 1, 1); err != nil {
		return 0, 0, err
	}
	marker := s.data[at+1]
	if marker>>4 != objectInteger || marker&0xF > 3 {
		return 0, 0, fail(CodeInvalid, "object at byte %d has no count", at)
	}
	size := uint64(1) << (marker & 0xF)
	if err := s.room(at+2, 1, size); err != nil {
		return 0, 0, err
	}
	return s.number(at+2, size), at + 2 + size, nil
}

// content checks a string or data and gives its bytes as they stand.
func (s *binaryScanner) content(at uint64) ([]byte, error) {
	count, start, err := s.count(at)
	if err != nil {
		return nil, err
	}
	kind, width := s.data[at]>>4, uint64(1)
	if kind == objectUTF16 {
		width = 2
	}
	if err := s.room(start, count, width); err != nil {
		return nil, err
	}
	if err := s.budget.content(int(count * width)); err != nil {
		return nil, err
	}
	raw := s.data[start : start+count*width]
	if kind == objectASCII && !isASCII(raw) {
		return nil, fail(CodeInvalid, "string at byte %d is not ASCII", at)
	}
	return raw, nil
}

func isASCII(text []byte) bool {
	for _, b := range text {
		if b >= 0x80 {
			return false
		}
	}
	return true
}

func (s *binaryScanner) array(at uint64, depth int) error {
	count, start, err := s.count(at)
	if err != nil {
		return err
	}
	if err := s.room(start, count, s.refSize); err != nil {
		return err
	}
	if err := s.budget.container(depth); err != nil {
		return err
	}
	for i := range count {
		if err := s.value(s.number(start+i*s.refSize, s.refSize), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// dictionary checks the keys, which come first, and then the values.
func (s *binaryScanner) dictionary(at uint64, depth int) error {
	count, start, err := s.count(at)
	if err != nil {
		return err
	}
	if err := s.room(start, count, 2*s.refSize); err != nil {
		return err
	}
	if err := s.budget.container(depth); err != nil {
		return err
	}
	keys := map[string]struct{}{}
	for i := range count {
		if err := s.key(s.number(start+i*s.refSize, s.refSize), keys); err != nil {
			return err
		}
	}
	for i := range count {
		if err := s.value(s.number(start+(count+i)*s.refSize, s.refSize), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// key checks a key and adds it to those of its dictionary.
func (s *binaryScanner) key(object uint64, keys map[string]struct{}) error {
	if err := s.budget.node(); err != nil {
		return err
	}
	at, err := s.locate(object)
	if err != nil {
		return err
	}
	kind := s.data[at] >> 4
	if kind != objectASCII && kind != objectUTF16 {
		return fail(CodeInvalid, "a key of the dictionary is no string")
	}
	raw, err := s.content(at)
	if err != nil {
		return err
	}
	text := string(raw)
	if kind == objectUTF16 {
		text = decodeUTF16(raw)
	}
	if _, twice := keys[text]; twice {
		return fail(CodeInvalid, "the same key twice in one dictionary")
	}
	keys[text] = struct{}{}
	return nil
}

func decodeUTF16(raw []byte) string {
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = binary.BigEndian.Uint16(raw[2*i:])
	}
	return string(utf16.Decode(units))
}
