package sim

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"prlagent/cmd/prlportal/pkg"
	"prlagent/platform/plist"
)

const agentPackage = "org.prlagent.agent"

// agentPackageOf is the agent's package, whose daemon is a script that writes down what it
// is told.
func agentPackageOf(t *testing.T, version, daemon string) []byte {
	t.Helper()
	files, err := pkg.Options{Version: version}.Pack(map[string][]byte{"prlagentd": []byte(daemon), "prlagent": []byte("#!/bin/sh\n")}, time.Unix(1_790_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	return files[0].Data
}

// obedient is a daemon that says that it runs, and does what it is told.
const obedient = "#!/bin/sh\necho \"$@\" >>\"${0%/*}/told\"\n"

// packageFile puts a package on this machine.
func packageFile(t *testing.T, archive []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "agent.pkg")
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func installPackage(t *testing.T, mac Mac, archive []byte) outcome {
	t.Helper()
	return callAs(mac, rootUser).run(t, "installer", "-pkg", packageFile(t, archive), "-target", "/")
}

// repacked is a package with other contents, and right checksums.
func repacked(t *testing.T, archive []byte, change func(files map[string][]byte)) []byte {
	t.Helper()
	files, err := readXar(archive)
	if err != nil {
		t.Fatal(err)
	}
	change(files)
	heap := make([]byte, sha1.Size)
	entry := func(name string, data []byte) string {
		sum := sha1.Sum(data)
		place := fmt.Sprintf("<offset>%d</offset><length>%d</length><size>%d</size>", len(heap), len(data), len(data))
		heap = append(heap, data...)
		digest := hex.EncodeToString(sum[:])
		return "<file><name>" + name + "</name><type>file</type><data>" + place + `<encoding style="application/octet-stream"/>` +
			`<extracted-checksum style="sha1">` + digest + `</extracted-checksum><archived-checksum style="sha1">` + digest + "</archived-checksum></data></file>"
	}
	top, inner := "", ""
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if rest, below := strings.CutPrefix(name, "agent.pkg/"); below {
			inner += entry(rest, files[name])
		} else {
			top += entry(name, files[name])
		}
	}
	return packXar(t, `<xar><toc><checksum style="sha1"><offset>0</offset><size>20</size></checksum>`+top+
		"<file><name>agent.pkg</name><type>directory</type>"+inner+"</file></toc></xar>", heap)
}

func packXar(t *testing.T, table string, heap []byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	writer := zlib.NewWriter(&packed)
	_, err := writer.Write([]byte(table))
	if err != nil || writer.Close() != nil {
		t.Fatal("compress", err)
	}
	sum := sha1.Sum(packed.Bytes())
	copy(heap, sum[:])
	archive := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16([]byte("xar!"), 28), 1)
	archive = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(archive, uint64(packed.Len())), uint64(len(table)))
	archive = binary.BigEndian.AppendUint32(archive, 1)
	return append(append(archive, packed.Bytes()...), heap...)
}

// inArchive changes a compressed archive of a package, in one place.
func inArchive(t *testing.T, name, before, after string) func(map[string][]byte) {
	return func(files map[string][]byte) {
		t.Helper()
		reader, err := gzip.NewReader(bytes.NewReader(files[name]))
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil || bytes.Count(content, []byte(before)) != 1 {
			t.Fatalf("%s has %q %d times: %v", name, before, bytes.Count(content, []byte(before)), err)
		}
		var packed bytes.Buffer
		writer := gzip.NewWriter(&packed)
		if _, err := writer.Write(bytes.Replace(content, []byte(before), []byte(after), 1)); err != nil || writer.Close() != nil {
			t.Fatal("compress", err)
		}
		files[name] = packed.Bytes()
	}
}

