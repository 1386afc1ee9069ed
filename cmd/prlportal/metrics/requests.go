package metrics

import (
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Requests counts requests and how long they took. It is safe for concurrent use.
// Routes and results are words of ours, of which there are a few.
type Requests struct {
	mutex  sync.Mutex
	routes map[string]*route
}

type route struct {
	results map[string]int
	buckets []int // requests that took at most durations[i], and not less than the one before
	seconds float64
	count   int
}

// durations are the upper bounds of the buckets, in seconds.
var durations = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60}

// NewRequests makes counters that are all 0.
func NewRequests() *Requests { return &Requests{routes: make(map[string]*route)} }

// Observe counts one request.
func (r *Requests) Observe(name, result string, took time.Duration) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	known := r.routes[name]
	if known == nil {
		known = &route{results: make(map[string]int), buckets: make([]int, len(durations)+1)}
		r.routes[name] = known
	}
	seconds := max(took.Seconds(), 0)
	at, _ := slices.BinarySearch(durations, seconds)
	known.buckets[at]++
	known.results[result]++
	known.seconds += seconds
	known.count++
}

// Results is how often a route had each result.
func (r *Requests) Results(name string) map[string]int {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if known := r.routes[name]; known != nil {
		return maps.Clone(known.results)
	}
	return make(map[string]int)
}

// AddDurations adds a histogram of how long the requests of each route took.
func (r *Requests) AddDurations(text *Text, name, help string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	text.begin(name, histogram, help)
	for _, routeName := range slices.Sorted(maps.Keys(r.routes)) {
		known, label := r.routes[routeName], labelPair("route", routeName)
		total := 0
		for i, bound := range durations {
			total += known.buckets[i]
			text.sample(name+"_bucket", label+","+labelPair("le", strconv.FormatFloat(bound, 'g', -1, 64)), float64(total))
		}
		text.sample(name+"_bucket", label+","+labelPair("le", "+Inf"), float64(known.count))
		text.sample(name+"_sum", label, known.seconds)
		text.sample(name+"_count", label, float64(known.count))
	}
}
