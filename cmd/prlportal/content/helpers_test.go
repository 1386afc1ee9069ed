package content_test

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/content"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/tree"
)

const theSite = "example"

var morning = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// keyFrom is a key of tests.
func keyFrom(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(slices.Repeat([]byte{seed}, ed25519.SeedSize))
}

// fleet is an operator with a folder of content that a portal serves.
type fleet struct {
	*testing.T
	root   *os.Root
	folder *content.Folder
	keys   []ed25519.PrivateKey
	old    ed25519.PrivateKey // that was replaced
	files  fstest.MapFS       // of the tree
	now    time.Time
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	f := &fleet{T: t, root: root, folder: content.NewFolder(root), keys: []ed25519.PrivateKey{keyFrom(1)}, now: morning, files: make(fstest.MapFS)}
	f.write("site.yaml", "primary_group: a")
	for _, group := range []string{"a", "b"} {
		f.write("groups/"+group+".yaml", "name: Group "+group)
	}
	return f
}

// write changes a file of the tree; without content it is gone.
func (f *fleet) write(name, data string) {
	if data == "" {
		delete(f.files, name)
		return
	}
	f.files[name] = &fstest.MapFile{Data: []byte(data)}
}

// setPolicy writes a policy with a value that tells its contents apart.
func (f *fleet) setPolicy(id string, cpus int, groups ...string) {
	f.write("policies/"+id+".yaml", fmt.Sprintf("name: Policy %s\ngroups: [%s]\nvm_settings: {other: {max_cpus: %d}}", id, strings.Join(groups, ", "), cpus))
}

func (f *fleet) tree() tree.Tree {
	f.Helper()
	read, err := tree.Read(f.files)
	if err != nil || read.Has(tree.Failure) {
		f.Fatalf("%+v, %v", read.Findings, err)
	}
	return read
}

func (f *fleet) published() (content.Published, content.State) {
	f.Helper()
	published, err := f.folder.Published(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	known := f.keys
	if f.old != nil {
		known = append(slices.Clone(known), f.old)
	}
	state, err := published.Verify(theSite, site.PublicHalves(known))
	if err != nil {
		f.Fatal(err)
	}
	return published, state
}

// apply signs a change and has the portal take it in.
func (f *fleet) apply(change content.Change) {
	f.Helper()
	published, _ := f.published()
	upload, err := content.Signer{SiteID: theSite, Keys: f.keys, Retired: f.old, Now: f.now}.Sign(change, published)
	if err != nil {
		f.Fatal(err)
	}
	if len(published.Heads) == 0 { // as init does
		if err := f.folder.Add(f.Context(), content.Upload{Keys: upload.Keys}); err != nil {
			f.Fatal(err)
		}
		upload.Keys = nil
	}
	if err := f.folder.Accept(f.Context(), theSite, upload, f.now); err != nil {
		f.Fatal(err)
	}
}

func (f *fleet) plan(as content.Publication) (content.Change, error) {
	f.Helper()
	as.Tree = f.tree()
	_, state := f.published()
	return as.Plan(f.Context(), state, f.folder)
}

// publish publishes the tree and says what became of the groups.
func (f *fleet) publish(as content.Publication) string {
	f.Helper()
	change, err := f.plan(as)
	if err != nil {
		f.Fatal(err)
	}
	f.apply(change)
	return stepWords(change)
}

func stepWords(change content.Change) string {
	var words []string
	for _, step := range change.Steps {
		line := fmt.Sprintf("%s: %s %s", step.Group, step.What, step.After)
		if step.Candidate != "" {
			line += fmt.Sprintf(" (%s for %d%%)", step.Candidate, step.Percent)
		}
		if step.Mode != "" {
			line += " " + step.Mode
		}
		words = append(words, strings.TrimSpace(line))
	}
	return strings.Join(words, "; ")
}

func (f *fleet) want(got, want string) {
	f.Helper()
	if got != want {
		f.Errorf("got  %s\nwant %s", got, want)
	}
}

// versions are the head versions of the groups.
func (f *fleet) versions() string {
	f.Helper()
	_, state := f.published()
	var words []string
	for group, head := range state.Heads {
		words = append(words, fmt.Sprintf("%s %d", group, head.HeadVersion))
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// signed is a head as a file.
func signed(t *testing.T, head protocol.Head, keys ...ed25519.PrivateKey) json.RawMessage {
	t.Helper()
	payload, err := json.Marshal(head)
	if err != nil {
		t.Fatal(err)
	}
	data, err := protocol.Sign(protocol.PayloadHead, payload, keys...).JSON()
	if err != nil {
		t.Fatal(err)
	}
	return data
}