// everyFile is what is on a Mac, but for the simulator's own and the log.
func everyFile(t *testing.T, mac Mac) (found []string) {
	t.Helper()
	err := filepath.WalkDir(mac.Dir, func(path string, entry os.DirEntry, err error) error {
		switch name, _ := filepath.Rel(mac.Dir, path); {
		case err != nil:
			return err
		case name == markerFolder || name == "var/log":
			return filepath.SkipDir
		default:
			found = append(found, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestPKG12_InstallerInstallsOurPackage(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	mustUpdate(t, mac, func(state *State) error {
		state.JobEnvironment = map[string]string{"EXAMPLE": "of the Mac"}
		return nil
	})
	before := everyFile(t, mac)
	daemon := obedient + `echo "$EXAMPLE" >>"${0%/*}/told"` + "\n"
	got := installPackage(t, mac, agentPackageOf(t, "1.2.0", daemon))
	if want := "installer: Package name is prlagent 1.2.0\ninstaller: Installing at base path /\ninstaller: The install was successful.\n"; got != (outcome{0, want, ""}) {
		t.Fatalf("%+v", got)
	}
	told, _ := os.ReadFile(mac.Path("/Library/Application Support/prlagent/bin/told"))
	if string(told) != "status --json\nof the Mac\ninstall\nof the Mac\n" {
		t.Errorf("postinstall told the daemon %q", told)
	}
	added := slices.DeleteFunc(everyFile(t, mac), func(name string) bool { return slices.Contains(before, name) })
	if want := []string{
		"Library/Application Support/prlagent", "Library/Application Support/prlagent/bin", "Library/Application Support/prlagent/bin/prlagent",
		"Library/Application Support/prlagent/bin/prlagentd", "Library/Application Support/prlagent/bin/told",
		"Library/Application Support/prlagent/logs", "Library/Application Support/prlagent/release.txt", "usr/local/bin/prlagent",
	}; !slices.Equal(added, want) {
		t.Errorf("added %q", added)
	}
	if got := installPackage(t, mac, agentPackageOf(t, "1.3.0", daemon)); !strings.Contains(got.stdout, "Upgrading at base path /") || !strings.Contains(got.stdout, "The upgrade was successful.") {
		t.Errorf("an upgrade: %+v", got)
	}
	root := callAs(mac, rootUser)
	if got := root.run(t, "pkgutil", "--pkg-info="+agentPackage); !strings.HasPrefix(got.stdout, "package-id: org.prlagent.agent\nversion: 1.3.0\nvolume: /\nlocation: /\ninstall-time: ") {
		t.Errorf("the receipt: %+v", got)
	}
	info, err := plist.DecodeDict([]byte(root.run(t, "pkgutil", "--pkg-info-plist", agentPackage).stdout))
	if err != nil || info["pkgid"] != agentPackage || info["pkg-version"] != "1.3.0" || info["receipt-plist-version"] != 1.0 || info["volume"] != "/" || info["install-location"] != "/" {
		t.Errorf("the receipt as a property list: %v, %v", info, err)
	}
	if got := root.run(t, "pkgutil", "--only-dirs", "--files", agentPackage).stdout; !strings.HasPrefix(got, "Library\nLibrary/Application Support\n") || strings.Contains(got, "release.txt") {
		t.Errorf("folders %q", got)
	}
	if got := root.run(t, "pkgutil", "--pkgs").stdout; got != agentPackage+"\n" {
		t.Errorf("packages %q", got)
	}
	if got := callAs(mac, "alice").run(t, "pkgutil", "--forget", agentPackage); got.code == 0 {
		t.Error("a user has forgotten a package")
	}
	if got := root.run(t, "pkgutil", "--forget", agentPackage); got != (outcome{0, "Forgot package 'org.prlagent.agent' on '/'.\n", ""}) {
		t.Errorf("forgotten: %+v", got)
	}
	if got := root.run(t, "pkgutil", "--pkg-info", agentPackage); got != (outcome{1, "", "No receipt for 'org.prlagent.agent' found at '/'.\n"}) {
		t.Errorf("after that: %+v", got)
	}
	if left, _ := filepath.Glob(mac.markerPath("install-*")); len(left) > 0 {
		t.Errorf("the sandbox is left: %q", left)
	}
}

// What contradicts itself is refused before anything of it is done.
func TestPKG12_InstallerRefusesWhatContradictsItself(t *testing.T) {
	t.Parallel()
	good := agentPackageOf(t, "1.2.0", obedient)
	const payload, scripts, bom = "agent.pkg/Payload", "agent.pkg/Scripts", "agent.pkg/Bom"
	release := "./Library/Application Support/prlagent/release.txt"
	mac := newMac(t, standardMac())
	before := everyFile(t, mac)
	for name, test := range map[string]struct {
		archive []byte
		says    string
	}{
		"not a package":             {[]byte("#!/bin/sh\n"), "no xar archive"},
		"cut off":                   {good[:len(good)-1], "cut off"},
		"a byte of the heap":        {changedByte(good, len(good)-5), "checksum is wrong"},
		"a byte of the table":       {changedByte(good, 60), "table of contents"},
		"no Distribution":           {repacked(t, good, func(files map[string][]byte) { delete(files, "Distribution") }), "it has no Distribution"},
		"no PackageInfo":            {repacked(t, good, func(files map[string][]byte) { delete(files, "agent.pkg/PackageInfo") }), "it has no agent.pkg/PackageInfo"},
		"no payload":                {repacked(t, good, func(files map[string][]byte) { delete(files, payload) }), "payload: "},
		"no bill of materials":      {repacked(t, good, func(files map[string][]byte) { delete(files, bom) }), "no bill of materials"},
		"a file that is not listed": {repacked(t, good, inArchive(t, payload, release, strings.Replace(release, "txt", "exe", 1))), "release.exe is not in the bill of materials"},
		"a path that leads out":     {repacked(t, good, inArchive(t, payload, release, "./../"+release[5:])), "leads out"},
		"another content":           {repacked(t, good, inArchive(t, payload, "version=1.2.0", "version=9.2.0")), "not as the bill of materials says"},
		"another mode":              {repacked(t, good, inArchive(t, payload, "100644", "104755")), "not as the bill of materials says"},
		"another owner":             {repacked(t, good, inArchive(t, payload, "100644000000", "100644000765")), "not as the bill of materials says"},
		"a file that is a link":     {repacked(t, good, inArchive(t, payload, "100644", "120644")), "mode 120644"},
		"a listed file is missing":  {repacked(t, good, inArchive(t, payload, release, "TRAILER!!!"+strings.Repeat("\x00", len(release)-10))), ""},
		"no script that is named":   {repacked(t, good, inArchive(t, scripts, "./preinstall", "./preinstalk")), "there is no script ./preinstall"},
		"a script for nobody":       {repacked(t, good, inArchive(t, scripts, "#!/bin/sh\n# postinstall", "#!/bin/zz\n# postinstall")), "cannot be run"},
		"for another processor": {repacked(t, good, func(files map[string][]byte) {
			files["Distribution"] = bytes.Replace(files["Distribution"], []byte("arm64,"), nil, 1)
		}), "not for this kind of Mac"},
	} {
		got := installPackage(t, mac, test.archive)
		if got.code != 1 || !strings.Contains(got.stderr, test.says) || got.stdout != "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := repacked(t, good, func(map[string][]byte) {}); installPackage(t, newMac(t, standardMac()), got).code != 0 {
		t.Error("a package that is only packed anew is refused")
	}
	if after := everyFile(t, mac); !slices.Equal(before, after) {
		t.Errorf("something was installed: %q", after)
	}
	if got := callAs(mac, "alice").run(t, "installer", "-pkg", packageFile(t, good), "-target", "/"); got != (outcome{1, "", "installer: Must be run as root to install this package.\n"}) {
		t.Errorf("a user: %+v", got)
	}
}

func changedByte(data []byte, at int) []byte {
	changed := slices.Clone(data)
	changed[at] ^= 1
	return changed
}

const installFailed = "installer: The install failed. (The Installer encountered an error that caused the installation to fail. " +
	"Contact the software manufacturer for assistance. An error occurred while running scripts from the package “agent.pkg”.)\n"

// refusing is a daemon that does not install itself.
var refusing = strings.Replace(obedient, "\n", "\n[ \"$1\" = install ] && exit 9\n", 1)

// Nothing is unpacked where preinstall fails; what is there stays as it is.
func TestPKG12_PreinstallEndsTheInstallation(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	const folder = "/Library/Application Support/prlagent"
	for file, content := range map[string]string{"/release.txt": "version=2.0\nstore_format=1\n", "/bin/prlagentd": "the newer one"} {
		if err := writeFile(mac.Path(folder+file), []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	before := everyFile(t, mac)
	if got := installPackage(t, mac, agentPackageOf(t, "1.2.0", refusing)); got.code != 1 || got.stderr != installFailed {
		t.Errorf("%+v", got)
	}
	daemon, _ := os.ReadFile(mac.Path(folder + "/bin/prlagentd"))
	if string(daemon) != "the newer one" || !slices.Equal(before, everyFile(t, mac)) {
		t.Error("something was unpacked")
	}
	if got := callAs(mac, rootUser).run(t, "pkgutil", "--pkg-info", agentPackage); got.code != 1 {
		t.Errorf("the receipt: %+v", got)
	}
	log, _ := os.ReadFile(mac.Path(installLog))
	if !strings.Contains(string(log), "./preinstall: prlagent 1.2.0 is not installed: version 2.0 is installed") || !strings.Contains(string(log), "preinstall ended with 1") {
		t.Errorf("the log has %q", log)
	}
}

// installerAssumptionTests show what a postinstall that fails leaves, and what becomes of
// a folder that is there.
func installerAssumptionTests() map[string]assumptionTest {
	return map[string]assumptionTest{
		"receipt_after_failure": {func(t *testing.T, mac Mac) outcome {
			got := installPackage(t, mac, agentPackageOf(t, "1.2.0", refusing))
			if got.code != 1 || got.stderr != installFailed {
				t.Errorf("%+v", got)
			}
			return callAs(mac, rootUser).run(t, "pkgutil", "--pkg-info", agentPackage)
		}, map[string]outcome{"none": {1, "", "No receipt"}, "written": {0, "version: 1.2.0", ""}}},
		"installer_folders": {func(t *testing.T, mac Mac) outcome {
			shared := mac.Path("/Library/Application Support")
			if err := os.Chmod(shared, 0o711); err != nil {
				t.Fatal(err)
			}
			got := installPackage(t, mac, agentPackageOf(t, "1.2.0", obedient))
			info, err := os.Stat(shared)
			if err != nil {
				t.Fatal(err)
			}
			return outcome{got.code, info.Mode().String(), ""}
		}, map[string]outcome{"kept": {0, "drwx--x--x", ""}, "changed": {0, "drwxr-xr-x", ""}}},
	}
}

// An installer that dies leaves what it has done, and no receipt.
func TestPKG12_InstallerDies(t *testing.T) {
	t.Parallel()
	const folder = "/Library/Application Support/prlagent"
	calling := obedient + `"${0%/Library/*}/bin/launchctl" enable system/org.example; "${0%/Library/*}/bin/launchctl" disable system/org.example` + "\nsleep 0.3\n"
	for value, there := range map[string]string{
		"preinstall": "", "first_file": "bin/prlagent", "payload": "bin/prlagent bin/prlagentd release.txt",
		"postinstall": "bin/prlagent bin/prlagentd bin/told release.txt", "postinstall:2": "bin/prlagent bin/prlagentd bin/told release.txt",
	} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			mac := newMac(t, standardMac())
			mustUpdate(t, mac, func(state *State) error { return state.setFault("installer_dies="+value, "") })
			run := exec.CommandContext(t.Context(), mac.Dir+installerPath, "-pkg", packageFile(t, agentPackageOf(t, "1.2.0", calling)), "-target", "/")
			run.Env = []string{}
			said, err := run.CombinedOutput()
			if status, ok := run.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
				log, _ := os.ReadFile(mac.Path(installLog))
				t.Errorf("it ended with %v, and said\n%s%s", err, said, log)
			}
			var found []string
			for _, name := range everyFile(t, mac) {
				if name, below := strings.CutPrefix("/"+name, folder+"/"); below && name != "bin" && name != "logs" {
					found = append(found, name)
				}
			}
			if got := strings.Join(found, " "); got != there {
				t.Errorf("there is %q, not %q", got, there)
			}
			told, _ := os.ReadFile(mac.Path(folder + "/bin/told"))
			if value == "postinstall:2" && string(told) != "status --json\n" {
				t.Errorf("postinstall went on: %q", told)
			}
			if state, err := mac.Load(); err != nil || len(state.Receipts) > 0 {
				t.Errorf("receipts %v, %v", state.Receipts, err)
			}
		})
	}
	for _, value := range []string{"", "soon", "payload:1", "postinstall:0", "postinstall:x"} {
		if err := (&State{}).setFault("installer_dies="+value, ""); err == nil {
			t.Errorf("it dies at %q", value)
		}
	}
}

// Another volume: its paths are below it, and nothing is started.
func TestInstallerOntoAnotherVolume(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	if err := mac.makeFolders("/Volumes/Other/Library", "/Volumes/Other/usr/local"); err != nil {
		t.Fatal(err)
	}
	got := callAs(mac, rootUser).run(t, "installer", "-allowUntrusted", "-pkg", packageFile(t, agentPackageOf(t, "1.2.0", obedient)), "-target", "/Volumes/Other")
	if got.code != 0 {
		t.Errorf("%+v", got)
	}
	if _, err := os.Stat(mac.Path("/Volumes/Other/Library/Application Support/prlagent/bin/told")); err == nil {
		t.Error("an agent of another volume was started")
	}
	if _, err := os.Lstat(mac.Path("/Volumes/Other/usr/local/bin/prlagent")); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(mac.Path("/Library/Application Support/prlagent")); err == nil {
		t.Error("it was installed on the running system")
	}
	for _, arguments := range [][]string{{}, {"-pkg", "x"}, {"-pkg", "x", "-target", "/Volumes/None"}, {"-pkg", "x", "-target", "/", "-store"}, {"-pkg", "x", "-target", "/", "-lang", "en"}} {
		if got := callAs(mac, rootUser).run(t, "installer", arguments...); got.code != 1 || got.stderr == "" {
			t.Errorf("%q: %+v", arguments, got)
		}
	}
}

func TestPathsOfTheMacInAScript(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{ // for the running system, and for another volume
		`cd "/Library/A B"`:                {`cd "MAC/Library/A B"`, `cd "MAC/Library/A B"`},
		`x="$root/Library/A"`:              {`x="$rootMAC/Library/A"`, `x="$root/Library/A"`},
		`x=${root}/usr/local/bin`:          {`x=${root}MAC/usr/local/bin`, `x=${root}/usr/local/bin`},
		`#!/bin/sh`:                        {`#!/bin/sh`, `#!/bin/sh`},
		`/usr/bin/true /opt/Library/x`:     {`/usr/bin/true /opt/Library/x`, `/usr/bin/true /opt/Library/x`},
		`a /variable /var /var/db`:         {`a /variable MAC/var MAC/var/db`, `a /variable MAC/var MAC/var/db`},
		"PATH=/usr/bin:/bin\nexport PATH":  {"PATH='MAC/usr/bin:MAC/bin:/usr/bin:/bin'\nexport PATH", "PATH='MAC/usr/bin:MAC/bin:/usr/bin:/bin'\nexport PATH"},
		`bin/Library/x ./var/x $HOME/.var`: {`bin/Library/x ./var/x $HOME/.var`, `bin/Library/x ./var/x $HOME/.var`},
	} {
		for i, elsewhere := range []bool{false, true} {
			got := strings.ReplaceAll(string(shellScript{mac: Mac{Dir: "MAC"}, text: []byte(text), elsewhere: elsewhere}.placed()), "/MAC", "MAC")
			if got != want[i] {
				t.Errorf("%q, elsewhere %v: %q, want %q", text, elsewhere, got, want[i])
			}
		}
	}
}

func TestToolsOfScripts(t *testing.T) {
	t.Parallel()
	mac := newMac(t, standardMac())
	root, alice := callAs(mac, rootUser), callAs(mac, "alice")
	if got := root.run(t, "id", "-u"); got.stdout != "0\n" {
		t.Errorf("root is %q", got.stdout)
	}
	if got := alice.run(t, "id", "-u"); got.stdout != "501\n" {
		t.Errorf("alice is %q", got.stdout)
	}
	for file, code := range map[string]int{mac.Path("/Library"): 0, mac.Path("/none"): 1, os.TempDir(): 1} {
		if got := root.run(t, "chown", "0:0", file); got.code != code {
			t.Errorf("%s: %+v", file, got)
		}
	}
}

func TestChecksumsOfTheBillOfMaterials(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]uint32{"": 4294967295, "123456789": 930766865} { // as cksum(1) prints
		if got := posixSum([]byte(text)); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
}
