package protocol

import (
	"fmt"
	"iter"
	"reflect"
)

// leaf is a text or a list in a message.
type leaf struct {
	text   string
	length int // of a list
}

// leavesOf walks all texts and lists of a message, however deep.
func leavesOf(message any) iter.Seq2[string, leaf] {
	return func(yield func(string, leaf) bool) { walkLeaves(reflect.ValueOf(message), "", yield) }
}

func walkLeaves(value reflect.Value, path string, yield func(string, leaf) bool) {
	switch value.Kind() {
	case reflect.String:
		yield(path, leaf{text: value.String()})
	case reflect.Pointer, reflect.Interface:
		if !value.IsNil() {
			walkLeaves(value.Elem(), path, yield)
		}
	case reflect.Slice:
		yield(path, leaf{length: value.Len()})
		for i := range value.Len() {
			walkLeaves(value.Index(i), fmt.Sprintf("%s[%d]", path, i), yield)
		}
	case reflect.Map:
		for entries := value.MapRange(); entries.Next(); {
			walkLeaves(entries.Key(), path+"{key}", yield)
			walkLeaves(entries.Value(), path+"{value}", yield)
		}
	case reflect.Struct:
		for i := range value.NumField() {
			if value.Type().Field(i).IsExported() {
				walkLeaves(value.Field(i), path+"."+value.Type().Field(i).Name, yield)
			}
		}
	}
}
