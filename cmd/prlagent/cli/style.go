package cli

import (
	"fmt"
	"time"
)

// outputView is how a person looks at the output: in which zone, at what time,
// and whether in color.
type outputView struct {
	color  bool
	window int // columns of the terminal; 0 = it is none
	now    time.Time
	zone   *time.Location
}

func (p *program) newView() outputView {
	color := p.terminal && p.environment("NO_COLOR") == "" && p.environment("TERM") != "dumb"
	return outputView{color: color, window: p.window, now: p.now(), zone: p.zone}
}

// textStyle is a terminal's code for a color or a weight.
type textStyle string

const (
	styleBold   textStyle = "1"
	styleDim    textStyle = "2"
	styleRed    textStyle = "31"
	styleGreen  textStyle = "32"
	styleYellow textStyle = "33"
)

func (v outputView) paint(with textStyle, text string) string {
	if !v.color || text == "" {
		return text
	}
	return "\x1b[" + string(with) + "m" + text + "\x1b[0m"
}

// momentWords is a point in time as people read it: local, with its zone, and how
// far from now.
func (v outputView) momentWords(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return v.localTime(at) + " " + v.paint(styleDim, "("+v.distanceWords(at)+")")
}

// localTime is a point in time, local, with its zone; empty if there is none.
func (v outputView) localTime(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.In(v.zone).Format("2006-01-02 15:04:05 MST")
}

func (v outputView) distanceWords(at time.Time) string {
	away := at.Sub(v.now).Round(time.Second)
	switch {
	case away > 0:
		return "in " + roughDuration(away)
	case away > -time.Second:
		return "now"
	}
	return roughDuration(-away) + " ago"
}

// roughDuration says a duration in its one or two largest units.
func roughDuration(duration time.Duration) string {
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

// durationWords says how long something took.
func durationWords(duration time.Duration) string {
	if duration < time.Second {
		return fmt.Sprintf("%d ms", duration.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", duration.Seconds())
}

// countWords puts a number before its word.
func countWords(number int, word string) string {
	if number == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", number, word)
}
