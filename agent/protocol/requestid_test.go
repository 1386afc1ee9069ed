package protocol

import (
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestH54_RequestIDs(t *testing.T) {
	t.Parallel()
	first := NewRequestID(noon, RequestID{})
	parsed, err := ParseRequestID(first.String())
	if err != nil || parsed != first || !first.Time().Equal(noon) {
		t.Errorf("%s is read as %s of %v, %v", first, parsed, parsed.Time(), err)
	}
	if known, err := uuid.Parse(first.String()); err != nil || known.Version() != 7 || known.Variant() != uuid.RFC4122 {
		t.Errorf("%s is version %d, variant %s, %v", first, known.Version(), known.Variant(), err)
	}
	for last, now := first, noon.Add(-time.Hour); now.Before(noon.Add(time.Hour)); now = now.Add(10 * time.Minute) {
		next := NewRequestID(now, last)
		if !next.After(last) || last.After(next) || next.After(next) {
			t.Fatalf("%s does not come after %s", next, last)
		}
		last = next
	}
	made, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	if parsed, err := ParseRequestID(made.String()); err != nil || time.Since(parsed.Time()) > time.Minute {
		t.Errorf("an id of another maker: %v of %v", err, parsed.Time())
	}
	for _, text := range []string{"", "1", uuid.NewString(), first.String() + " ", "{" + first.String() + "}", "0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e1g", "0198f6b27c1e-7d0a-9a55-3f1d0c2b7e11-", "0198f6b2-7c1e-7d0a-0a55-3f1d0c2b7e11"} {
		if _, err := ParseRequestID(text); err == nil {
			t.Errorf("%q is an id", text)
		}
	}
}

func FuzzH54_RequestID(f *testing.F) {
	for _, seed := range []string{"0198f6b2-7c1e-7d0a-9a55-3f1d0c2b7e11", "", "FFFFFFFF-FFFF-7FFF-BFFF-FFFFFFFFFFFF", "0198f6b2-7c1e-4d0a-9a55-3f1d0c2b7e11"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseRequestID(text)
		if err != nil {
			return
		}
		if again, err := ParseRequestID(id.String()); err != nil || again != id {
			t.Fatalf("%q is read as %s", text, id)
		}
		if next := NewRequestID(time.Unix(0, 0), id); id.Time().Year() < 10000 && !next.After(id) {
			t.Fatalf("%s does not come after %s", next, id)
		}
	})
}
