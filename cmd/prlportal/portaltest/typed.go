package portaltest

import (
	"net/http"
	"testing"
	"time"

	"prlagent/agent/protocol"
)

// AccentedMacs are two Macs whose names are as macOS and people make them: the
// VM Café, in decomposed form, of zoë, in composed form, on a Mac with a curly
// apostrophe; and the VM "Deb – Test" of bob.
func AccentedMacs(t *testing.T) *Portal {
	t.Helper()
	portal := New(t)
	first := NewMac(t, portal, "C02AAAAAAAAA")
	first.Report.Host.ComputerName = "Zoe\u0308’s MacBook"
	cafe := WindowsVM("Café")
	cafe.Name, cafe.ID, cafe.Owner = "Cafe\u0301", "1f3c2a1b-6d1e-4f63-9c5b-2f1f4f1a7b3e", "zo\u00eb"
	cafe.LastUsedAt = Morning.Add(-26 * time.Hour)
	first.Report.VMs = []protocol.VM{cafe}
	first.Enroll(t, http.StatusCreated)
	first.Checkin(t)

	second := NewMac(t, portal, "C02BBBBBBBBB")
	second.Report.Host.ComputerName = "Bob's Mac"
	second.Report.Product.Version, second.Report.Product.Build = "26.10.1", "60001"
	deb := WindowsVM("Deb")
	deb.Name, deb.ID, deb.Owner = "Deb – Test", "2a4d3b2c-7e2f-4a74-8d6c-3a2a5a2b8c4f", "bob"
	second.Report.VMs = []protocol.VM{deb}
	second.Enroll(t, http.StatusCreated)
	second.Checkin(t)
	return portal
}

// Names of the VMs of AccentedMacs, as they came.
const (
	Cafe = "Cafe\u0301"
	Deb  = "Deb – Test"
)

// TypedQuery is one parameter of the table of virtual machines as people type it.
type TypedQuery struct {
	Parameter string // in a URL; the flag has - for _
	Typed     string
	Shows     string // of AccentedMacs, by vm_name: Café, Deb, both or nothing
	Refused   string // what the refusal says; empty: it is understood
}

