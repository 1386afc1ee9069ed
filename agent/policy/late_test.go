package policy

import (
	"testing"
	"time"
)

// What was placed may come late until half a minute after its call, but where it was seen,
// or the tool does not have it; and so may what an earlier call has placed.
func TestWhatMayComeLate(t *testing.T) {
	t.Parallel()
	const second = time.Second
	began := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	at := func(after time.Duration) time.Time { return began.Add(after) }
	place := func(c *CallMemory, after time.Duration) { c.beginLock(false, "on", "off", at(after)) }
	lift := func(c *CallMemory, after time.Duration) { c.beginLock(true, "off", "on", at(after)) }
	for name, test := range map[string]struct {
		history func(*CallMemory)
		asked   time.Duration
		late    time.Duration // zero: it may not come
	}{
		"nothing placed":       {func(*CallMemory) {}, second, 0},
		"placed, not seen":     {func(c *CallMemory) { place(c, 0) }, 29 * second, LateFor},
		"the time is over":     {func(c *CallMemory) { place(c, 0) }, LateFor, 0},
		"placed and seen":      {func(c *CallMemory) { place(c, 0); c.proved("on") }, second, 0},
		"there is no such":     {func(c *CallMemory) { place(c, 0); c.Refused = "26.4" }, second, 0},
		"placed a second time": {func(c *CallMemory) { place(c, 0); place(c, 9*second); c.proved("on") }, 10 * second, LateFor},
		"lifted meanwhile":     {func(c *CallMemory) { place(c, 0); lift(c, 9*second); c.proved("off") }, 10 * second, LateFor},
		"lifted at last": {func(c *CallMemory) {
			place(c, 0)
			c.proved("on")
			lift(c, 9*second)
			lift(c, 12*second)
			c.proved("off")
		}, 13 * second, 0},
		"placed after a lift": {func(c *CallMemory) {
			place(c, 0)
			c.proved("on")
			lift(c, 9*second)
			place(c, 12*second)
			c.proved("on")
		}, 13 * second, 9*second + LateFor},
		"the clock was set": {func(c *CallMemory) { place(c, 0) }, -time.Hour, 0},
	} {
		var call CallMemory
		test.history(&call)
		want := time.Time{}
		if test.late != 0 {
			want = at(test.late)
		}
		if got := call.lateUntil(at(test.asked)); !got.Equal(want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
