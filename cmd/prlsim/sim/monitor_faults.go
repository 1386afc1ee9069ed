package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
)

// randomOf is a number that looks random and is the same for the same event, the
// same account and the same seed.
func (s *eventStream) randomOf(at int64) uint64 {
	return binary.BigEndian.Uint64(seededBytes(s.in.state.Seed, fmt.Sprintf("event %s %d", s.in.caller, at)))
}

// dropsEvent plays the fault monitor_drops.
func (s *eventStream) dropsEvent(random uint64) bool {
	percent, on := s.in.state.faultValue("monitor_drops", s.in.caller)
	return on && random%100 < uint64(decimalValue(percent))
}

// deathOdds is in how many events a stream that dies at random ends once.
const deathOdds = 8

// dieAsFaulted plays the fault monitor_dies: the tool is killed, and what it
// had not written yet is lost.
func (s *eventStream) dieAsFaulted(random uint64) error {
	value, on := s.in.state.faultValue("monitor_dies", s.in.caller)
	if !on {
		return nil
	}
	after := decimalValue(value)
	if after > 0 && s.eventCount < after || after == 0 && random>>32%deathOdds != 0 {
		return nil
	}
	return syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

// hugeLineSize is the length of a line that no sane reader takes whole.
const hugeLineSize = 100 << 10

// noiseLines are what stands between the events with the fault monitor_noise:
// lines that are no JSON occur (facts/prlctl.md 3), these are invented.
var noiseLines = sync.OnceValue(func() [][]byte {
	return [][]byte{
		nil,
		[]byte("Parallels Desktop for Mac: waiting for events...\n"),
		[]byte("{\"Timestamp\":\"2026-11-24 12:00:00\",\"VM ID\":\"f11d80\n"),
		[]byte("{\"Timestamp\":\"2026-11-24 12:00:00\",\"VM ID\":\"f11d80"), // the event itself is in this line
		[]byte("\x00\x01\xff\xfe\x1b]0;title\x07\x80\r\x0b\n"),
		[]byte("\n[1,2,3]\nnull\n{}\n\"text\"\n"),
		append(bytes.Repeat([]byte("x"), hugeLineSize), '\n'),
		[]byte(`{"VM ID":"` + strings.Repeat("[", 4<<10) + "\n"),
	}
})

func noiseLine(random uint64) []byte {
	lines := noiseLines()
	return bytes.Clone(lines[random>>16%uint64(len(lines))])
}
