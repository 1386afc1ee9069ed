package portal

import (
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/secret"
	"prlagent/cmd/prlportal/storage"
)

func TestEnrollGivesANewMacAnIdentity(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := newMac(t, portal, "C02AAAAAAAAA")
	reply := m.enroll(t, http.StatusCreated)
	if reply.State != protocol.EnrollApproved || reply.DeviceID == "" || len(reply.Token) != 43 || !reply.ServerTime.Equal(morning) {
		t.Errorf("reply is %+v", reply)
	}
	device, err := portal.store.Device(t.Context(), storage.ByID(reply.DeviceID))
	if err != nil {
		t.Fatal(err)
	}
	if device.Tokens[0].SHA256 != secret.Hash(reply.Token) {
		t.Error("the store does not hold the token's hash")
	}
}

func TestH01_KnownKeyKeepsTheDeviceAndReplacesTheToken(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	oldToken, oldID := m.token, m.deviceID

	m.enroll(t, http.StatusCreated)
	if m.deviceID != oldID || m.token == oldToken {
		t.Fatalf("device %s got token %v, want device %s and a new token", m.deviceID, m.token != oldToken, oldID)
	}
	newToken := m.token
	m.token = oldToken
	m.checkin(t) // a lost reply must not lock the Mac out

	m.token = newToken
	m.checkin(t)
	m.token = oldToken
	request, _ := m.next(t)
	wantProblem(t, m.send(t, request), protocol.ProblemDeviceUnknown)
}

func TestH01_TheProofNeedsNoSecret(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	device := m.deviceID

	m.secret = "rotated away"
	if reply := m.enroll(t, http.StatusCreated); reply.DeviceID != device || reply.Token == "" {
		t.Errorf("reply is %+v, want the same device and a token", reply)
	}
	m.checkin(t)

	for name, stranger := range map[string]*mac{
		"another key for a known Mac": newMac(t, portal, m.serial),
		"an unknown Mac":              newMac(t, portal, "C02STRANGER"),
	} {
		stranger.secret = "guessed"
		t.Log(name)
		wantProblem(t, stranger.sendEnrollment(t, stranger.enrollment()), protocol.ProblemEnrollmentRefused)
	}
}

func TestH01_UnknownKeyWaitsAndTheOldTokenLives(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)

	erased := newMac(t, portal, m.serial)
	erased.sequence = 0
	erased.epoch = "epoch after the erasure"
	reply := erased.enroll(t, http.StatusAccepted)
	if reply.State != protocol.EnrollPending || reply.Token != "" || reply.DeviceID != m.deviceID || reply.RetryAfter <= 0 {
		t.Errorf("reply is %+v, want a pending one without a token", reply)
	}
	m.checkin(t)
	view := portal.device(t)
	keyID := protocol.KeyID(erased.key.Public().(ed25519.PublicKey))
	if view.State != devicePending || len(view.Pending) != 1 || view.Pending[0].KeyID != keyID {
		t.Fatalf("device is %+v, want %s pending", view, keyID)
	}

	other := newMac(t, portal, m.serial) // one more asks after the admin has looked
	other.enroll(t, http.StatusAccepted)
	approvePath := "/v1/admin/devices/" + m.deviceID + "/approve"
	wantProblem(t, portal.admin(t, http.MethodPost, approvePath, []byte(`{}`)), protocol.ProblemInvalidRequest)
	if got := portal.admin(t, http.MethodPost, approvePath, []byte(`{"key_id":"`+keyID+`"}`)); got.status != http.StatusOK {
		t.Fatalf("approve answered %d %s", got.status, got.body)
	}
	m.checkin(t) // until the new key is used
	erased.enroll(t, http.StatusCreated)
	erased.checkin(t)
	request, _ := m.next(t)
	wantProblem(t, m.send(t, request), protocol.ProblemDeviceUnknown)
	if view := portal.device(t); view.State != deviceOK || view.KeyID != keyID {
		t.Errorf("device is %+v, want it settled with key %s", view, keyID)
	}
}

func TestH01_ApproveNeedsSomethingThatWaits(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := enrolled(t, portal)
	for path, want := range map[string]string{
		"/v1/admin/devices/" + m.deviceID + "/approve": protocol.ProblemInvalidRequest,
		"/v1/admin/devices/no-such-device/approve":     protocol.ProblemNotFound,
	} {
		wantProblem(t, portal.admin(t, http.MethodPost, path, []byte(`{"key_id":"0123456789abcdef"}`)), want)
	}
}

