package cli

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prlagent/cmd/prlportal/fleet"
)

// licensesOptions are the flags of 'report licenses'.
type licensesOptions struct {
	admin    adminOptions
	format   string
	asJSON   bool
	macs     bool
	notReady bool
}

func newLicensesCommand() *cobra.Command {
	var options licensesOptions
	command := &cobra.Command{
		Use:   "licenses --dir DIR",
		Short: "Who uses licenses of Parallels Desktop, and who cannot be migrated yet",
		Long: `Licenses counts, for each group, the Macs on which Parallels Desktop is activated, by
kind, deactivated, or not there; those that were not launched for 30, 60 and 90 days; and
those that are too old to be migrated from Business Edition or to another kind of license.

What the Macs have not told counts as unknown, and is never guessed. A launch is known by
the Mac's word, a use by the last use of its virtual machines. That there was none is known
only of a Mac whose agent was there all the time and is heard of: not of one that came a
week ago, that was silent, or that lost its state.

--macs lists the Macs, --not-ready those of them that are too old or of unknown version.
JSON has both the groups and the Macs.`,
		Example: `  prlportal report licenses --dir site/operator
  prlportal report licenses --dir site/operator --not-ready --format csv
  prlportal report licenses --dir site/operator --json`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			options.format = typedFormat(options.format, options.asJSON)
			if !slices.Contains([]string{formatTable, formatCSV, formatJSON}, options.format) {
				return usageError("--format is table, csv or json")
			}
			client, err := options.admin.openClient()
			if err != nil {
				return err
			}
			defer client.Close()
			found, err := client.Licenses(command.Context())
			if err != nil {
				return err
			}
			return options.write(command.OutOrStdout(), found, time.Local)
		},
	}
	options.admin.addFlags(command)
	flags := command.Flags()
	flags.BoolVar(&options.macs, "macs", false, "list the Macs")
	flags.BoolVar(&options.notReady, "not-ready", false, "list the Macs that cannot be migrated yet")
	flags.StringVar(&options.format, "format", formatTable, "table, csv or json")
	flags.BoolVar(&options.asJSON, "json", false, "same as --format json")
	return command
}

func licenseNumber(id, title string, value func(*fleet.LicenseRow) int) reportColumn[fleet.LicenseRow] {
	return reportColumn[fleet.LicenseRow]{id, title, func(r *fleet.LicenseRow) string { return strconv.Itoa(value(r)) }}
}

// licenseColumns are the columns of the groups.
var licenseColumns = []reportColumn[fleet.LicenseRow]{
	{"group", "Group", func(r *fleet.LicenseRow) string { return r.Group }},
	licenseNumber("macs", "Macs", func(r *fleet.LicenseRow) int { return r.Macs }),
	licenseNumber("activated_sso", "SSO", func(r *fleet.LicenseRow) int { return r.SSO }),
	licenseNumber("activated_key", "License key", func(r *fleet.LicenseRow) int { return r.Key }),
	licenseNumber("deactivated", "Deactivated", func(r *fleet.LicenseRow) int { return r.Deactivated }),
	licenseNumber("not_installed", "Not installed", func(r *fleet.LicenseRow) int { return r.NotInstalled }),
	licenseNumber("unknown", "Unknown", func(r *fleet.LicenseRow) int { return r.Unknown }),
	licenseNumber("idle_30", "Not launched 30 d", func(r *fleet.LicenseRow) int { return r.Idle30 }),
	licenseNumber("idle_60", "60 d", func(r *fleet.LicenseRow) int { return r.Idle60 }),
	licenseNumber("idle_90", "90 d", func(r *fleet.LicenseRow) int { return r.Idle90 }),
	licenseNumber("idle_30_unknown", "Unknown 30 d", func(r *fleet.LicenseRow) int { return r.Idle30Unknown }),
	licenseNumber("idle_60_unknown", "60 d", func(r *fleet.LicenseRow) int { return r.Idle60Unknown }),
	licenseNumber("idle_90_unknown", "90 d", func(r *fleet.LicenseRow) int { return r.Idle90Unknown }),
	licenseNumber("too_old", "Too old", func(r *fleet.LicenseRow) int { return r.TooOld }),
	licenseNumber("version_unknown", "Version unknown", func(r *fleet.LicenseRow) int { return r.VersionUnknown }),
}

