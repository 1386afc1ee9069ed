package replay

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"regexp"
	"strings"

	"prlagent/platform/text"
)

// shape is what stays the same about an output whatever the values are: paths of
// keys or elements, flags, forms of lines, each with its kind of value.
type shape map[string]string

// Limits of what is looked at; outputs are capped already.
const (
	maxDepth  = 32
	maxShapes = 20000
)

// shapeJSON gives the path of each value of a JSON text and its kind. What
// stands before the text is passed over.
func shapeJSON(data []byte) shape {
	start := bytes.IndexAny(data, "[{")
	if start < 0 {
		return nil
	}
	var value any
	if json.NewDecoder(bytes.NewReader(data[start:])).Decode(&value) != nil {
		return nil // the client tells
	}
	out := make(shape)
	out.addValue("", value, 0)
	return out
}

func (s shape) addValue(path string, value any, depth int) {
	if depth > maxDepth || len(s) > maxShapes {
		return
	}
	switch value := value.(type) {
	case map[string]any:
		for key, member := range value {
			s.addValue(path+"/"+keyShape(path, key), member, depth+1)
		}
	case []any:
		for _, element := range value {
			s.addValue(path+"[]", element, depth+1)
		}
	default:
		kind := valueKind(value)
		if known := s[path]; known != "" && known != kind && kind == "" {
			return // another has a value
		}
		s[path] = kind
	}
}

var (
	deviceNumber = text.Pattern(`^(hdd|cdrom|net|sound|serial|parallel|usb|fdd|generic)\d+$`)
	uuidKey      = text.Pattern(`^\{?[0-9A-Fa-f-]{36}\}?$`)
)

// keyShape is a key without what a person or a device number makes of it.
func keyShape(path, key string) string {
	switch {
	case strings.HasSuffix(path, "Shared Folders") && key != "enabled" && key != "Automount", strings.HasSuffix(path, "Hardware info"), uuidKey().MatchString(key):
		return "*"
	case deviceNumber().MatchString(key):
		return strings.TrimRight(key, "0123456789") + "N"
	}
	return key
}

// kinds are forms of a text; the first that fits counts.
var kinds = []struct {
	name string
	form func() *regexp.Regexp
}{
	{"on or off", text.Pattern(`^(on|off)$`)},
	{"yes or no", text.Pattern(`^(yes|no)$`)},
	{"digits", text.Pattern(`^-?\d+$`)},
	{"size", text.Pattern(`^\d+ ?[KMG][Bb]$`)},
	{"date", text.Pattern(`^\d{4}-\d\d-\d\d`)},
	{"id in braces", text.Pattern(`^\{[0-9A-Fa-f-]{36}\}$`)},
	{"id", text.Pattern(`^[0-9A-Fa-f]{8}-[0-9A-Fa-f-]{27}$`)},
	{"path", text.Pattern(`^[/~]`)},
}

func valueKind(value any) string {
	switch value := value.(type) {
	case nil:
		return "null"
	case bool:
		return "bool"
	case float64:
		return "number"
	case string:
		if value == "" {
			return "" // of any kind
		}
		for _, kind := range kinds {
			if kind.form().MatchString(value) {
				return kind.name
			}
		}
		return "text"
	}
	return fmt.Sprintf("%T", value)
}

// shapeXML gives the root with its attributes, and the path of each element.
func shapeXML(data []byte) (root string, out shape) {
	decoder := xml.NewDecoder(bytes.NewReader(data))
	out = make(shape)
	var path []string
	for len(out) <= maxShapes {
		token, err := decoder.Token()
		if err != nil {
			return root, out
		}
		switch token := token.(type) {
		case xml.StartElement:
			if root == "" {
				root = token.Name.Local
				for _, attribute := range token.Attr {
					root += fmt.Sprintf(" %s=%q", attribute.Name.Local, attribute.Value)
				}
			}
			if path = append(path, token.Name.Local); len(path) > maxDepth {
				return root, out
			}
			out[strings.Join(path, "/")] = ""
		case xml.EndElement:
			path = path[:len(path)-1]
		}
	}
	return root, out
}

// elementText is the text of the first element of a name.
func elementText(data []byte, name string) (value string, there bool) {
	decoder := xml.NewDecoder(bytes.NewReader(data))
	for {
		token, err := decoder.Token()
		if err != nil {
			return "", false
		}
		if start, is := token.(xml.StartElement); is && start.Name.Local == name {
			var element struct {
				Text string `xml:",chardata"`
			}
			err := decoder.DecodeElement(&element, &start)
			return element.Text, err == nil
		}
	}
}

var helpFlag = text.Pattern(`(?m)(?:^|[\s,\[|<])(--?[A-Za-z][A-Za-z0-9-]*)[ \t=]*(<[^>\n]*>|\[[^]\n]*\])?`)

// shapeHelp gives the flags of a help text and what it writes behind them.
func shapeHelp(said string) shape {
	out := make(shape)
	for _, found := range helpFlag().FindAllStringSubmatch(said, maxShapes) {
		if out[found[1]] == "" {
			out[found[1]] = found[2]
		}
	}
	return out
}

// helpCommand is the first word of an indented line.
var helpCommand = text.Pattern(`(?m)^[ \t]+([a-z][a-z0-9-]+)(?:[ \t]|$)`)

// shapeCommands gives the commands of a general help.
func shapeCommands(said string) shape {
	out := shapeHelp(said)
	for _, found := range helpCommand().FindAllStringSubmatch(said, maxShapes) {
		out[found[1]] = ""
	}
	return out
}

var (
	quotedValue = text.Pattern(`"[^"\n]*"|'[^'\n]*'`)
	number      = text.Pattern(`\d+`)
)

// shapeLines gives the form of each line of a text.
func shapeLines(said string) shape {
	out := make(shape)
	for line := range strings.Lines(said) {
		line = number().ReplaceAllString(quotedValue().ReplaceAllString(strings.TrimRight(line, "\r\n"), `"…"`), "9")
		if line != "" && len(out) < maxShapes {
			out[line] = ""
		}
	}
	return out
}
