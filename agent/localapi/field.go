package localapi

import (
	"fmt"
	"time"
)

// Field is one value that `prlagent get FIELD` prints, for extension
// attributes of management tools. All of them come from the public part of
// the status, so that the snapshot can answer for a daemon that is down.
type Field struct {
	ID    string
	Title string
	Kind  string           // string, integer or date, as Jamf's data types
	value func(Status) any // a string, an int or a time.Time, as Kind says
}

// Fields is the table of `prlagent get`.
var Fields = []Field{
	{"health", "Health of the agent", "string", func(s Status) any { return s.Health.State }},
	{"conditions", "Codes of what needs a look", "string", conditionCodes},
	{"agent_version", "Version of the agent", "string", func(s Status) any { return s.Daemon.Version }},
	{"mode", "Mode of the agent", "string", func(s Status) any { return s.Config.Mode }},
	{"configuration", "Source of the configuration", "string", func(s Status) any { return s.Config.Source }},
	{"enrollment", "Enrollment at the portal", "string", func(s Status) any { return s.Portal.Enrollment }},
	{"group", "Group of this Mac", "string", func(s Status) any { return s.Portal.Group.ID }},
	{"last_checkin", "Last successful check-in", "date", func(s Status) any { return s.Portal.LastSuccessAt }},
	{"policy_state", "State of the policy", "string", func(s Status) any { return s.Policy.State }},
	{"violations", "Violations of the security controls", "integer", func(s Status) any { return s.Violations }},
	{"vm_count", "Virtual machines on this Mac", "integer", func(s Status) any { return s.Counts.VMs }},
	{"vm_running", "Virtual machines that run", "integer", func(s Status) any { return s.Counts.Running }},
	{"vm_stale", "Virtual machines with last known rows only", "integer", func(s Status) any { return s.Counts.Stale }},
	{"pd_version", "Version of Parallels Desktop", "string", func(s Status) any { return s.Product.Version }},
	{"pd_state", "Activation of Parallels Desktop", "string", func(s Status) any { return s.Product.State }},
	{"pd_edition", "Edition of Parallels Desktop", "string", func(s Status) any { return s.Product.Edition }},
}

// FieldByID finds a field.
func FieldByID(id string) (Field, bool) {
	for _, field := range Fields {
		if field.ID == id {
			return field, true
		}
	}
	return Field{}, false
}

// Value is the field's value in a status, as people and Jamf take it; empty if
// there is none.
func (f Field) Value(s Status) string {
	value := f.value(s)
	if at, is := value.(time.Time); is {
		return jamfDate(at)
	}
	return fmt.Sprint(value)
}

// JSON is the same as it stands in JSON: a number, a point in time in UTC (nil if
// there is none) or a text.
func (f Field) JSON(s Status) any {
	value := f.value(s)
	if at, is := value.(time.Time); is {
		if at.IsZero() {
			return nil
		}
		return at.UTC()
	}
	return value
}

func conditionCodes(s Status) any {
	out := ""
	for i, condition := range s.Health.Conditions {
		if i > 0 {
			out += " "
		}
		out += string(condition.Code)
	}
	return out
}

// jamfDate is the form that Jamf's date attributes take, in UTC.
func jamfDate(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateTime)
}
