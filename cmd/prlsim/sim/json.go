package sim

import (
	"fmt"
	"strconv"
	"strings"
)

// member is one member of an object; orderedObject keeps their order, as
// the real tools' output does.
type member struct {
	Key   string
	Value any // string, bool, int, orderedObject or []orderedObject
}

type orderedObject []member

// index returns the position of key, or -1.
func (o orderedObject) index(key string) int {
	for i, member := range o {
		if member.Key == key {
			return i
		}
	}
	return -1
}

// with returns the object with more members at the end.
func (o orderedObject) with(more ...member) orderedObject { return append(o, more...) }

// without returns the object without the member.
func (o orderedObject) without(key string) orderedObject {
	if i := o.index(key); i >= 0 {
		return append(append(orderedObject{}, o[:i]...), o[i+1:]...)
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
		out.WriteString(quoteJSON(value))
	case bool:
		out.WriteString(strconv.FormatBool(value))
	case int:
		out.WriteString(strconv.Itoa(value))
	case orderedObject:
		writeMembers(out, value, indent)
	case []orderedObject:
		writeElements(out, value, indent)
	case []string:
		writeElements(out, value, indent)
	default:
		fmt.Fprint(out, value)
	}
}

func writeMembers(out *strings.Builder, members orderedObject, indent string) {
	deeper := indent + "\t"
	out.WriteString("{")
	for i, member := range members {
		if i > 0 {
			out.WriteString(",")
		}
		out.WriteString("\n" + deeper + quoteJSON(member.Key) + ": ")
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

// quoteJSON escapes what JSON needs and the slash, but leaves control characters
// as they are.
func quoteJSON(text string) string { return `"` + jsonEscapes.Replace(text) + `"` }

var jsonEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `/`, `\/`)

// applySetting replaces the value at path ("Section/Key/…") and keeps its JSON
// type. Keys may contain slashes themselves. With addKey a missing last key is
// appended as a string.
func applySetting(members orderedObject, path, value string, addKey bool) (orderedObject, error) {
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
		if section, ok := member.Value.(orderedObject); ok && inside {
			changed, err := applySetting(section, rest, value, addKey)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", member.Key, err)
			}
			members[i].Value = changed
			return members, nil
		}
	}
	if addKey {
		return members.with(member{path, value}), nil
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
