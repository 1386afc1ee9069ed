package httpapi

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"prlagent/agent/protocol"
)

func TestProtocol7_DepthSixteenIsRead(t *testing.T) {
	t.Parallel()
	body := []byte(strings.Repeat(`{"a":`, 16) + "1" + strings.Repeat("}", 16))
	if err := DecodeBody(body, &struct{}{}); err != nil {
		t.Errorf("depth 16: %v", err)
	}
}

func gzipped(t testing.TB, body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	_, err := writer.Write(body)
	if err := errors.Join(err, writer.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// countingReader counts what was taken from it.
type countingReader struct {
	reader *bytes.Reader
	taken  int
}

func (c *countingReader) Read(buffer []byte) (int, error) {
	n, err := c.reader.Read(buffer)
	c.taken += n
	return n, err
}

func TestProtocol8_GzipBombIsBounded(t *testing.T) {
	t.Parallel()
	bomb := gzipped(t, make([]byte, 64<<20))
	source := &countingReader{reader: bytes.NewReader(bomb)}
	if _, err := inflate(source, protocol.MaxRequest, 0); !errors.Is(err, protocol.ErrTooLarge) {
		t.Fatalf("inflate: %v, want ErrTooLarge", err)
	}
	// Zeros shrink a thousandfold: 2 MiB and the reader's buffer are a few
	// KiB of the bomb, and what was not taken was not decompressed.
	if limit := len(bomb) / 8; source.taken > limit {
		t.Errorf("%d of %d bytes were taken, want at most %d", source.taken, len(bomb), limit)
	}
}

func TestProtocol8_CompressedSizeIsBounded(t *testing.T) {
	t.Parallel()
	source := &countingReader{reader: bytes.NewReader(append(gzipped(t, []byte("{}")), make([]byte, 1<<20)...))}
	if _, err := inflate(source, protocol.MaxRequest, 0); err == nil {
		t.Fatal("a body with a megabyte of padding was read")
	}
	if source.taken > protocol.MaxRequestGzip+1 {
		t.Errorf("%d bytes were taken, want at most %d", source.taken, protocol.MaxRequestGzip+1)
	}
}

// The bound of a body lets through what just fits, and says of the rest that
// it is too much as often as it is asked.
func TestProtocol8_BoundOfABody(t *testing.T) {
	t.Parallel()
	for size, fits := range map[int]bool{0: true, 9: true, 10: true, 11: false, 20: false} {
		bounded := &boundedReader{reader: bytes.NewReader(make([]byte, size)), remaining: 10}
		body, err := io.ReadAll(bounded)
		if fits && (err != nil || len(body) != size) || !fits && !errors.Is(err, protocol.ErrTooLarge) {
			t.Errorf("of %d bytes %d were read, %v", size, len(body), err)
		}
		if again, err := bounded.Read(make([]byte, 10)); !fits && (again != 0 || !errors.Is(err, protocol.ErrTooLarge)) {
			t.Errorf("of %d bytes %d more were read, %v", size, again, err)
		}
	}
}
