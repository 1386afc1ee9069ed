package metrics_test

import (
	"testing"
	"time"

	"prlagent/cmd/prlportal/metrics"
)

func TestDurationsAreCumulative(t *testing.T) {
	t.Parallel()
	requests := metrics.NewRequests()
	for _, took := range []time.Duration{-time.Second, time.Millisecond, 2 * time.Millisecond, time.Hour} {
		requests.Observe("GET /x", "ok", took)
	}
	var text metrics.Text
	requests.AddDurations(&text, "took_seconds", "How long.")
	const want = `# HELP took_seconds How long.
# TYPE took_seconds histogram
took_seconds_bucket{route="GET /x",le="0.001"} 2
took_seconds_bucket{route="GET /x",le="0.0025"} 3
took_seconds_bucket{route="GET /x",le="0.005"} 3
took_seconds_bucket{route="GET /x",le="0.01"} 3
took_seconds_bucket{route="GET /x",le="0.025"} 3
took_seconds_bucket{route="GET /x",le="0.05"} 3
took_seconds_bucket{route="GET /x",le="0.1"} 3
took_seconds_bucket{route="GET /x",le="0.25"} 3
took_seconds_bucket{route="GET /x",le="0.5"} 3
took_seconds_bucket{route="GET /x",le="1"} 3
took_seconds_bucket{route="GET /x",le="2.5"} 3
took_seconds_bucket{route="GET /x",le="10"} 3
took_seconds_bucket{route="GET /x",le="60"} 3
took_seconds_bucket{route="GET /x",le="+Inf"} 4
took_seconds_sum{route="GET /x"} 3600.003
took_seconds_count{route="GET /x"} 4
`
	if got := string(text.Bytes()); got != want {
		t.Errorf("got\n%s", got)
	}
	if results := requests.Results("GET /x"); results["ok"] != 4 || len(requests.Results("GET /y")) != 0 {
		t.Errorf("results are %v", results)
	}
}

func TestLabelsAreEscaped(t *testing.T) {
	t.Parallel()
	var text metrics.Text
	text.AddBy("n", metrics.Gauge, "Numbers.", "of", map[string]int{"a\"b\\c\nd\xff": 1, "": 2})
	const want = "# HELP n Numbers.\n# TYPE n gauge\nn{of=\"\"} 2\nn{of=\"a\\\"b\\\\c\\nd\uFFFD\"} 1\n"
	if got := string(text.Bytes()); got != want {
		t.Errorf("got\n%q", got)
	}
}
