package text

import (
	"regexp"
	"sync"
)

// Pattern is a regular expression that is compiled when it is first used: programs that
// start often, and most of their commands, need none of theirs. It panics then if the
// expression is none.
func Pattern(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}
