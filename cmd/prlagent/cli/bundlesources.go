package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"prlagent/agent/localapi"
	"prlagent/launchd"
	"prlagent/platform"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
	"prlagent/platform/tool"
	"prlagent/prlctl"
)

// bundleSource is one row of the table of what is in a bundle.
type bundleSource struct {
	name, title string
	content     func(context.Context, *program, *checkedMac) ([]byte, error)
}

var bundleSources = []bundleSource{
	{"configuration.json", "the configuration, redacted", func(_ context.Context, _ *program, m *checkedMac) ([]byte, error) {
		return indented(explainedConfig(m.explained()))
	}},
	{"status.json", "the status of the daemon, or the snapshot that it left", func(_ context.Context, _ *program, m *checkedMac) ([]byte, error) {
		status, err := m.status()
		if err != nil {
			return nil, err
		}
		return indented(status)
	}},
	{"doctor.json", "what doctor finds", func(ctx context.Context, p *program, m *checkedMac) ([]byte, error) {
		return indented(p.diagnose(ctx, m))
	}},
	{"events.json", "the events", func(ctx context.Context, p *program, _ *checkedMac) ([]byte, error) {
		list, err := p.allEvents(ctx, 0)
		if err != nil {
			return nil, err
		}
		return indented(list)
	}},
	{"launchd.txt", "what launchd says of the job", launchdWords},
	{"logs/prlagentd.log", "the log, with those that were rotated", readLogs},
	{"logs/prlagentd.panic.log", "what launchd keeps of the daemon's standard error", readPanics},
	{"versions.json", "versions of this program, macOS and Parallels Desktop", versionsOf},
	{"tools/prlctl.txt", "version and help of prlctl", vendorTool(prlctl.Prlctl, []string{"--version"}, []string{"--help"}, []string{"set", "--help"})},
	{"tools/prlsrvctl.txt", "version and help of prlsrvctl", vendorTool(prlctl.Prlsrvctl, []string{"--version"}, []string{"--help"}, []string{"set", "--help"})},
	{"install-log.txt", "lines of the system's install.log about Parallels Desktop", readInstallLog},
}

func bundleWords() string {
	titles := make([]string, 0, len(bundleSources))
	for _, source := range bundleSources {
		titles = append(titles, source.title)
	}
	return strings.Join(titles, ", ")
}

// collectBundle gathers what is to be had. Nothing leaves it unredacted.
func (p *program) collectBundle(ctx context.Context) []bundleFile {
	license, _ := licenseHostURL(p.environment("PRLAGENT_LICENSE_HOST")) // doctor complains of a wrong one
	if license.url == nil {
		license, _ = licenseHostURL("")
	}
	m := p.newCheckedMac(ctx, license)
	profiles, _ := m.profiles() // the keys in those that can be read
	redactor := newBundleRedactor(p.root, m.explained().Config, profiles)
	files := []bundleFile{{bundleEntry{Name: "README.txt", Title: "what this is"}, bundleReadme(p.now(), redactor)}}
	for _, source := range bundleSources {
		if p.progressShown && !p.json {
			fmt.Fprintf(p.stderr, "Collecting %s …\n", source.title)
		}
		file := bundleFile{bundleEntry: bundleEntry{Name: source.name, Title: source.title}}
		content, err := source.content(ctx, p, m)
		if err != nil {
			file.Missing = text.DisplayError(errors.New(string(redactor.redact([]byte(err.Error())))))
		}
		file.content = redactor.redact(content)
		files = append(files, file)
	}
	for i := range files {
		files[i].Bytes = len(files[i].content)
	}
	return files
}

func bundleReadme(now time.Time, redactor bundleRedactor) []byte {
	var out strings.Builder
	fmt.Fprintf(&out, "A support bundle of %s, made %s.\n\n", versionLine(), utcWords(now))
	fmt.Fprintf(&out, "Secrets are written %s. Names of people and of virtual machines are in here.\n", text.HiddenSecret)
	if !redactor.identity {
		out.WriteString("It was not made by root: the token and the key of the device were not known, and were looked for by their form only.\n")
	}
	for _, source := range bundleSources {
		fmt.Fprintf(&out, "\n%s\n  %s\n", source.name, source.title)
	}
	return []byte(out.String())
}

func indented(document any) ([]byte, error) {
	data, err := text.EncodeJSON(document, "", "  ")
	return append(data, '\n'), err
}

func launchdWords(ctx context.Context, _ *program, m *checkedMac) ([]byte, error) {
	var out bytes.Buffer
	for _, args := range [][]string{{"print", "system/" + launchd.Label}, {"print-disabled", "system"}, {"print", dispatcherJob}} {
		printed, err := m.launchctl(ctx, args...)
		if err != nil {
			return out.Bytes(), err
		}
		writeRun(&out, "launchctl", args, printed)
	}
	return out.Bytes(), nil
}

func writeRun(out *bytes.Buffer, program string, args []string, printed tool.Result) {
	fmt.Fprintf(out, "$ %s %s\n%s%s", program, strings.Join(args, " "), displayLines(printed.Stdout), displayLines(printed.Stderr))
	fmt.Fprintf(out, "(exit code %d)\n\n", printed.ExitCode)
}

