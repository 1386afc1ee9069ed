package cli

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/portaltest"
)

// operatorLine runs the operator's commands against a portal.
type operatorLine struct {
	t     *testing.T
	flags []string
}

func operatorOf(t *testing.T, portal *portaltest.Portal) operatorLine {
	t.Helper()
	usePortalsCertificate(t, portal)
	return operatorLine{t, []string{"--dir", portal.Dir, "--url", portal.Web.URL}}
}

func (o operatorLine) run(args ...string) string {
	o.t.Helper()
	return mustRun(o.t, append(args, o.flags...)...)
}

func (o operatorLine) wrong(wants string, args ...string) {
	o.t.Helper()
	_, err := prlportal(o.t, append(args, o.flags...)...)
	if exitCode(err) != exitUsage || !strings.Contains(err.Error(), wants) {
		o.t.Errorf("%v: %v, want a usage error with %q", args, err, wants)
	}
}

func TestINV_28_ColumnsAreChosenAndKept(t *testing.T) {
	t.Parallel()
	operator := operatorOf(t, portaltest.TwoMacs(t))
	views := []string{"--views", filepath.Join(t.TempDir(), "deeper", "views.json")}
	vms := func(args ...string) string {
		t.Helper()
		return operator.run(append(append([]string{"vms"}, views...), args...)...)
	}
	header := func(out string) string {
		first, _, _ := strings.Cut(out, "\n")
		return strings.Join(strings.Fields(first), " ")
	}

	const usual = "VM device name User name Computer name VM state VM OS Last used date Policy status Settings failed Settings deferred Drifts"
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, sample, _ := strings.Cut(string(readme), "    $ prlportal vms --dir site\n"); header(sample) != usual {
		t.Errorf("the sample of README has the columns %s", header(sample))
	}
	if got := header(vms()); got != usual {
		t.Errorf("usual columns are %s", got)
	}
	const changed = "VM device name Computer name VM state VM OS Last used date Policy status Settings failed Settings deferred Drifts CPU"
	if got := header(vms("--columns", "+cpu,-user_name")); got != changed {
		t.Errorf("changed columns are %s", got)
	}
	if got := header(vms()); got != usual {
		t.Errorf("columns stayed without being saved: %s", got)
	}
	vms("--columns", "+cpu,-user_name", "--save-view", "default")
	if got := header(vms()); got != changed {
		t.Errorf("saved columns are %s", got)
	}
	if got := header(vms("--columns", "vm_id")); got != "VM device ID" {
		t.Errorf("the flag does not win: %s", got)
	}
	if got := header(vms("--format", "csv")); !strings.HasPrefix(got, "user_name,computer_name,vm_name,vm_id,") {
		t.Errorf("what machines get depends on a saved view: %s", got)
	}

	vms("--columns", "vm_name,cpu", "--filter", "cpu=Intel", "--sort", "-vm_name", "--per-page", "10", "--save-view", "intel")
	if got := vms("--view", "intel", "--format", "csv"); got != "vm_name,cpu\nDeb,Intel\n" {
		t.Errorf("the view shows %s", got)
	}
	if got := vms("--view", "intel", "--format", "csv", "--filter", "vm_name=Win"); got != "vm_name,cpu\n" {
		t.Errorf("a filter does not add to the view's: %s", got)
	}
	listed := mustRun(t, append([]string{"views"}, views...)...)
	portaltest.MustContain(t, listed, "vms/default", "vms/intel", "/v1/admin/vms?filter=cpu%3DIntel")
	mustRun(t, append([]string{"views", "--remove", "vms/default"}, views...)...)
	if got := header(vms()); got != usual {
		t.Errorf("columns after the view was removed are %s", got)
	}
	operator.wrong(`no view "default"`, append([]string{"vms", "--view", "default"}, views...)...)
	operator.wrong("--save-view", append([]string{"vms", "--save-view", "../x"}, views...)...)
	operator.wrong("hides every column", "vms", "--columns", "-vm_name,-user_name,-computer_name,-vm_state,-vm_os,-last_used,-policy_state,-settings_failed,-settings_deferred,-settings_drifts")
	if info, err := os.Stat(views[1]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("views have %v, %v", info.Mode(), err)
	}
}

