package agentapi

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"prlagent/agent/protocol"
)

// A machine has its owner's name, or the word of the Mac that the name is kept
// back; the uid is its key then (INV-32).
func TestINV_32_ANameThatIsKeptBack(t *testing.T) {
	t.Parallel()
	withheld := map[string]protocol.Code{"user_name": protocol.CodeNameWithheld}
	for name, c := range map[string]struct {
		vm    protocol.VM
		taken bool
	}{
		"a name":                 {protocol.VM{VMKey: protocol.VMKey{ID: "id", UID: 501}, Owner: "alice"}, true},
		"no name":                {protocol.VM{VMKey: protocol.VMKey{ID: "id", UID: 501}}, false},
		"kept back":              {protocol.VM{VMKey: protocol.VMKey{ID: "id", UID: 501}, Gaps: withheld}, true},
		"kept back, and no key":  {protocol.VM{VMKey: protocol.VMKey{ID: "id"}, Gaps: withheld}, false},
		"for some other reason":  {protocol.VM{VMKey: protocol.VMKey{ID: "id", UID: 501}, Gaps: map[string]protocol.Code{"user_name": protocol.CodeNotShown}}, false},
		"of another column only": {protocol.VM{VMKey: protocol.VMKey{ID: "id", UID: 501}, Gaps: map[string]protocol.Code{"computer_name": protocol.CodeNameWithheld}}, false},
	} {
		request := protocol.CheckinRequest{
			Protocol: protocol.Version, RequestID: uuid.NewString(), Epoch: "epoch", Sequence: 1,
			Inventory: protocol.Inventory{Hash: "hash", VMs: []protocol.VM{c.vm}},
		}
		if err := checkCheckin(&request, time.Now()); (err == nil) != c.taken {
			t.Errorf("%s: %v", name, err)
		}
	}
}