func TestH01_EnvelopeMustBeSignedByTheKeyInIt(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := newMac(t, portal, "C02AAAAAAAAA")
	payload, err := json.Marshal(m.enrollment())
	if err != nil {
		t.Fatal(err)
	}
	stranger := newKey(t)
	foreign := protocol.Sign(protocol.PayloadEnroll, payload, stranger)
	pretended := protocol.Sign(protocol.PayloadEnroll, payload, stranger)
	pretended.Signatures[0].KeyID = protocol.KeyID(m.key.Public().(ed25519.PublicKey))
	unsigned := protocol.Sign(protocol.PayloadEnroll, payload)
	otherType := protocol.Sign(protocol.PayloadHead, payload, m.key)
	for name, envelope := range map[string]protocol.Envelope{
		"another key": foreign, "another key under the right id": pretended, "no signature": unsigned, "another type": otherType,
	} {
		body, err := envelope.JSON()
		if err != nil {
			t.Fatal(err)
		}
		got := portal.call(t, http.MethodPost, "/v1/enroll", body)
		if got.problem(t) != protocol.ProblemInvalidRequest {
			t.Errorf("%s: answer is %d %s", name, got.status, got.body)
		}
	}
	devices, err := portal.store.IDs(t.Context(), "", 1)
	if err != nil || len(devices) != 0 {
		t.Errorf("%d devices were made, %v", len(devices), err)
	}
}

func TestEnrollRefusesAWrongSecret(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := newMac(t, portal, "C02AAAAAAAAA")
	m.secret = "wrong"
	wantProblem(t, m.sendEnrollment(t, m.enrollment()), protocol.ProblemEnrollmentRefused)
}

func TestH01_TwoSecretsAreAcceptedDuringRotation(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t, func(config *Config) {
		config.EnrollmentSecrets = append(config.EnrollmentSecrets, EnrollmentSecret{SHA256: secret.Hash("the next secret")})
	})
	newMac(t, portal, "C02AAAAAAAAA").enroll(t, http.StatusCreated)
	next := newMac(t, portal, "C02BBBBBBBBB")
	next.secret = "the next secret"
	next.enroll(t, http.StatusCreated)
}

func TestH01_EnrollmentsAreLimited(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]EnrollmentLimits{
		"per source": {PerSource: 3, PerSerial: 100},
		"per serial": {PerSource: 100, PerSerial: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			portal := newTestPortal(t, func(config *Config) { config.Enrollments = limits })
			m := newMac(t, portal, "C02AAAAAAAAA")
			for range 3 {
				m.enroll(t, http.StatusCreated)
			}
			got := m.sendEnrollment(t, m.enrollment())
			wantProblem(t, got, protocol.ProblemRateLimited)
			wait, err := strconv.Atoi(got.header.Get("Retry-After"))
			if err != nil || wait != 1200 {
				t.Fatalf("Retry-After is %q, want a third of an hour", got.header.Get("Retry-After"))
			}
			portal.clock.advance(time.Duration(wait) * time.Second)
			m.enroll(t, http.StatusCreated)
		})
	}
}

// A stranger without the secret must not be able to use up a Mac's attempts.
func TestH01_WrongSecretsDoNotCountAgainstTheSerial(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t, func(config *Config) { config.Enrollments = EnrollmentLimits{PerSource: 100, PerSerial: 2} })
	stranger := newMac(t, portal, "C02AAAAAAAAA")
	stranger.secret = "guess"
	for range 5 {
		wantProblem(t, stranger.sendEnrollment(t, stranger.enrollment()), protocol.ProblemEnrollmentRefused)
	}
	newMac(t, portal, "C02AAAAAAAAA").enroll(t, http.StatusCreated)
}

// The secret can be read by every user of a Mac: one who enrolls again and again
// with other keys holds up no Mac that proves its own.
func TestH01_OtherKeysDoNotUseUpTheShareOfTheMac(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t, func(config *Config) { config.Enrollments = EnrollmentLimits{PerSource: 100, PerSerial: 3} })
	m := newMac(t, portal, "C02AAAAAAAAA")
	m.enroll(t, http.StatusCreated)
	for range 3 {
		newMac(t, portal, "C02AAAAAAAAA").enroll(t, http.StatusAccepted)
	}
	impostor := newMac(t, portal, "C02AAAAAAAAA")
	wantProblem(t, impostor.sendEnrollment(t, impostor.enrollment()), protocol.ProblemRateLimited)
	m.enroll(t, http.StatusCreated)
}

func TestH01_LimitsCountNetworks(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "2001:db8::1": "2001:db8::/64", "2001:db8::ffff:1": "2001:db8::/64",
		"2001:db8:0:1::1": "2001:db8:0:1::/64", "::ffff:192.0.2.7": "::ffff:192.0.2.7", "fe80::1%en0": "fe80::/64", "pipe": "pipe",
	} {
		if got := sourceNetwork(address); got != want {
			t.Errorf("sourceNetwork(%s) = %s, want %s", address, got, want)
		}
	}
}

