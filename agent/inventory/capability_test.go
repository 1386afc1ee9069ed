package inventory

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prlagent/agent/policy"
	"prlagent/platform/tool"
	"prlagent/prlctl"
	"prlagent/store"
)

// helpful is a product that answers a probe. Its help is one and the same for
// everything that is asked, which is enough for keeping the answers.
type helpful struct {
	version string
	broken  bool
	runs    int
}

func (h *helpful) Run(_ context.Context, c *tool.Command) (tool.Result, error) {
	h.runs++
	switch {
	case c.Args[0] == "--version":
		return tool.Result{Stdout: fmt.Appendf(nil, "prlctl version %s\n", h.version)}, nil
	case h.broken && strings.Contains(strings.Join(c.Args, " "), "security"):
		return tool.Result{Stdout: []byte("Out of order.\n"), ExitCode: 1}, nil
	}
	return tool.Result{Stdout: []byte("list [--all]\nset <ID>\n  --pause-idle <on | off>\n")}, nil
}

func TestH43_CapabilitiesAreProbedOncePerVersion(t *testing.T) {
	t.Parallel()
	state, _, err := store.Open(context.Background(), filepath.Join(t.TempDir(), "state"), store.Options{Collections: []string{Probed}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	product := &helpful{version: "26.4.0 (57513)"}
	ask := func(version string, wantRuns bool) *prlctl.Capabilities {
		t.Helper()
		parsed, err := prlctl.ParseVersion(version)
		if err != nil {
			t.Fatal(err)
		}
		product.runs = 0
		got, err := Capabilities(context.Background(), state, parsed, prlctl.New(product), policy.Flags)
		if err != nil {
			t.Fatal(err)
		}
		if (product.runs > 0) != wantRuns {
			t.Errorf("version %s: %d runs of the tools", version, product.runs)
		}
		return got
	}
	product.broken = true
	if half := ask("26.4.0 (57513)", true); half.Complete(policy.Flags) {
		t.Fatal("a help that cannot be read made no difference")
	}
	product.broken = false
	probed := ask("26.4.0 (57513)", true) // half an answer was not kept
	if kept := ask("26.4.0 (57513)", false); kept.Flag("--pause-idle").Support != prlctl.Supported || kept.Version != probed.Version {
		t.Errorf("kept %+v", kept)
	}
	ask("27.0.0 (58628)", true) // an update is under way: the tools are still the old ones
	ask("27.0.0 (58628)", true)
	product.version = "27.0.0 (58628)"
	ask("27.0.0 (58628)", true)
	ask("27.0.0 (58628)", false)
	product.version = "26.4.0 (57513)"
	ask("26.4.0 (57513)", true) // only one version is kept
}

// What was kept when the catalogue had fewer settings is not the whole answer
// any more.
func TestH43_ALargerCatalogueIsProbedAnew(t *testing.T) {
	t.Parallel()
	state, _, err := store.Open(context.Background(), filepath.Join(t.TempDir(), "state"), store.Options{Collections: []string{Probed}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	product := &helpful{version: "26.4.0 (57513)"}
	version, err := prlctl.ParseVersion(product.version)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(flags prlctl.Flags, wantRuns bool) *prlctl.Capabilities {
		t.Helper()
		product.runs = 0
		got, err := Capabilities(context.Background(), state, version, prlctl.New(product), flags)
		if err != nil || !got.Complete(flags) || (product.runs > 0) != wantRuns {
			t.Errorf("%d runs of the tools, complete %t, %v", product.runs, got.Complete(flags), err)
		}
		return got
	}
	fewer := policy.Flags
	fewer.Set = slices.DeleteFunc(slices.Clone(fewer.Set), func(flag prlctl.Flag) bool { return flag.Name == "--pause-idle" })
	ask(fewer, true)
	ask(fewer, false)
	got := ask(policy.Flags, true)
	ask(policy.Flags, false)
	more := policy.Flags
	more.HostSet = append(slices.Clone(more.HostSet), "--of-tomorrow")
	ask(more, true)
	data, err := json.Marshal(got)
	if err != nil || len(data) > 16<<10 {
		t.Errorf("kept as %d bytes, %v", len(data), err)
	}
}