// displayLines makes the output of a program safe to look at (H15).
func displayLines(output []byte) string {
	var out strings.Builder
	for line := range strings.Lines(string(output)) {
		out.WriteString(text.Display(strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\t", "    ")) + "\n")
	}
	return out.String()
}

// maxBundledLog bounds the log in a bundle, in bytes: the newest of it.
const maxBundledLog = 24 << 20

func readLogs(_ context.Context, p *program, _ *checkedMac) ([]byte, error) {
	logs, err := openLogs(p.root)
	if err != nil {
		return nil, err
	}
	defer logs.close()
	names, err := logs.names()
	if err != nil {
		return nil, err
	}
	var all []byte
	for _, name := range slices.Backward(names) { // the newest first, until there is no room
		var one bytes.Buffer
		if err := logs.readFile(name, time.Time{}, func(line []byte) error {
			one.Write(line)
			return one.WriteByte('\n')
		}); err != nil && !errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintf(&one, "(%s)\n", text.DisplayError(err)) // the others are worth having
		}
		if len(all)+one.Len() > maxBundledLog {
			break
		}
		all = append(one.Bytes(), all...)
	}
	return all, nil
}

func readPanics(_ context.Context, p *program, _ *checkedMac) ([]byte, error) {
	logs, err := openLogs(p.root)
	if err != nil {
		return nil, err
	}
	defer logs.close()
	data, err := logs.folder.ReadFile(filepath.Base(launchd.AgentJob().StandardErrorPath), maxBundledLog)
	return []byte(displayLines(data)), err
}

func versionsOf(ctx context.Context, _ *program, m *checkedMac) ([]byte, error) {
	host, err := m.mac.Host(ctx)
	version, revision := localapi.BuildVersion()
	status, _ := m.status()
	document := map[string]any{
		"schema": localapi.Schema, "prlagent": newVersionDocument(version, revision), "prlagentd": status.Daemon.Version,
		"macos": host.MacOSVersion, "macos_build": host.MacOSBuild, "model": host.Model, "cpu": host.CPU, "product": status.Product,
	}
	if err != nil {
		document["problem"] = err.Error()
	}
	return indented(document)
}

// vendorTool runs one of the vendor's programs for its version and help, if it
// carries the vendor's signature; as the user at the screen where root asks, for
// root runs nothing that a user could have a part in.
func vendorTool(macPath string, calls ...[]string) func(context.Context, *program, *checkedMac) ([]byte, error) {
	return func(ctx context.Context, p *program, m *checkedMac) ([]byte, error) {
		if err := m.mac.Trusted(ctx, macPath); err != nil {
			return nil, err
		}
		runner, err := m.toolRunner(ctx)
		if err != nil {
			return nil, err
		}
		var out bytes.Buffer
		for _, args := range calls {
			printed, err := runner.Run(ctx, &tool.Command{Path: macPath, Args: args, Limit: p.timeout})
			if err != nil {
				fmt.Fprintf(&out, "$ %s %s\n%s\n\n", path.Base(macPath), strings.Join(args, " "), text.DisplayError(err))
				continue
			}
			writeRun(&out, path.Base(macPath), args, printed)
		}
		return out.Bytes(), nil
	}
}

func (m *checkedMac) toolRunner(ctx context.Context) (platform.Runner, error) {
	if m.root == "" && os.Geteuid() != 0 {
		return m.tools, nil
	}
	console, err := m.mac.Console(ctx)
	if err != nil {
		return nil, err
	}
	if console.User == "" {
		return nil, errors.New("nobody is at the screen as whom it could run")
	}
	return m.mac.As(platform.User{Name: console.User, UID: console.UID}, true), nil
}

// Limits of what is taken from the system's install.log (PKG-09), in bytes.
const (
	maxInstallLog   = 256 << 20 // that is looked through
	maxInstallLines = 4 << 20   // that is kept: the newest
)

const installLog = "/var/log/install.log"

func readInstallLog(_ context.Context, _ *program, m *checkedMac) ([]byte, error) {
	folder, err := safefile.OpenFolder(m.mac.Path(path.Dir(installLog)))
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	file, err := folder.OpenFile(path.Base(installLog), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return productLines(file)
}

// productLines are the lines about Parallels, and of those the newest. Where a
// line that is kept goes on, as a list of files does, only its first line is kept.
func productLines(from io.Reader) ([]byte, error) {
	var kept []byte
	err := eachLine(io.LimitReader(from, maxInstallLog), func(line []byte) error {
		if !bytes.Contains(bytes.ToLower(line), []byte("parallels")) {
			return nil
		}
		kept = append(append(kept, text.Display(string(line))...), '\n')
		if len(kept) > 2*maxInstallLines {
			kept = bytes.Clone(kept[len(kept)-maxInstallLines:])
		}
		return nil
	})
	return kept[max(0, len(kept)-maxInstallLines):], err
}
