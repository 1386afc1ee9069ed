package sim

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"prlagent/platform/plist"
)

// plutil plays the three uses that a script makes of it:
//
//	plutil -replace KEY -string|-integer VALUE FILE
//	plutil -remove KEY FILE
//	plutil -convert xml1 -o - FILE
//
// as Apple's source has them (swift-corelibs-foundation, Sources/plutil): the file keeps
// its format; -replace puts the value in, whether there was one or not; -remove refuses a
// key that is not there, and so does a dot, which leads to a value below. Where its
// messages go, and their beginning, is inferred.
func plutil(in *invocation) int {
	if len(in.args) < 3 {
		return in.failf(1, "No files specified.")
	}
	if words := in.args[:len(in.args)-1]; slices.Equal(words, []string{"-convert", "xml1", "-o", "-"}) {
		return in.convertPropertyList(in.args[len(words)])
	}
	verb, key, rest := in.args[0], in.args[1], in.args[2:]
	var change func(values map[string]any) error
	switch {
	case verb == "-replace" && len(rest) == 3:
		value, err := plutilValue(rest[0], rest[1])
		if err != nil {
			return in.failf(1, "%v", err)
		}
		change = func(values map[string]any) error { values[key] = value; return nil }
	case verb == "-remove" && len(rest) == 1:
		change = func(values map[string]any) error {
			if _, there := values[key]; !there {
				return toolErrorf("No value to remove at key path %s", key)
			}
			delete(values, key)
			return nil
		}
	default:
		return in.failf(1, "no script needs plutil %s", strings.Join(in.args, " "))
	}
	path := rest[len(rest)-1]
	if strings.Contains(key, ".") {
		return in.failf(1, "%s: Key path not found %s", path, key)
	}
	if err := changePropertyList(path, change); err != nil {
		return in.failf(1, "%s: %v", path, err)
	}
	return 0
}

// convertPropertyList prints a property list of either format as XML.
func (in *invocation) convertPropertyList(path string) int {
	content, err := os.ReadFile(path)
	if err != nil {
		return in.failf(1, "%s: %v", path, errNoPropertyList)
	}
	values, err := plist.Decode(content)
	if err == nil {
		content, err = exportXML(values)
	}
	if err != nil {
		return in.failf(1, "%s: %v", path, err)
	}
	in.stdout.Write(content)
	return 0
}

// errNoPropertyList is what plutil says of a file that it cannot read.
var errNoPropertyList = errors.New("file does not exist or is not readable or is not a regular file")

func plutilValue(kind, word string) (any, error) {
	switch kind {
	case "-string":
		return word, nil
	case "-integer": // what is no number counts as its digits at the beginning, or zero
		number, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("no script may give %q for a number", word)
		}
		return number, nil
	}
	return nil, toolErrorf("Unknown insert or replace type %s", kind)
}

// changePropertyList changes a file in its own format.
func changePropertyList(path string, change func(map[string]any) error) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return errNoPropertyList
	}
	values, err := plist.DecodeDict(content)
	if err != nil {
		return err
	}
	if err := change(values); err != nil {
		return err
	}
	encode := plist.EncodeXML
	if bytes.HasPrefix(content, []byte("bplist")) {
		encode = encodeBinary
	}
	if content, err = encode(values); err != nil {
		return err
	}
	return writeFile(path, content)
}
