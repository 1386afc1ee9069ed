package inventory

import (
	"reflect"
	"testing"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// Where nothing but a machine's id could be read, exactly the hidden ones of
// its columns are empty, for that reason.
func TestHiddenColumnsAreThoseOfTheDescription(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.machines["alice"][0].brokenCode = prlctl.CodeWrongType
	got := row(t, l.look(), "alice", windowsID)
	empty, whole := protocol.Row{VM: got}, protocol.Row{VM: described()}
	for _, column := range protocol.Columns {
		ofMachine := column.Value(&whole) != ""
		if hidden := ofMachine && column.Value(&empty) == ""; hidden != column.Hidden {
			t.Errorf("%s is hidden: %t, its entry says %t", column.ID, hidden, column.Hidden)
		}
		if want := map[bool]protocol.Code{true: protocol.CodeWrongType}[column.Hidden]; got.Gaps[column.ID] != want {
			t.Errorf("%s has the reason %q, want %q", column.ID, got.Gaps[column.ID], want)
		}
	}
}

// described is a machine with a value in every cell.
func described() protocol.VM {
	var vm protocol.VM
	value := reflect.ValueOf(&vm).Elem()
	for _, field := range reflect.VisibleFields(value.Type()) {
		switch one := value.FieldByIndex(field.Index); {
		case one.Kind() == reflect.String:
			one.SetString("x")
		case one.Type() == reflect.TypeFor[time.Time]():
			one.Set(reflect.ValueOf(noon))
		}
	}
	return vm
}

// A description without anything in it leaves no cell of the machine without
// the reason of its column, or a better one.
func TestAnEmptyDescriptionHasReasons(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	m := l.machines["alice"][0]
	m.name, m.cpu, m.encrypted, m.os = "", "", "", "macosx"
	delete(l.files, m.home+"/VmInfo.pvi")
	got := row(t, l.look(), "alice", windowsID)
	for id, want := range map[string]protocol.Code{
		"vm_name": protocol.CodeNotShown, "cpu": protocol.CodeNotShown, "vm_encryption": protocol.CodeNotShown,
		"vm_serial": protocol.CodeMacGuestSerial, "vm_edition": protocol.CodeGuestOS,
	} {
		if got.Gaps[id] != want {
			t.Errorf("%s is empty because %q, want %q", id, got.Gaps[id], want)
		}
	}
}
