package watch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"prlagent/platform"
	"prlagent/prlctl"
)

// A user and some machines, and another user.
const (
	alice = uint32(501)
	bob   = uint32(502)
	first = "00000000-0000-4000-8000-000000000001"
	other = "00000000-0000-4000-8000-000000000002"
)

var errKilled = errors.New("killed")

// fakeStream is one run of the vendor's tool.
type fakeStream struct {
	session bool
	handle  func(prlctl.Event)
	end     chan error
	gone    bool
}

// fakeMac plays the tool and the users' files.
type fakeMac struct {
	refuse error         // every stream ends at once with it
	hang   chan struct{} // not nil: files are read when it is closed
	slow   time.Duration // what was read comes so much later

	guard    sync.Mutex
	streams  map[uint32][]*fakeStream // all that were started
	starts   map[uint32][]time.Time
	ends     map[uint32][]time.Time
	open     int
	files    map[string]string
	readings map[uint32]int // of files
	reads    int            // that run now
}

func (m *fakeMac) monitor(ctx context.Context, user platform.User, session bool, handle func(prlctl.Event)) error {
	stream := &fakeStream{session: session, handle: handle, end: make(chan error)}
	m.guard.Lock()
	m.streams[user.UID] = append(m.streams[user.UID], stream)
	m.starts[user.UID] = append(m.starts[user.UID], time.Now())
	m.open++
	refuse := m.refuse
	m.guard.Unlock()
	defer func() {
		m.guard.Lock()
		defer m.guard.Unlock()
		stream.gone = true
		m.ends[user.UID] = append(m.ends[user.UID], time.Now())
		m.open--
	}()
	if refuse != nil {
		return refuse
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-stream.end:
		return err
	}
}

func (m *fakeMac) digests(ctx context.Context, user platform.User, paths []string) [][32]byte {
	m.guard.Lock()
	m.readings[user.UID]++
	m.reads++
	m.guard.Unlock()
	defer func() {
		m.guard.Lock()
		defer m.guard.Unlock()
		m.reads--
	}()
	if m.hang != nil {
		select {
		case <-m.hang:
		case <-ctx.Done():
			return nil
		}
	}
	defer time.Sleep(m.slow)
	m.guard.Lock()
	defer m.guard.Unlock()
	digests := make([][32]byte, len(paths))
	for i, path := range paths {
		if text, found := m.files[path]; found {
			digests[i] = prlctl.ConfigDigest([]byte(text))
		}
	}
	return digests
}

// bench is a running source on a fake Mac, and what it told.
type bench struct {
	*VMEvents
	*fakeMac
	t    *testing.T
	stop func()

	told struct {
		sync.Mutex
		hints []Hint
	}
}

// onFakeMac runs a test in a bubble, with the service up and nobody followed,
// and holds that nothing is left of it.
func onFakeMac(t *testing.T, test func(m *bench)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newBench(t)
		test(m)
		m.stop()
		if streams, readings := m.running(); streams != 0 || readings != 0 {
			t.Errorf("%d streams and %d readings are left", streams, readings)
		}
	})
}

func newBench(t *testing.T) *bench {
	mac := &fakeMac{
		streams: make(map[uint32][]*fakeStream), starts: make(map[uint32][]time.Time), ends: make(map[uint32][]time.Time),
		files: make(map[string]string), readings: make(map[uint32]int),
	}
	m := &bench{fakeMac: mac, t: t, VMEvents: NewVMEvents(VMEventsOptions{
		Monitor: mac.monitor, Digests: mac.digests, Log: zerolog.Nop(),
		EchoWait: 2 * time.Second, RetryBase: time.Second, RetryCap: time.Minute,
	})}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- m.Watch(ctx, m.tell) }()
	m.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	m.SetService(true)
	return m
}

func (m *bench) tell(hint Hint) {
	m.told.Lock()
	defer m.told.Unlock()
	m.told.hints = append(m.told.hints, hint)
}

// hints takes what was told, now that all is at rest.
func (m *bench) hints() []Hint {
	synctest.Wait()
	m.told.Lock()
	defer m.told.Unlock()
	hints := m.told.hints
	m.told.hints = nil
	return hints
}

// running counts the streams and the readings of files that run now.
func (m *bench) running() (streams, readings int) {
	synctest.Wait()
	m.guard.Lock()
	defer m.guard.Unlock()
	return m.open, m.reads
}

func user(uid uint32) platform.User {
	return platform.User{Name: fmt.Sprintf("user%d", uid), UID: uid, Home: fmt.Sprintf("/Users/user%d", uid)}
}

func configPath(uid uint32, vmID string) string {
	return fmt.Sprintf("/Users/user%d/Parallels/%s.pvm/config.pvs", uid, vmID)
}

// followed is a user with machines whose files are where they should be.
func followed(uid uint32, vmIDs ...string) Followed {
	configs := make(map[string]string)
	for _, vmID := range vmIDs {
		configs[vmID] = configPath(uid, vmID)
	}
	return Followed{User: user(uid), Configs: configs}
}

// settled follows the users, and waits until their streams are taken as
// subscribed and the looks that this asks for are told.
func (m *bench) settled(users ...Followed) {
	m.SetUsers(users)
	time.Sleep(subscribedLate + time.Second)
	m.hints()
}

func (m *bench) write(uid uint32, vmID, text string) {
	m.guard.Lock()
	defer m.guard.Unlock()
	m.files[configPath(uid, vmID)] = text
}

// stream is the user's stream that runs.
func (m *bench) stream(uid uint32) *fakeStream {
	m.t.Helper()
	synctest.Wait()
	m.guard.Lock()
	defer m.guard.Unlock()
	if all := m.streams[uid]; len(all) > 0 && !all[len(all)-1].gone {
		return all[len(all)-1]
	}
	m.t.Fatalf("user %d has no stream", uid)
	return nil
}

func (m *bench) streaming(uid uint32) bool {
	synctest.Wait()
	m.guard.Lock()
	defer m.guard.Unlock()
	all := m.streams[uid]
	return len(all) > 0 && !all[len(all)-1].gone
}

func (m *bench) started(uid uint32) int {
	synctest.Wait()
	m.guard.Lock()
	defer m.guard.Unlock()
	return len(m.starts[uid])
}

func (m *bench) read(uid uint32) int {
	synctest.Wait()
	m.guard.Lock()
	defer m.guard.Unlock()
	return m.readings[uid]
}

// changed is the event of a setting, or of our own query.
func changed(vmID string) prlctl.Event {
	return prlctl.Event{VMID: vmID, Name: "vm_config_changed"}
}

// query is one of our own queries, which takes a second and makes every machine
// echo, half of them before its end and half of them after.
func (m *bench) query(uid uint32, vmIDs ...string) {
	stream := m.stream(uid)
	done := m.Reading(uid)
	half := len(vmIDs) / 2
	for _, vmID := range vmIDs[:half] {
		stream.handle(changed(vmID))
	}
	time.Sleep(time.Second)
	done()
	time.Sleep(time.Second)
	for _, vmID := range vmIDs[half:] {
		stream.handle(changed(vmID))
	}
}
