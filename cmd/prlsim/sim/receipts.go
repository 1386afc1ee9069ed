package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"prlagent/platform/plist"
)

const pkgutilPath = "/usr/sbin/pkgutil"

// receipt is what macOS remembers of a package.
type receipt struct {
	Version     string        `json:"version"`
	Volume      string        `json:"volume"`
	Location    string        `json:"location"`
	InstalledAt int64         `json:"installed_at"` // seconds of 1970
	Files       []receiptFile `json:"files"`
}

type receiptFile struct {
	Path   string `json:"path"`
	Folder bool   `json:"folder,omitempty"`
}

func (r *installation) writeReceipt() error {
	info := r.whole.info
	written := receipt{Version: info.Version, Volume: r.volume, Location: info.Location, InstalledAt: time.Now().Unix()}
	for _, file := range r.whole.payload {
		if file.path != "." {
			written.Files = append(written.Files, receiptFile{file.path, file.isFolder()})
		}
	}
	return r.in.mac.update(func(state *State) error {
		if state.Receipts == nil {
			state.Receipts = map[string]receipt{}
		}
		state.Receipts[info.Identifier] = written
		return nil
	})
}

// pkgutilVerbs are the commands that are played; each is about one package.
var pkgutilVerbs = map[string]func(in *invocation, id string, known receipt, only string) int{
	"--pkg-info":       printReceipt,
	"--pkg-info-plist": printReceiptPlist,
	"--files":          printReceiptFiles,
	"--forget":         forgetReceipt,
}

// pkgutil plays what man pkgutil(1) says of receipts, with the texts that people paste.
// That they go to standard error, and the exit code of a refusal, are inferred.
func pkgutil(in *invocation) int {
	var verb, id, only string
	for arguments := in.args; len(arguments) > 0; arguments = arguments[1:] {
		option, value, together := strings.Cut(arguments[0], "=")
		switch {
		case option == "--pkgs" || option == "--packages":
			for _, id := range slices.Sorted(maps.Keys(in.state.Receipts)) {
				in.printLinef("%s", id)
			}
			return 0
		case option == "--only-files" || option == "--only-dirs":
			only = option
		case pkgutilVerbs[option] != nil && verb == "" && (together || len(arguments) > 1):
			if verb, id = option, value; !together {
				id, arguments = arguments[1], arguments[1:]
			}
		default:
			return in.failf(1, "pkgutil: %s is not simulated, or lacks something", option)
		}
	}
	if verb == "" {
		return in.failf(1, "Usage: pkgutil [OPTIONS] [COMMANDS] ...")
	}
	known, has := in.state.Receipts[id]
	if !has {
		return in.failf(1, "No receipt for '%s' found at '/'.", id)
	}
	return pkgutilVerbs[verb](in, id, known, only)
}

func printReceipt(in *invocation, id string, known receipt, _ string) int {
	in.printLinef("package-id: %s\nversion: %s\nvolume: %s\nlocation: %s\ninstall-time: %d", id, known.Version, known.Volume, known.Location, known.InstalledAt)
	return 0
}

func printReceiptPlist(in *invocation, id string, known receipt, _ string) int {
	content, err := plist.EncodeXML(map[string]any{
		"install-location": known.Location, "install-time": known.InstalledAt, "pkg-version": known.Version,
		"pkgid": id, "receipt-plist-version": 1.0, "volume": known.Volume,
	})
	if err != nil {
		return in.failf(1, "pkgutil: %v", err)
	}
	in.printLinef("%s", strings.TrimRight(string(content), "\n"))
	return 0
}

func printReceiptFiles(in *invocation, _ string, known receipt, only string) int {
	for _, file := range known.Files {
		if only == "" || file.Folder == (only == "--only-dirs") {
			in.printLinef("%s", file.Path)
		}
	}
	return 0
}

func forgetReceipt(in *invocation, id string, _ receipt, _ string) int {
	if !in.isRoot() {
		return in.failf(1, "pkgutil: only root may forget a package")
	}
	err := in.mac.update(func(state *State) error {
		delete(state.Receipts, id)
		return nil
	})
	if err != nil {
		return in.failf(1, "pkgutil: %v", err)
	}
	fmt.Fprintf(in.stdout, "Forgot package '%s' on '/'.\n", id)
	return 0
}
