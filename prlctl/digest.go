package prlctl

import (
	"crypto/sha256"
	"regexp"
)

// selfChanging are the elements of config.pvs that change while nobody changes
// a setting (facts/prlctl.md 6, "config.pvs element map"), each with a value of
// its form: a number of seconds, a date with a time, or nothing.
var selfChanging = regexp.MustCompile(
	`<VmUptimeInSeconds>[0-9 ]{0,24}</VmUptimeInSeconds>|<VmUptimeStartDateTime>[0-9: -]{0,24}</VmUptimeStartDateTime>`)

// ConfigDigest is the SHA-256 of the bytes of a config.pvs without the elements
// that change by themselves: equal digests mean that no setting was changed in
// between. Every other byte counts, also in what is no XML at all, so that
// nothing has to be understood of a text that a user can write. What is left out
// is found by its whole form, and has no room for anything else. It takes time
// in proportion to the length, and little memory.
func ConfigDigest(config []byte) [32]byte {
	digest := sha256.New()
	for {
		at := selfChanging.FindIndex(config)
		if at == nil {
			break
		}
		_, _ = digest.Write(config[:at[0]])
		config = config[at[1]:]
	}
	_, _ = digest.Write(config)
	return [32]byte(digest.Sum(nil))
}
