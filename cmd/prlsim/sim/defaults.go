package sim

import (
	"maps"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// exitDefaultsUsage ends defaults where it does not understand (inferred).
const exitDefaultsUsage = 255

const defaultsUsage = `Command line interface to a user's defaults.
Syntax:

'defaults' read <domain> [<key>]
           read-type <domain> <key>
           write <domain> <key> [-string | -data | -int | -float | -bool | -date] <value>
           write <domain> <domain_rep>
           delete <domain> [<key>]
           export <domain> <path> | -`

// defaults plays defaults(1) for the domains of the account that it runs as. A key
// is one literal name, with its dots, blanks and braces (acting.md 2). Refused is
// what an agent must not use: a path for a domain, which the man page says will go
// away (facts/macos.md 5.1), import, of which nobody knows whether it merges
// (acting.md 2), the domains of a host, and types that no caller needs.
func defaults(in *invocation) int {
	if in.state.hasFault("defaults_hangs", in.caller) {
		in.blockFor(0)
		return 1
	}
	if len(in.args) < 2 || strings.HasPrefix(in.args[1], "-") || strings.Contains(in.args[1], "/") {
		return in.failf(exitDefaultsUsage, "%s", defaultsUsage)
	}
	domain, rest := in.args[1], in.args[2:]
	switch verb := in.args[0]; {
	case verb == "export" && len(rest) == 1:
		return in.exportDomain(domain, rest[0])
	case verb == "read" && len(rest) <= 1:
		return in.readDefaults(domain, rest)
	case verb == "read-type" && len(rest) == 1:
		return in.readType(domain, rest[0])
	case verb == "write" && len(rest) > 0:
		return in.writeDefaults(domain, rest)
	case verb == "delete" && len(rest) <= 1:
		return in.deleteDefaults(domain, rest)
	}
	return in.failf(exitDefaultsUsage, "%s", defaultsUsage)
}

// withPreferences runs a use of the account's cfprefsd under the Mac's lock.
func (in *invocation) withPreferences(use func(preferenceDaemon) error) error {
	if in.state.assumes("cfprefsd_writes", "later") {
		return in.mac.update(func(state *State) error {
			if err := in.mac.writeDueDomains(state, time.Now()); err != nil {
				return err
			}
			return use(in.mac.preferencesOf(state, in.caller, in.session))
		})
	}
	unlock, err := in.mac.lock(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	state, err := in.mac.Load()
	if err != nil {
		return err
	}
	return use(in.mac.preferencesOf(state, in.caller, in.session))
}

// readDomain gives what defaults shows of a domain: whether that is with what is
// forced is not known (facts/macos.md 5.1, 5.3).
func (in *invocation) readDomain(domain string) (values map[string]any, err error) {
	err = in.withPreferences(func(daemon preferenceDaemon) (err error) {
		if in.state.assumes("defaults_forced", "hidden") {
			values, err = daemon.own(domain)
			return err
		}
		values, err = daemon.effective(domain)
		return err
	})
	return values, err
}

// exportDomain prints a whole domain as XML, or saves it as a binary property list
// (defaults(1)). What it prints of one that does not exist is not known.
func (in *invocation) exportDomain(domain, path string) int {
	values, err := in.readDomain(domain)
	switch {
	case err != nil:
		return in.failDefaults(err)
	case path != "-":
		return in.failf(exitDefaultsUsage, "%s", defaultsUsage) // no agent needs it
	case len(values) == 0 && in.state.assumes("defaults_missing", "error"):
		return in.failDefaults(toolErrorf("Domain %s does not exist", domain))
	}
	encode := exportXML
	if in.state.assumes("defaults_export", "binary") {
		encode = encodeBinary
	}
	content, err := encode(values)
	if err == nil {
		_, err = in.stdout.Write(content)
	}
	if err != nil {
		return in.failDefaults(err)
	}
	return 0
}

func (in *invocation) readDefaults(domain string, key []string) int {
	values, err := in.readDomain(domain)
	switch {
	case err != nil:
		return in.failDefaults(err)
	case len(key) == 0 && len(values) == 0:
		return in.failDefaults(toolErrorf("Domain %s does not exist", domain))
	case len(key) == 0:
		in.printLinef("%s", oldStyle(values, 0))
		return 0
	}
	value, has := values[key[0]]
	if !has {
		return in.failDefaults(errNoPair(domain, key[0]))
	}
	if text, isText := value.(string); isText {
		in.printLinef("%s", text)
		return 0
	}
	in.printLinef("%s", oldStyle(value, 0))
	return 0
}

func errNoPair(domain, key string) error {
	return toolErrorf("The domain/default pair of (%s, %s) does not exist", domain, key)
}

func (in *invocation) readType(domain, key string) int {
	values, err := in.readDomain(domain)
	if err != nil {
		return in.failDefaults(err)
	}
	value, has := values[key]
	if !has {
		return in.failDefaults(errNoPair(domain, key))
	}
	in.printLinef("Type is %s", defaultsType(value))
	return 0
}

// writeDefaults writes one key, or, without one, a whole domain, whose other keys
// are gone then.
func (in *invocation) writeDefaults(domain string, arguments []string) int {
	key, words := arguments[0], arguments[1:]
	if len(words) == 0 {
		key, words = "", arguments
	}
	value, err := parseDefaultsValue(words)
	if err != nil {
		return in.failDefaults(err)
	}
	whole, isDictionary := value.(map[string]any)
	if key == "" && !isDictionary {
		return in.failDefaults(toolErrorf("Rep argument is not a dictionary\nDefaults have not been changed."))
	}
	return in.changeDomain(domain, func(values map[string]any) error {
		if key == "" {
			clear(values)
			maps.Copy(values, whole)
			return nil
		}
		values[key] = value
		return nil
	})
}

func (in *invocation) deleteDefaults(domain string, key []string) int {
	return in.changeDomain(domain, func(values map[string]any) error {
		switch {
		case len(values) == 0:
			return toolErrorf("Domain (%s) not found.\nDefaults have not been changed.", domain)
		case len(key) == 0:
			clear(values)
			return nil
		}
		if _, has := values[key[0]]; !has {
			return toolErrorf("Domain (%s) not found.\nDefaults have not been changed.", domain)
		}
		delete(values, key[0])
		return nil
	})
}

// changeDomain lets the daemon change the domain. What becomes of a change of a
// value that is forced is not known (facts/macos.md 5.3): it does not show, and is
// kept below the forced one, or is dropped.
func (in *invocation) changeDomain(domain string, apply func(map[string]any) error) int {
	lost, rival, err := in.writeTroubles(domain)
	if err == nil {
		err = in.withPreferences(func(daemon preferenceDaemon) error {
			before, err := daemon.own(domain)
			if err != nil {
				return err
			}
			after := maps.Clone(before)
			if err := apply(after); err != nil || lost {
				return err
			}
			if err := daemon.dropForced(domain, before, after); err != nil {
				return err
			}
			if err := daemon.replace(domain, after); err != nil || !rival {
				return err
			}
			return daemon.replace(domain, rivalValues(before))
		})
	}
	if err != nil {
		return in.failDefaults(err)
	}
	return 0
}

// writeTroubles reports whether this write is one of those that are lost, and
// whether a rival writes after it.
func (in *invocation) writeTroubles(domain string) (lost, rival bool, err error) {
	if in.state.hasFault("defaults_fails", in.caller) {
		return false, false, errNotWritten(domain)
	}
	if lost, err = in.mac.useFault(in.state, "defaults_not_done", in.caller); err != nil {
		return false, false, err
	}
	rival, err = in.mac.useFault(in.state, "defaults_rival", in.caller)
	return lost, rival, err
}

// rivalKey is what a rival writes for itself.
const rivalKey = "Rival.Writes"

// rivalValues are what a rival leaves that had read the domain before our write and
// wrote all of it, with a key of its own.
func rivalValues(before map[string]any) map[string]any {
	values := maps.Clone(before)
	writes, _ := values[rivalKey].(uint64)
	values[rivalKey] = writes + 1
	return values
}

// failDefaults prints an error as NSLog does, behind an empty line.
func (in *invocation) failDefaults(err error) int {
	code := 1
	if _, usage := err.(unexpectedArgument); usage {
		code = exitDefaultsUsage
	}
	return in.failf(code, "%s defaults[%d:%x] \n%v", time.Now().Format("2006-01-02 15:04:05.000"), 4711, 0x1a2b3, err)
}
