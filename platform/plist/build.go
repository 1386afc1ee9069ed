package plist

import (
	"encoding"
	"fmt"
	"reflect"
	"time"
)

var (
	timeType          = reflect.TypeFor[time.Time]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
)

// build makes a tree, of the types that Decode gives, from a Go value.
func build(v any) (tree any, err error) {
	// A method of the value (MarshalText) may panic.
	defer recoverAs(CodeUnsupported, &err)
	var b builder
	return b.value(reflect.ValueOf(v), 1)
}

type builder struct{ budget budget }

func (b *builder) value(v reflect.Value, depth int) (any, error) {
	if err := b.budget.node(); err != nil {
		return nil, err
	}
	v, err := dereference(v)
	if err != nil {
		return nil, err
	}
	switch {
	case v.Type() == timeType:
		return v.Interface().(time.Time).UTC().Truncate(time.Second), nil
	case v.Type().Implements(textMarshalerType):
		return b.text(v)
	}
	return b.plain(v, depth)
}

// dereference follows pointers and interfaces to a value, or to a pointer that
// knows its spelling.
func dereference(v reflect.Value) (reflect.Value, error) {
	for range maxDepth {
		switch {
		case !v.IsValid():
			return v, fail(CodeUnsupported, "nil")
		case v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface:
			return v, nil
		case v.IsNil():
			return v, fail(CodeUnsupported, "nil")
		case v.Kind() == reflect.Pointer && v.Type().Implements(textMarshalerType) && !v.Type().Elem().Implements(textMarshalerType):
			return v, nil
		}
		v = v.Elem()
	}
	return v, fail(CodeTooDeep, "more than %d pointers in a row", maxDepth)
}

// text is for types such as addresses and UUIDs that know their spelling.
func (b *builder) text(v reflect.Value) (any, error) {
	text, err := v.Interface().(encoding.TextMarshaler).MarshalText()
	if err != nil {
		return nil, &Error{Code: CodeUnsupported, Err: fmt.Errorf("marshal %s: %w", v.Type(), err)}
	}
	return string(text), b.budget.content(len(text))
}

func (b *builder) plain(v reflect.Value, depth int) (any, error) {
	switch v.Kind() {
	case reflect.String:
		return v.String(), b.budget.content(v.Len())
	case reflect.Bool:
		return v.Bool(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return integer(v.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return v.Uint(), nil
	case reflect.Float32, reflect.Float64:
		return v.Float(), nil
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return b.data(v)
		}
		return b.array(v, depth)
	case reflect.Map:
		return b.dictionary(v, depth)
	case reflect.Struct:
		return b.structure(v, depth)
	}
	return nil, fail(CodeUnsupported, "no property list type for %s", v.Type())
}

func (b *builder) data(v reflect.Value) (any, error) {
	if err := b.budget.content(v.Len()); err != nil {
		return nil, err
	}
	data := make([]byte, v.Len())
	for i := range data {
		data[i] = byte(v.Index(i).Uint())
	}
	return data, nil
}

func (b *builder) array(v reflect.Value, depth int) (any, error) {
	if err := b.budget.container(depth); err != nil {
		return nil, err
	}
	array := make([]any, 0, min(v.Len(), maxNodes))
	for i := range v.Len() {
		value, err := b.value(v.Index(i), depth+1)
		if err != nil {
			return nil, within(fmt.Sprintf("[%d]", i), err)
		}
		array = append(array, value)
	}
	return array, nil
}

func (b *builder) dictionary(v reflect.Value, depth int) (any, error) {
	if v.Type().Key().Kind() != reflect.String {
		return nil, fail(CodeUnsupported, "keys of type %s", v.Type().Key())
	}
	if err := b.budget.container(depth); err != nil {
		return nil, err
	}
	dictionary := make(map[string]any)
	for entries := v.MapRange(); entries.Next(); {
		if err := b.entry(dictionary, entries.Key().String(), entries.Value(), depth); err != nil {
			return nil, err
		}
	}
	return dictionary, nil
}

func (b *builder) structure(v reflect.Value, depth int) (any, error) {
	if err := b.budget.container(depth); err != nil {
		return nil, err
	}
	fields, err := fieldsOf(v.Type())
	if err != nil {
		return nil, err
	}
	dictionary := make(map[string]any, len(fields))
	for _, field := range fields {
		value := v.FieldByIndex(field.index)
		if field.omitEmpty && isEmpty(value) {
			continue
		}
		if err := b.entry(dictionary, field.name, value, depth); err != nil {
			return nil, err
		}
	}
	return dictionary, nil
}

// entry adds one key with its value to a dictionary that is the depth-th of
// its branch.
func (b *builder) entry(dictionary map[string]any, key string, value reflect.Value, depth int) error {
	if err := b.budget.node(); err != nil {
		return err
	}
	if err := b.budget.content(len(key)); err != nil {
		return err
	}
	tree, err := b.value(value, depth+1)
	if err != nil {
		return within(fmt.Sprintf("%q", key), err)
	}
	dictionary[key] = tree
	return nil
}

func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	}
	return v.IsZero()
}
