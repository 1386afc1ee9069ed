package cli

import (
	"reflect"
	"time"

	"prlagent/platform/text"
)

// cleanDocument gives a copy of a document in which every text has gone through
// text.DisplayValue (H15). Everything that is printed for people is cleaned as a
// whole before, so that no renderer can forget one.
func cleanDocument[T any](document T) T {
	value := reflect.New(reflect.TypeFor[T]()).Elem()
	value.Set(cleanValue(reflect.ValueOf(&document).Elem()))
	return value.Interface().(T)
}

func cleanValue(value reflect.Value) reflect.Value {
	switch value.Kind() {
	case reflect.String:
		return reflect.ValueOf(text.DisplayValue(value.String())).Convert(value.Type())
	case reflect.Struct:
		return cleanStruct(value)
	case reflect.Slice:
		if value.IsNil() {
			return value
		}
		out := reflect.MakeSlice(value.Type(), value.Len(), value.Len())
		for i := range value.Len() {
			out.Index(i).Set(cleanValue(value.Index(i)))
		}
		return out
	case reflect.Map:
		if value.IsNil() {
			return value
		}
		out := reflect.MakeMapWithSize(value.Type(), value.Len())
		for entries := value.MapRange(); entries.Next(); {
			out.SetMapIndex(cleanValue(entries.Key()), cleanValue(entries.Value()))
		}
		return out
	case reflect.Pointer:
		if value.IsNil() {
			return value
		}
		out := reflect.New(value.Type().Elem())
		out.Elem().Set(cleanValue(value.Elem()))
		return out
	}
	return value
}

func cleanStruct(value reflect.Value) reflect.Value {
	if value.Type() == reflect.TypeFor[time.Time]() {
		return value
	}
	out := reflect.New(value.Type()).Elem()
	for i := range value.NumField() {
		out.Field(i).Set(cleanValue(value.Field(i)))
	}
	return out
}
