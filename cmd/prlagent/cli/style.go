package cli

import (
	"fmt"
	"time"
)

// view is how a person looks at the output: in which zone, at what time, and
// whether in color.
type view struct {
	color bool
	now   time.Time
	zone  *time.Location
}

func (p *program) view() view {
	color := p.terminal && p.environment("NO_COLOR") == "" && p.environment("TERM") != "dumb"
	return view{color: color, now: p.now(), zone: p.zone}
}

// ink is a terminal's code for a color or a weight.
type ink string

const (
	bold   ink = "1"
	dim    ink = "2"
	red    ink = "31"
	green  ink = "32"
	yellow ink = "33"
)

func (v view) paint(with ink, text string) string {
	if !v.color || text == "" {
		return text
	}
	return "\x1b[" + string(with) + "m" + text + "\x1b[0m"
}

// moment is a point in time as people read it: local, with its zone, and how
// far from now.
func (v view) moment(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return v.stamp(at) + " " + v.paint(dim, "("+v.distance(at)+")")
}

// stamp is a point in time, local, with its zone; empty if there is none.
func (v view) stamp(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.In(v.zone).Format("2006-01-02 15:04:05 MST")
}

func (v view) distance(at time.Time) string {
	away := at.Sub(v.now).Round(time.Second)
	switch {
	case away > 0:
		return "in " + roughly(away)
	case away > -time.Second:
		return "now"
	}
	return roughly(-away) + " ago"
}

// roughly says a duration in its one or two largest units.
func roughly(duration time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case duration < time.Minute:
		return fmt.Sprintf("%d s", int(duration.Seconds()))
	case duration < time.Hour:
		return fmt.Sprintf("%d min", int(duration.Minutes()))
	case duration < day:
		return fmt.Sprintf("%d h %d min", int(duration.Hours()), int(duration.Minutes())%60)
	}
	return fmt.Sprintf("%d d %d h", int(duration/day), int(duration.Hours())%24)
}

// took says how long something took.
func took(duration time.Duration) string {
	if duration < time.Second {
		return fmt.Sprintf("%d ms", duration.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", duration.Seconds())
}

// plural puts a number before its word.
func plural(number int, word string) string {
	if number == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", number, word)
}
