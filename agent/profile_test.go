package agent

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"prlagent/agent/config"
	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
	"prlagent/agent/trigger"
	"prlagent/platform/plist"
)

// profiled is a daemon whose configuration is a file that comes and goes.
type profiled struct {
	daemon
	path string
}

func newProfiled(t *testing.T) profiled {
	t.Helper()
	folder := t.TempDir()
	p := profiled{daemon: newDaemon(t, config.Config{}), path: filepath.Join(folder, "managed.plist")}
	keeper, began := config.NewKeeper(p.store), time.Now()
	p.parts.loadConfig = func() *config.Config {
		return keeper.Load(config.Paths{Managed: p.path, Local: folder + "/none", LocalOwner: uint32(os.Geteuid())}, wallClock(), config.AwakeTime{Boot: "boot", Awake: time.Since(began)})
	}
	p.install(t)
	return p
}

func (p profiled) install(t *testing.T) {
	t.Helper()
	data, err := plist.EncodeXML(map[string]any{"ServerURL": "https://portal.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func (p profiled) remove(t *testing.T) {
	t.Helper()
	if err := os.Remove(p.path); err != nil {
		t.Fatal(err)
	}
}

func (p profiled) has(code protocol.Code) bool {
	return slices.ContainsFunc(p.Status().Health.Conditions, func(c localapi.Condition) bool { return c.Code == code })
}

func TestH06_AVanishedProfileEndsTheExchangeAfterTenMinutes(t *testing.T) {
	skipHours(t)
	synctest.Test(t, func(t *testing.T) {
		p := newProfiled(t)
		p.portal.policy = protocol.PolicyReport{State: protocol.PolicyFetched, PolicyID: "finance", Revision: 7, SHA256: "9c41"}
		defer p.run(t)()
		synctest.Wait()
		p.remove(t)
		time.Sleep(9 * time.Minute)
		if answer := p.ask(t); !answer.Reported {
			t.Errorf("in the meantime: %+v", answer)
		}
		status := p.Status()
		if !p.has(protocol.CodeProfileMissing) || status.Config.Source != string(config.SourceManaged) || status.Health.State != localapi.Healthy {
			t.Errorf("in the meantime: source %s, health %+v", status.Config.Source, status.Health)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		before := len(p.portal.checkins())
		time.Sleep(2 * trigger.Day)
		synctest.Wait()
		status = p.Status()
		if got := len(p.portal.checkins()); got != before {
			t.Errorf("%d check-ins without a profile", got-before)
		}
		if !p.has(protocol.CodeProfileRemoved) || status.Portal.URL != "" || status.Policy.Revision != 7 {
			t.Errorf("afterwards: portal %q, policy %+v, health %+v", status.Portal.URL, status.Policy, status.Health)
		}
		p.install(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := p.portal.checkins(); len(got) != before+1 || p.has(protocol.CodeProfileRemoved) {
			t.Errorf("%d check-ins after the profile came back, health %+v", len(got)-before, p.Status().Health)
		}
	})
}

func TestH06_AProfileThatIsReplacedIsNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProfiled(t)
		defer p.run(t)()
		synctest.Wait()
		before := len(p.portal.checkins())
		p.remove(t)
		time.Sleep(2 * time.Minute) // the loop has looked for it
		synctest.Wait()
		p.install(t)
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := p.portal.checkins(); len(got) != before || p.has(protocol.CodeProfileMissing) {
			t.Errorf("%d check-ins because of nothing, health %+v", len(got)-before, p.Status().Health)
		}
	})
}
