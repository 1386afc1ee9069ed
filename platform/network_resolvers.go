package platform

import (
	"errors"
	"io/fs"
	"net/netip"
	"path/filepath"
	"strings"

	"prlagent/platform/safefile"
)

// The file of resolvers is short: three count for libc, and configd writes no
// more than the Mac has.
const (
	maxResolversFile = 64 << 10
	maxResolvers     = 32
)

// macResolvers is where configd keeps the resolvers of the primary network
// service; /etc/resolv.conf is a link to it ([I]: not in the facts). Resolvers
// that are asked for some domains only (a split VPN's) are not in it ([I]).
const macResolvers = "/var/run/resolv.conf"

// resolversPath gives the file of the resolvers on this disk. Both systems have
// it in a folder that only root writes in, and both may have a link there
// (Linux: systemd's), so it is followed before the file is opened; that of a
// simulated Mac is not.
func (m *Machine) resolversPath() string {
	if m.root != "" {
		return m.Path(macResolvers)
	}
	if target, err := filepath.EvalSymlinks(systemResolvers); err == nil {
		return target
	}
	return systemResolvers
}

// resolvers reads the file. A Mac without a network has none.
func (m *Machine) resolvers() ([]string, error) {
	data, err := safefile.ReadFile(m.resolversPath(), maxResolversFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseResolvers(data), nil
}

// parseResolvers reads the `nameserver ADDRESS` lines of resolv.conf(5). What is
// no address is left out.
func parseResolvers(data []byte) []string {
	var resolvers []string
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		address, err := netip.ParseAddr(words[1])
		if err != nil {
			continue
		}
		if resolvers = append(resolvers, address.String()); len(resolvers) == maxResolvers {
			break
		}
	}
	return resolvers
}
