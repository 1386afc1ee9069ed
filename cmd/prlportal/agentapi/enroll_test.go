package agentapi_test

import (
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/portaltest"
	"prlagent/cmd/prlportal/secret"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
)

func TestEnrollGivesANewMacAnIdentity(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	reply := m.Enroll(t, http.StatusCreated)
	if reply.State != protocol.EnrollApproved || reply.DeviceID == "" || len(reply.Token) != 43 || !reply.ServerTime.Equal(portaltest.Morning) {
		t.Errorf("reply is %+v", reply)
	}
	device, err := portal.Store.Device(t.Context(), storage.ByID(reply.DeviceID))
	if err != nil {
		t.Fatal(err)
	}
	if device.Tokens[0].SHA256 != secret.Hash(reply.Token) {
		t.Error("the store does not hold the token's hash")
	}
}

func TestH01_KnownKeyKeepsTheDeviceAndReplacesTheToken(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	oldToken, oldID := m.Token, m.DeviceID

	m.Enroll(t, http.StatusCreated)
	if m.DeviceID != oldID || m.Token == oldToken {
		t.Fatalf("device %s got token %v, want device %s and a new token", m.DeviceID, m.Token != oldToken, oldID)
	}
	newToken := m.Token
	m.Token = oldToken
	m.Checkin(t) // a lost reply must not lock the Mac out

	m.Token = newToken
	m.Checkin(t)
	m.Token = oldToken
	request, _ := m.Next(t)
	portaltest.WantProblem(t, m.Send(t, request), protocol.ProblemDeviceUnknown)
}

func TestH01_TheProofNeedsNoSecret(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	device := m.DeviceID

	m.Secret = "rotated away"
	if reply := m.Enroll(t, http.StatusCreated); reply.DeviceID != device || reply.Token == "" {
		t.Errorf("reply is %+v, want the same device and a token", reply)
	}
	m.Checkin(t)

	for name, stranger := range map[string]*portaltest.Mac{
		"another key for a known Mac": portaltest.NewMac(t, portal, m.Serial),
		"an unknown Mac":              portaltest.NewMac(t, portal, "C02STRANGER"),
	} {
		stranger.Secret = "guessed"
		t.Log(name)
		portaltest.WantProblem(t, stranger.SendEnrollment(t, stranger.Enrollment()), protocol.ProblemEnrollmentRefused)
	}
}

func TestH01_UnknownKeyWaitsAndTheOldTokenLives(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)

	erased := portaltest.NewMac(t, portal, m.Serial)
	erased.Sequence = 0
	erased.Epoch = "epoch after the erasure"
	reply := erased.Enroll(t, http.StatusAccepted)
	if reply.State != protocol.EnrollPending || reply.Token != "" || reply.DeviceID != m.DeviceID || reply.RetryAfter <= 0 {
		t.Errorf("reply is %+v, want a pending one without a token", reply)
	}
	m.Checkin(t)
	view := portal.Device(t)
	keyID := protocol.KeyID(erased.Key.Public().(ed25519.PublicKey))
	if view.State != fleet.StatePending || len(view.Pending) != 1 || view.Pending[0].KeyID != keyID {
		t.Fatalf("device is %+v, want %s pending", view, keyID)
	}

	other := portaltest.NewMac(t, portal, m.Serial) // one more asks after the admin has looked
	other.Enroll(t, http.StatusAccepted)
	approvePath := "/v1/admin/devices/" + m.DeviceID + "/approve"
	portaltest.WantProblem(t, portal.Admin(t, http.MethodPost, approvePath, []byte(`{}`)), protocol.ProblemInvalidRequest)
	if got := portal.Admin(t, http.MethodPost, approvePath, []byte(`{"key_id":"`+keyID+`"}`)); got.Status != http.StatusOK {
		t.Fatalf("approve answered %d %s", got.Status, got.Body)
	}
	request, _ := m.Next(t)
	portaltest.WantProblem(t, m.Send(t, request), protocol.ProblemDeviceUnknown) // what was decided on has ended (H55)
	erased.Enroll(t, http.StatusCreated)
	erased.Checkin(t)
	request, _ = m.Next(t)
	portaltest.WantProblem(t, m.Send(t, request), protocol.ProblemDeviceUnknown)
	if view := portal.Device(t); view.State != fleet.StateOK || view.KeyID != keyID {
		t.Errorf("device is %+v, want it settled with key %s", view, keyID)
	}
}

func TestH01_ApproveNeedsSomethingThatWaits(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	for path, want := range map[string]string{
		"/v1/admin/devices/" + m.DeviceID + "/approve": protocol.ProblemInvalidRequest,
		"/v1/admin/devices/no-such-device/approve":     protocol.ProblemNotFound,
	} {
		portaltest.WantProblem(t, portal.Admin(t, http.MethodPost, path, []byte(`{"key_id":"0123456789abcdef"}`)), want)
	}
}

