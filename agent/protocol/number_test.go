package protocol

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// answerTypes are all answers of a portal that an agent reads. Commands travel
// in envelopes, which are opaque until they are verified.
var answerTypes = []any{CheckinReply{}, EnrollReply{}, Problem{}, Head{}}

// numberPaths are the paths of all numbers, times and lists of a type.
func numberPaths(of reflect.Type, path string) (paths []string) {
	switch of.Kind() {
	case reflect.Pointer:
		return numberPaths(of.Elem(), path)
	case reflect.Slice:
		return append([]string{path}, numberPaths(of.Elem(), path)...)
	case reflect.Map:
		return []string{path + ": maps have no bounds"}
	case reflect.Struct:
		if of == reflect.TypeFor[time.Time]() {
			return []string{path}
		}
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			paths = append(paths, numberPaths(of.Field(i).Type, path+"."+name)...)
		}
		return paths
	case reflect.String, reflect.Bool:
		return nil
	}
	return []string{path}
}

// Every number in every answer has its row, and every row is of a number.
func TestH52_EveryNumberHasBounds(t *testing.T) {
	t.Parallel()
	var want, got []string
	for _, answer := range answerTypes {
		want = append(want, numberPaths(reflect.TypeOf(answer), reflect.TypeOf(answer).Name())...)
	}
	for _, row := range answerNumbers {
		got = append(got, row.path)
		if (row.beyond == judged) != (row.minimum == row.maximum) || row.beyond == judged && row.why == "" {
			t.Errorf("%+v does not say what is believed", row)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Errorf("the answers have\n%s\nthe table has\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
}

func TestH52_NumbersAreClampedOrRefused(t *testing.T) {
	t.Parallel()
	many := CheckinReply{Commands: make([]Envelope, 20), Cancel: make([]string, 1000), Acks: make([]Ack, 1000), Policy: &Hint{HeadVersion: math.MaxUint64},
		NextCheckin: math.MaxInt, SplaySecs: math.MinInt}
	if err := Bound(&many); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(len(many.Commands), len(many.Cancel), len(many.Acks), many.Policy.HeadVersion, many.NextCheckin, many.SplaySecs)
	if want := fmt.Sprint(8, 64, 64, uint64(MaxVersion), 86400, 0); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for name, bad := range map[string]any{
		"too many signatures": &CheckinReply{Commands: []Envelope{{Signatures: make([]Signature, 17)}}},
		"a version of none":   &Head{},
		"the last version":    &Head{HeadVersion: math.MaxUint64},
		"a revision":          &Head{HeadVersion: 1, Policy: &PolicyPointer{Revision: MaxVersion + 1, Size: 1}},
		"a size":              &Head{HeadVersion: 1, Policy: &PolicyPointer{Revision: 1, Size: -1}},
		"a number of no row":  &struct{ Number int }{},
	} {
		if err := Bound(bad); !errors.Is(err, ErrOutOfBounds) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
