package sim

import (
	"bytes"
	"math"
	"strings"

	"prlagent/platform/plist"
)

// Values that a user can have in a domain and that plist.EncodeXML refuses to write,
// since no reader is safe with them. Here they are written as they are, which is
// what the real tool is taken to do (inferred), so that whoever reads an export
// meets them. The stand-ins are of the last plane for private use.
const (
	standInControl = '\U0010FE00' // + the control character
	standInUID     = "\U0010FF00"
	standInReal    = "\U0010FF01"
)

// exportXML writes a domain as XML, whatever is in it.
func exportXML(root any) ([]byte, error) {
	content, err := plist.EncodeXML(withStandIns(root))
	if err != nil {
		return nil, err
	}
	for control := range rune(0x20) {
		content = bytes.ReplaceAll(content, []byte(string(standInControl+control)), []byte{byte(control)})
	}
	content = bytes.ReplaceAll(content, []byte(standInUID), []byte("CF$UID"))
	for word, number := range oddReals {
		content = bytes.ReplaceAll(content, []byte("<string>"+standInReal+word+"</string>"), []byte("<real>"+number+"</real>"))
	}
	return content, nil
}

// oddReals are how numbers that are none are written, by a word without a sign.
var oddReals = map[string]string{"nan": "nan", "above": "+infinity", "below": "-infinity"}

func withStandIns(value any) any {
	switch value := value.(type) {
	case string:
		return textStandIn(value)
	case float64:
		switch {
		case math.IsNaN(value):
			return standInReal + "nan"
		case math.IsInf(value, 1):
			return standInReal + "above"
		case math.IsInf(value, -1):
			return standInReal + "below"
		}
	case []any:
		out := make([]any, len(value))
		for i, element := range value {
			out[i] = withStandIns(element)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(value))
		for key, element := range value {
			if key == "CF$UID" {
				key = standInUID
			}
			out[textStandIn(key)] = withStandIns(element)
		}
		return out
	}
	return value
}

func textStandIn(text string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 && !strings.ContainsRune("\t\n\r", r) {
			return standInControl + r
		}
		return r
	}, text)
}
