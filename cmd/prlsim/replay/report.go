package replay

import (
	"fmt"
	"io"
	"strings"

	"prlagent/platform/text"
)

// Parts of a report.
const (
	partClient    = "client"    // what package prlctl makes of it
	partFact      = "fact"      // what the facts say
	partSimulator = "simulator" // what the simulated Mac does in the same place
)

// Verdicts of a finding.
const (
	verdictAgrees  = "agrees"
	verdictDiffers = "differs"
	verdictAnswer  = "answer"  // to an open question: nothing to compare with
	verdictMissing = "missing" // not captured
)

// finding is one line of a report.
type finding struct {
	Part      string `json:"part"`
	What      string `json:"what"`
	Verdict   string `json:"verdict"`
	Detail    string `json:"detail,omitempty"`
	Source    string `json:"source,omitempty"`    // of the fact
	Certainty string `json:"certainty,omitempty"` // of the fact so far: C, C-, I or U
}

func (r *reading) add(f finding) { r.findings = append(r.findings, f) }

// report is what replay tells.
type report struct {
	Written     string    `json:"written"`
	Simulated   bool      `json:"simulated"` // captured on a simulated Mac
	Version     string    `json:"version"`   // of Parallels Desktop
	Commands    int       `json:"commands"`
	Skipped     []string  `json:"skipped"`
	Withheld    []string  `json:"withheld"`
	Differences int       `json:"differences"`
	Findings    []finding `json:"findings"`
}

func (r *reading) report() report {
	out := report{
		Written: r.Written, Simulated: r.Simulated, Version: r.version.String(), Commands: len(r.Entries),
		Skipped: append([]string{}, r.Skipped...), Withheld: append([]string{}, r.Withheld...), Findings: append([]finding{}, r.findings...),
	}
	for _, f := range out.Findings {
		if f.Verdict == verdictDiffers {
			out.Differences++
		}
	}
	return out
}

// sections are a report's for people; what agrees is only counted.
var sections = []struct{ verdict, title string }{
	{verdictDiffers, "Differs"},
	{verdictAnswer, "Answers to open questions"},
	{verdictMissing, "Not captured"},
}

// write prints a report for people.
func (p report) write(out io.Writer) error {
	var page strings.Builder
	fmt.Fprintf(&page, "Captured %s, Parallels Desktop %s, %d commands and files\n", text.DisplayValue(p.Written), p.Version, p.Commands)
	if p.Simulated {
		page.WriteString("It was captured on a simulated Mac.\n")
	}
	for _, list := range []struct {
		title string
		names []string
	}{{"Steps left out", p.Skipped}, {"Outputs withheld, because a name was left in them", p.Withheld}} {
		if len(list.names) > 0 {
			fmt.Fprintf(&page, "%s: %s\n", list.title, text.DisplayValue(strings.Join(list.names, ", ")))
		}
	}
	for _, section := range sections {
		rows := [][]string{}
		for _, f := range p.Findings {
			if f.Verdict == section.verdict {
				rows = append(rows, []string{f.Part, f.What, f.Detail, strings.TrimSpace(f.Source + " " + f.Certainty)})
			}
		}
		if len(rows) > 0 {
			fmt.Fprintf(&page, "\n%s\n%s", section.title, text.Table{Rows: rows, Indent: "  ", MaxCell: 120}.String())
		}
	}
	fmt.Fprintf(&page, "\n%d findings, %d differences\n", len(p.Findings), p.Differences)
	_, err := io.WriteString(out, page.String())
	return err
}
