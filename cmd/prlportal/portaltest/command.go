package portaltest

import (
	"cmp"
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/site"
)

// CommandKey is the operator's command key.
func (p *Portal) CommandKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	key, err := site.LoadSigningKey(filepath.Join(p.Dir, site.OperatorFolder, site.CommandKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// RegisterKey registers a second person's key, and says how many must sign vm.delete.
func (p *Portal) RegisterKey(t testing.TB, person string, needed int) ed25519.PrivateKey {
	t.Helper()
	key := NewKey(t)
	p.ChangeKeys(t, func(keys *site.CommandKeys) error {
		added := site.CommandKey{Key: key.Public().(ed25519.PublicKey), Person: person, AddedAt: p.Clock.Now()}
		return cmp.Or(keys.Add(added), keys.SetThreshold("vm.delete", needed))
	})
	return key
}

// ChangeKeys changes who may sign commands, as who has the policy key does.
func (p *Portal) ChangeKeys(t testing.TB, change func(*site.CommandKeys) error) {
	t.Helper()
	operator := filepath.Join(p.Dir, site.OperatorFolder)
	keys, err := site.LoadCommandKeys(operator)
	if err != nil {
		t.Fatal(err)
	}
	if err := change(&keys); err != nil {
		t.Fatal(err)
	}
	policy, err := site.LoadPolicyKeys(operator)
	if err != nil {
		t.Fatal(err)
	}
	file, err := keys.Sign(policy...)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Admin(t, http.MethodPost, "/v1/admin/command-keys", file); got.Status != http.StatusOK {
		t.Fatalf("register key: %d %s", got.Status, got.Body)
	}
	if err := site.SaveCommandKeys(operator, file); err != nil {
		t.Fatal(err)
	}
}

// NewCommand is a command for a virtual machine of the Mac, or for the Mac where vm is
// nil, as the first operator would sign it.
func (m *Mac) NewCommand(kind string, vm *protocol.VM, params any) protocol.Command {
	now := m.portal.Clock.Now()
	command := protocol.Command{
		CommandID: protocol.NewRequestID(now, protocol.RequestID{}).String(), Type: kind, IssuedAt: now, ExpiresAt: now.Add(30 * 24 * time.Hour),
		IssuedBy: site.FirstAdmin, Reason: "stolen", Target: protocol.CommandTarget{DeviceID: m.DeviceID, MacSerial: m.Serial},
	}
	if protocol.IsHazardous(kind) {
		command.Target.Epoch = m.Epoch
	}
	if vm != nil {
		command.Target.UID, command.Target.Owner, command.Target.VMID, command.Target.VMName, command.Target.Bundle = vm.UID, vm.Owner, vm.ID, vm.Name, vm.Bundle
	}
	if params != nil {
		command.Params, _ = json.Marshal(params) // a structure of ours
	}
	return command
}

// Upload signs a command and uploads it.
func (p *Portal) Upload(t testing.TB, command protocol.Command, keys ...ed25519.PrivateKey) Answer {
	t.Helper()
	payload, err := json.Marshal(command)
	if err != nil {
		t.Fatal(err)
	}
	confirm := command.Target.VMName
	if command.Target.VMID == "" {
		confirm = command.Target.MacSerial
	}
	return p.SendUpload(t, adminapi.CommandUpload{Command: protocol.Sign(protocol.PayloadCommand, payload, keys...), Confirm: confirm})
}

// SendUpload uploads it as it is.
func (p *Portal) SendUpload(t testing.TB, upload adminapi.CommandUpload) Answer {
	t.Helper()
	body, err := json.Marshal(upload)
	if err != nil {
		t.Fatal(err)
	}
	return p.Admin(t, http.MethodPost, "/v1/admin/commands", body)
}

// Issue uploads a command of the first operator, and must be taken in.
func (p *Portal) Issue(t testing.TB, command protocol.Command) protocol.Command {
	t.Helper()
	if got := p.Upload(t, command, p.CommandKey(t)); got.Status != http.StatusOK {
		t.Fatalf("issue %s: %d %s", command.Type, got.Status, got.Body)
	}
	return command
}

// Command is the command as an admin sees it.
func (p *Portal) Command(t testing.TB, id string) adminapi.CommandDetail {
	t.Helper()
	got := p.Admin(t, http.MethodGet, "/v1/admin/commands/"+id, nil)
	var detail adminapi.CommandDetail
	if err := json.Unmarshal(got.Body, &detail); err != nil || got.Status != http.StatusOK {
		t.Fatalf("show command: %d %s", got.Status, got.Body)
	}
	return detail
}

// DecideCommand cancels or confirms a command.
func (p *Portal) DecideCommand(t testing.TB, action, id string) Answer {
	t.Helper()
	return p.Admin(t, http.MethodPost, "/v1/admin/commands/"+id+"/"+action, []byte(`{"reason":"test"}`))
}

// Receipt is what the Mac's key says of a result of a command, as the agent signs it.
func (m *Mac) Receipt(t testing.TB, result protocol.Result, changes ...func(*protocol.Receipt)) *protocol.Envelope {
	t.Helper()
	return m.SignReceipt(t, m.Key, result, changes...)
}

// SignReceipt is Receipt, signed with another key.
func (m *Mac) SignReceipt(t testing.TB, key ed25519.PrivateKey, result protocol.Result, changes ...func(*protocol.Receipt)) *protocol.Envelope {
	t.Helper()
	receipt := protocol.Receipt{
		DeviceID: m.DeviceID, MacSerial: m.Serial, Epoch: m.Epoch, CommandSHA256: m.portal.Command(t, result.CommandID).SHA256, Result: result,
	}
	for _, change := range changes {
		change(&receipt)
	}
	payload, err := json.Marshal(receipt)
	if err != nil {
		t.Fatal(err)
	}
	signed := protocol.Sign(protocol.PayloadReceipt, payload, key)
	return &signed
}
