package sim

import (
	"slices"
	"strconv"
	"strings"
)

// knowsFlag reports whether the Mac's version has the flag.
func (s *State) knowsFlag(flag setFlag) bool {
	major := s.Product.majorVersion()
	return major >= flag.since && (flag.until == 0 || major <= flag.until) &&
		(!flag.inferred || s.assumes("inferred_flags", "present")) &&
		(flag.name != "--network-cond" || s.assumes("network_cond_flag", "present"))
}

// flagsOfCategory lists the flags of a category that the version's help shows.
// Help is no proof: that of 26.3.2 shows --auto-share-bluetooth, which set
// refuses (captures.md 2).
func (s *State) flagsOfCategory(category string) []setFlag {
	var out []setFlag
	for _, flag := range setFlags {
		if flag.category == category && (s.knowsFlag(flag) || flag.stillShown) {
			out = append(out, flag)
		}
	}
	return out
}

// findFlag returns where the flag of the name stands in the table, or -1.
func findFlag(name string) int {
	return slices.IndexFunc(setFlags, func(flag setFlag) bool { return flag.name == name })
}

func isCategory(word string) bool {
	return slices.Contains(setCategories, word)
}

// flagValue is one flag of a call with its value, and with the options of the
// device that it names.
type flagValue struct {
	flag    setFlag
	value   string
	options []flagValue
}

// parseSet reads `--flag value` and `--flag=value` (facts/prlctl.md 1.5). One
// flag that the version does not know fails the whole call.
func (s *State) parseSet(arguments []string) ([]flagValue, error) {
	var out []flagValue
	reader := flagReader{arguments: arguments}
	for len(reader.arguments) > 0 {
		set, err := reader.next(setFlags, s.knowsFlag)
		if err != nil {
			return nil, err
		}
		if err := s.checkWords(set); err != nil {
			return nil, err
		}
		for set.flag.takesOptions() && len(reader.arguments) > 0 && reader.find(deviceOptions) >= 0 {
			option, err := reader.next(deviceOptions, func(setFlag) bool { return true })
			if err != nil {
				return nil, err
			}
			set.options = append(set.options, option)
		}
		out = append(out, set)
	}
	return out, s.checkDeviceFlags(out)
}

// checkDeviceFlags refuses several flags for devices in one call, as the
// ancestor's man page says (acting.md 1); the text is invented.
func (s *State) checkDeviceFlags(sets []flagValue) error {
	devices := slices.DeleteFunc(slices.Clone(sets), func(set flagValue) bool { return set.flag.category != "device_mgmt" })
	if len(devices) > 1 && s.assumes("device_options", "one") {
		return toolErrorf("Only one option can be specified at a time: %s, %s", devices[0].flag.name, devices[1].flag.name)
	}
	return nil
}

// checkWords refuses values that are good for some versions only, or that the
// tool reads itself.
func (s *State) checkWords(set flagValue) error {
	words := s.assumedValue("autoupdate_words")
	onOff := set.value == "on" || set.value == "off"
	switch {
	case set.flag.name == "--tools-autoupdate" && words != "both" && onOff != (words == "on_off"):
		return toolErrorf("Invalid argument for the option %s: %s", set.flag.name, set.value)
	case set.flag.name == "--require-pwd":
		_, _, err := passwordOperation(set.value, vmPasswordOperations)
		return err
	}
	return nil
}

// flagReader takes flags from the arguments of a call.
type flagReader struct{ arguments []string }

// find returns which of the flags is the next argument, or -1.
func (r *flagReader) find(flags []setFlag) int {
	name, _, _ := strings.Cut(r.arguments[0], "=")
	return slices.IndexFunc(flags, func(flag setFlag) bool { return flag.name == name })
}

// next takes one flag with its value.
func (r *flagReader) next(flags []setFlag, knows func(setFlag) bool) (flagValue, error) {
	argument := r.arguments[0]
	at := r.find(flags)
	if at < 0 || !knows(flags[at]) {
		return flagValue{}, toolErrorf("Unrecognized option: %s", argument)
	}
	r.arguments = r.arguments[1:]
	flag := flags[at]
	_, value, joined := strings.Cut(argument, "=")
	if !joined && flag.values != "" {
		if len(r.arguments) == 0 {
			return flagValue{}, toolErrorf("Option requires an argument: %s", flag.name)
		}
		value, r.arguments = r.arguments[0], r.arguments[1:]
	}
	if !flag.acceptsValue(value) {
		return flagValue{}, toolErrorf("Invalid argument for the option %s: %s", flag.name, value)
	}
	return flagValue{flag: flag, value: value}, nil
}

func (f setFlag) acceptsValue(value string) bool {
	words := strings.Split(f.values, "|")
	if f.values == "" || slices.Contains(words, "text") || slices.Contains(words, value) && value != numberWord {
		return true
	}
	number, err := strconv.Atoi(value)
	return slices.Contains(words, numberWord) && err == nil && number >= 0
}

// numberWord stands for any number in what a flag takes.
const numberWord = "number"

// passwordOperation reads OPERATION:on|off of --require-pwd. The text is the
// ancestor's (acting.md 1).
func passwordOperation(value string, known []string) (operation string, on bool, err error) {
	operation, word, _ := strings.Cut(value, ":")
	if !slices.Contains(known, operation) || word != "on" && word != "off" {
		return "", false, toolErrorf("An incorrect value for --require-pwd is specified: %s", value)
	}
	return operation, word == "on", nil
}

// vmPasswordOperations need a password where a VM says so (acting.md 1).
var vmPasswordOperations = []string{"exit-fullscreen", "change-vm-state", "manage-snapshots", "change-guest-pwd"}

// passwordOperations is the element of config.pvs that lists them.
const passwordOperations = "PasswordProtectedOperations"

// switchedList adds a word to a list, or takes it out.
func switchedList(list []string, word string, on bool) []string {
	list = slices.DeleteFunc(slices.Clone(list), func(other string) bool { return other == word })
	if on {
		list = append(list, word)
	}
	return list
}
