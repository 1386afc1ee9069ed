package protocol

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Bounds of what a portal may name, whoever speaks for it (H52).
const (
	// MaxVersion is the highest number that counts anything: the highest whole
	// number up to which every program that reads JSON tells two apart.
	MaxVersion = 1 << 53
	// MaxSequenceJump is how far beyond ours a portal may expect the next report.
	MaxSequenceJump = 1 << 20
	// longestWait is what any wait in seconds is cut to.
	longestWait = 24 * 60 * 60
	maxCancel   = 64
)

// beyond says what becomes of a number that is out of its bounds.
type beyond string

const (
	clamped beyond = "clamped" // the nearest bound counts; of a list, the first entries
	refused beyond = "refused" // the answer is not believed
	judged  beyond = "judged"  // held against what the Mac itself knows, where it is used
)

// answerNumber is one row of the table of numbers, times and lists in the answers
// of a portal, and says what is believed of it.
type answerNumber struct {
	path             string // the answer's type and the names of its fields
	minimum, maximum uint64 // of a list: entries
	beyond           beyond
	why              string // where and how it is judged
}

// answerNumbers is the table. A number without a row is refused.
var answerNumbers = []answerNumber{
	{"CheckinReply.server_time", 0, 0, judged, "a hint, believed up to a day beyond the wall clock (H07)"},
	{"CheckinReply.next_checkin_s", 0, longestWait, clamped, ""},
	{"CheckinReply.splay_s", 0, longestWait, clamped, ""},
	{"CheckinReply.policy.head_version", 0, MaxVersion, clamped, ""},
	{"CheckinReply.commands", 0, MaxCommandReply, clamped, "delivery is level-triggered: what is cut off comes again"},
	{"CheckinReply.commands.signatures", 0, MaxSignatures, refused, ""},
	{"CheckinReply.holds.signatures", 0, MaxSignatures, refused, ""},
	{"CheckinReply.cancel", 0, maxCancel, clamped, "it is computed afresh each time (H03)"},
	{"CheckinReply.acks", 0, MaxResults, clamped, "a result is repeated until it is acknowledged"},
	{"EnrollReply.server_time", 0, 0, judged, "not used: the first check-in brings another"},
	{"EnrollReply.retry_after_s", 0, longestWait, clamped, ""},
	{"Problem.status", 0, 0, judged, "it must be that of the answer and of the table of problems (H04)"},
	{"Problem.expected", 0, 0, judged, "of a report at most MaxSequenceJump beyond ours, else a new epoch begins; of an enrollment at most EnrollmentLife beyond the clock (H54)"},
	{"Head.head_version", 1, MaxVersion, refused, ""},
	{"Head.policy.revision", 0, MaxVersion, refused, ""},
	{"Head.policy.size", 1, MaxPolicy, refused, ""},
	{"Head.candidate.revision", 0, MaxVersion, refused, ""},
	{"Head.candidate.size", 1, MaxPolicy, refused, ""},
	{"Head.candidate.percent", 1, 100, refused, ""},
	{"Head.splay_s", 0, longestWait, clamped, ""},
	{"Head.issued_at", 0, 0, judged, "not used: versions say which head is newer"},
	{"Head.expires_at", 0, 0, judged, "held against trusted time (H07)"},
}

// MaxSignatures is how many signatures an envelope may have: an answer with one that has
// more is not believed.
const MaxSignatures = 16

// ErrOutOfBounds: an answer names a number that cannot be.
var ErrOutOfBounds = errors.New("a number is out of bounds")

// Bound holds the numbers and lists of an answer, given as a pointer, against the
// table: it clamps, or refuses the answer with ErrOutOfBounds.
func Bound(answer any) error {
	value := reflect.ValueOf(answer).Elem()
	return eachNumber(value, value.Type().Name(), boundNumber)
}

func boundNumber(path string, value reflect.Value) error {
	for i := range answerNumbers {
		row := &answerNumbers[i]
		if row.path == path {
			return row.bound(value)
		}
	}
	return fmt.Errorf("%w: %s has none", ErrOutOfBounds, path)
}

func (n answerNumber) bound(value reflect.Value) error {
	if n.beyond == judged {
		return nil
	}
	low, high := n.isBelow(value), n.isAbove(value)
	switch {
	case !low && !high:
		return nil
	case n.beyond == refused:
		return fmt.Errorf("%w: %s", ErrOutOfBounds, n.path)
	case value.Kind() == reflect.Slice:
		value.Set(value.Slice(0, int(n.maximum)))
		return nil
	}
	nearest := n.maximum
	if low {
		nearest = n.minimum
	}
	value.Set(reflect.ValueOf(nearest).Convert(value.Type()))
	return nil
}

func (n answerNumber) isBelow(value reflect.Value) bool {
	switch {
	case value.CanInt():
		return value.Int() < int64(n.minimum)
	case value.CanUint():
		return value.Uint() < n.minimum
	}
	return false
}

func (n answerNumber) isAbove(value reflect.Value) bool {
	switch {
	case value.CanInt():
		return value.Int() > int64(n.maximum)
	case value.CanUint():
		return value.Uint() > n.maximum
	}
	return value.Kind() == reflect.Slice && uint64(value.Len()) > n.maximum
}

// eachNumber calls do for every number, time and list of an answer that is
// there, with its path.
func eachNumber(value reflect.Value, path string, do func(string, reflect.Value) error) error {
	switch {
	case value.Type() == reflect.TypeFor[time.Time](), value.CanInt(), value.CanUint(), value.CanFloat():
		return do(path, value)
	case value.Kind() == reflect.Pointer && !value.IsNil():
		return eachNumber(value.Elem(), path, do)
	case value.Kind() == reflect.Slice:
		if err := do(path, value); err != nil {
			return err
		}
		for i := range value.Len() {
			if err := eachNumber(value.Index(i), path, do); err != nil {
				return err
			}
		}
	case value.Kind() == reflect.Struct:
		for i := range value.NumField() {
			name, _, _ := strings.Cut(value.Type().Field(i).Tag.Get("json"), ",")
			if err := eachNumber(value.Field(i), path+"."+name, do); err != nil {
				return err
			}
		}
	}
	return nil
}
