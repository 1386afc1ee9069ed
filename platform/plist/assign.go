package plist

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
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
		if slices.ContainsFunc(fields, func(other field) bool { return other.name == name }) {
			return nil, fail(CodeUnsupported, "%s has two fields for the key %q", structure, name)
		}
		fields = append(fields, field{name, member.Index, options == "omitempty"})
	}
	if len(fields) == 0 {
		return nil, fail(CodeUnsupported, "%s has no exported fields", structure)
	}
	return fields, nil
}

// assignFresh puts a tree into a new value of the type that v points to and, if
// all of it fits, replaces the old one. The library's own decoding into types
// wraps integers and merges into what is there, so it is not used for this.
func assignFresh(tree, v any) (err error) {
	// A method of the target (UnmarshalText) may panic.
	defer recoverAs(CodeWrongType, &err)
	pointer := reflect.ValueOf(v)
	if pointer.Kind() != reflect.Pointer || pointer.IsNil() {
		return fail(CodeWrongType, "the target is no pointer")
	}
	target := reflect.New(pointer.Type().Elem()).Elem()
	if err := assign(tree, target); err != nil {
		return err
	}
	pointer.Elem().Set(target)
	return nil
}

// assign puts one value of a tree into a zero target.
func assign(value any, target reflect.Value) error {
	if target.Kind() == reflect.Pointer {
		target.Set(reflect.New(target.Type().Elem()))
		return assign(value, target.Elem())
	}
	source := reflect.ValueOf(value)
	if source.Type() == target.Type() || target.Kind() == reflect.Interface && target.NumMethod() == 0 {
		target.Set(source)
		return nil
	}
	if text, ok := target.Addr().Interface().(encoding.TextUnmarshaler); ok && target.Type() != timeType {
		return assignText(value, text)
	}
	switch value := value.(type) {
	case []any:
		return assignArray(value, target)
	case map[string]any:
		return assignDictionary(value, target)
	case []byte:
		return assignData(value, target)
	default:
		return assignScalar(value, source, target)
	}
}

// mismatch names the types only: the value is not ours to quote.
func mismatch(value any, target reflect.Type) error {
	return fail(CodeWrongType, "%s where %s is wanted", kindWord(value), target)
}

func assignText(value any, target encoding.TextUnmarshaler) error {
	text, ok := value.(string)
	if !ok || target.UnmarshalText([]byte(text)) != nil {
		return mismatch(value, reflect.TypeOf(target).Elem())
	}
	return nil
}

func assignScalar(value any, source, target reflect.Value) error {
	switch {
	case source.Kind() == reflect.String && target.Kind() == reflect.String,
		source.Kind() == reflect.Bool && target.Kind() == reflect.Bool:
		target.Set(source.Convert(target.Type()))
		return nil
	case source.Kind() == reflect.Float64 && target.CanFloat() && !target.OverflowFloat(source.Float()):
		target.SetFloat(source.Float())
		return nil
	case source.CanUint() && assignUnsigned(source.Uint(), target),
		source.CanInt() && assignNegative(source.Int(), target):
		return nil
	}
	return mismatch(value, target.Type())
}

// assignUnsigned says whether an integer from zero up fitted the target.
func assignUnsigned(n uint64, target reflect.Value) bool {
	switch {
	case target.CanUint() && !target.OverflowUint(n):
		target.SetUint(n)
		return true
	case target.CanInt() && int64(n) >= 0 && !target.OverflowInt(int64(n)):
		target.SetInt(int64(n))
		return true
	}
	return false
}

// assignNegative says whether an integer below zero fitted the target.
func assignNegative(n int64, target reflect.Value) bool {
	if !target.CanInt() || target.OverflowInt(n) {
		return false
	}
	target.SetInt(n)
	return true
}

// assignData fills byte slices, and byte arrays of exactly the same length.
func assignData(data []byte, target reflect.Value) error {
	switch kind := target.Kind(); {
	case kind == reflect.Slice && target.Type().Elem().Kind() == reflect.Uint8:
		target.SetBytes(data)
		return nil
	case kind == reflect.Array && target.Type().Elem().Kind() == reflect.Uint8 && target.Len() == len(data):
		reflect.Copy(target, reflect.ValueOf(data))
		return nil
	}
	return mismatch(data, target.Type())
}

func assignArray(array []any, target reflect.Value) error {
	if target.Kind() != reflect.Slice {
		return mismatch(array, target.Type())
	}
	target.Set(reflect.MakeSlice(target.Type(), len(array), len(array)))
	for i, element := range array {
		if err := assign(element, target.Index(i)); err != nil {
			return within(fmt.Sprintf("[%d]", i), err)
		}
	}
	return nil
}

func assignDictionary(dictionary map[string]any, target reflect.Value) error {
	switch {
	case target.Kind() == reflect.Struct && target.Type() != timeType:
		return assignStruct(dictionary, target)
	case target.Kind() == reflect.Map && target.Type().Key().Kind() == reflect.String:
		return assignMap(dictionary, target)
	}
	return mismatch(dictionary, target.Type())
}

func assignStruct(dictionary map[string]any, target reflect.Value) error {
	fields, err := fieldsOf(target.Type())
	if err != nil {
		return err
	}
	for _, field := range fields {
		value, present := dictionary[field.name]
		if !present {
			continue
		}
		if err := assign(value, target.FieldByIndex(field.index)); err != nil {
			return within(field.name, err)
		}
	}
	return nil
}

func assignMap(dictionary map[string]any, target reflect.Value) error {
	target.Set(reflect.MakeMapWithSize(target.Type(), len(dictionary)))
	for key, value := range dictionary {
		element := reflect.New(target.Type().Elem()).Elem()
		if err := assign(value, element); err != nil {
			return within("a dictionary's value", err)
		}
		target.SetMapIndex(reflect.ValueOf(key).Convert(target.Type().Key()), element)
	}
	return nil
}