// Not parallel: the environment is the whole process's.
func TestINV_28_ViewsOfSomebodyWithoutAHome(t *testing.T) {
	operator := operatorOf(t, portaltest.TwoMacs(t))
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", environmentName("views")} {
		t.Setenv(name, "")
	}
	operator.run("vms")
	for _, args := range [][]string{{"vms", "--view", "mine"}, {"vms", "--save-view", "mine"}} {
		_, err := prlportal(t, append(args, operator.flags...)...)
		if err == nil || !strings.Contains(err.Error(), "name a file with --views") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestINV_28_AFileOfViewsThatSaysNull(t *testing.T) {
	t.Parallel()
	operator := operatorOf(t, portaltest.TwoMacs(t))
	path := filepath.Join(t.TempDir(), "views.json")
	if err := os.WriteFile(path, []byte("null\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	operator.run("vms", "--views", path, "--columns", "cpu", "--save-view", "mine")
	if out := operator.run("vms", "--views", path, "--view", "mine"); !strings.HasPrefix(out, "CPU") {
		t.Errorf("the view shows\n%s", out)
	}
}

func TestINV_29_PagesOnTheCommandLine(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	portaltest.MacWithVMs(t, portal, 113)
	operator := operatorOf(t, portal)
	portaltest.MustContain(t, operator.run("vms", "--page", "2", "--per-page", "30", "--sort", "vm_name"), "vm-030", "vm-059", "Page 2 of 4, 113 in all.")
	portaltest.MustContain(t, operator.run("vms", "--page", "9", "--per-page", "30"), "There is no page 9: 113 rows fit on 4 pages of 30.")
	if rows := strings.Count(operator.run("vms", "--format", "ndjson"), "\n"); rows != 113 {
		t.Errorf("without a page there are %d rows", rows)
	}
	portaltest.MustContain(t, operator.run("vms", "--json", "--per-page", "10"), `"per_page": 10`, `"total": 113`, `"as_of": "`)
	operator.wrong("from 1", "vms", "--page", "0")
	operator.wrong("1000", "vms", "--per-page", "1001")
}

func TestINV_30_INV_31_OnTheCommandLine(t *testing.T) {
	t.Parallel()
	operator := operatorOf(t, portaltest.TwoMacs(t))
	for _, wanted := range []struct{ flags, want string }{
		{"--filter pd_version<26.10", "Win"},
		{"--filter cpu=Arm --filter vm_state=Stopped", ""},
		{"--search c02b", "Deb"},
		{"--sort -vm_name", "Win Deb"},
		{"--filter vm_edition?empty", "Deb"},
		{"--since -10m", "Deb"},
	} {
		args := strings.Fields(wanted.flags)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "?", " ")
		}
		out := operator.run(append([]string{"vms", "--format", "csv", "--columns", "vm_name"}, args...)...)
		if got := strings.Join(strings.Fields(out)[1:], " "); got != wanted.want {
			t.Errorf("%s shows %q, want %q", wanted.flags, got, wanted.want)
		}
	}
	if got := operator.run("devices", "--format", "csv", "--columns", "mac_serial,vms,group,stale_report", "--filter", "mac_serial contains bbb"); got != "mac_serial,vms,group,stale_report\nC02BBBBBBBBB,1,default,false\n" {
		t.Errorf("devices are %s", got)
	}
	portaltest.MustContain(t, operator.run("vms", "--search", "nothing of it"), "Nothing fits.")
	operator.wrong(`there is no column "nonsense"`, "vms", "--filter", "nonsense=1")
	operator.wrong("vm_name, which is a text", "vms", "--filter", "vm_name<1")
	operator.wrong("a version like 26.1", "vms", "--filter", "pd_version<new")
	operator.wrong("sort", "devices", "--sort", "vm_name")
}

func TestExportWritesAWholeFileOrNone(t *testing.T) {
	t.Parallel()
	portal := portaltest.New(t)
	portaltest.MacWithVMs(t, portal, 113)
	operator := operatorOf(t, portal)
	folder := t.TempDir()
	path := filepath.Join(folder, "vms.csv")
	operator.run("export", "-o", path)
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	if err != nil || len(lines) != 114 || len(lines[0]) != len(fleet.VMTable.Fields) {
		t.Errorf("%d lines, %v", len(lines), err)
	}
	if info, err := file.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, %v", info.Mode(), err)
	}
	var all struct{ VMs []protocol.VM }
	if err := json.Unmarshal([]byte(operator.run("export", "vms", "--format", "json", "--filter", "vm_os_build=3")), &all); err != nil || len(all.VMs) != 16 {
		t.Errorf("json has %d rows, %v", len(all.VMs), err)
	}
	if out := operator.run("export", "devices", "--format", "ndjson"); strings.Count(out, "\n") != 1 || !json.Valid([]byte(out)) {
		t.Errorf("devices are %s", out)
	}
	operator.wrong("vms, devices, events or verdicts", "export", "groups")
	operator.wrong("at most 1", "export", "vms", "devices")
	operator.wrong("csv, json or ndjson", "export", "--format", "table")

	breaking := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "{\"vm_name\":\"one\"}\n")
	}))
	defer breaking.Close()
	if _, err := prlportal(t, "export", "-o", path, "--dir", portal.Dir, "--url", breaking.URL); err == nil || !strings.Contains(err.Error(), "broke off") {
		t.Errorf("a table that broke off: %v", err)
	}
	if again, err := os.ReadFile(path); err != nil || strings.Count(string(again), "\n") != 114 {
		t.Errorf("the file was replaced by a part: %v", err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
