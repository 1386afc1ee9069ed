package prlctl

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prlagent/platform/tool"
)

// product answers a probe as one version of the tools. A help that it does not
// have is an unknown option, as the tool says of a category it does not know.
type product struct {
	version string
	helps   map[string]tool.Result
	failing map[string]error // by name of the help
	asked   []string
}

func (p *product) Run(_ context.Context, c *tool.Command) (tool.Result, error) {
	name := helpName(c.Path, c.Args)
	p.asked = append(p.asked, name)
	if err := p.failing[name]; err != nil {
		return tool.Result{}, err
	}
	if name == "prlctl --version" {
		return tool.Result{Stdout: []byte("prlctl version " + p.version + "\n")}, nil
	}
	if help, has := p.helps[name]; has {
		return help, nil
	}
	return tool.Result{ExitCode: 255, Stderr: []byte("Unrecognized option: " + strings.Join(c.Args, " ") + "\n")}, nil
}

// recorded is a product with the helps of a sample, each behind a line
// "-- COMMAND LINE --".
func recorded(t testing.TB, version, name string) *product {
	t.Helper()
	p := &product{version: version, helps: map[string]tool.Result{}, failing: map[string]error{}}
	var title string
	for line := range strings.Lines(string(sample(t, name))) {
		if inner, ok := strings.CutPrefix(line, "-- "); ok {
			title = strings.TrimSuffix(inner, " --\n")
			continue
		}
		if title != "" {
			p.helps[title] = tool.Result{Stdout: append(p.helps[title].Stdout, line...)}
		}
	}
	return p
}

// mapped is the product with every help passed through change.
func (p *product) mapped(change func(tool.Result) tool.Result) *product {
	for name, help := range p.helps {
		p.helps[name] = change(help)
	}
	return p
}

// flags are what the samples are probed for: of each category one at least.
var flags = Flags{
	Set: []Flag{
		{Name: "--cpus", Category: "cpus"}, {Name: "--nested-virt", Category: "optimization"},
		{Name: "--memsize", Category: "memory"}, {Name: "--tpm", Category: "boot"}, {Name: "--sync-host-printers", Category: "printers"},
		{Name: "--support-usb30", Category: "usb"}, {Name: "--auto-share-bluetooth", Category: "bluetooth"},
		{Name: "--pause-idle", Category: "startup"}, {Name: "--on-window-close", Category: "startup"},
		{Name: "--isolate-vm", Category: "security"}, {Name: "--lock-on-suspend", Category: "security"}, {Name: "--custom-pwd", Category: "security"},
		{Name: "--smart-guard", Category: "smartguard"}, {Name: "--expiration", Category: "protection"}, {Name: "--time-sync", Category: "timesync"},
		{Name: "--device-set", Category: "device_mgmt"}, {Name: "--shf-host", Category: "shared_folders"}, {Name: "--shf-host-defined", Category: "shared_folders"},
		{Name: "--shared-profile", Category: "shared_profiles"}, {Name: "--sh-app-host-to-guest", Category: "shared_apps"},
		{Name: "--smart-mount", Category: "smart_mounts"}, {Name: "--shared-clipboard", Category: "misc_sharing"},
		{Name: "--show-dev-tools", Category: "advanced", Certain: true}, {Name: "--rosetta-linux", Category: "advanced", Certain: true},
		{Name: "--tools-autoupdate", Category: "misc"},
	},
	HostSet: []string{"--require-pwd", "--headless-mode-feature", "--mem-limit"},
}

func newest(t testing.TB) *product { return recorded(t, "26.4.0 (57513)", "help-26.txt") }
func oldest(t testing.TB) *product { return recorded(t, "18.3.0 (53605)", "help-18.txt") }

func probed(t testing.TB, p *product) Capabilities {
	t.Helper()
	capabilities, err := New(p).Probe(context.Background(), flags)
	if err != nil {
		t.Fatalf("probe: %v", err)
	}
	return capabilities
}

func setFlag(name string) func(Capabilities) Support {
	return func(c Capabilities) Support { return c.Flag(name).Support }
}

func hostFlag(name string) func(Capabilities) Support {
	return func(c Capabilities) Support { return c.HostFlag(name).Support }
}

func command(name string) func(Capabilities) Support {
	return func(c Capabilities) Support { return c.Command(name) }
}