// licenseMacColumns are the columns of the Macs; times are UTC in csv.
func licenseMacColumns(at func(time.Time) string) []reportColumn[fleet.LicenseMac] {
	return []reportColumn[fleet.LicenseMac]{
		{"group", "Group", func(m *fleet.LicenseMac) string { return m.Group }},
		{"computer_name", "Computer name", func(m *fleet.LicenseMac) string { return m.ComputerName }},
		{"mac_serial", "Mac serial number", func(m *fleet.LicenseMac) string { return m.MacSerial }},
		{"pd_version", "Parallels Desktop", func(m *fleet.LicenseMac) string { return m.PDVersion }},
		{"pd_state", "State", func(m *fleet.LicenseMac) string { return orUnknown(m.PDState) }},
		{"migration", "Migration", func(m *fleet.LicenseMac) string { return m.Migration }},
		{"launched_at", "Launched", func(m *fleet.LicenseMac) string { return orUnknown(at(m.LaunchedAt)) }},
		{"used_at", "VM used", func(m *fleet.LicenseMac) string { return orUnknown(at(m.UsedAt)) }},
		{"idle_days", "Days without", idleWords},
		{"last_checkin_at", "Last check-in", func(m *fleet.LicenseMac) string { return at(m.LastCheckinAt) }},
		{"device_id", "Device ID", func(m *fleet.LicenseMac) string { return m.DeviceID }},
	}
}

func orUnknown(value string) string {
	if value == "" || value == emptyCell {
		return "unknown"
	}
	return value
}

// idleWords are for how many days it is known that a Mac did without.
func idleWords(m *fleet.LicenseMac) string {
	switch {
	case m.IdleDays == nil:
		return "unknown"
	case m.IdleAtLeast:
		return strconv.Itoa(*m.IdleDays) + " or more"
	}
	return strconv.Itoa(*m.IdleDays)
}

func (o licensesOptions) write(w io.Writer, found fleet.Licenses, zone *time.Location) error {
	if o.notReady {
		found.Macs = slices.DeleteFunc(found.Macs, func(m fleet.LicenseMac) bool {
			return m.Migration == fleet.MigrationReady || m.Migration == fleet.MigrationNone
		})
	}
	if o.format == formatJSON {
		return printJSON(w, found)
	}
	at := func(t time.Time) string { return localTime(t, zone) }
	if o.format == formatCSV {
		at = func(t time.Time) string {
			if t.IsZero() {
				return ""
			}
			return t.UTC().Format(time.RFC3339)
		}
	}
	var shown string
	var err error
	if o.macs || o.notReady {
		shown, err = renderReport(w, o.format, licenseMacColumns(at), found.Macs)
	} else {
		shown, err = renderReport(w, o.format, licenseColumns, found.Rows)
	}
	if err != nil || o.format == formatCSV {
		return err
	}
	return writeText(w, shown+"\n"+licenseWords(found, zone))
}

// licenseWords say what the counts are of, and what they are not.
func licenseWords(found fleet.Licenses, zone *time.Location) string {
	notReady := 0
	for _, row := range found.Rows {
		notReady += row.TooOld + row.VersionUnknown
	}
	words := []string{"As of " + localTime(found.At, zone) + ": " + countOf(len(found.Macs), "Mac")}
	if found.Stale > 0 {
		words = append(words, fmt.Sprintf("%d not heard of for too long, of which the last word stands", found.Stale))
	}
	if notReady > 0 {
		words = append(words, fmt.Sprintf("%d not ready to be migrated (older than %s, or of unknown version): --not-ready lists them", notReady, found.MinPD))
	}
	return strings.Join(words, ", ") + ".\n"
}
