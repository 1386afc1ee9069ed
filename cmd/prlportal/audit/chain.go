package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Mark names a line by its number and by the hash of everything up to its end.
type Mark struct {
	Number uint64 `json:"number"`
	Hash   string `json:"hash,omitempty"` // SHA-256 in hex; empty: nothing is before
}

// after is the mark of the line that follows.
func (m Mark) after(line []byte) Mark {
	sum := sha256.New()
	sum.Write([]byte(m.Hash)) // of one length but for the first
	sum.Write(line)
	return Mark{Number: m.Number + 1, Hash: hex.EncodeToString(sum.Sum(nil))}
}

// chain goes along the lines.
type chain struct{ last Mark }

func (c *chain) add(line []byte) { c.last = c.last.after(line) }
func (c *chain) mark() Mark      { return c.last }

// maxLine is the longest line that is read, and maxEntry the longest entry that is written:
// shorter, because what a crash left of one may stand before it in a line.
const (
	maxLine  = 1 << 20
	maxEntry = maxLine / 2
)

// eachLine calls visit with every line, also with one that has no end.
func eachLine(r io.Reader, visit func(line []byte) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	lines.Split(splitLines)
	for lines.Scan() {
		if err := visit(lines.Bytes()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read audit log: %w", err)
	}
	return nil
}

// splitLines is as bufio.ScanLines, and keeps a carriage return: every byte counts.
func splitLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// ErrBroken says that the record is not as it was written.
var ErrBroken = errors.New("the audit log was changed after it was written")

// Findings is what there is to say of a whole record.
type Findings struct {
	Lines   uint64 `json:"lines"`
	Chained uint64 `json:"chained"` // lines that name the hash of what is before them; older portals wrote none
	Cut     uint64 `json:"cut"`     // lines that a crash or a full disk left; they are no entries
	Last    Mark   `json:"last"`
}

// Verify reads a record as a whole and calls visit, where it is not nil, with each
// entry: also behind a line that does not fit, because a decision does not become undone
// by what was done to the record of others. With a mark that is known from elsewhere the
// record must have that very line. The error is ErrBroken with the first line that does
// not fit.
func Verify(r io.Reader, known Mark, visit func(Entry) error) (found Findings, err error) {
	chain, isKnown := chain{}, known.Number == 0
	var broken error
	err = eachLine(r, func(line []byte) error {
		before := chain.mark()
		chain.add(line)
		found.Lines++
		if chain.mark() == known {
			isKnown = true
		}
		var entry Entry
		if json.Unmarshal(line, &entry) != nil {
			found.Cut++
			return nil
		}
		switch {
		case entry.Chain == "" && entry.Number == 0 && found.Chained == 0: // of before there was a chain
		case entry.Chain != before.Hash || entry.Number != found.Lines:
			broken = cmp.Or(broken, fmt.Errorf("%w: line %d does not follow on the one before", ErrBroken, found.Lines))
		default:
			found.Chained++
		}
		if visit == nil {
			return nil
		}
		return visit(entry)
	})
	found.Last = chain.mark()
	if !isKnown {
		broken = cmp.Or(broken, fmt.Errorf("%w: line %d is not the one that was written", ErrBroken, known.Number))
	}
	return found, cmp.Or(err, broken)
}

// VerifyFile is Verify of the file at path; none is an empty record.
func VerifyFile(path string, known Mark, visit func(Entry) error) (Findings, error) {
	file, err := openToRead(path)
	if errors.Is(err, os.ErrNotExist) {
		return Verify(bytes.NewReader(nil), known, visit)
	}
	if err != nil {
		return Findings{}, err
	}
	defer file.Close()
	return Verify(file, known, visit)
}

func openToRead(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	return file, nil
}