func TestH01_EnvelopeMustBeSignedByTheKeyInIt(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	payload, err := json.Marshal(m.Enrollment())
	if err != nil {
		t.Fatal(err)
	}
	stranger := portaltest.NewKey(t)
	foreign := protocol.Sign(protocol.PayloadEnroll, payload, stranger)
	pretended := protocol.Sign(protocol.PayloadEnroll, payload, stranger)
	pretended.Signatures[0].KeyID = protocol.KeyID(m.Key.Public().(ed25519.PublicKey))
	unsigned := protocol.Sign(protocol.PayloadEnroll, payload)
	otherType := protocol.Sign(protocol.PayloadHead, payload, m.Key)
	for name, envelope := range map[string]protocol.Envelope{
		"another key": foreign, "another key under the right id": pretended, "no signature": unsigned, "another type": otherType,
	} {
		body, err := envelope.JSON()
		if err != nil {
			t.Fatal(err)
		}
		got := portal.Call(t, http.MethodPost, "/v1/enroll", body)
		if got.Problem(t) != protocol.ProblemInvalidRequest {
			t.Errorf("%s: answer is %d %s", name, got.Status, got.Body)
		}
	}
	devices, err := portal.Store.IDs(t.Context(), "", 1)
	if err != nil || len(devices) != 0 {
		t.Errorf("%d devices were made, %v", len(devices), err)
	}
}

func TestEnrollRefusesAWrongSecret(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	m.Secret = "wrong"
	portaltest.WantProblem(t, m.SendEnrollment(t, m.Enrollment()), protocol.ProblemEnrollmentRefused)
}

func TestH01_TwoSecretsAreAcceptedDuringRotation(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t, func(config *site.Config) {
		config.EnrollmentSecrets = append(config.EnrollmentSecrets, site.EnrollmentSecret{SHA256: secret.Hash("the next secret")})
	})
	portaltest.NewMac(t, portal, "C02AAAAAAAAA").Enroll(t, http.StatusCreated)
	next := portaltest.NewMac(t, portal, "C02BBBBBBBBB")
	next.Secret = "the next secret"
	next.Enroll(t, http.StatusCreated)
}

func TestH01_EnrollmentsAreLimited(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]site.EnrollmentLimits{
		"per source": {PerSource: 3, PerSerial: 100},
		"per serial": {PerSource: 100, PerSerial: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			portal := portaltest.New(t, func(config *site.Config) { config.Enrollments = limits })
			m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
			for range 3 {
				m.Enroll(t, http.StatusCreated)
			}
			got := m.SendEnrollment(t, m.Enrollment())
			portaltest.WantProblem(t, got, protocol.ProblemRateLimited)
			wait, err := strconv.Atoi(got.Header.Get("Retry-After"))
			if err != nil || wait != 1200 {
				t.Fatalf("Retry-After is %q, want a third of an hour", got.Header.Get("Retry-After"))
			}
			portal.Clock.Advance(time.Duration(wait) * time.Second)
			m.Enroll(t, http.StatusCreated)
		})
	}
}

// A stranger without the secret must not be able to use up a Mac's attempts.
func TestH01_WrongSecretsDoNotCountAgainstTheSerial(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t, func(config *site.Config) { config.Enrollments = site.EnrollmentLimits{PerSource: 100, PerSerial: 2} })
	stranger := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	stranger.Secret = "guess"
	for range 5 {
		portaltest.WantProblem(t, stranger.SendEnrollment(t, stranger.Enrollment()), protocol.ProblemEnrollmentRefused)
	}
	portaltest.NewMac(t, portal, "C02AAAAAAAAA").Enroll(t, http.StatusCreated)
}

// The secret can be read by every user of a Mac: one who enrolls again and again
// with other keys holds up no Mac that proves its own.
func TestH01_OtherKeysDoNotUseUpTheShareOfTheMac(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t, func(config *site.Config) { config.Enrollments = site.EnrollmentLimits{PerSource: 100, PerSerial: 3} })
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	m.Enroll(t, http.StatusCreated)
	for range 3 {
		portaltest.NewMac(t, portal, "C02AAAAAAAAA").Enroll(t, http.StatusAccepted)
	}
	impostor := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	portaltest.WantProblem(t, impostor.SendEnrollment(t, impostor.Enrollment()), protocol.ProblemRateLimited)
	m.Enroll(t, http.StatusCreated)
}

func TestEnrollBodyIsSmall(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	portaltest.WantProblem(t, portal.Call(t, http.MethodPost, "/v1/enroll", make([]byte, httpapi.MaxSmallBody+1)), protocol.ProblemTooLarge)
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
			portal := portaltest.New(t, func(config *site.Config) {
				config.EnrollmentSecrets[0].DefaultGroup = test.secretGroup
				config.Groups = append(config.Groups, site.GroupConfig{ID: "lab", Name: "Laboratory"})
			})
			m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
			m.Hint = test.hint
			if reply := m.Enroll(t, http.StatusCreated); reply.Group != test.want {
				t.Errorf("enrolled in %+v, want %+v", reply.Group, test.want)
			}
			if reply := m.Checkin(t); reply.Group != test.want {
				t.Errorf("checked in to %+v, want %+v", reply.Group, test.want)
			}
		})
	}
}

