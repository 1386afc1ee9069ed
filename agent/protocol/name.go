package protocol

// MaxPathName is the longest name that ends in a path or a URL, in bytes.
const MaxPathName = 64

// ValidName reports whether a name may end in a path or a URL, as those of
// groups, devices, golden images and files do: 1 to MaxPathName letters and
// digits of ASCII, '.', '_' and '-', and not beginning with a '.' (H63). Agent
// and portal hold every such name against it where it enters, whoever gave it.
func ValidName(name string) bool {
	if name == "" || len(name) > MaxPathName || name[0] == '.' {
		return false
	}
	for i := range len(name) {
		if !mayBeInName(name[i]) {
			return false
		}
	}
	return true
}

func mayBeInName(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '.' || c == '_' || c == '-'
}
