// Package prlctl is the typed client of Parallels Desktop's two command line
// tools, prlctl and prlsrvctl, the reader of the JSON they print, and the
// reader of the two XML files in a virtual machine's bundle, config.pvs and
// VmInfo.pvi.
//
// But for what is in set.go and act.go the package only reads. It knows nothing of users: a Runner
// runs the tools as one macOS user, and a Client therefore sees that user's
// virtual machines and the shared ones. What the tools print is data of that user and of their
// guests; it is capped in size and depth and never trusted to be well formed.
package prlctl

import (
	"bytes"
	"context"
	"path"
	"strings"

	"prlagent/platform/tool"
)

// Where the tools are: inside the application, never the links in
// /usr/local/bin (facts/prlctl.md 1.1, hardening H10).
const (
	AppBundle = "/Applications/Parallels Desktop.app"
	Prlctl    = AppBundle + "/Contents/MacOS/prlctl"
	Prlsrvctl = AppBundle + "/Contents/MacOS/prlsrvctl"
)

// ClientApp is the application with its windows, one process for each user.
const ClientApp = AppBundle + "/Contents/MacOS/prl_client_app"

// vmProgram is the program that runs one virtual machine, of which its arguments name
// the id (facts/captures.md 4.3).
const vmProgram = "prl_vm_app"

// IsVMProgram reports whether the program at a path of a Mac is the vendor's that runs a
// virtual machine. A user may call a program of their own by its name, so it must lie in
// the application's bundle.
func IsVMProgram(macPath string) bool {
	program := path.Clean(macPath) // it has "MacOS//Parallels VM.app"
	return path.Base(program) == vmProgram && strings.HasPrefix(program, AppBundle+"/")
}

// PreferenceDomain is where the application keeps the preferences of each user, and
// PreferenceFile the file behind it in the user's home (facts/prlctl.md 7).
const (
	PreferenceDomain = "com.parallels.Parallels Desktop"
	PreferenceFile   = "Library/Preferences/" + PreferenceDomain + ".plist"
)

// UsageTraces are what Parallels Desktop leaves in the home of someone who used it
// (facts/macos.md 3.3). An account without any of them is not listed: on a Mac of a
// lab with hundreds of accounts each list would cost a second.
var UsageTraces = []string{
	"Parallels",
	"Library/Parallels",
	"Library/Preferences/Parallels",
	PreferenceFile,
}

// maxOutput caps the standard output of one query in bytes. A thousand virtual
// machines take about 4.5 MB.
const maxOutput = 16 << 20

// A Runner starts one program as one macOS user and waits for its end. A
// program that ran and exited with a code other than 0 is a Result, not an
// error.
type Runner interface {
	Run(context.Context, *tool.Command) (tool.Result, error)
}

// Client asks the tools on behalf of the one user that its Runner runs as.
type Client struct {
	runner Runner
}

// New returns a client whose tools run through r.
func New(r Runner) *Client { return &Client{runner: r} }

// List reads every virtual machine of the user with one call. The bulk form
// may leave Home and HomePath empty; Get fills them (facts/prlctl.md 2.1).
// Every error is an *Error.
func (c *Client) List(ctx context.Context) (Listing, error) {
	result, err := c.runQuery(ctx, Prlctl, "list", "-a", "-i", "--json")
	if err != nil {
		return Listing{}, err
	}
	listing, err := readListing(result.Stdout)
	return listing, noAnswerError(result, err)
}

// Get reads one virtual machine by its UUID, in any case, with or without
// braces. A string that is no UUID is refused before anything is started
// (invalid_vm_id). An answer that is about another machine is output_invalid,
// one that cannot be trusted carries the code of Unreadable. Every error is an
// *Error.
func (c *Client) Get(ctx context.Context, id string) (VM, error) {
	id, err := ParseID(id)
	if err != nil {
		return VM{}, err
	}
	result, err := c.runQuery(ctx, Prlctl, "list", id, "-i", "--json")
	if err != nil {
		return VM{}, err
	}
	listing, err := readListing(result.Stdout)
	if err != nil {
		return VM{}, noAnswerError(result, err)
	}
	return listing.onlyVM(id)
}

// ServerInfo reads the host-wide settings and the product version. Every error
// is an *Error.
func (c *Client) ServerInfo(ctx context.Context) (ServerInfo, error) {
	result, err := c.runQuery(ctx, Prlsrvctl, "info", "--json")
	if err != nil {
		return ServerInfo{}, err
	}
	info, err := readServerInfo(result.Stdout)
	return info, noAnswerError(result, err)
}

// Version asks prlctl for its own version, which is the product's. Every error
// is an *Error.
func (c *Client) Version(ctx context.Context) (Version, error) {
	result, err := c.runQuery(ctx, Prlctl, "--version")
	if err != nil {
		return Version{}, err
	}
	version, err := readVersion(result.Stdout)
	return version, noAnswerError(result, err)
}

// runQuery starts one query and turns whatever is not a clean exit into an *Error.
func (c *Client) runQuery(ctx context.Context, program string, args ...string) (*tool.Result, error) {
	result, err := c.runner.Run(ctx, &tool.Command{
		Path:      program,
		Args:      args,
		Limit:     tool.QueryLimit,
		MaxOutput: maxOutput,
	})
	if err != nil {
		return nil, runError(err)
	}
	if result.ExitCode != 0 {
		return nil, exitError(&result)
	}
	return &result, nil
}

// noAnswerError is why the output of a query that exited with 0 has no answer;
// nil if it has one. Its text may say why better than what was found wrong.
func noAnswerError(result *tool.Result, err error) error {
	if errorCode(err) == CodeOutputInvalid {
		if reason, known := knownFailure(result); known {
			return reason
		}
	}
	return err
}

// readVersion finds the line "prlctl version 26.3.2 (57398)" among the lines
// of the output.
func readVersion(output []byte) (Version, error) {
	if len(output) > maxOutput {
		return Version{}, &Error{Code: CodeOutputTooLarge}
	}
	for line := range bytes.Lines(output) {
		text, found := bytes.CutPrefix(bytes.TrimSpace(line), []byte("prlctl version "))
		if !found || len(text) > maxVersionText {
			continue
		}
		if version, err := ParseVersion(string(text)); err == nil {
			return version, nil
		}
	}
	return Version{}, &Error{Code: CodeOutputInvalid}
}