// A Mac can be without a serial number: the hardware UUID tells two of them apart.
func TestMacsWithoutASerialEnroll(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	enroll := func(uuid string) string {
		m := portaltest.NewMac(t, portal, "")
		request := m.Enrollment()
		request.HardwareUUID = uuid
		payload, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := protocol.Sign(protocol.PayloadEnroll, payload, m.Key).JSON()
		if err != nil {
			t.Fatal(err)
		}
		got := portal.Call(t, http.MethodPost, "/v1/enroll", body)
		var reply protocol.EnrollReply
		if err := json.Unmarshal(got.Body, &reply); err != nil {
			t.Fatalf("answer is %d %s", got.Status, got.Body)
		}
		return reply.DeviceID + " " + reply.State
	}
	first, second, again := enroll("11111111-1111-4111-8111-111111111111"), enroll("22222222-2222-4222-8222-222222222222"), enroll("11111111-1111-4111-8111-111111111111")
	id, _, _ := strings.Cut(first, " ")
	if !strings.HasSuffix(first, protocol.EnrollApproved) || !strings.HasSuffix(second, protocol.EnrollApproved) || strings.HasPrefix(second, id) {
		t.Errorf("two Macs are %q and %q", first, second)
	}
	if again != id+" "+protocol.EnrollPending { // another key for a Mac that is known
		t.Errorf("the first one again, with another key: %q", again)
	}
}

// A Mac without a serial number gains one, as after a second repair. It is the
// same device if it proves its key, and waits for a person if it does not.
func TestH57_AGainedSerialIsTheSameDevice(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.Enrolled(t, portal)
	bare := portaltest.NewMac(t, portal, "")
	bare.Enroll(t, http.StatusCreated)
	id, key := bare.DeviceID, bare.Key

	bare.Serial, bare.Key = "C02GAINED", portaltest.NewKey(t)
	if reply := bare.Enroll(t, http.StatusAccepted); reply.DeviceID != id {
		t.Errorf("another key is device %s, want %s", reply.DeviceID, id)
	}
	if device, err := portal.Store.Device(t.Context(), storage.ByID(id)); err != nil || device.Serial != "" {
		t.Errorf("serial %q before the key is proven, %v", device.Serial, err)
	}
	bare.Key = key
	if reply := bare.Enroll(t, http.StatusCreated); reply.DeviceID != id {
		t.Errorf("device %s, want %s", reply.DeviceID, id)
	}
	for _, serial := range []string{"C02GAINED", ""} { // also when it is lost again
		bare.Serial = serial
		bare.Enroll(t, http.StatusCreated)
	}
	device, err := portal.Store.Device(t.Context(), storage.ByID(id))
	if err != nil || device.Serial != "C02GAINED" {
		t.Errorf("serial %q, %v", device.Serial, err)
	}
	if m.DeviceID == id {
		t.Error("two Macs are one device")
	}
}

// The serial number in a request is typed by whoever sends it.
func TestH01_ASerialInOtherLettersIsNoNewShare(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t, func(config *site.Config) { config.Enrollments = site.EnrollmentLimits{PerSource: 100, PerSerial: 3} })
	portaltest.NewMac(t, portal, "abcdefg").Enroll(t, http.StatusCreated)
	refused := 0
	for i := range 7 {
		stranger := portaltest.NewMac(t, portal, "abcdefg")
		stranger.Serial = "abcdefg"[:i] + strings.ToUpper("abcdefg"[i:])
		if got := stranger.SendEnrollment(t, stranger.Enrollment()); got.Status == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused != 4 {
		t.Errorf("%d of 7 were refused, want all but 3", refused)
	}
}

func TestEnrollRefusesIncompleteRequests(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	m := portaltest.NewMac(t, portal, "C02AAAAAAAAA")
	for field, spoil := range map[string]func(*protocol.EnrollRequest){
		"serial":        func(r *protocol.EnrollRequest) { r.Serial = strings.Repeat("C", 300) },
		"hardware_uuid": func(r *protocol.EnrollRequest) { r.HardwareUUID = "" },
		"request_id":    func(r *protocol.EnrollRequest) { r.RequestID = "" },
		"group_hint":    func(r *protocol.EnrollRequest) { r.GroupHint = "../../etc" },
		"device_key":    func(r *protocol.EnrollRequest) { r.DeviceKey = r.DeviceKey[:31] },
	} {
		request := m.Enrollment()
		spoil(&request)
		payload, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := protocol.Sign(protocol.PayloadEnroll, payload, m.Key).JSON()
		if err != nil {
			t.Fatal(err)
		}
		got := portal.Call(t, http.MethodPost, "/v1/enroll", body)
		problem, _ := protocol.ParseProblem(got.Status, got.Header.Get("Content-Type"), got.Body)
		if problem.Name() != protocol.ProblemInvalidRequest || problem.Field != field {
			t.Errorf("%s: answer is %d %s", field, got.Status, got.Body)
		}
	}
}