func listJSON(c Capabilities) Support { return c.JSON }

func TestH43_WhatAVersionCanDo(t *testing.T) {
	t.Parallel()
	onNew, onOld := probed(t, newest(t)), probed(t, oldest(t))
	cases := map[string]struct {
		ask      func(Capabilities) Support
		new, old Support
	}{
		"a flag of both":                         {setFlag("--isolate-vm"), Supported, Supported},
		"a flag that another begins with":        {setFlag("--shf-host"), Supported, Supported},
		"a flag that came later":                 {setFlag("--lock-on-suspend"), Supported, Unsupported},
		"a flag that came later, category known": {setFlag("--rosetta-linux"), Supported, Unsupported},
		"a flag whose category came later":       {setFlag("--expiration"), Supported, Unsupported},
		"a flag that went, and was elsewhere":    {setFlag("--auto-share-bluetooth"), Unsupported, Supported},
		"a flag of no table":                     {setFlag("--of-tomorrow"), SupportUnknown, SupportUnknown},
		"a flag of the host":                     {hostFlag("--require-pwd"), Supported, Supported},
		"a flag of the host that came later":     {hostFlag("--headless-mode-feature"), Supported, Unsupported},
		"a flag of the host that is of no table": {hostFlag("--shutdown"), SupportUnknown, SupportUnknown},
		"a command of both":                      {command("pack"), Supported, Supported},
		"a command that came later":              {command("monitor-events"), Supported, Unsupported},
		"a command of no table":                  {command("make-coffee"), SupportUnknown, SupportUnknown},
		"JSON":                                   {listJSON, Supported, Supported},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := c.ask(onNew); got != c.new {
				t.Errorf("version 26: %s, want %s", got, c.new)
			}
			if got := c.ask(onOld); got != c.old {
				t.Errorf("version 18: %s, want %s", got, c.old)
			}
		})
	}
	if !onNew.Complete(flags) || !onOld.Complete(flags) {
		t.Errorf("unread: %v, %v", onNew.Unread, onOld.Unread)
	}
}

// What has not been read is unknown, never there and never missing.
func TestH43_WhatCannotBeReadIsUnknown(t *testing.T) {
	t.Parallel()
	nothing := map[string]func(*product) *product{
		"no help has a flag": func(p *product) *product {
			return p.mapped(func(tool.Result) tool.Result { return tool.Result{Stdout: []byte("See the manual.\n")} })
		},
		"the service is down": func(p *product) *product {
			return p.mapped(func(tool.Result) tool.Result {
				return tool.Result{ExitCode: 253, Stderr: []byte("Login failed: Unable to connect to Parallels Service.\n")}
			})
		},
		"the edition is gated": func(p *product) *product {
			return p.mapped(func(r tool.Result) tool.Result {
				r.Stdout = append([]byte("This feature is not available in this edition of Parallels Desktop. \n"), r.Stdout...)
				return r
			})
		},
		"the help is endless": func(p *product) *product {
			return p.mapped(func(r tool.Result) tool.Result {
				r.Stdout = append(r.Stdout, make([]byte, maxHelp)...)
				return r
			})
		},
		"no help at all": func(p *product) *product { clear(p.helps); return p },
		"every category is taken for a machine": func(p *product) *product {
			return p.mapped(func(tool.Result) tool.Result {
				return tool.Result{ExitCode: 255, Stderr: []byte("Failed to get VM config: The virtual machine could not be found.\n")}
			})
		},
		"the tool hangs": func(p *product) *product {
			for name := range p.helps {
				p.failing[name] = &tool.Error{Code: tool.CodeTimeout}
			}
			return p
		},
	}
	for name, spoil := range nothing {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := probed(t, spoil(newest(t)))
			for flag, ability := range merged(got.Set, got.HostSet) {
				if ability.Support != SupportUnknown || ability.Values != nil {
					t.Errorf("%s is %v", flag, ability)
				}
			}
			for command, support := range got.Commands {
				if support != SupportUnknown {
					t.Errorf("%s is %s", command, support)
				}
			}
			if got.JSON != SupportUnknown || got.Complete(flags) || len(got.Unread) != len(flags.categories())+2 {
				t.Errorf("JSON %s, unread %v", got.JSON, got.Unread)
			}
		})
	}
}

