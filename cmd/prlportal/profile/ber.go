package profile

import "errors"

// Bounds of a signature that is read. The library calls itself for each level, copies
// what is inside at each, and raises to the power of whatever key it finds: a file of
// less than a megabyte could keep it busy for hours.
const (
	maxLevels   = 32
	maxElements = 10_000
	maxKeyBits  = 8192 // of RSA
)

var (
	errBER     = errors.New("it is cut off, or no signature")
	errBERDeep = errors.New("it is nested more deeply, or has more parts, than a signature")
)

// berScanner walks over the parts of an encoding (BER) in the order in which they
// stand, and calls nothing again for what is inside.
type berScanner struct {
	data []byte
	at   int
	ends []int // of the open parts, innermost last; openEnd where a mark ends it
}

// openEnd is the end of a part of indefinite length.
const openEnd = -1

// checkBER reports what is wrong with the form of the encoding that begins data.
func checkBER(data []byte) error {
	s := &berScanner{data: data}
	for range maxElements {
		if err := s.next(); err != nil || len(s.ends) == 0 {
			return err
		}
		if len(s.ends) > maxLevels {
			return errBERDeep
		}
	}
	return errBERDeep
}

// next reads one part, and leaves those that end behind it.
func (s *berScanner) next() error {
	constructed, err := s.tag()
	if err != nil {
		return err
	}
	end, err := s.length()
	switch {
	case err != nil:
		return err
	case end == openEnd && (!constructed || s.isMark()): // one with nothing inside is read in two ways
		return errBER
	case end != openEnd && end > s.limit():
		return errBER
	case constructed:
		s.ends = append(s.ends, end)
	default:
		s.at = end
	}
	for len(s.ends) > 0 {
		switch end := s.ends[len(s.ends)-1]; {
		case end == openEnd && s.isMark():
			s.at += 2
		case end != s.at:
			return nil
		}
		s.ends = s.ends[:len(s.ends)-1]
	}
	return nil
}

// limit is where the innermost part ends at the latest.
func (s *berScanner) limit() int {
	for i := len(s.ends) - 1; i >= 0; i-- {
		if s.ends[i] != openEnd {
			return s.ends[i]
		}
	}
	return len(s.data)
}

// isMark reports whether the mark that ends a part of indefinite length comes next.
func (s *berScanner) isMark() bool {
	return s.at+1 < len(s.data) && s.data[s.at] == 0 && s.data[s.at+1] == 0
}

func (s *berScanner) byte() (byte, error) {
	if s.at >= len(s.data) {
		return 0, errBER
	}
	s.at++
	return s.data[s.at-1], nil
}

func (s *berScanner) tag() (constructed bool, err error) {
	first, err := s.byte()
	more := first&0x1f == 0x1f
	for err == nil && more {
		var next byte
		next, err = s.byte()
		more = next >= 0x80
	}
	return first&0x20 != 0, err
}

// length gives the end of a part whose tag was read.
func (s *berScanner) length() (end int, err error) {
	first, err := s.byte()
	switch {
	case err != nil:
		return 0, err
	case first == 0x80:
		return openEnd, nil
	case first < 0x80:
		return s.at + int(first), nil
	case first > 0x84:
		return 0, errBER
	}
	length := 0
	for range first & 0x7f {
		next, err := s.byte()
		if err != nil {
			return 0, err
		}
		length = length<<8 | int(next)
	}
	return s.at + length, nil
}
