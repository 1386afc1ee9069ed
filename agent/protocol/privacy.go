package protocol

import (
	"maps"
	"slices"
	"strings"
)

// Privacy is what a Mac does not tell its portal (INV-32). Only names are left
// out: the uid of an account and the serial number of the Mac stay, and so do
// all keys.
type Privacy struct {
	NoUserNames    bool `json:"no_user_names,omitempty"`    // what accounts are called, in rows, users and events
	NoComputerName bool `json:"no_computer_name,omitempty"` // what the Mac is called
}

// Report is the report without the names that are not told; the given one stays
// as it is.
func (p Privacy) Report(r *Report) *Report {
	if p == (Privacy{}) {
		return r
	}
	told := *r
	if p.NoComputerName {
		told.Host.ComputerName = ""
	}
	if p.NoUserNames {
		told.Host.ConsoleUser = ""
		told.Users = slices.Clone(told.Users)
		for i := range told.Users {
			told.Users[i].Name = ""
		}
	}
	told.VMs = slices.Clone(told.VMs)
	for i := range told.VMs {
		p.withhold(&told.VMs[i])
	}
	return &told
}

// withhold puts a reason into a row in the place of each name that is not told.
func (p Privacy) withhold(vm *VM) {
	vm.Gaps = maps.Clone(vm.Gaps)
	if vm.Gaps == nil {
		vm.Gaps = make(map[string]Code)
	}
	if p.NoComputerName {
		vm.Gaps["computer_name"] = CodeNameWithheld
	}
	if p.NoUserNames {
		vm.Gaps["user_name"] = CodeNameWithheld
		vm.Owner = ""
		vm.SeenBy = slices.Clone(vm.SeenBy)
		for i := range vm.SeenBy {
			vm.SeenBy[i].Name = ""
		}
	}
}

// accountNames are the keys of an event's data whose values are names of
// accounts, by the event's type; those of "" are so in every event.
var accountNames = map[string][]string{
	"":                {"user_name", "user"},
	"account_renamed": {"from"},
}

// Events are the events without the names that are not told.
func (p Privacy) Events(events []Event) []Event {
	if !p.NoUserNames {
		return events
	}
	told := slices.Clone(events)
	for i := range told {
		told[i].Data = withoutNames(told[i])
	}
	return told
}

// withoutNames also takes the account's name out of what else the event says, as
// out of the path of a home folder.
func withoutNames(event Event) map[string]string {
	var names []string
	data := maps.Clone(event.Data)
	for _, key := range slices.Concat(accountNames[""], accountNames[event.Type]) {
		if name := data[key]; name != "" {
			names = append(names, name)
		}
		delete(data, key)
	}
	for key, value := range data {
		if key == "uid" || key == "vm_id" {
			continue
		}
		for _, name := range names {
			value = replaceWord(value, name)
		}
		data[key] = value
	}
	return data
}

// replaceWord takes a name out where it stands as a word of its own.
func replaceWord(text, name string) string {
	var out strings.Builder
	for {
		at := strings.Index(text, name)
		if at < 0 {
			return out.String() + text
		}
		end := at + len(name)
		out.WriteString(text[:at])
		if at > 0 && isNameByte(text[at-1]) || end < len(text) && isNameByte(text[end]) {
			out.WriteString(name)
		} else {
			out.WriteString("[name]")
		}
		text = text[end:]
	}
}

// isNameByte reports whether a byte may be a part of an account's name.
func isNameByte(b byte) bool {
	return b >= 0x80 || b == '_' || b == '-' || '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}