func TestH01_LimiterForgetsTheOldestAndStaysSmall(t *testing.T) {
	t.Parallel()
	l := newLimiter(1, time.Hour, 3)
	now := morning
	for _, key := range []string{"a", "b", "c", "d"} {
		now = now.Add(time.Second)
		if _, allowed := l.take(key, now); !allowed {
			t.Fatalf("%s was refused at once", key)
		}
	}
	if len(l.buckets) != 3 {
		t.Errorf("%d keys are kept, want 3", len(l.buckets))
	}
	if _, allowed := l.take("d", now); allowed {
		t.Error("the newest key was forgotten")
	}
	if _, allowed := l.take("a", now); !allowed {
		t.Error("the oldest key was kept")
	}
	l.take("z", now.Add(2*time.Hour))
	if len(l.buckets) != 1 {
		t.Errorf("%d keys are kept after all were full again, want the new one", len(l.buckets))
	}
}

// Requests come at the same time. Without its lock this fails under -race, and
// mostly without.
func TestH01_LimiterCountsRequestsThatComeAtOnce(t *testing.T) {
	t.Parallel()
	const burst = 100
	limits := newLimiter(burst, time.Hour, 2)
	var allowed atomic.Int64
	var requests sync.WaitGroup
	for range 8 {
		requests.Go(func() {
			for range burst {
				if _, ok := limits.take("192.0.2.1", morning); ok {
					allowed.Add(1)
				}
			}
		})
	}
	requests.Wait()
	if got := allowed.Load(); got != burst {
		t.Errorf("%d requests were allowed, want %d", got, burst)
	}
}

func TestEnrollBodyIsSmall(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	wantProblem(t, portal.call(t, http.MethodPost, "/v1/enroll", make([]byte, maxSmallBody+1)), protocol.ProblemTooLarge)
}

func TestGRP_03_PrimaryGroupTakesWhomNoOtherGroupClaims(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, hint, secretGroup string
		want                    protocol.Group
	}{
		{"no mapping at all", "", "", protocol.Group{ID: "default", Name: "default", Source: protocol.GroupFromPrimary}},
		{"the secret's default group", "", "lab", protocol.Group{ID: "lab", Name: "Laboratory", Source: protocol.GroupFromSecret}},
		{"the managed group wins", "finance", "lab", protocol.Group{ID: "finance", Source: protocol.GroupFromProfile}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			portal := newTestPortal(t, func(config *Config) {
				config.EnrollmentSecrets[0].DefaultGroup = test.secretGroup
				config.Groups = append(config.Groups, GroupConfig{ID: "lab", Name: "Laboratory"})
			})
			m := newMac(t, portal, "C02AAAAAAAAA")
			m.hint = test.hint
			if reply := m.enroll(t, http.StatusCreated); reply.Group != test.want {
				t.Errorf("enrolled in %+v, want %+v", reply.Group, test.want)
			}
			if reply := m.checkin(t); reply.Group != test.want {
				t.Errorf("checked in to %+v, want %+v", reply.Group, test.want)
			}
		})
	}
}

func TestEnrollRefusesIncompleteRequests(t *testing.T) {
	t.Parallel()
	portal := newTestPortal(t)
	m := newMac(t, portal, "C02AAAAAAAAA")
	for field, spoil := range map[string]func(*protocol.EnrollRequest){
		"serial":        func(r *protocol.EnrollRequest) { r.Serial = "" },
		"hardware_uuid": func(r *protocol.EnrollRequest) { r.HardwareUUID = "" },
		"request_id":    func(r *protocol.EnrollRequest) { r.RequestID = "" },
		"group_hint":    func(r *protocol.EnrollRequest) { r.GroupHint = "../../etc" },
		"device_key":    func(r *protocol.EnrollRequest) { r.DeviceKey = r.DeviceKey[:31] },
	} {
		request := m.enrollment()
		spoil(&request)
		payload, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := protocol.Sign(protocol.PayloadEnroll, payload, m.key).JSON()
		if err != nil {
			t.Fatal(err)
		}
		got := portal.call(t, http.MethodPost, "/v1/enroll", body)
		problem, _ := protocol.ParseProblem(got.status, got.header.Get("Content-Type"), got.body)
		if problem.Name() != protocol.ProblemInvalidRequest || problem.Field != field {
			t.Errorf("%s: answer is %d %s", field, got.status, got.body)
		}
	}
}