// TypedQueries are understood, or refused with the reason, on the command line
// and by the admin plane alike.
var TypedQueries = []TypedQuery{
	// Composed and decomposed characters, in any letter case.
	{"filter", "vm_name=Caf\u00e9", Cafe, ""},
	{"filter", "vm_name=Cafe\u0301", Cafe, ""},
	{"filter", "vm_name=CAF\u00c9", Cafe, ""},
	{"filter", "vm_name!=caf\u00e9", Deb, ""},
	{"filter", "vm_name contains F\u00c9", Cafe, ""},
	{"filter", "vm_name contains cafe", "", ""}, // e is not é, in neither form
	{"filter", "vm_name in x, Caf\u00e9", Cafe, ""},
	{"filter", "user_name=zoe\u0308", Cafe, ""},
	{"search", "zoe\u0308's macbook", Cafe, ""},
	{"search", "CAF\u00c9", Cafe, ""},

	// Typographic quotes, dashes and blanks, and what does not show.
	{"filter", "computer_name=Zo\u00eb's MacBook", Cafe, ""},
	{"filter", "computer_name=Bob’s Mac", Deb, ""},
	{"filter", "computer_name=“Bob’s Mac”", Deb, ""},
	{"filter", "computer_name in „Bob's Mac“, x", Deb, ""},
	{"filter", "“vm_name=Café”", Cafe, ""},
	{"filter", "vm_name=deb - test", Deb, ""},
	{"filter", "vm_name=\"Deb — Test\"", Deb, ""},
	{"filter", "\ufeff vm_name\u00a0=\u00a0Café\u200b ", Cafe, ""},
	{"filter", "computer_name\u00a0contains\u00a0bob", Deb, ""},
	{"filter", "vm_serial  Not  Empty", "", ""},
	{"filter", "vm_name≠Café", Deb, ""},
	{"filter", "vm_name='Café'", "", "put it in double quotes if it is one"},
	{"filter", "vm_name=“Café", "", "a value in double quotes to end with one"},
	{"filter", "vm_name contains \"\u200b\"", "", "a character that can be seen"}, // every text has nothing in it
	{"search", "  bob's ", Deb, ""},
	{"search", "“Bob’s Mac”", Deb, ""},
	{"search", " \u00a0", "", "search: expected"},

	// Letter case of fixed words.
	{"filter", "VM_Name=Café", Cafe, ""},
	{"filter", "vm_state=STOPPED", Cafe + ", " + Deb, ""},
	{"filter", "stale_report=FALSE", Cafe + ", " + Deb, ""},
	{"filter", "vm_name IN Café", Cafe, ""},
	{"filter", "last_used Before 2026-11-23", Cafe, ""},
	{"filter", "vm-name=Café", "", `there is no column "vm-name"`},

	// Ids with braces, in upper case, as a whole or a part.
	{"filter", "vm_id={1F3C2A1B-6D1E-4F63-9C5B-2F1F4F1A7B3E}", Cafe, ""},
	{"filter", "vm_id={1f3c2a1b-6d1e-4f63-9c5b-2f1f4f1a7b3e", Cafe, ""},
	{"filter", "vm_id in {2A4D3B2C-7e2f-4a74-8d6c-3a2a5a2b8c4f}, x", Deb, ""},
	{"filter", "vm_id contains {1F3C", Cafe, ""},
	{"search", "{1F3C2A1B-6D1E", Cafe, ""},

	// Times, versions and numbers with their units.
	{"filter", "last_used=2026–11–22", Cafe, ""},
	{"filter", "last_used ≥ 2026-11-22 06:59", Cafe, ""},
	{"filter", "last_used>=2026-11-22t06:59z", Cafe, ""},
	{"filter", "last_used before 2026-11-22 07:01 UTC", Cafe, ""},
	{"filter", "last_used before 2026-11-22 08:01:00 +01:00", Cafe, ""},
	{"filter", "last_used after –2D", Cafe, ""},
	{"filter", "last_used after -2 days", Cafe, ""},
	{"filter", "last_used after -1M", "", "minutes or months"},
	{"filter", "last_used after -2 months", "", "expected a time"},
	{"filter", "last_used after -2", "", "expected a time"},
	{"filter", "last_used after 7d", "", "expected a time"},
	{"filter", "last_used after 22.11.2026", "", "expected a time"},
	{"filter", "pd_version>=v26.10", Deb, ""},
	{"filter", "pd_version=26,10", "", ""}, // 26.10.0 is not 26.10.1
	{"filter", "pd_version=26.10.1", Deb, ""},
	{"filter", "pd_version=26.x", "", "every part counts"},
	{"filter", "pd_version=26.*", "", "every part counts"},
	{"filter", "pd_version=≥26", "", "every part counts"},
	{"filter", "policy_revision>=−1", "", ""},
	{"filter", "policy_revision<NaN", "", "expected a number"},
	{"filter", "policy_revision<0x10", "", "expected a number"},
	{"filter", "policy_revision<5 min", "", "without a unit"},
	{"since", " –1H ", Cafe + ", " + Deb, ""},
	{"since", "-30 MIN", Cafe + ", " + Deb, ""},
	{"since", "2026-11-23 08:00 utc", Cafe + ", " + Deb, ""},
	{"since", "2999-01-01", "", "expected a time that has come"},
	{"since", "", "", "since: expected a value"},

	// Columns of an order, pages.
	{"sort", " –VM_Name ", Deb + ", " + Cafe, ""},
	{"sort", "cpu, -vm_name", Deb + ", " + Cafe, ""},
	{"sort", "vm_name,VM_NAME", "", "expected vm_name once"},
	{"sort", "", "", "sort: expected a value"},
	{"page", " 1 ", Cafe + ", " + Deb, ""},
	{"page", "02", "", ""},
	{"page", "0x1", "", "from 1"},
	{"page", "1.0", "", "from 1"},
	{"page", "-1", "", "from 1"},
	{"page", "", "", "page"},
	{"per_page", " 10", Cafe + ", " + Deb, ""},
	{"per_page", "1e2", "", "from 1"},
}
