package content_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/content"
)

// An upload breaks off between any two of its parts: each is taken in by itself, and
// together they are the whole.
func TestEachPartOfAnUploadIsTakenIn(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.publish(content.Publication{})
	const groups = 23
	for i := range groups {
		group := fmt.Sprintf("g%d", i)
		f.write("groups/"+group+".yaml", "name: "+group)
		f.write(fmt.Sprintf("policies/p%d.yaml", i), fmt.Sprintf("name: P%d\ngroups: [%s]\ndescription: %s\nvm_settings: {other: {max_cpus: 1}}", i, group, strings.Repeat("a", 100_000)))
	}
	change, err := f.plan(content.Publication{})
	if err != nil {
		t.Fatal(err)
	}
	published, _ := f.published()
	upload, err := content.Signer{SiteID: theSite, Keys: f.keys, Now: f.now}.Sign(change, published)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := upload.Split(10, 250_000)
	if err != nil || len(parts) < groups/3 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	for i, part := range parts {
		if err := f.folder.Accept(t.Context(), theSite, part, f.now); err != nil {
			t.Fatalf("part %d: %v", i, err)
		}
		if body, err := json.Marshal(part); err != nil || len(body) > protocol.MaxRequest || len(part.Heads) > 10 {
			t.Errorf("part %d has %d bytes and %d heads, %v", i, len(body), len(part.Heads), err)
		}
	}
	if again, err := f.plan(content.Publication{}); err != nil || !again.IsEmpty() || len(stateOf(f).Documents) != groups {
		t.Errorf("%+v, %v", again.Steps, err)
	}
	if _, err := (content.Upload{Policies: upload.Policies}).Split(10, 1); !errors.Is(err, content.ErrUnnamed) {
		t.Errorf("policies that no head names: %v", err)
	}
}
