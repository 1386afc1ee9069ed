package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// luck is a number that looks random and is the same for the same event, the
// same account and the same seed.
func (s *stream) luck(at int64) uint64 {
	return binary.BigEndian.Uint64(digest(s.in.state.Seed, fmt.Sprintf("event %s %d", s.in.caller, at)))
}

// drops plays the fault monitor_drops.
func (s *stream) drops(luck uint64) bool {
	percent, on := s.in.state.fault("monitor_drops", s.in.caller)
	return on && luck%100 < uint64(number(percent))
}

// deathEvery is after how many events a stream dies that may die at any.
const deathEvery = 8

// mayDie plays the fault monitor_dies: the tool is killed, and what it had not
// written yet is lost.
func (s *stream) mayDie(luck uint64) error {
	value, on := s.in.state.fault("monitor_dies", s.in.caller)
	if !on {
		return nil
	}
	after := number(value)
	if after > 0 && s.told < after || after == 0 && luck>>32%deathEvery != 0 {
		return nil
	}
	return syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

// hugeLine is the length of a line that no sane reader takes whole.
const hugeLine = 100 << 10

// noises are what stands between the events with the fault monitor_noise: lines
// that are no JSON occur (facts/prlctl.md 3), these are invented.
var noises = [][]byte{
	nil,
	[]byte("Parallels Desktop for Mac: waiting for events...\n"),
	[]byte("{\"Timestamp\":\"2026-11-24 12:00:00\",\"VM ID\":\"f11d80\n"),
	[]byte("{\"Timestamp\":\"2026-11-24 12:00:00\",\"VM ID\":\"f11d80"), // the event itself is in this line
	[]byte("\x00\x01\xff\xfe\x1b]0;title\x07\x80\r\x0b\n"),
	[]byte("\n[1,2,3]\nnull\n{}\n\"text\"\n"),
	append(bytes.Repeat([]byte("x"), hugeLine), '\n'),
	[]byte(`{"VM ID":"` + strings.Repeat("[", 4<<10) + "\n"),
}

func noise(luck uint64) []byte { return bytes.Clone(noises[luck>>16%uint64(len(noises))]) }