func merged(a, b map[string]Ability) map[string]Ability {
	out := maps.Clone(a)
	for name, ability := range b {
		out["host "+name] = ability
	}
	return out
}

// One help that is missing takes away only what it would have settled.
func TestH43_OneHelpThatCannotBeRead(t *testing.T) {
	t.Parallel()
	p := newest(t)
	p.helps["prlctl set security --help"] = tool.Result{Stdout: []byte("Internal error.\n"), ExitCode: 255}
	got := probed(t, p)
	for flag, want := range map[string]Support{
		"--isolate-vm":           SupportUnknown,
		"--pause-idle":           Supported,
		"--auto-share-bluetooth": SupportUnknown, // it might have been there
	} {
		if have := got.Flag(flag).Support; have != want {
			t.Errorf("%s is %s, want %s", flag, have, want)
		}
	}
	if diff := cmp.Diff(map[string]string{"prlctl set security --help": CodeOutputInvalid}, got.Unread); diff != "" {
		t.Error(diff)
	}
	p = oldest(t)
	p.helps["prlctl set security --help"] = tool.Result{Stdout: []byte("Internal error.\n"), ExitCode: 255}
	got = probed(t, p)
	for flag, want := range map[string]Support{
		"--rosetta-linux": Unsupported,    // its category is certain, and was read
		"--expiration":    SupportUnknown, // its category may be another one
	} {
		if have := got.Flag(flag).Support; have != want {
			t.Errorf("%s is %s, want %s", flag, have, want)
		}
	}
}

// The usage of a category without flags settles that there are none; words
// that are no usage settle nothing.
func TestH43_ACategoryWithoutFlags(t *testing.T) {
	t.Parallel()
	const usage = "Usage: prlctl set <ID | NAME> [options]\n"
	for name, c := range map[string]struct {
		help tool.Result
		want Support
	}{
		"usage":                 {tool.Result{Stdout: []byte(usage)}, Unsupported},
		"no usage":              {tool.Result{Stdout: []byte("Out of coffee.\n")}, SupportUnknown},
		"usage after a failure": {tool.Result{Stdout: []byte(usage), ExitCode: 1}, SupportUnknown},
		"usage and the edition": {tool.Result{Stdout: []byte(usage + editionText)}, SupportUnknown},
	} {
		p := newest(t)
		p.helps["prlctl set bluetooth --help"] = c.help
		if got := probed(t, p); got.Flag("--auto-share-bluetooth").Support != c.want || got.Complete(flags) != (c.want == Unsupported) {
			t.Errorf("%s: %s, unread %v", name, got.Flag("--auto-share-bluetooth").Support, got.Unread)
		}
	}
}

// A help of prlctl that names no command at the beginning of a line, or
// mentions one in between, settles nothing.
func TestH43_ALayoutThatIsNotUnderstood(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"all on one line":       "Commands: list, set, start, monitor-events. Options: --json, --all\n",
		"mentioned in between":  "list --all (was json)\nset <ID>\nsee also: monitor-events\n",
		"prose that looks like": "list of all\nset of flags\nmonitor-events are told with --json\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newest(t)
			p.helps["prlctl --help"] = tool.Result{Stdout: []byte(text)}
			got := probed(t, p)
			if got.Command("monitor-events") != SupportUnknown || got.JSON != SupportUnknown {
				t.Errorf("monitor-events is %s, JSON %s", got.Command("monitor-events"), got.JSON)
			}
		})
	}
}

func TestH43_AVersionWithoutJSON(t *testing.T) {
	t.Parallel()
	p := oldest(t)
	p.helps["prlctl --help"] = tool.Result{Stdout: []byte("prlctl list [--all|-a] [--info|-i]\nprlctl set ID [OPTIONS]\n")}
	if got := probed(t, p); got.JSON != Unsupported {
		t.Errorf("JSON is %s", got.JSON)
	}
}

// Neither the stream nor the exit code of a help is known.
func TestHelpOnStandardErrorWithAnExitCode(t *testing.T) {
	t.Parallel()
	want := probed(t, newest(t))
	got := probed(t, newest(t).mapped(func(r tool.Result) tool.Result { return tool.Result{Stderr: r.Stdout, ExitCode: 255} }))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-stdout +stderr):\n%s", diff)
	}
}

