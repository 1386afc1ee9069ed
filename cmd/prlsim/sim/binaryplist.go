package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
	"unicode/utf16"
)

// encodeBinary writes a property list, of the types that plist.Decode gives, in
// the binary format: eight bytes of header, the objects, a table of where each
// of them is, and a trailer. It is what cfprefsd writes (facts/macos.md 5.1).
func encodeBinary(root any) ([]byte, error) {
	w := &binaryWriter{}
	if _, err := w.add(root); err != nil {
		return nil, fmt.Errorf("encode binary property list: %w", err)
	}
	out := bytes.NewBufferString("bplist00")
	var table bytes.Buffer
	for _, write := range w.objects {
		table.Write(binary.BigEndian.AppendUint32(nil, uint32(out.Len())))
		write(out)
	}
	start := uint64(out.Len())
	out.Write(table.Bytes())
	out.Write([]byte{0, 0, 0, 0, 0, 0, 4, referenceSize})
	for _, number := range []uint64{uint64(len(w.objects)), 0, start} {
		out.Write(binary.BigEndian.AppendUint64(nil, number))
	}
	return out.Bytes(), nil
}

// referenceSize is how many bytes name an object.
const referenceSize = 4

// appleEpoch is 2001-01-01 in Unix seconds: dates count from it.
const appleEpoch = 978307200

// binaryWriter collects the objects of a property list. The first is the root.
type binaryWriter struct {
	objects []func(*bytes.Buffer)
}

// add makes an object of a value, and of all in it, and gives its number.
func (w *binaryWriter) add(value any) (number int, err error) {
	number = len(w.objects)
	w.objects = append(w.objects, nil)
	switch value := value.(type) {
	case map[string]any:
		w.objects[number], err = w.dictionary(value)
	case []any:
		w.objects[number], err = w.array(value)
	case string:
		w.objects[number] = stringObject(value)
	case []byte:
		w.objects[number] = func(out *bytes.Buffer) { writeCounted(out, 0x40, len(value), value) }
	case bool:
		w.objects[number] = func(out *bytes.Buffer) { out.WriteByte(map[bool]byte{false: 0x08, true: 0x09}[value]) }
	case int64:
		w.objects[number] = func(out *bytes.Buffer) { writeNumber(out, 0x13, uint64(value)) }
	case uint64:
		w.objects[number] = func(out *bytes.Buffer) { writeUnsigned(out, value) }
	case float64:
		w.objects[number] = func(out *bytes.Buffer) { writeNumber(out, 0x23, math.Float64bits(value)) }
	case time.Time:
		seconds := float64(value.Unix()-appleEpoch) + float64(value.Nanosecond())/float64(time.Second)
		w.objects[number] = func(out *bytes.Buffer) { writeNumber(out, 0x33, math.Float64bits(seconds)) }
	default:
		err = fmt.Errorf("a property list holds no %T", value)
	}
	return number, err
}

func (w *binaryWriter) dictionary(values map[string]any) (func(*bytes.Buffer), error) {
	var references []byte
	keys := slices.Sorted(maps.Keys(values))
	for _, key := range keys {
		number, err := w.add(key)
		if err != nil {
			return nil, err
		}
		references = binary.BigEndian.AppendUint32(references, uint32(number))
	}
	for _, key := range keys {
		number, err := w.add(values[key])
		if err != nil {
			return nil, err
		}
		references = binary.BigEndian.AppendUint32(references, uint32(number))
	}
	return func(out *bytes.Buffer) { writeCounted(out, 0xD0, len(keys), references) }, nil
}

func (w *binaryWriter) array(values []any) (func(*bytes.Buffer), error) {
	var references []byte
	for _, value := range values {
		number, err := w.add(value)
		if err != nil {
			return nil, err
		}
		references = binary.BigEndian.AppendUint32(references, uint32(number))
	}
	return func(out *bytes.Buffer) { writeCounted(out, 0xA0, len(values), references) }, nil
}

func stringObject(text string) func(*bytes.Buffer) {
	if !slices.ContainsFunc([]byte(text), func(b byte) bool { return b >= 0x80 }) {
		return func(out *bytes.Buffer) { writeCounted(out, 0x50, len(text), []byte(text)) }
	}
	units := utf16.Encode([]rune(text))
	var content []byte
	for _, unit := range units {
		content = binary.BigEndian.AppendUint16(content, unit)
	}
	return func(out *bytes.Buffer) { writeCounted(out, 0x60, len(units), content) }
}

// writeCounted writes a kind of object with its count and its content.
func writeCounted(out *bytes.Buffer, kind byte, count int, content []byte) {
	if count < 0xF {
		out.WriteByte(kind | byte(count))
	} else {
		out.WriteByte(kind | 0xF)
		writeNumber(out, 0x13, uint64(count))
	}
	out.Write(content)
}

func writeNumber(out *bytes.Buffer, marker byte, number uint64) {
	out.WriteByte(marker)
	out.Write(binary.BigEndian.AppendUint64(nil, number))
}

// writeUnsigned writes one that is above all of 64 bits with a sign in 128 bits.
func writeUnsigned(out *bytes.Buffer, number uint64) {
	if number <= math.MaxInt64 {
		writeNumber(out, 0x13, number)
		return
	}
	writeNumber(out, 0x14, 0)
	out.Write(binary.BigEndian.AppendUint64(nil, number))
}
