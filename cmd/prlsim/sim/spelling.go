package sim

import (
	"slices"
	"strings"
)

// respelled is a list's document in the words that the Mac is assumed to use. The
// state keeps every setting in one spelling, which config.pvs is written from.
func (s *State) respelled(document orderedObject) orderedObject {
	document = slices.Clone(document)
	for i := range document {
		member := &document[i]
		section, isSection := member.Value.(orderedObject)
		switch {
		case member.Key == "Hardware" && isSection:
			member.Value = s.respelledHardware(section)
		case member.Key == "Shared Applications" && isSection && s.assumes("shared_apps_enabled", "follows"):
			member.Value = followingLeaves(section)
		case member.Key == "Host defined sharing" && s.assumes("defined_sharing_words", "flag"):
			for word, text := range definedSharing {
				if member.Value == text {
					member.Value = word
				}
			}
		}
	}
	return s.respelledWords(document)
}

// respelledHardware has each network adapter in the assumed words.
func (s *State) respelledHardware(hardware orderedObject) orderedObject {
	hardware = slices.Clone(hardware)
	for i, device := range hardware {
		if _, isAdapter := adapterNumber(device.Key); isAdapter {
			hardware[i].Value = s.respelledAdapter(device.Value.(orderedObject))
		}
	}
	return hardware
}

func (s *State) respelledAdapter(adapter orderedObject) orderedObject {
	adapter = slices.Clone(adapter)
	kind := adapter.index("type")
	if word := adapter[kind].Value; word == "host" || word == "host-only" {
		adapter[kind].Value = s.assumedValue("host_only_word")
	}
	if at := adapter.index("iface"); at >= 0 && (adapter[at].Value == "default" || adapter[at].Value == "") {
		adapter = adapter.without("iface")
	}
	if adapter[kind].Value == "bridged" && adapter.index("iface") < 0 && s.assumes("default_iface", "default") {
		adapter = slices.Insert(adapter, kind+1, member{"iface", "default"})
	}
	if at := adapter.index("state"); at >= 0 && adapter[at].Value == "connected" {
		adapter = adapter.without("state")
	}
	if adapter.index("state") < 0 && s.assumes("connected_state", "connected") {
		adapter = adapter.with(member{"state", "connected"})
	}
	return adapter
}

// followingLeaves is the section as enabled only where something in it is.
func followingLeaves(section orderedObject) orderedObject {
	section = slices.Clone(section)
	section[section.index("enabled")].Value = textAt(section, "Host-to-guest apps sharing") == "on" ||
		textAt(section, "Guest-to-host apps sharing") == "on"
	return section
}

// choices are keys whose words are not those of a switch, though off or on may be
// among them.
var choices = []string{"Autostart", "Undo disks", "TPM type", "Smart mouse optimized for games", "Keyboard optimization mode",
	"3d-acceleration", "Scale view mode", "Host defined sharing", "Name", "Description"}

// respelledWords has the words of every switch as they are assumed.
func (s *State) respelledWords(members orderedObject) orderedObject {
	members = slices.Clone(members)
	for i := range members {
		member := &members[i]
		switch value := member.Value.(type) {
		case orderedObject:
			member.Value = s.respelledWords(value)
		case bool:
			if word := s.assumedValue("enabled_word"); member.Key == "enabled" && word != "boolean" {
				member.Value = wordOf(word, value)
			}
		case string:
			if !slices.Contains(choices, member.Key) {
				member.Value = s.respelledWord(value)
			}
		}
	}
	return members
}

func (s *State) respelledWord(word string) string {
	switch word {
	case "on", "off":
		return wordOf(s.assumedValue("switch_words"), word == "on")
	case "yes", "no":
		return wordOf(s.assumedValue("yes_no_words"), word == "yes")
	}
	return word
}

// wordOf is one of the two words of a pair like on_off.
func wordOf(pair string, on bool) string {
	yes, no, _ := strings.Cut(pair, "_")
	if on {
		return yes
	}
	return no
}