func TestHelpShowsTheValues(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]*product{"26": newest(t), "18": oldest(t)} {
		got := probed(t, p)
		for flag, want := range map[string][]string{
			"--tools-autoupdate": {"yes", "no"},
			"--on-window-close":  {"suspend", "shutdown", "stop", "ask", "keep-running"},
			"--custom-pwd":       nil,
		} {
			if have := got.Flag(flag).Values; !slices.Equal(have, want) {
				t.Errorf("version %s, %s: %q, want %q", name, flag, have, want)
			}
		}
	}
}

// Every help is asked for once, without a VM's id, and one that hangs is the
// last one.
func TestProbeAsksOnce(t *testing.T) {
	t.Parallel()
	p := newest(t)
	probed(t, p)
	if want := len(flags.categories()) + 3; len(p.asked) != want || len(slices.Compact(slices.Sorted(slices.Values(p.asked)))) != want {
		t.Errorf("asked %d times: %q", len(p.asked), p.asked)
	}
	p = newest(t)
	p.failing["prlctl set memory --help"] = &tool.Error{Code: tool.CodeTimeout}
	got := probed(t, p)
	if last := p.asked[len(p.asked)-1]; last != "prlctl set memory --help" {
		t.Errorf("went on to %s", last)
	}
	if got.Flag("--cpus").Support != Supported || got.Flag("--memsize").Support != SupportUnknown || got.Command("pack") != Supported {
		t.Error("what was read before is lost")
	}
}

func TestProbeWithoutAVersion(t *testing.T) {
	t.Parallel()
	p := newest(t)
	p.failing["prlctl --version"] = &tool.Error{Code: tool.CodeMissing}
	if got, err := New(p).Probe(context.Background(), flags); errorCode(err) != tool.CodeMissing || got.Complete(flags) {
		t.Errorf("%+v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if got, err := New(newest(t)).Probe(ctx, flags); errorCode(err) != CodeToolFailed || got.Set != nil {
		t.Errorf("a probe that was canceled: %+v, %v", got, err)
	}
}

// Capabilities are kept as JSON under their version.
func TestCapabilitiesAsJSON(t *testing.T) {
	t.Parallel()
	want := probed(t, newest(t))
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Capabilities
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	if len(data) > 16<<10 {
		t.Errorf("%d bytes", len(data))
	}
	delete(got.Set, "--pause-idle")
	if got.Complete(flags) {
		t.Error("complete without a flag that was added later")
	}
	var none Capabilities
	if none.Complete(flags) || none.Flag("--isolate-vm").Support != SupportUnknown || none.Command("pack") != SupportUnknown {
		t.Error("the zero value knows something")
	}
}

func FuzzHelp(f *testing.F) {
	for _, p := range []*product{newest(f), oldest(f)} {
		for _, name := range []string{"prlctl --help", "prlsrvctl set --help", "prlctl set security --help"} {
			f.Add(p.helps[name].Stdout, []byte(nil), 0)
		}
	}
	f.Add([]byte(nil), []byte("Unrecognized option: security\n"), 255)
	f.Add(sample(f, "edition-gate.txt"), []byte("--a <x|y>"), 0)
	f.Fuzz(func(t *testing.T, stdout, stderr []byte, exitCode int) {
		help, err := readHelp(tool.Result{Stdout: stdout, Stderr: stderr, ExitCode: exitCode})
		if err != nil {
			if help.flags != nil || errorCode(err) == "" {
				t.Fatalf("an error and an answer: %v, %v", err, help.flags)
			}
			return
		}
		for flag, values := range help.flags {
			if !strings.Contains(string(stdout)+"\n"+string(stderr), flag) || len(values) > maxHelpValues || len(flag) > 66 {
				t.Fatalf("flag %q with %d values", flag, len(values))
			}
		}
		answer := helpAnswer{help: help, read: true}
		for command, support := range judgeCommands(answer) {
			if support == Supported && !help.mentionsWord(command) {
				t.Fatalf("%s is there and nowhere in the text", command)
			}
		}
		if judgeJSON(answer) == Supported && !help.hasFlag("--json") {
			t.Fatal("--json is there and nowhere in the text")
		}
	})
}
