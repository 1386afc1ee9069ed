package sim

import (
	"regexp"
	"sync"
)

// pattern is a regular expression that is compiled when it is first used: tools start
// thousands of times in a run of the tests, and most need none.
func pattern(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}
