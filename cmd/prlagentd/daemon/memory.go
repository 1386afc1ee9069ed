package daemon

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	heapGrowth  = 25        // percent that the heap may grow by before it is collected
	mostMemory  = 64 << 20  // bytes that Go keeps below, if it can
	idleGarbage = 192 << 10 // bytes that an idle daemon may leave
)

// tuneRuntime makes a small process of a program that mostly waits, also on a Mac with
// many processors: each that Go uses keeps memory of its own, and a user's work has the
// others. What waits for a tool or a file needs none.
func tuneRuntime() {
	runtime.GOMAXPROCS(1)
	debug.SetMemoryLimit(mostMemory)
	debug.SetGCPercent(heapGrowth)
}

// memory gives back what nobody needs while nothing goes on. Go by itself would let the
// heap of an idle daemon grow by a megabyte before it is collected, whatever the
// percentage (sweepMinHeapDistance in runtime/mgcpacer.go).
type memory struct {
	allocated uint64 // bytes, ever, when it was given back; 0: work has begun since
}

// onIdle is agent.Options.OnIdle.
func (m *memory) onIdle(idle bool) {
	switch {
	case !idle:
		m.allocated = 0
		return
	case m.allocated == 0:
		debug.FreeOSMemory() // what is pooled outlives one collection
	case allocated()-m.allocated < idleGarbage:
		return
	}
	debug.FreeOSMemory()
	m.allocated = allocated()
}

// allocated is how many bytes this process has ever allocated on its heap.
func allocated() uint64 {
	bytes := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(bytes)
	return bytes[0].Value.Uint64()
}
