// Package metrics counts what the portal is asked, and writes numbers in the text
// format of Prometheus (version 0.0.4).
package metrics

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ContentType is the media type of what Text holds.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Kinds of a family.
const (
	Counter   = "counter"
	Gauge     = "gauge"
	histogram = "histogram"
)

// Text is families of samples. The zero value is empty.
type Text struct{ out bytes.Buffer }

// Bytes is all that was added.
func (t *Text) Bytes() []byte { return t.out.Bytes() }

// Add adds a family of one sample without labels.
func (t *Text) Add(name, kind, help string, value float64) {
	t.begin(name, kind, help)
	t.sample(name, "", value)
}

// AddBy adds a family with a sample for each value of one label, in their order.
func (t *Text) AddBy(name, kind, help, label string, values map[string]int) {
	t.begin(name, kind, help)
	for _, value := range slices.Sorted(maps.Keys(values)) {
		t.sample(name, labelPair(label, value), float64(values[value]))
	}
}

func (t *Text) begin(name, kind, help string) {
	t.out.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n")
}

func (t *Text) sample(name, labels string, value float64) {
	t.out.WriteString(name)
	if labels != "" {
		t.out.WriteString("{" + labels + "}")
	}
	t.out.WriteString(" " + strconv.FormatFloat(value, 'g', -1, 64) + "\n")
}

// labelEscapes are what the format asks for; the value may be a word of a Mac.
var labelEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

func labelPair(name, value string) string {
	return name + `="` + labelEscapes.Replace(strings.ToValidUTF8(value, "\uFFFD")) + `"`
}
