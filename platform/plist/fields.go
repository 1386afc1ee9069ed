package plist

import (
	"reflect"
	"strings"
)

// field is one key of a struct's dictionary.
type field struct {
	name      string
	index     []int
	omitEmpty bool
}

// fieldsOf gives the keys of a struct type: exported fields under their tag
// `plist:"Name,omitempty"` or their own name, without those tagged "-".
// Embedded structs would let a key come from two places and are refused, and so
// are structs without any key, which would be written as empty dictionaries.
func fieldsOf(structure reflect.Type) ([]field, error) {
	var fields []field
	for i := range structure.NumField() {
		member := structure.Field(i)
		tag := member.Tag.Get("plist")
		if tag == "-" {
			continue
		}
		if member.Anonymous {
			return nil, fail(CodeUnsupported, "%s embeds %s", structure, member.Name)
		}
		if !member.IsExported() {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if name == "" {
			name = member.Name
		}
		for _, other := range fields {
			if other.name == name {
				return nil, fail(CodeUnsupported, "%s has two fields for the key %q", structure, name)
			}
		}
		fields = append(fields, field{name, member.Index, options == "omitempty"})
	}
	if len(fields) == 0 {
		return nil, fail(CodeUnsupported, "%s has no exported fields", structure)
	}
	return fields, nil
}
