package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"prlagent/platform/tool"
	"prlagent/prlctl"
)

// codeNotCaptured is a question that the archive has no answer to.
const codeNotCaptured = "not_captured"

var errNotCaptured = errors.New("not captured")

// recorded answers the client with what was captured. It starts nothing.
type recorded struct{ capture }

// Run gives the captured output of the same command.
func (r recorded) Run(_ context.Context, c *tool.Command) (tool.Result, error) {
	entry, found := r.find(append([]string{path.Base(c.Path)}, c.Args...)...)
	if !found {
		return tool.Result{ExitCode: -1}, &tool.Error{Code: codeNotCaptured, Path: c.Path, Err: errNotCaptured}
	}
	result := tool.Result{Stdout: r.files[entry.Stdout], Stderr: r.files[entry.Stderr], ExitCode: -1}
	if entry.Exit == nil {
		return result, &tool.Error{Code: tool.CodeTimeout, Path: c.Path, Err: errors.New("it was killed on the Mac")}
	}
	result.ExitCode = *entry.Exit
	return result, nil
}

// follow hands over the captured lines of a stream.
func (r recorded) follow(ctx context.Context, c *tool.Command, line func([]byte, bool)) (tool.Result, error) {
	result, err := r.Run(ctx, c)
	var failed *tool.Error
	if errors.As(err, &failed) && failed.Code == codeNotCaptured {
		return result, err
	}
	for text := range bytes.Lines(result.Stdout) {
		text = bytes.TrimRight(text, "\r\n")
		line(text[:min(len(text), c.MaxOutput)], len(text) > c.MaxOutput)
	}
	return result, nil
}

// machine is one virtual machine as the archive has it.
type machine struct {
	prlctl.VM
	entry  entry
	config []byte // config.pvs, nil if it was not captured
	info   []byte // VmInfo.pvi, nil if it was not captured
	noInfo bool   // there is no VmInfo.pvi
}

func (m machine) isMacVM() bool { return m.Type == "APPLE_VZ_VM" }

func (m machine) isWindows() bool { return strings.HasPrefix(m.OS, "win-") }

// reading is what the client made of an archive.
type reading struct {
	capture
	version  prlctl.Version
	server   prlctl.ServerInfo
	license  prlctl.License
	bulk     prlctl.Listing
	machines []machine
	help     prlctl.Capabilities
	events   []prlctl.Event
	findings []finding
}

// readByClient asks the client every question of the archive.
func readByClient(ctx context.Context, read capture) *reading {
	r := &reading{capture: read}
	source := recorded{read}
	client := prlctl.New(source)
	var err error
	r.version, err = client.Version(ctx)
	r.noteClient("prlctl --version", err)
	r.server, err = client.ServerInfo(ctx)
	r.noteClient("prlsrvctl info --json", err)
	r.license, err = client.License(ctx)
	r.noteClient("prlsrvctl info --license --json", err)
	r.bulk, err = client.List(ctx)
	r.noteClient("prlctl list -a -i --json", err)
	for _, unreadable := range r.bulk.Unreadable {
		r.add(finding{Part: partClient, What: "prlctl list -a -i --json", Verdict: verdictDiffers, Detail: "a virtual machine cannot be read: " + unreadable.Code})
	}
	r.readMachines(ctx, client)
	r.help, err = client.Probe(ctx, probedFlags())
	r.noteClient("help of the tools", err)
	for help, code := range r.help.Unread {
		r.noteClient(help, &prlctl.Error{Code: code})
	}
	r.readEvents(ctx, source)
	return r
}

// readMachines reads each virtual machine of the list and its two files.
func (r *reading) readMachines(ctx context.Context, client *prlctl.Client) {
	for _, listed := range r.bulk.VMs {
		command := []string{"prlctl", "list", listed.ID, "-i", "--json"}
		vm, err := client.Get(ctx, listed.ID)
		r.noteClient(strings.Join(command, " "), err)
		if err != nil {
			continue
		}
		m := machine{VM: vm}
		m.entry, _ = r.find(command...)
		m.config, _ = r.readBundleFile(vm, "config.pvs", func(data []byte) error { _, err := prlctl.ReadConfigPVS(data); return err })
		m.info, m.noInfo = r.readBundleFile(vm, "VmInfo.pvi", func(data []byte) error { _, err := prlctl.ReadVMInfo(data); return err })
		r.machines = append(r.machines, m)
	}
}

// readBundleFile reads a file of a bundle; missing: the Mac has none.
func (r *reading) readBundleFile(vm prlctl.VM, name string, parse func([]byte) error) (data []byte, missing bool) {
	entry, found := r.find("read", vm.Bundle()+"/"+name)
	if !found || entry.Ended != endedExit {
		return nil, entry.Ended == endedMissing
	}
	data = r.stdout(entry)
	r.noteClient(name+" of "+vm.Name, parse(data))
	return data, false
}

// readEvents reads the stream as the agent does.
func (r *reading) readEvents(ctx context.Context, source recorded) {
	unread := 0
	err := prlctl.Monitor(ctx, source.follow, func(event prlctl.Event) {
		if r.events = append(r.events, event); event == (prlctl.Event{}) {
			unread++
		}
	})
	var failed *tool.Error
	if errors.As(err, &failed) && failed.Code == codeNotCaptured {
		r.noteClient("prlctl monitor-events --json", err)
		return
	}
	// The script ended the stream, so that its end tells nothing.
	r.noteClient("prlctl monitor-events --json", nil)
	if unread > 0 {
		r.add(finding{Part: partClient, What: "prlctl monitor-events --json", Verdict: verdictAnswer, Detail: fmt.Sprintf("%d lines are no events", unread)})
	}
}

// unreadable are the codes that say the client did not understand an output.
// Others are answers: no license, no such option, the service is down.
var unreadable = []string{
	prlctl.CodeOutputInvalid, prlctl.CodeOutputTooLarge, prlctl.CodeOutputTooDeep, prlctl.CodeDuplicateKey, prlctl.CodeDuplicateID,
	prlctl.CodeNoID, prlctl.CodeWrongType, prlctl.CodeFileInvalid, prlctl.CodeFileTooLarge, prlctl.CodeFileTooDeep, "duplicate_element",
	prlctl.CodeToolFailed, tool.CodeTimeout,
}

// noteClient notes what the client made of one output.
func (r *reading) noteClient(what string, err error) {
	noted := finding{Part: partClient, What: what, Verdict: verdictAgrees, Detail: "is read"}
	if failed, coded := errors.AsType[*prlctl.Error](err); coded {
		noted.Detail = failed.Code
		if noted.Detail == prlctl.CodeToolFailed && failed.Text != "" {
			noted.Detail += ": " + failed.Text
		}
		switch {
		case failed.Code == codeNotCaptured:
			noted.Verdict = verdictMissing
		case slices.Contains(unreadable, failed.Code):
			noted.Verdict = verdictDiffers
		default:
			noted.Verdict = verdictAnswer
		}
	}
	r.add(noted)
}
