package sim

import (
	"fmt"
	"strconv"
	"strings"
)

// field is one member of an object; object keeps the order of its members, as
// the real tools' output does.
type field struct {
	Key   string
	Value any // string, bool, int, object or []object
}

type object []field

// index returns the position of key, or -1.
func (o object) index(key string) int {
	for i, member := range o {
		if member.Key == key {
			return i
		}
	}
	return -1
}

// with returns the object with more members at the end.
func (o object) with(more ...field) object { return append(o, more...) }

// without returns the object without the member.
func (o object) without(key string) object {
	if i := o.index(key); i >= 0 {
		return append(append(object{}, o[:i]...), o[i+1:]...)
	}
	return o
}

// encodeJSON writes a value the way prlctl does (facts/prlctl.md 2.1): indented,
// slashes escaped, control characters raw.
func encodeJSON(value any) string {
	var out strings.Builder
	writeJSON(&out, value, "")
	return out.String()
}

func writeJSON(out *strings.Builder, value any, indent string) {
	switch value := value.(type) {
	case string:
		out.WriteString(quote(value))
	case bool:
		out.WriteString(strconv.FormatBool(value))
	case int:
		out.WriteString(strconv.Itoa(value))
	case object:
		writeMembers(out, value, indent)
	case []object:
		writeElements(out, value, indent)
	case []string:
		writeElements(out, value, indent)
	default:
		fmt.Fprint(out, value)
	}
}

func writeMembers(out *strings.Builder, members object, indent string) {
	deeper := indent + "\t"
	out.WriteString("{")
	for i, member := range members {
		if i > 0 {
			out.WriteString(",")
		}
		out.WriteString("\n" + deeper + quote(member.Key) + ": ")
		writeJSON(out, member.Value, deeper)
	}
	out.WriteString("\n" + indent + "}")
}

func writeElements[T any](out *strings.Builder, elements []T, indent string) {
	deeper := indent + "\t"
	out.WriteString("[")
	for i, element := range elements {
		if i > 0 {
			out.WriteString(",")
		}
		out.WriteString("\n" + deeper)
		writeJSON(out, element, deeper)
	}
	out.WriteString("\n" + indent + "]")
}

// quote escapes what JSON needs and the slash, but leaves control characters
// as they are.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `/`, `\/`).Replace(text) + `"`
}

// applySetting replaces the value at path ("Section/Key/…") and keeps its JSON
// type. Keys may contain slashes themselves. With addKey a missing last key is
// appended as a string.
func applySetting(members object, path, value string, addKey bool) (object, error) {
	for i, member := range members {
		if member.Key == path {
			typed, err := sameType(member.Value, value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			members[i].Value = typed
			return members, nil
		}
		rest, inside := strings.CutPrefix(path, member.Key+"/")
		if section, ok := member.Value.(object); ok && inside {
			changed, err := applySetting(section, rest, value, addKey)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", member.Key, err)
			}
			members[i].Value = changed
			return members, nil
		}
	}
	if addKey {
		return members.with(field{path, value}), nil
	}
	return nil, fmt.Errorf("no setting %q here", path)
}

func sameType(old any, text string) (any, error) {
	switch old.(type) {
	case bool:
		return strconv.ParseBool(text)
	case int:
		return strconv.Atoi(text)
	case string:
		return text, nil
	}
	return nil, fmt.Errorf("%w: is a section, not a value", errUsage)
}
